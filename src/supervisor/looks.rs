//! What is looked up about a worker while it runs a task, or has run it.

use std::time::Duration;

use super::executor::Executor;
use crate::blackbox::Stack;
use crate::say::say;
use crate::task::id::{Ticket, WorkerId};
use crate::task::info::Progress;

impl Executor {
    /// The worker is long at a task: have it go on if somebody has stopped it, and see whether it is done and has told
    /// nobody.
    pub(crate) fn look_after(&self, worker: WorkerId) {
        if let Some(pool) = self.pool() {
            pool.look_again();
        }
        if self.pool().is_some_and(|pool| pool.continue_if_stopped(worker)) {
            let pid = self.pid(worker);
            say!(warn, target: "atasker::process", worker = worker.0, pid, "worker was stopped, and goes on");
        }
    }

    /// How much CPU time the attempt has used, if that can be told.
    pub(crate) fn cpu_used(&self, worker: WorkerId, ticket: Ticket) -> Option<Duration> {
        self.pool()?.cpu_used(worker, ticket)
    }

    /// Ask a worker where it is, for [`stack`](Self::stack) in a moment.
    pub(crate) fn inquire(&self, worker: WorkerId) {
        if let Some(pool) = self.pool() {
            pool.inquire(worker);
        }
    }

    /// Where the worker was when it was last asked, if that was in this attempt, of this `function`.
    pub(crate) fn stack(&self, worker: WorkerId, ticket: Ticket, function: &str) -> Option<Stack> {
        let asked = self.pool()?.stack(worker, ticket).or_else(|| {
            let exit = self.exit(worker)?;
            let inquiry = exit.death.remains.as_ref()?.inquiry.clone();
            inquiry.filter(|inquiry| inquiry.of == (ticket.task.number(), ticket.attempt))
        });
        Some(Stack::new(asked?, function))
    }

    /// How far the attempt has come, as it says itself.
    pub(crate) fn progress(&self, worker: WorkerId, ticket: Ticket) -> Option<Progress> {
        self.pool()?.progress(worker, ticket)
    }
}
