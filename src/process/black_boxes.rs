//! What is asked of workers, and known of them, by way of their black boxes.

use std::sync::Arc;
use std::time::Duration;

use super::processes::Processes;
use crate::blackbox::{BlackBox, Painting};
use crate::task::id::{Ticket, WorkerId};
use crate::task::info::Progress;

impl Processes {
    /// Ask the attempt to give up, if the worker runs it: its `is_cancelled` answers yes from now on. A request
    /// replaces the one before to the same worker.
    pub(crate) fn request_cancel(&self, worker: WorkerId, ticket: Ticket) {
        self.with_blackbox(worker, |blackbox| {
            blackbox.request_end(ticket.task.number(), ticket.attempt);
        });
    }

    /// Ask the worker where the thread is that runs tasks: see [`stack`](Self::stack), in a moment.
    pub(crate) fn inquire(&self, worker: WorkerId) {
        if let Some(incarnation) = self.shared.find(worker) {
            incarnation.inquire();
        }
    }

    /// Where a living worker was when it was last [asked](Self::inquire), if that was in this attempt.
    pub(crate) fn stack(&self, worker: WorkerId, ticket: Ticket) -> Option<Arc<Painting>> {
        self.with_blackbox(worker, |blackbox| {
            blackbox.inquiry(ticket.task.number(), ticket.attempt)
        })?
    }

    /// How much CPU time the attempt has used. `None` if it has not begun, or nobody can tell.
    pub(crate) fn cpu_used(&self, worker: WorkerId, ticket: Ticket) -> Option<Duration> {
        let incarnation = self.shared.find(worker)?;
        let at_begin =
            incarnation.blackbox()?.cpu_time_at_begin(ticket.task.number(), ticket.attempt)?;
        Some(incarnation.cpu_time()?.saturating_sub(at_begin))
    }

    /// How many bytes of its own the worker had when the attempt began, by its own account. `None` as above.
    pub(crate) fn memory_at_begin(&self, worker: WorkerId, ticket: Ticket) -> Option<u64> {
        self.with_blackbox(worker, |blackbox| {
            blackbox.memory_at_begin(ticket.task.number(), ticket.attempt)
        })?
    }

    /// How far the attempt has come, as it says itself.
    pub(crate) fn progress(&self, worker: WorkerId, ticket: Ticket) -> Option<Progress> {
        self.with_blackbox(worker, |blackbox| {
            blackbox.progress(ticket.task.number(), ticket.attempt)
        })?
    }

    fn with_blackbox<T>(&self, worker: WorkerId, with: impl FnOnce(&BlackBox) -> T) -> Option<T> {
        self.shared.find(worker)?.blackbox().map(|blackbox| with(blackbox))
    }
}
