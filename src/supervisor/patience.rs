//! What is done to an attempt of which it is time that it ends.

use super::shared::Shared;
use crate::core::Ask;
use crate::say::say;
use crate::task::cell::TaskCell;
use crate::task::id::{Ticket, WorkerId};

impl Shared {
    /// Raise the attempt's cancellation flag: in its worker, or in this process.
    pub(super) fn ask_to_end(
        &self,
        worker: Option<WorkerId>,
        ticket: Ticket,
        cell: &TaskCell,
        why: Ask,
    ) {
        match worker {
            Some(worker) => {
                self.executor.request_cancel(worker, ticket);
                if why == Ask::SoftTimeout {
                    self.executor.inquire(worker);
                }
            }
            None => cell.said.ask_to_end(ticket.attempt),
        }
        if why == Ask::SoftTimeout {
            say!(
                warn, target: "atasker::task", task = ticket.task.number(), name = %cell.name.function,
                worker = worker.map(|worker| worker.0),
                pid = worker.and_then(|worker| self.executor.pid(worker)),
                "runs longer than its soft timeout"
            );
        }
    }
}
