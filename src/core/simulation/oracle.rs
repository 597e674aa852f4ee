//! What users are promised, checked from outside: from the events and effects alone, and from which tasks
//! the core says are queued.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::endings::justify_finish;
use crate::core::{Core, Effect, PoolId, PoolKind, StopMode, TaskInfo, TaskState, Time, WarnLevel};
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::options::{Limits, Options, Priority, RetryOn};

pub(super) type Payload = Arc<u64>;

/// What the event at hand says; an ending must be justified by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Finished(Vec<Ticket>),
    Doomed(WorkerId),
    Exited(WorkerId),
    /// What was first with the worker, and how many bytes that had.
    Weighed(Option<Ticket>, u64),
    Other,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Of the task whose first call it is.
    payload: Option<Payload>,
    /// The number of the pack with which it was submitted: that of its first call.
    pack: u64,
    pub(super) pool: PoolId,
    pub(super) options: Options,
    pub(super) submitted: Time,
    /// The event at which it was first seen in a line or started.
    order: Option<u64>,
    /// The attempt that may be running, and where.
    alive: Option<(Ticket, Option<WorkerId>)>,
    /// When the last attempt was given out.
    pub(super) started: Time,
    pub(super) begins: u32,
    /// How often it has killed its worker.
    pub(super) crashes: u32,
    /// The report of the last time is not kept yet.
    pub(super) keeps_crash: bool,
    /// The attempt that was asked to end because of its soft timeout.
    pub(super) hurried: Option<Ticket>,
    /// The most CPU time that an attempt was seen to have used.
    pub(super) cpu: Duration,
    pub(super) cancel_requested: bool,
    pub(super) resolved: bool,
    warned: [u32; 2],
}

#[derive(Debug)]
pub(super) struct Oracle {
    pub(super) known: BTreeMap<u64, Known>,
    /// By the number of its first call, how many calls each task has.
    calls: BTreeMap<u64, u32>,
    pub(super) limits: [Limits; PoolId::ALL.len()],
    pub(super) kinds: [PoolKind; PoolId::ALL.len()],
    places_max: [Option<u32>; PoolId::ALL.len()],
    aging: bool,
    /// Whether the transport knows at once what has begun.
    pub(super) prompt: bool,
    /// Whether a worker was ever started.
    pub(super) was_started: bool,
    /// Workers that were started and neither died nor were told to end.
    pub(super) fleet: BTreeSet<WorkerId>,
    /// Those of them that are ready.
    pub(super) serving: BTreeSet<WorkerId>,
    dying: BTreeSet<WorkerId>,
    queued: BTreeSet<u64>,
    /// The machine is short of memory, as far as the core was told.
    pub(super) is_short: bool,
    pub(super) stop: Option<StopMode>,
    pub(super) drained: u32,
    pub(super) pool_failed: u32,
    /// When nobody looked.
    pub(super) gaps: Vec<(Time, Time)>,
    events: u64,
    /// What was seen, to know that the dice reach everything.
    pub(super) census: BTreeSet<String>,
}

