//! The core itself, and the primitives of which its events are made.

use std::collections::BTreeSet;

use super::effect::{Ask, Effect, Ending, History, PoolId, SignalReason};
use super::event::{CoreConfig, PoolConfig, PoolKind, StopMode};
use super::shortage::Shortage;
use super::task::{Progress, Revoke, State, Tasks};
use super::workers::{WorkerState, Workers};
use crate::admission::{Admission, AdmissionConfig, Nodes, Span, Time, WARN_LEVELS, ZeroPoolSize};
use crate::task::id::WorkerId;
use crate::task::options::{Priority, RetryOn};

/// What a timer is for. Each task has at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// What its state says.
    Alarm,
    /// Its wait is to be reported.
    Warn,
}

/// What the core keeps of one pool.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) admission: Admission,
    /// Absent for a pool of slots.
    pub(super) workers: Option<Workers>,
    /// Whether what runs in a slot can be ended.
    aborts: bool,
    pub(super) queue_bound: Option<usize>,
    /// Calls that have not reached their terminal state.
    pub(super) unresolved: usize,
    /// Of these, those that wait for a delay or backoff.
    pub(super) delayed: usize,
    /// By class, the calls that wait behind another in a worker.
    pub(super) staged: [usize; Priority::ALL.len()],
    /// How many entries are being taken back that have not begun.
    pub(super) revoking: usize,
    /// By class, the packs with workers that may still be asked to be split.
    pub(super) splittable: [u32; Priority::ALL.len()],
    /// Resolved, but the closure still runs.
    pub(super) detached: usize,
    pub(super) failed: bool,
    /// Present if tasks are held back while the machine is short of memory.
    pub(super) shortage: Option<Shortage>,
}

impl Pool {
    fn new(config: PoolConfig) -> Self {
        let (zero_pool_size, workers) = match config.kind {
            PoolKind::Slots | PoolKind::Futures => (ZeroPoolSize::Unlimited, None),
            PoolKind::Workers(workers) => (ZeroPoolSize::Closed, Some(Workers::new(workers))),
        };
        let PoolConfig { limits, places_max, aging, .. } = config;
        Self {
            admission: Admission::new(AdmissionConfig {
                limits,
                zero_pool_size,
                places_max,
                aging,
            }),
            workers,
            aborts: matches!(config.kind, PoolKind::Futures),
            queue_bound: config.queue_bound,
            unresolved: 0,
            delayed: 0,
            staged: [0; Priority::ALL.len()],
            revoking: 0,
            splittable: [0; Priority::ALL.len()],
            detached: 0,
            failed: false,
            shortage: match config.kind {
                PoolKind::Workers(workers) if workers.holds_back => Some(Shortage::UNKNOWN),
                _ => None,
            },
        }
    }

    pub(super) fn workers_mut(&mut self) -> &mut Workers {
        self.workers.as_mut().expect("only a pool of workers has tasks with workers")
    }

    pub(super) fn workers(&self) -> &Workers {
        self.workers.as_ref().expect("only a pool of workers has tasks with workers")
    }
}

/// The state of every task and worker of one supervisor. See the module.
#[derive(Debug)]
pub(crate) struct Core<P> {
    pub(super) warn_after: [Span; WARN_LEVELS],
    /// Whether waits are reported.
    warns: bool,
    /// Whether anything happens to what waits in a line, by its age there.
    pub(super) watches_lines: bool,
    pub(super) tasks: Tasks<P>,
    pub(super) nodes: Nodes,
    pub(super) timers: BTreeSet<(Time, u32, Timer)>,
    /// How many of them are alarms.
    pub(super) alarms: usize,
    /// When the waits of staged tasks are to be looked at: not later than the first report of one is due. One
    /// time for all, because most begin within milliseconds.
    pub(super) staged_report: Time,
    pub(super) pools: [Pool; PoolId::ALL.len()],
    pub(super) last_number: u64,
    /// What the next call may join: the last that was submitted, in its line.
    pub(super) growing: Option<u32>,
    pub(super) last_worker: u64,
    pub(super) stop: Option<StopMode>,
    pub(super) drained: bool,
    #[cfg(any(test, atasker_sabotage))]
    pub(super) sabotage: Option<super::sabotage::Sabotage>,
}

