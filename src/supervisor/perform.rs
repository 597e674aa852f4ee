//! The effects of the core, performed. Runs in whichever thread had the event.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::context;
use super::shared::{Effects, Next, Shared, ThreadItem};
use crate::core::{CancelReason, Effect, Ending, History, Killed, WarnLevel};
use crate::registry::panics;
use crate::say::say;
use crate::task::cell::{Farewell, Payload, TaskCell, Work};
use crate::task::error::{TaskError, TaskErrorKind};
use crate::task::id::{TaskId, Ticket};
use crate::task::info::{Ended, Pool, TaskStatus};
use crate::task::pack::{News, PartHistory};

/// What an attempt that has just ended left behind, for the task to be resolved with if the core says so.
pub(crate) struct Arrived {
    pub(crate) outcome: Result<Payload, TaskErrorKind>,
    pub(crate) returned_error: Option<String>,
    /// Measured beside the function, where it was.
    pub(crate) ran: Option<Duration>,
    /// The process that it ran in, if the transport has said so.
    pub(crate) pid: Option<u32>,
}

/// What came with an event, each for one task.
pub(crate) struct Arrivals {
    all: SmallVec<[(TaskId, Option<Arrived>); 1]>,
    /// The core names them in this order, as far as it names them.
    next: usize,
}

impl Arrivals {
    pub(crate) const NONE: Self = Self { all: SmallVec::new_const(), next: 0 };

    pub(crate) fn push(&mut self, task: TaskId, arrived: Arrived) {
        self.all.push((task, Some(arrived)));
    }

    fn brought_any(&self) -> bool {
        !self.all.is_empty()
    }

    #[inline]
    fn take(&mut self, task: TaskId) -> Option<Arrived> {
        if let Some((_, arrived)) = self.all.get_mut(self.next).filter(|(other, _)| *other == task)
        {
            self.next += 1;
            return arrived.take();
        }
        self.seek(task)
    }

    #[cold]
    fn seek(&mut self, task: TaskId) -> Option<Arrived> {
        let behind = self.all[self.next..].iter().position(|(other, _)| *other == task);
        let index = match behind {
            Some(offset) => self.next + offset,
            None => self.all.iter().position(|(other, _)| *other == task)?,
        };
        self.next = index + 1;
        self.all[index].1.take()
    }
}

/// Those who sleep and have got something to do. Comes before everything that is the user's.
#[inline]
pub(super) fn wake_workers(effects: &mut Effects) {
    for link in effects.wakes.drain(..) {
        // Who submits has time; others are waited for.
        link.wake(context::is_submitting());
    }
}

impl Shared {
    /// Perform `effects` in their order. `arrived`: what the event brought. `next`: given by a pool's thread
    /// that would go on with one item itself; the first goes there.
    pub(crate) fn perform(&self, mut effects: Effects, mut arrived: Arrivals, next: &mut Next) {
        self.perform_all(&mut effects, &mut arrived, next);
        if arrived.brought_any() {
            // It was not wanted any more.
            panics::let_go(arrived);
        }
    }

    /// The same, in place.
    #[inline]
    pub(crate) fn perform_all(
        &self,
        effects: &mut Effects,
        arrived: &mut Arrivals,
        next: &mut Next,
    ) {
        wake_workers(effects);
        if effects.leaves_more() {
            self.perform_rest(effects, arrived, next);
        } else if effects.placed {
            self.space.freed();
        }
    }

    fn perform_rest(&self, effects: &mut Effects, arrived: &mut Arrivals, next: &mut Next) {
        for (worker, ticket) in effects.staged.drain(..) {
            say!(
                debug, target: "atasker::task", task = ticket.task.number(), worker = worker.0,
                pid = self.executor.pid(worker), "staged"
            );
        }
        if let Some(lost) = effects.suspended {
            say!(
                warn, target: "atasker::supervisor", ?lost,
                "this process was suspended; what runs is given that time again"
            );
        }
        for news in effects.news.drain(..) {
            self.tell_news(news);
        }
        let mut freed = effects.placed;
        if effects.kept.len() == 1 {
            let effect = effects.kept.pop().expect("there is one");
            freed |= self.perform_apart(effect, arrived, next);
        } else {
            for effect in effects.kept.drain(..) {
                freed |= self.perform_apart(effect, arrived, next);
            }
        }
        if freed {
            self.space.freed();
        }
        // Last: that may take long.
        effects.discards.drain(..).for_each(|link| link.let_go());
    }

    /// A panic in one, of a value's Drop or of a subscriber to logs, costs no other.
    #[inline]
    fn perform_apart(
        &self,
        effect: Effect<Arc<TaskCell>>,
        arrived: &mut Arrivals,
        next: &mut Next,
    ) -> bool {
        // Nothing of the user's is in a value that is still encoded.
        let is_plain =
            matches!(&effect, Effect::Resolve { payload, .. } if payload.pool == Pool::Processes);
        if is_plain {
            return self.perform_one(effect, arrived, next);
        }
        panics::catch(|| self.perform_one(effect, arrived, next)).unwrap_or(true)
    }

