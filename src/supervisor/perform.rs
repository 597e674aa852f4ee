//! The effects of the core, performed. Runs in whichever thread had the event.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::shared::{Effects, Next, Shared, ThreadItem};
use crate::core::{CancelReason, Effect, Ending, History, Killed, PoolId, WarnLevel};
use crate::task::cause::ExitCause;
use crate::task::cell::{Stored, TaskCell, Work};
use crate::task::error::{CrashReport, TaskError, TaskErrorKind};
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::info::{Ended, TaskStatus};

/// What an attempt that has just ended left behind, for the task to be resolved with if the core says so.
pub(crate) struct Arrived {
    pub(crate) outcome: Result<Payload, TaskErrorKind>,
    pub(crate) returned_error: Option<String>,
    /// Measured beside the function, where it was.
    pub(crate) ran: Option<Duration>,
}

/// A value as it arrived.
pub(crate) enum Payload {
    /// In the codec of its call.
    Bytes(Vec<u8>),
    Value(Box<dyn Any + Send>),
}

impl Shared {
    /// Perform `effects` in their order. `arrived`: what the event brought. `next`: given by a pool's thread
    /// that would go on with one item itself; the first goes there.
    pub(crate) fn perform(&self, effects: Effects, mut arrived: Option<Arrived>, next: &mut Next) {
        let mut freed = false;
        for effect in effects {
            match effect {
                Effect::Run { pool, ticket, payload } => {
                    let item = ThreadItem { pool, ticket, cell: payload };
                    freed = true;
                    match next {
                        Next::Wanted if pool == PoolId::Threads => *next = Next::Given(item),
                        _ => self.run_item(item),
                    }
                }
                Effect::Stage { worker, ticket, payload } => {
                    freed = true;
                    self.executor.stage(worker, ticket, &payload);
                }
                Effect::Revoke { worker, ticket } => {
                    let revoked = self.executor.revoke(worker, ticket);
                    self.drive(|core, now, effects| {
                        core.on_revoke_settled(now, worker, ticket, revoked, effects);
                    });
                }
                Effect::Kill { worker, ticket } => {
                    let won = self.executor.try_kill(worker, ticket);
                    self.drive(|core, now, effects| {
                        let killed = if won { Killed::Won } else { Killed::Lost };
                        core.on_kill_settled(now, worker, ticket, killed, effects);
                    });
                }
                Effect::Split { worker, ticket } => {
                    let task = ticket.task.number();
                    tracing::trace!(target: "atasker::task", task, worker = worker.0, "kept whole");
                }
                Effect::CheckClaim { worker, ticket } => self.drive(|core, now, effects| {
                    core.on_claim_checked(now, worker, ticket, true, effects);
                }),
                Effect::Signal { worker, why } => self.executor.signal(worker, why),
                Effect::Spawn { worker, delay } => self.executor.spawn(worker, delay),
                Effect::Retire { worker } => self.executor.retire(worker),
                Effect::Resolve { task, payload, ending, history } => {
                    freed = true;
                    self.resolve(task, &payload, ending, history, &mut arrived);
                }
                Effect::Warn { task, payload, level, waited } => {
                    self.warn(task, &payload, level, waited);
                }
                Effect::PoolFailed => self.on_pool_failed(),
                Effect::Drained => self.drained.set(),
            }
        }
        if freed {
            self.space.freed();
        }
    }

