//! Memory is looked at when the core asks for it: what a worker has, and what the machine has left.

use super::shared::Shared;
use crate::core::{HoldBack, Weighed};
use crate::say::say;
use crate::sys;
use crate::task::id::{Ticket, WorkerId};

impl Shared {
    pub(crate) fn weigh(&self, worker: WorkerId, ticket: Option<Ticket>) {
        if let Some(bytes) = self.executor.weigh(worker) {
            // Of a task that begins just now the worker may not have said it yet.
            let at_begin = ticket.zip(self.executor.pool());
            let at_begin = at_begin.and_then(|(ticket, pool)| pool.memory_at_begin(worker, ticket));
            let weighed = Weighed { bytes, at_begin };
            self.drive(|core, now, effects| {
                core.on_weighed(now, worker, ticket, weighed, effects);
            });
        }
    }

    pub(crate) fn look_at_memory(&self) {
        let least = self.settings.min_available_memory;
        let available = sys::memory::available();
        // What can't be known holds nothing back.
        let enough = available.is_none_or(|available| available >= least);
        match self.drive(|core, now, effects| core.on_memory_seen(now, enough, effects)) {
            HoldBack::Begins => say!(
                warn, target: "atasker::supervisor", available, min_available_memory = least,
                "memory is short: process tasks are held back, but for one at a time and critical ones"
            ),
            HoldBack::Ends => say!(
                info, target: "atasker::supervisor", available, min_available_memory = least,
                "there is memory again for process tasks"
            ),
            HoldBack::Unchanged => {}
        }
    }
}