    /// Whether something has left its queue by it.
    #[inline]
    fn perform_one(
        &self,
        effect: Effect<Arc<TaskCell>>,
        arrived: &mut Arrivals,
        next: &mut Next,
    ) -> bool {
        let frees = matches!(
            effect,
            Effect::Run { .. }
                | Effect::Stage { .. }
                | Effect::Resolve { .. }
                | Effect::Retry { .. }
        );
        match effect {
            Effect::Run { pool, ticket, payload } => {
                let item = ThreadItem { pool, ticket, cell: payload };
                match next {
                    Next::Wanted(wanted) if pool == *wanted => *next = Next::Given(item),
                    _ => self.run_item(item),
                }
            }
            #[cfg(feature = "async")]
            Effect::Abort { ticket, payload } => {
                // It may look at the flag before it comes to an await.
                payload.said.ask_to_end(ticket.attempt);
                payload.abort(ticket.attempt);
            }
            #[cfg(not(feature = "async"))]
            Effect::Abort { .. } => {}
            Effect::Stage { worker, ticket } => {
                // It may have been given up meanwhile.
                let cell = self.core.lock().payload_of(ticket).cloned();
                if let Some(cell) = cell {
                    self.executor.stage(worker, ticket, &cell);
                }
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
            Effect::AskToEnd { worker, ticket, payload, why } => {
                self.ask_to_end(worker, ticket, &payload, why);
            }
            Effect::LookAfter { worker } => self.executor.look_after(worker),
            Effect::ReadCpu { worker, ticket } => {
                let used = self.executor.cpu_used(worker, ticket);
                self.drive(|core, now, effects| {
                    core.on_cpu_read(now, worker, ticket, used, effects);
                });
            }
            // Both were answered with the rings, under the lock.
            Effect::Split { .. } | Effect::CheckClaim { .. } => {}
            Effect::Weigh { worker, ticket } => self.weigh(worker, ticket),
            Effect::LookAtMemory => self.look_at_memory(),
            Effect::Signal { worker, why } => self.executor.signal(worker, why),
            Effect::Spawn { worker, delay } => self.executor.spawn(worker, delay),
            Effect::Retire { worker } => self.executor.retire(worker),
            Effect::Resolve { task, payload, ending, history } => {
                self.resolve(task, &payload, ending, history, arrived);
            }
            Effect::Retry { task, payload, history, why, wait, counts } => {
                say!(
                    debug, target: "atasker::task", task = task.number(), name = %payload.name.function,
                    attempts = history.attempts, ?why, ?wait, "runs again"
                );
                if counts {
                    self.keep_crash(task, &payload, history);
                    self.drive(|core, now, effects| core.on_crash_kept(now, task, wait, effects));
                }
            }
            Effect::Warn { task, payload, level, waited } => {
                self.warn(task, &payload, level, waited);
            }
            Effect::PoolFailed => self.on_pool_failed(),
            Effect::Drained => {
                say!(debug, target: "atasker::supervisor", "drained");
                self.drained.set();
            }
        }
        frees
    }

    fn resolve(
        &self,
        task: TaskId,
        cell: &Arc<TaskCell>,
        ending: Ending,
        history: History,
        arrived: &mut Arrivals,
    ) {
        if cell.is_pack {
            return self.resolve_pack(task, cell, ending, history, arrived);
        }
        let arrived = if ending == Ending::Finished {
            arrived.take(task).expect("a finish brings its outcome")
        } else {
            let pid = self.pid_of(history);
            let kind = match ending {
                Ending::Quarantined { .. } => self.quarantine(task, cell, history),
                ending => self.error_kind(task, cell, ending, history, pid),
            };
            Arrived { outcome: Err(kind), returned_error: None, ran: None, pid }
        };
        self.resolve_arrived(task, cell, history, arrived);
    }

    /// A task has ended, with what its last attempt has left behind.
    pub(super) fn resolve_arrived(
        &self,
        task: TaskId,
        cell: &Arc<TaskCell>,
        history: History,
        arrived: Arrived,
    ) {
        debug_assert!(!cell.is_pack, "a pack has many outcomes");
        let Arrived { outcome, returned_error, ran, pid } = arrived;
        let ran = ran.unwrap_or(history.ran);
        let pid = pid.or_else(|| self.pid_of(history));
        let fail = |kind| TaskError::new(Some(task), cell.name.clone(), history.attempts, kind);
        let outcome = outcome.map_err(fail);
        let status = outcome.as_ref().map_or_else(TaskError::status, |_| TaskStatus::Completed);
        say!(
            debug, target: "atasker::task", task = task.number(), name = %cell.name.function, %status,
            error = outcome.as_ref().err().map(|error| display(error.for_log())), returned_error,
            attempts = history.attempts, queued = ?history.queued, ?ran,
            worker = history.worker.map(|worker| worker.0), pid, "ended"
        );
        self.counters.add(status, 1);
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
        let Farewell { unused, callback } = cell.resolve(outcome, ended);
        if status == TaskStatus::Completed
            && let Work::Encoded { index, .. } = &unused
        {
            self.paces.learn(&self.executor, *index, ran.as_nanos() as u64);
        }
        // What was never run is the user's, and so is its Drop.
        if !unused.is_plain() {
            let unused = unused.without_seat();
            self.run_callback(Box::new(move || drop(unused)));
        }
        if let Some(callback) = callback {
            self.run_callback(callback);
        }
    }

    fn pid_of(&self, history: History) -> Option<u32> {
        history.worker.and_then(|worker| self.executor.pid(worker))
    }

    /// What an ending other than `Finished` is to the user.
    fn error_kind(
        &self,
        task: TaskId,
        cell: &TaskCell,
        ending: Ending,
        history: History,
        pid: Option<u32>,
    ) -> TaskErrorKind {
        let (pool, ran) = (cell.pool, history.ran);
        match ending {
            Ending::Finished => unreachable!("an outcome is no error"),
            Ending::Quarantined { .. } => unreachable!("a pack is not quarantined"),
            Ending::Crashed { .. } => TaskErrorKind::Crashed(self.crash(task, cell, history)),
            Ending::TimedOut { worker, attempt, limit } => {
                let stack = worker.and_then(|worker| {
                    self.executor.stack(worker, Ticket { task, attempt }, &cell.name.function)
                });
                TaskErrorKind::TimedOut { pool, pid: worker.and(pid), ran, limit, stack }
            }
            Ending::Cancelled { why: CancelReason::Requested } => TaskErrorKind::Cancelled,
            Ending::Cancelled { why: CancelReason::Stopped } => TaskErrorKind::Stopped,
            Ending::Expired => TaskErrorKind::Expired { waited: history.queued },
            Ending::PoolFailed => TaskErrorKind::NoWorkers { reason: self.failure_reason() },
        }
    }

    /// The outcomes of its calls have arrived apart; those that have none end now.
    fn resolve_pack(
        &self,
        task: TaskId,
        cell: &TaskCell,
        ending: Ending,
        history: History,
        arrived: &mut Arrivals,
    ) {
        let failure = match ending {
            // Only that of a pack which the worker was never given, because there was no memory for it.
            Ending::Finished => arrived.take(task).and_then(|arrived| arrived.outcome.err()),
            ending => Some(self.error_kind(task, cell, ending, history, self.pid_of(history))),
        };
        if let Some(kind) = failure {
            let status = kind.status();
            let fail =
                |id| TaskError::new(Some(id), cell.name.clone(), history.attempts, kind.clone());
            // Counted before anybody can see it.
            let (pid, queued) = (self.pid_of(history), history.queued);
            let of_part = PartHistory { pid, queued, ran: history.ran };
            let news = cell.with_pack(|slice| {
                self.counters.add(status, u64::from(slice.missing()));
                slice.fail(of_part, fail)
            });
            if let Some(news) = news.flatten() {
                self.tell_news(news);
            }
        }
        say!(
            debug, target: "atasker::task", task = task.number(), name = %cell.name.function, ?ending,
            queued = ?history.queued, ran = ?history.ran, worker = history.worker.map(|worker| worker.0),
            "a pack ended"
        );
        drop(cell.give_back());
    }

    fn tell_news(&self, news: News) {
        news.tell(|callback| self.run_callback(callback));
    }

    fn warn(&self, task: TaskId, cell: &Arc<TaskCell>, level: WarnLevel, waited: Duration) {
        let name = &cell.name.function;
        let (handler, text) = match level {
            WarnLevel::Warning => (&self.settings.on_warning, "a task waits long for a place"),
            WarnLevel::Critical => {
                (&self.settings.on_critical, "a task waits too long for a place")
            }
        };
        for info in self.infos_of(task) {
            let task = info.id.number();
            if level == WarnLevel::Critical {
                say!(error, target: "atasker::supervisor", task, %name, ?waited, text);
            } else {
                say!(warn, target: "atasker::supervisor", task, %name, ?waited, text);
            }
            if let Some(handler) = handler {
                let handler = Arc::clone(handler);
                self.run_callback(Box::new(move || handler(&info)));
            }
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
        let mut effects = Effects::default();
        let ran = arrived.ran.unwrap_or_default();
        self.tell(&mut effects, |core, now, effects| {
            core.on_finished(now, ticket, finish, ran, effects);
        });
        let mut arrivals = Arrivals::NONE;
        arrivals.push(ticket.task, arrived);
        self.perform(effects, arrivals, next);
    }
}