impl<P: Clone> Core<P> {
    #[expect(clippy::large_types_passed_by_value, reason = "there is one core in a supervisor")]
    pub(crate) fn new(config: CoreConfig) -> Self {
        let warns = config.timeout_warning.is_some() || config.timeout_critical.is_some();
        let pools = [config.threads, config.processes, config.loops];
        let ages = pools.iter().any(|pool| pool.aging.is_some());
        Self {
            warn_after: [config.timeout_warning.into(), config.timeout_critical.into()],
            warns,
            watches_lines: warns || ages,
            tasks: Tasks::EMPTY,
            nodes: Nodes::default(),
            timers: BTreeSet::new(),
            alarms: 0,
            staged_report: Time::NEVER,
            pools: pools.map(Pool::new),
            last_number: 0,
            growing: None,
            last_worker: 0,
            stop: None,
            drained: false,
            #[cfg(any(test, atasker_sabotage))]
            sabotage: None,
        }
    }

    pub(super) fn pool(&self, pool: PoolId) -> &Pool {
        &self.pools[pool as usize]
    }

    pub(super) fn pool_mut(&mut self, pool: PoolId) -> &mut Pool {
        &mut self.pools[pool as usize]
    }

    pub(super) fn workers_mut(&mut self) -> &mut Workers {
        self.pool_mut(PoolId::Processes).workers_mut()
    }

    /// Sets the one timer that goes with a task's state, or clears it: `Time::NEVER`.
    #[inline]
    pub(super) fn set_alarm(&mut self, slot: u32, time: Time) {
        let before = std::mem::replace(&mut self.tasks[slot].alarm, time);
        if before != Time::NEVER {
            self.timers.remove(&(before, slot, Timer::Alarm));
            self.alarms -= 1;
        }
        if time != Time::NEVER {
            self.timers.insert((time, slot, Timer::Alarm));
            self.alarms += 1;
        }
    }

    /// When the next report of a task's wait is due.
    pub(super) fn warn_due(&self, slot: u32) -> Option<Time> {
        let record = &self.tasks[slot];
        let levels = self.warn_after.into_iter().zip(record.reported);
        let due = |(after, reported): (Span, bool)| {
            (!reported && !after.is_endless()).then(|| record.waits_since() + after)
        };
        levels.filter_map(due).min()
    }

    /// Gives a task that does not wait in order of age a timer for the report of its wait.
    #[inline]
    pub(super) fn set_warn_timer(&mut self, slot: u32) {
        if !self.warns {
            return;
        }
        self.clear_warn_timer(slot);
        if let Some(due) = self.warn_due(slot) {
            self.timers.insert((due, slot, Timer::Warn));
            self.tasks[slot].warn_timer = true;
        }
    }

    /// Must precede every change to what the due time depends on.
    #[inline]
    pub(super) fn clear_warn_timer(&mut self, slot: u32) {
        if std::mem::take(&mut self.tasks[slot].warn_timer) {
            let due = self.warn_due(slot).expect("a timer is set for a report that is due");
            self.timers.remove(&(due, slot, Timer::Warn));
        }
    }

    /// From `Delayed` for the first time: joins its line at the back.
    pub(super) fn enqueue(&mut self, now: Time, slot: u32) {
        let record = &mut self.tasks[slot];
        record.state = State::Queued;
        let (pool, priority, calls) = (record.pool, record.priority, record.calls);
        let expiry = record.queued_from + record.queue_timeout;
        let admission = &mut self.pools[pool as usize].admission;
        admission.enqueue(&mut self.nodes, slot, priority, calls, now);
        self.set_alarm(slot, expiry);
    }

    /// Returns to its old position, after a failed attempt or because it was taken back from a worker. Once
    /// the pool has failed or queued tasks are being cancelled, it ends instead.
    pub(super) fn requeue(&mut self, slot: u32, now: Time, out: &mut Vec<Effect<P>>) {
        let pool = self.tasks[slot].pool;
        self.tasks[slot].state = State::Queued;
        if let Some(ending) = self.ending_of_queued(pool) {
            self.set_alarm(slot, Time::NEVER);
            self.resolve(slot, ending, now, out);
            return;
        }
        self.pools[pool as usize].admission.requeue(&mut self.nodes, slot);
        let record = &self.tasks[slot];
        let never_began = record.attempts == 0;
        let expiry =
            if never_began { record.queued_from + record.queue_timeout } else { Time::NEVER };
        self.set_alarm(slot, expiry);
        self.set_warn_timer(slot);
    }

