//! Workers that die before they have run anything: whether any will start again.

use std::time::Duration;

use super::workers::{Worker, WorkerState};
use crate::admission::Time;
use crate::task::id::WorkerId;

/// A worker that was ready for so long has started well, though nothing was there to be run.
const STEADY: Duration = Duration::from_secs(10);

/// Whether its death says nothing of whether others can start.
pub(super) fn has_proven_itself(worker: &Worker, now: Time) -> bool {
    worker.has_served || worker.ready_since + STEADY <= now
}

/// Deaths in a row of workers that have not proven themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failures {
    in_a_row: u32,
    /// The last worker that there was at the first of them.
    older_up_to: WorkerId,
}

impl Failures {
    pub(super) const NONE: Self = Self { in_a_row: 0, older_up_to: WorkerId(0) };

    pub(super) fn in_a_row(self) -> u32 {
        self.in_a_row
    }

    /// One more. `last`: the worker that was wanted last.
    pub(super) fn count(&mut self, last: WorkerId) {
        if self.in_a_row == 0 {
            self.older_up_to = last;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    /// Whether one serves that is older than all these deaths: then what the others lacked may come back.
    pub(super) fn is_older_in<'a>(self, mut workers: impl Iterator<Item = &'a Worker>) -> bool {
        workers.any(|it| it.state == WorkerState::Ready && it.id <= self.older_up_to)
    }
}
