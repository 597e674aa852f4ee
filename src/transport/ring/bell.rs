//! The word that a listener sleeps on, and a worker rings.
//!
//! It counts, in steps of two, so that whoever has read it before a ring does not sleep. The lowest bit is the worker's
//! promise: where it is not set, the worker rings at the next commit that finds this bell's listener listening, so that one
//! need not look in between. Both change in one step: who has read the one knows the other. Knows flags only, so that a model can run it.

use crate::sync::atomic::{AtomicU32, Ordering};

const RING: u32 = 2;
/// Set while commits may go unannounced.
const SILENT: u32 = 1;

/// Whoever else than the worker rings: what that has said about its commits stays.
pub(crate) fn ring(bell: &AtomicU32) {
    // Release: pairs with the load of the bell before a listener sleeps, and only makes it look again.
    bell.fetch_add(RING, Ordering::Release);
}

/// Worker: ring. `silent`: commits may go unannounced from now on. Until it has said so, none does.
pub(crate) fn ring_and_say(bell: &AtomicU32, silent: bool) {
    // Nobody else changes the bit. Read anew, so that what a task has scribbled there does not stay.
    let said = bell.load(Ordering::Relaxed) & SILENT;
    // Release: as in `ring`.
    bell.fetch_add((RING + u32::from(silent)).wrapping_sub(said), Ordering::Release);
}

/// Listener: whether commits may go unannounced until the bell that was read as `heard` changes.
pub(crate) fn is_silent(heard: u32) -> bool {
    heard & SILENT != 0
}
