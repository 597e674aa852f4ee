//! Tasks that kill their workers again and again.

use super::builder::SupervisorBuilder;
use super::shared::Shared;
use crate::core::History;
use crate::task::cell::TaskCell;
use crate::task::error::TaskErrorKind;
use crate::task::id::TaskId;

impl SupervisorBuilder {
    /// The [crash limit](crate::Call::crash_limit) of all tasks that say nothing else; none unless said. Zero is
    /// taken for one. With a limit of one, [`map`](crate::Supervisor::map) submits small calls one by one, so that
    /// each has arguments of its own to be kept.
    pub fn crash_limit(mut self, limit: u32) -> Self {
        self.crash_limit = Some(limit.max(1));
        self
    }
}

impl Shared {
    /// It has killed its worker, not too often yet: another attempt follows.
    pub(super) fn keep_crash(&self, task: TaskId, cell: &TaskCell, history: History) {
        cell.keep_crash(self.crash_report(task, cell, history));
    }

    /// It has killed its worker once more, which was too often.
    pub(super) fn quarantine(
        &self,
        task: TaskId,
        cell: &TaskCell,
        history: History,
    ) -> TaskErrorKind {
        TaskErrorKind::Quarantined(cell.quarantine(self.crash_report(task, cell, history)))
    }
}
