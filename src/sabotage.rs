//! Bugs to plant in the shell and the ring, for the proof that the chaos run finds such.
//!
//! Only in builds with `--cfg atasker_sabotage`, which no release is: there the environment variable
//! `ATASKER_SABOTAGE` names the bug, for the coordinator and its workers alike. Those of the core stand in
//! `core/sabotage.rs`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::task::id::WorkerId;
use crate::transport::{Delivery, Outcomes};

const VARIABLE: &str = "ATASKER_SABOTAGE";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A worker that sleeps is not woken for what is staged.
    WakeUpDropped,
    /// A worker rings no bell for what it has committed.
    BellDropped,
    /// A worker begins what it saw, whatever the word has become meanwhile.
    BeginUnchecked,
    /// A ticket counts as current whichever attempt it names, and a task's id whichever task has its place.
    GenerationUnchecked,
    /// Two outcomes that come together are told of each other's task.
    OutcomesSwapped,
    /// The worker that was used last is killed instead of the one that should be.
    WrongWorkerKilled,
}

impl Bug {
    const ALL: [Self; 6] = [
        Self::WakeUpDropped,
        Self::BellDropped,
        Self::BeginUnchecked,
        Self::GenerationUnchecked,
        Self::OutcomesSwapped,
        Self::WrongWorkerKilled,
    ];
}

/// The name of the bug that is planted.
pub(crate) fn planted() -> &'static str {
    static PLANTED: OnceLock<String> = OnceLock::new();
    PLANTED.get_or_init(|| std::env::var(VARIABLE).unwrap_or_default())
}

fn bug() -> Option<Bug> {
    static BUG: OnceLock<Option<Bug>> = OnceLock::new();
    *BUG.get_or_init(|| Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == planted()))
}

/// Whether this bug is planted.
pub(crate) fn is_planted(wanted: Bug) -> bool {
    bug() == Some(wanted)
}

/// Whether this bug is planted and its turn has come: one time in so many.
pub(crate) fn strikes(wanted: Bug, one_in: u32) -> bool {
    static TIMES: AtomicU32 = AtomicU32::new(1);
    is_planted(wanted) && TIMES.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in)
}

/// Tell the outcomes of two calls of each other's task.
pub(crate) fn swap(deliveries: &mut [Delivery]) {
    if let [first, second, ..] = deliveries
        && matches!((&first.outcomes, &second.outcomes), (Outcomes::OfCall(_), Outcomes::OfCall(_)))
        && strikes(Bug::OutcomesSwapped, 50)
    {
        std::mem::swap(&mut first.outcomes, &mut second.outcomes);
    }
}

/// Another one of these workers.
pub(crate) fn wrong_worker<'a>(
    all: impl DoubleEndedIterator<Item = &'a WorkerId>,
    right: WorkerId,
) -> WorkerId {
    let other = all.rev().find(|&&other| other != right);
    other.copied().filter(|_| strikes(Bug::WrongWorkerKilled, 5)).unwrap_or(right)
}
