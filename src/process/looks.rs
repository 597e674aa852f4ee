//! What is looked up about a worker while it runs a task.

use super::processes::Processes;
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
        self.shared.find(worker).is_some_and(|incarnation| incarnation.continue_if_stopped())
    }

    /// How many bytes of memory the worker has of its own. `None` if it is gone.
    pub(crate) fn weigh(&self, worker: WorkerId) -> Option<u64> {
        self.shared.find(worker)?.memory()
    }
}