    fn resolve(
        &self,
        task: TaskId,
        cell: &Arc<TaskCell>,
        ending: Ending,
        history: History,
        arrived: &mut Option<Arrived>,
    ) {
        let pid = history.worker.and_then(|worker| self.executor.pid(worker));
        let fail = |kind| TaskError::new(Some(task), cell.name.clone(), history.attempts, kind);
        let mut ran = history.ran;
        let mut returned_error = None;
        let outcome = match ending {
            Ending::Finished => {
                let arrived = arrived.take().expect("a finish brings its outcome");
                returned_error = arrived.returned_error;
                ran = arrived.ran.unwrap_or(ran);
                match arrived.outcome {
                    Ok(Payload::Value(value)) => Ok(Stored::Value(value)),
                    Ok(Payload::Bytes(bytes)) => Ok(Stored::Encoded { codec: cell.codec(), bytes }),
                    Err(kind) => Err(fail(kind)),
                }
            }
            Ending::Crashed { worker } => {
                Err(fail(TaskErrorKind::Crashed(self.crash_report(worker, history.ran))))
            }
            Ending::TimedOut { worker: Some(_) } => Err(fail(TaskErrorKind::TimedOut { pid, ran })),
            Ending::TimedOut { worker: None } => {
                Err(fail(TaskErrorKind::TimedOut { pid: None, ran }))
            }
            Ending::Cancelled { why: CancelReason::Requested } => {
                Err(fail(TaskErrorKind::Cancelled))
            }
            Ending::Cancelled { why: CancelReason::Stopped } => Err(fail(TaskErrorKind::Stopped)),
            Ending::Expired => Err(fail(TaskErrorKind::Expired { waited: history.queued })),
            Ending::PoolFailed => {
                Err(fail(TaskErrorKind::NoWorkers { reason: self.failure_reason() }))
            }
        };
        let status = outcome.as_ref().map_or_else(TaskError::status, |_| TaskStatus::Completed);
        tracing::debug!(
            target: "atasker::task", task = task.number(), name = %cell.name.function, %status,
            attempts = history.attempts, ?ran, "ended"
        );
        self.totals.lock().count(status);
        if let Some(id) = cell.name.given.as_ref().and_then(|given| given.id.as_ref()) {
            self.chosen.lock().remove(id);
        }
        let ended = Ended {
            status,
            priority: cell.priority,
            pool: cell.pool,
            attempts: history.attempts,
            queued: history.queued,
            ran,
            pid,
            returned_error,
        };
        self.drop_work(cell);
        if let Some(callback) = cell.resolve(outcome, ended) {
            self.run_callback(callback);
        }
    }

    /// What was never run is the user's, and so is its Drop.
    fn drop_work(&self, cell: &TaskCell) {
        match cell.retire_work() {
            Work::Spent | Work::Encoded { .. } => {}
            unused => self.run_callback(Box::new(move || drop(unused))),
        }
    }

    fn crash_report(&self, worker: WorkerId, ran: Duration) -> CrashReport {
        self.executor.crash_report(worker, ran).unwrap_or(CrashReport {
            cause: ExitCause::Unknown,
            pid: 0,
            ran,
            killed_because: None,
            stderr: String::new(),
        })
    }

    fn warn(&self, task: TaskId, cell: &Arc<TaskCell>, level: WarnLevel, waited: Duration) {
        let name = &cell.name.function;
        let (handler, text) = match level {
            WarnLevel::Warning => (&self.settings.on_warning, "a task waits long for a place"),
            WarnLevel::Critical => {
                (&self.settings.on_critical, "a task waits too long for a place")
            }
        };
        if level == WarnLevel::Critical {
            tracing::error!(target: "atasker::supervisor", task = task.number(), %name, ?waited, text);
        } else {
            tracing::warn!(target: "atasker::supervisor", task = task.number(), %name, ?waited, text);
        }
        if let (Some(handler), Some(info)) = (handler, self.task_info(task)) {
            let handler = Arc::clone(handler);
            self.run_callback(Box::new(move || handler(&info)));
        }
    }

    /// The outcome of an attempt has arrived.
    pub(crate) fn on_attempt_ended(
        &self,
        ticket: Ticket,
        finish: crate::core::Finish,
        arrived: Arrived,
        next: &mut Next,
    ) {
        let mut effects = Effects::new();
        let ran = arrived.ran.unwrap_or_default();
        self.tell(&mut effects, |core, now, effects| {
            core.on_finished(now, ticket, finish, ran, effects);
        });
        self.perform(effects, Some(arrived), next);
    }
}
