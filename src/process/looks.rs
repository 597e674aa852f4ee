//! What is looked up about a worker while it runs a task.

use std::time::Duration;

use super::processes::Processes;
use crate::task::id::{Ticket, WorkerId};

impl Processes {
    /// Whether somebody had stopped the worker, which goes on now.
    pub(crate) fn continue_if_stopped(&self, worker: WorkerId) -> bool {
        self.shared.find(worker).is_some_and(|incarnation| incarnation.continue_if_stopped())
    }

    /// How much CPU time the attempt has used. `None` if it has not begun, or nobody can tell.
    pub(crate) fn cpu_used(&self, worker: WorkerId, ticket: Ticket) -> Option<Duration> {
        let incarnation = self.shared.find(worker)?;
        let at_begin =
            incarnation.blackbox()?.cpu_time_at_begin(ticket.task.number(), ticket.attempt)?;
        Some(incarnation.cpu_time()?.saturating_sub(at_begin))
    }
}
