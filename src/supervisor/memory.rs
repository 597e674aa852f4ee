//! Memory is looked at when the core asks for it: what a worker has, and what the machine has left.

use super::shared::Shared;
use crate::core::HoldBack;
use crate::sys;
use crate::task::id::{Ticket, WorkerId};

impl Shared {
    pub(crate) fn weigh(&self, worker: WorkerId, ticket: Option<Ticket>) {
        if let Some(bytes) = self.executor.weigh(worker) {
            self.drive(|core, now, effects| {
                core.on_weighed(now, worker, ticket, bytes, effects);
            });
        }
    }

    pub(crate) fn look_at_memory(&self) {
        let least = self.settings.min_available_memory;
        let available = sys::memory::available();
        // What can't be known holds nothing back.
        let enough = available.is_none_or(|available| available >= least);
        match self.drive(|core, now, effects| core.on_memory_seen(now, enough, effects)) {
            HoldBack::Begins => tracing::warn!(
                target: "atasker::supervisor", available, min_available_memory = least,
                "memory is short: process tasks are held back, but for one at a time and critical ones"
            ),
            HoldBack::Ends => tracing::info!(
                target: "atasker::supervisor", available, min_available_memory = least,
                "there is memory again for process tasks"
            ),
            HoldBack::Unchanged => {}
        }
    }
}