impl Oracle {
    pub(super) fn new(config: &crate::core::CoreConfig) -> Self {
        let pools = [config.threads, config.processes, config.loops];
        Self {
            known: BTreeMap::new(),
            calls: BTreeMap::new(),
            limits: pools.map(|pool| pool.limits),
            kinds: pools.map(|pool| pool.kind),
            places_max: pools.map(|pool| pool.places_max),
            aging: pools.iter().any(|pool| pool.aging.is_some()),
            prompt: false,
            was_started: false,
            fleet: BTreeSet::new(),
            serving: BTreeSet::new(),
            dying: BTreeSet::new(),
            queued: BTreeSet::new(),
            is_short: false,
            stop: None,
            drained: 0,
            pool_failed: 0,
            gaps: Vec::new(),
            events: 0,
            census: BTreeSet::new(),
        }
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn on_submitted(
        &mut self,
        number: u64,
        calls: u32,
        known: (Payload, PoolId, Options, Time),
    ) {
        let (payload, pool, options, submitted) = known;
        self.calls.insert(number, calls);
        for call in number..number + u64::from(calls) {
            let known = Known {
                payload: None,
                pack: number,
                pool,
                options,
                submitted,
                order: None,
                alive: None,
                started: submitted,
                begins: 0,
                crashes: 0,
                keeps_crash: false,
                hurried: None,
                cpu: Duration::ZERO,
                cancel_requested: false,
                resolved: false,
                warned: [0; 2],
            };
            assert!(self.known.insert(call, known).is_none(), "a number is given once");
        }
        self.call(number).payload = Some(payload);
    }

    /// One more call has joined a pack.
    pub(super) fn on_joined(&mut self, pack: u64, number: u64) {
        *self.calls.get_mut(&pack).expect("what grows is known") += 1;
        let first = &self.known[&pack];
        assert_eq!(first.begins, 0, "what has begun does not grow");
        let known = Known { payload: None, ..first.clone() };
        assert!(self.known.insert(number, known).is_none(), "a number is given once");
    }

    /// The core accepted that a task was split.
    pub(super) fn on_split(&mut self, number: u64, kept: u32, rest: Payload) {
        let calls = self.calls.insert(number, kept).expect("what is split is known");
        let first = number + u64::from(kept);
        assert!(calls > kept, "a split leaves a rest");
        self.calls.insert(first, calls - kept);
        let order = self.known[&number].order;
        for call in first..number + u64::from(calls) {
            assert_eq!(self.known[&call].begins, 0, "what has begun is never in a rest");
            self.call(call).order = order;
        }
        self.call(first).payload = Some(rest);
    }

    /// How many calls the task has whose first is this.
    pub(super) fn calls(&self, number: u64) -> u32 {
        self.calls[&number]
    }

    /// Nobody looked in between.
    pub(super) fn on_suspended(&mut self, from: Time, to: Time) {
        self.census.insert("Suspended".to_owned());
        self.gaps.push((from, to));
    }

    pub(super) fn is_resolved(&self, number: u64) -> bool {
        self.known[&number].resolved
    }

    pub(super) fn unresolved(&self) -> impl Iterator<Item = u64> {
        self.known.iter().filter(|(_, known)| !known.resolved).map(|(&number, _)| number)
    }

    /// A call has really begun.
    pub(super) fn on_really_begun(&mut self, number: u64) {
        let known = self.call(number);
        known.begins += 1;
        assert!(
            known.begins <= known.options.retry.retries + 1,
            "call {number} ran more often than it allows"
        );
    }

    /// A call of a running pack begins that is not its first. Effects are performed at once.
    pub(super) fn on_pack_goes_on(&mut self, core: &Core<Payload>, task: TaskId) {
        self.census.insert("A pack goes on".to_owned());
        let class = core.task(task).expect("what runs is not resolved").class;
        assert!(self.stop < Some(StopMode::CancelQueued), "nothing begins while all is cancelled");
        let waits =
            |it: &TaskInfo<'_, _>| it.pool == PoolId::Processes && it.state == TaskState::Queued;
        let urgent = core.tasks().any(|it| waits(&it) && it.class > class);
        assert!(!urgent, "nothing urgent waits for the rest of a pack");
        let info = core.info(PoolId::Processes);
        let idle = info.workers.idle as usize > core.packs_asked();
        let idle = idle && info.busy < self.ceiling(PoolId::Processes, class);
        // A prediction may be wrong for a while.
        let left = idle && !core.looks_again();
        assert!(!left, "no worker is idle while another has the rest of a pack");
    }

    /// Attempts whose end is certain by this event.
    pub(super) fn on_attempt_over(&mut self, ticket: Ticket) {
        let known = self.task(ticket.task);
        if known.alive.is_some_and(|(alive, _)| alive == ticket) {
            known.alive = None;
        }
    }

    /// It dies, and nothing but what it has `begun` may still be running there.
    pub(super) fn on_doomed(&mut self, worker: WorkerId, begun: &[Ticket]) {
        self.census.insert(format!("A doomed worker, with a task: {}", !begun.is_empty()));
        self.leave_fleet(worker);
        // It may have been signalled before.
        self.dying.insert(worker);
        for known in self.known.values_mut() {
            let at = |(ticket, at)| at == Some(worker) && !begun.contains(&ticket);
            if known.alive.is_some_and(at) {
                known.alive = None;
            }
        }
    }

    pub(super) fn on_exited(&mut self, worker: WorkerId) {
        self.leave_fleet(worker);
        for known in self.known.values_mut() {
            if known.alive.is_some_and(|(_, at)| at == Some(worker)) {
                known.alive = None;
            }
        }
    }

    /// Checks all that came of one event.
    pub(super) fn check(
        &mut self,
        core: &Core<Payload>,
        now: Time,
        cause: Cause,
        effects: Vec<Effect<Payload>>,
    ) {
        self.events += 1;
        let count = |of: fn(&Effect<_>) -> bool| effects.iter().filter(|it| of(it)).count() as u32;
        self.drained += count(|effect| matches!(effect, Effect::Drained));
        self.pool_failed += count(|effect| matches!(effect, Effect::PoolFailed));
        let mut started = Vec::new();
        let mut gone = Vec::new();
        for effect in effects {
            match effect {
                Effect::Run { ticket, pool, .. } => {
                    self.on_started(pool, ticket, None, now);
                    started.push(ticket.task.number);
                }
                Effect::Stage { worker, ticket, .. } => {
                    let behind = self.on_started(PoolId::Processes, ticket, Some(worker), now);
                    self.census.insert(format!("Stage behind another: {behind}"));
                    started.push(ticket.task.number);
                }
                Effect::Abort { ticket, payload } => {
                    assert_eq!(
                        *payload, ticket.task.number,
                        "a future is aborted with its payload"
                    );
                    self.on_aborted(ticket);
                }
                Effect::AskToEnd { ticket, why, .. } => self.on_asked_to_end(ticket, why, now),
                Effect::Resolve { task, ending, payload, history } => {
                    assert_eq!(*payload, task.number, "a task is resolved with its own payload");
                    for call in task.number..task.number + u64::from(self.calls[&task.number]) {
                        self.on_resolved(call, ending, history.attempts, now, &cause);
                    }
                    justify_finish(task, ending, &cause);
                    gone.push(task.number);
                }
                Effect::Spawn { worker, .. } => {
                    self.was_started = true;
                    self.fleet.insert(worker);
                }
                Effect::Retire { worker } => self.on_retired(worker, &cause),
                Effect::Signal { worker, why } => {
                    self.leave_fleet(worker);
                    self.on_signalled(why);
                    assert!(self.dying.insert(worker), "a worker is signalled once");
                }
                Effect::Warn { task, level, .. } => self.on_warned(task, level),
                Effect::Retry { task, why, counts, .. } => self.on_retried(task, why, counts),
                Effect::Kill { ticket, .. } => self.on_kill(ticket, &cause),
                Effect::Revoke { .. }
                | Effect::Weigh { .. }
                | Effect::LookAtMemory
                | Effect::Split { .. }
                | Effect::CheckClaim { .. }
                | Effect::ReadCpu { .. }
                | Effect::LookAfter { .. }
                | Effect::PoolFailed
                | Effect::Drained => {}
            }
        }
        for number in gone {
            let holders = self.known[&number].payload.as_ref().map(Arc::strong_count);
            assert_eq!(holders, Some(1), "a resolved task's payload is not kept");
        }
        assert!(self.drained <= 1, "`Drained` is told once");
        assert!(
            self.drained == 0 || self.unresolved().next().is_none(),
            "`Drained` means that nothing is left"
        );
        self.check_fleet();
        self.check_fairness(core, &started);
        self.check_hurried(core, now);
    }

    fn on_started(
        &mut self,
        pool: PoolId,
        ticket: Ticket,
        worker: Option<WorkerId>,
        now: Time,
    ) -> bool {
        let number = ticket.task.number;
        let class = self.known[&number].options.priority;
        assert!(!self.known[&number].keeps_crash, "a crash is kept before there may be another");
        let busy = self.busy(pool);
        let joins = worker.is_some_and(|worker| self.is_occupied(worker));
        if !self.aging {
            // A task staged behind another starts when that one is done.
            let busy = if joins { busy - 1 } else { busy };
            assert!(
                busy < self.ceiling(pool, class),
                "{class} starts within its limits, not at {busy}"
            );
        }
        assert!(
            worker.is_none_or(|worker| !self.dying.contains(&worker)),
            "a dying worker gets no task"
        );
        assert!(
            !self.is_short || worker.is_none() || class == Priority::Critical || busy == 0,
            "while memory is short one task runs at a time"
        );
        let is_with =
            |known: &Known| worker.is_some() && known.alive.is_some_and(|(_, at)| at == worker);
        let ahead = self.known.values().filter(|known| is_with(known));
        let least_urgent = ahead.map(|known| known.options.priority).min();
        assert!(
            self.aging || least_urgent.is_none_or(|ahead| ahead >= class),
            "nothing is staged behind less urgent work"
        );
        for call in number..number + u64::from(self.calls[&number]) {
            let known = self.call(call);
            assert!(!known.resolved, "what is resolved never starts");
            assert!(!known.cancel_requested, "what was to be cancelled is not started again");
        }
        let known = self.task(ticket.task);
        assert_eq!(known.pool, pool, "a task starts in its pool");
        assert_eq!(known.alive, None, "two attempts at task {number} must not overlap");
        (known.alive, known.started) = (Some((ticket, worker)), now);
        joins
    }

    pub(super) fn on_crash_kept(&mut self, task: TaskId) {
        self.task(task).keeps_crash = false;
    }

    fn on_retried(&mut self, task: TaskId, why: RetryOn, counts: bool) {
        let known = self.task(task);
        known.keeps_crash = counts;
        let limited = known.options.reachable_crash_limit().is_some();
        assert_eq!(counts, why == RetryOn::Crash && limited, "crashes count under a limit");
        assert!(known.options.retry.retries > 0, "only what is declared retryable runs again");
        if why == RetryOn::Crash {
            known.crashes += 1;
            let limit = known.options.crash_limit.unwrap_or(u32::MAX);
            assert!(known.crashes < limit, "what has killed its workers often enough ends");
        }
    }

    fn on_aborted(&mut self, ticket: Ticket) {
        self.census.insert("Abort".to_owned());
        let known = self.task(ticket.task);
        assert_eq!(known.pool, PoolId::Loops, "only what is on a loop is aborted");
        assert_eq!(known.alive, Some((ticket, None)), "what is aborted runs");
        assert!(!known.resolved, "what is resolved is not aborted later");
    }

    fn on_warned(&mut self, task: TaskId, level: WarnLevel) {
        self.census.insert(format!("Warn {level:?}"));
        let known = self.task(task);
        assert!(!known.resolved, "only what waits has its wait reported");
        known.warned[level as usize] += 1;
        let waits = known.options.retry.retries + 1;
        assert!(known.warned[level as usize] <= waits, "a wait is reported once at each level");
    }

    fn busy(&self, pool: PoolId) -> u32 {
        let mut places = BTreeSet::new();
        for (number, known) in &self.known {
            match known.alive {
                Some((_, None)) if known.pool == pool => _ = places.insert((*number, WorkerId(0))),
                Some((_, Some(worker))) if known.pool == pool && !self.dying.contains(&worker) => {
                    places.insert((0, worker));
                }
                _ => {}
            }
        }
        places.len() as u32
    }

    pub(super) fn is_occupied(&self, worker: WorkerId) -> bool {
        self.known.values().any(|known| known.alive.is_some_and(|(_, at)| at == Some(worker)))
    }

    fn ceiling(&self, pool: PoolId, class: Priority) -> u32 {
        let Limits { pool_size: p, reserve_normal: n, reserve_high: h } =
            self.limits[pool as usize];
        if class == Priority::Critical {
            return u32::MAX;
        }
        let unlimited = p == 0 && !matches!(self.kinds[pool as usize], PoolKind::Workers(_));
        let ceiling = match class {
            _ if unlimited => u32::MAX,
            Priority::Low => p,
            Priority::Normal => p + n,
            _ => p + n + h,
        };
        ceiling.min(self.places_max[pool as usize].unwrap_or(u32::MAX))
    }

    /// No lower class starts while a higher one waits, and each class is first come, first served.
    fn check_fairness(&mut self, core: &Core<Payload>, started: &[u64]) {
        let before = std::mem::take(&mut self.queued);
        for task in core.tasks() {
            if task.state == TaskState::Queued {
                self.queued.insert(task.id.number());
            }
        }
        let events = self.events;
        for number in self.queued.iter().chain(started) {
            let known = self.known.get_mut(number).expect("what is queued is known");
            known.order.get_or_insert(events);
        }
        if self.aging {
            return;
        }
        for number in started {
            let beginner = &self.known[number];
            for waiting in before.intersection(&self.queued) {
                let waiter = &self.known[waiting];
                let (high, low) = (waiter.options.priority, beginner.options.priority);
                assert!(
                    waiter.pool != beginner.pool || high <= low,
                    "task {number} ({low}) overtakes task {waiting} ({high})"
                );
                let in_order = if beginner.pack == waiter.pack {
                    number < waiting
                } else {
                    beginner.order <= waiter.order
                };
                assert!(
                    waiter.pool != beginner.pool || high < low || in_order,
                    "task {number} overtakes task {waiting} of its class"
                );
            }
        }
    }

    pub(super) fn task(&mut self, task: TaskId) -> &mut Known {
        self.call(task.number)
    }

    pub(super) fn call(&mut self, number: u64) -> &mut Known {
        self.known.get_mut(&number).expect("effects are about accepted tasks")
    }
}