    /// How what is queued ends at once, if it may not wait any longer.
    pub(super) fn ending_of_queued(&self, pool: PoolId) -> Option<Ending> {
        if self.stop >= Some(StopMode::CancelQueued) {
            return Some(Ending::Cancelled { why: super::CancelReason::Stopped });
        }
        self.pool(pool).failed.then_some(Ending::PoolFailed)
    }

    /// Leaves its line.
    #[inline]
    pub(super) fn leave_line(&mut self, slot: u32) {
        let pool = self.tasks[slot].pool;
        if self.growing == Some(slot) {
            self.growing = None;
        }
        self.pools[pool as usize].admission.remove(&mut self.nodes, slot);
        self.clear_warn_timer(slot);
    }

    /// Presumes, or knows, that the attempt has begun.
    #[inline]
    pub(super) fn begin(&mut self, slot: u32, now: Time) {
        if !self.tasks[slot].begun() {
            self.begin_now(slot, now);
        }
    }

    fn begin_now(&mut self, slot: u32, now: Time) {
        self.clear_warn_timer(slot);
        if self.tasks[slot].state != State::Running {
            self.leave_staged(slot);
        }
        let record = &mut self.tasks[slot];
        record.progress = Progress::Presumed;
        record.attempts += 1;
        record.mark = now;
        let due = self.set_limits(slot, now);
        match self.tasks[slot].state {
            State::Running => self.set_alarm(slot, due),
            State::Staged => {
                self.tasks[slot].state = State::Begun;
                self.set_alarm(slot, due);
            }
            _ => {}
        }
    }

    /// The attempt turned out not to have begun.
    pub(super) fn unbegin(&mut self, slot: u32) {
        let record = &mut self.tasks[slot];
        if record.begun() {
            record.progress = Progress::Open;
            record.attempts -= 1;
        } else {
            self.clear_warn_timer(slot);
            self.leave_staged(slot);
        }
        self.tasks[slot].set_worker(None);
    }

    /// The attempt came to its end, whichever way.
    pub(super) fn end(&mut self, slot: u32, now: Time) {
        self.begin(slot, now);
        let record = &mut self.tasks[slot];
        record.progress = Progress::Open;
        if let Some(rare) = &mut record.rare {
            rare.ran = now.since(record.mark).into();
        }
        record.mark = now;
        self.set_alarm(slot, Time::NEVER);
    }

    /// It no longer waits behind another.
    fn leave_staged(&mut self, slot: u32) {
        let class = self.nodes.class(slot);
        let record = &self.tasks[slot];
        let staged = &mut self.pools[record.pool as usize].staged[class as usize];
        *staged = staged.checked_sub(record.calls as usize).expect("what leaves was staged");
        if matches!(record.state, State::Revoking(_)) {
            self.pools[record.pool as usize].revoking -= 1;
        }
    }

    #[cfg(test)]
    /// How many packs have been asked to be split. Whether they did is not told.
    pub(super) fn packs_asked(&self) -> usize {
        let asked = |&slot: &u32| self.tasks[slot].calls > 1 && self.tasks[slot].split_asked;
        self.tasks.slots().filter(asked).count()
    }

    /// Takes a task out of its worker's entries. If the worker lives, the next one begins or the worker is
    /// idle.
    pub(super) fn leave_worker(&mut self, slot: u32, now: Time) {
        let worker_id = self.tasks[slot].worker().expect("a task that leaves a worker is with one");
        self.count_splittable(slot, false);
        let (state, next) = self.workers_mut().pull(worker_id, slot);
        if state.is_dying() {
            return;
        }
        match next {
            Some(next) if self.tasks[next].state == State::Staged => self.begin(next, now),
            Some(_) => {}
            None => self.pool_mut(PoolId::Processes).admission.vacate(),
        }
    }

