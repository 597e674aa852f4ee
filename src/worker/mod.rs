//! What runs inside a worker process: becoming a worker, serving calls, telling its log.
//!
//! Knows the handshake and the transport's worker end. It must not know the supervisor, the core or
//! admission: a worker has none.

mod current;
mod lifeline;
mod log;
mod serve;
mod start;
#[doc(hidden)]
pub mod test_entry;

use std::sync::atomic::{AtomicBool, Ordering};

pub use current::{CurrentTask, current_task};

use crate::process::protocol::{MARKER_VARIABLE, Marker};
use crate::sys;

/// `main` has said where it becomes a worker.
static ENTRY_CALLED: AtomicBool = AtomicBool::new(false);
/// This process has become one.
static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// Become a worker if this process was started to be one; else return at once.
///
/// The supervisor starts the program itself again for its worker processes. This line, the first of
/// `main`, is where such a process turns into a worker: it serves tasks, ends, and never comes back. It must
/// come before anything else, because what comes before it runs in every worker too, and before any
/// thread is started. `#[atasker::main]` does the same.
///
/// Descriptors that the process was given besides the standard ones are closed in a worker.
///
/// ```
/// atasker::worker::run_if_spawned(); // the first line of `main`
/// // The program.
/// assert!(!atasker::worker::is_worker());
/// ```
pub fn run_if_spawned() {
    ENTRY_CALLED.store(true, Ordering::Relaxed);
    if let Some(marker) = take_marker() {
        start::become_worker(&marker);
    }
}

/// Whether this process is a worker.
///
/// ```
/// assert!(!atasker::worker::is_worker());
/// ```
pub fn is_worker() -> bool {
    IS_WORKER.load(Ordering::Relaxed)
}

pub(crate) fn entry_was_called() -> bool {
    ENTRY_CALLED.load(Ordering::Relaxed)
}

/// What marks this process as a worker, which is removed so that nothing that it starts becomes one.
///
/// The variable alone proves nothing: the standard input must be a socket of the process it names.
fn take_marker() -> Option<Marker> {
    let text = std::env::var_os(MARKER_VARIABLE)?;
    sys::environment::remove_at_start(MARKER_VARIABLE);
    let marker = Marker::parse(text.to_str()?)?;
    (sys::process::peer_of_stdin() == Some(marker.coordinator)).then_some(marker)
}
