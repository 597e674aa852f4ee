//! What is looked up about a worker while it runs a task.

use super::memory_kills::MemoryKill;
use super::processes::{Processes, Shared};
use crate::task::id::WorkerId;

impl Processes {
    /// Have whoever looks after the rings look once more: a worker gone mad may have committed without ringing.
    pub(crate) fn look_again(&self) {
        if let Some(collector) = self.shared.collector() {
            collector.look_again();
        }
    }

    /// Whether somebody had stopped the worker, which goes on now.
    pub(crate) fn continue_if_stopped(&self, worker: WorkerId) -> bool {
        self.shared.look_at_memory_kills();
        self.shared.find(worker).is_some_and(|incarnation| incarnation.continue_if_stopped())
    }

    /// How many bytes of memory the worker has of its own. `None` if it is gone.
    pub(crate) fn weigh(&self, worker: WorkerId) -> Option<u64> {
        self.shared.find(worker)?.memory()
    }
}

impl Shared {
    pub(super) fn look_at_memory_kills(&self) {
        self.memory_kills.lock().look();
    }

    /// Why a worker was killed, of which nobody else is known to have done it.
    pub(super) fn memory_kill(&self) -> Option<MemoryKill> {
        self.memory_kills.lock().on_killed()
    }
}