    /// Whether an attempt that failed by `kind` is to be followed by another.
    pub(super) fn may_retry(&self, slot: u32, kind: RetryOn) -> bool {
        let record = &self.tasks[slot];
        let allowed =
            record.rare.as_ref().is_some_and(|rare| rare.retry.allows(kind, record.attempts));
        allowed && self.stop < Some(StopMode::CancelQueued) && !self.pool(record.pool).failed
    }

    /// The terminal state of a task that has left its line, slot or worker.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        slot: u32,
        ending: Ending,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        self.tell_ending(slot, ending, now, out);
        self.tasks.vacate(slot);
    }

    /// What runs in a slot is no longer wanted. Where it can be ended, it is; where it can't, it is asked to end, and
    /// goes on.
    pub(super) fn give_up(&self, slot: u32, out: &mut Vec<Effect<P>>) {
        let record = &self.tasks[slot];
        let ticket = self.tasks.ticket(slot);
        let payload = record.payload.clone().expect("an unresolved task has its payload");
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(super::sabotage::Sabotage::AbortForgotten) {
            return;
        }
        out.push(if self.pool(record.pool).aborts {
            Effect::Abort { ticket, payload }
        } else {
            Effect::AskToEnd { worker: None, ticket, payload, why: Ask::GivenUp }
        });
    }

    /// The terminal state of a task that was given up while it ran in a slot: the record, without its payload,
    /// keeps the slot until that has ended.
    pub(super) fn resolve_detached(
        &mut self,
        slot: u32,
        ending: Ending,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        self.tell_ending(slot, ending, now, out);
        let record = &mut self.tasks[slot];
        record.state = State::Detached;
        let pool = record.pool;
        self.pool_mut(pool).detached += 1;
    }

    #[inline]
    fn tell_ending(&mut self, slot: u32, ending: Ending, now: Time, out: &mut Vec<Effect<P>>) {
        let task = self.tasks.id(slot);
        let (payload, history) = self.end_task(slot, now);
        out.push(Effect::Resolve { task, payload, ending, history });
    }

    /// A task comes to its terminal state: what there is to tell of it.
    #[inline]
    pub(super) fn end_task(&mut self, slot: u32, now: Time) -> (P, History) {
        self.set_alarm(slot, Time::NEVER);
        self.clear_warn_timer(slot);
        let record = &mut self.tasks[slot];
        let payload = record.payload.take().expect("a task is resolved once");
        let history = history(record, now);
        let (pool, calls) = (record.pool, record.calls);
        self.pool_mut(pool).unresolved -= calls as usize;
        (payload, history)
    }

    /// The worker is sent SIGKILL: it holds no place any more, and what it has not begun is taken back.
    pub(super) fn kill_worker(
        &mut self,
        id: WorkerId,
        why: SignalReason,
        out: &mut Vec<Effect<P>>,
    ) {
        let workers = self.workers_mut();
        let Some(worker) = workers.get(id) else {
            return;
        };
        if worker.state.is_dying() {
            return;
        }
        let was_busy = worker.is_busy();
        let entries: Vec<u32> = worker.entries.iter().copied().collect();
        workers.set_state(id, WorkerState::Dying { on_its_own_fault: why.is_own_fault() });
        if was_busy {
            self.pool_mut(PoolId::Processes).admission.vacate();
        }
        for slot in entries.into_iter().rev() {
            let record = &mut self.tasks[slot];
            let revocable = match record.state {
                State::Staged => true,
                State::Begun => !record.surely_begun(),
                _ => false,
            };
            if revocable {
                self.start_revoke(slot, Revoke::Requeue, out);
            } else if record.state == State::Begun {
                self.set_alarm(slot, Time::NEVER);
            }
        }
        out.push(Effect::Signal { worker: id, why });
    }
}

pub(super) fn history<P>(record: &super::task::Record<P>, now: Time) -> History {
    let (queued_until, ran) = if record.begun() {
        (record.mark, now.since(record.mark))
    } else {
        (now, record.ran().into())
    };
    History {
        attempts: record.attempts,
        queued: queued_until.since(record.queued_from),
        ran,
        worker: record.worker(),
    }
}
