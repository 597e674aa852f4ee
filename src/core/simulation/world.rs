//! The shell, the transports and the workers, played by dice: effects are performed late and interleaved,
//! answers arrive late and twice, workers die at any point.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::dice::{Dice, limits, options};
use super::oracle::{Cause, Oracle, Payload};
use super::shell::{Action, Event, Process};
use crate::core::sabotage::Sabotage;
use crate::core::{
    Cancel, Core, CoreConfig, Effect, Killed, PoolConfig, PoolId, PoolKind, StopMode, Submission,
    Time, WorkersConfig,
};
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::options::Backoff;

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) core: Core<Payload>,
    pub(super) oracle: Oracle,
    pub(super) now: Time,
    pub(super) config: WorkersConfig,
    pub(super) batches: Vec<VecDeque<Action>>,
    pub(super) processes: BTreeMap<WorkerId, Process>,
    pub(super) running: Vec<Ticket>,
    pub(super) answers: Vec<Event>,
    pub(super) past: Vec<Event>,
    pub(super) tasks: Vec<TaskId>,
    /// How likely a worker dies before it is ready: one in this many.
    pub(super) sickness: u64,
    pub(super) healthy: bool,
    /// Whether every event is printed.
    pub(super) tells: bool,
}

const MILLISECOND: u64 = 1_000_000;

impl World {
    pub(super) fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let mut dice = Dice::new(seed);
        let rings = dice.one_in(2);
        let workers = WorkersConfig {
            burst: dice.below(3) as u32,
            entries_per_worker: if rings { 4 } else { 1 },
            prefetch: Duration::MAX,
            claim_deadline: None,
            staged_is_begun: !rings,
            restart_limit: 1 + dice.below(8) as u32,
            restart_backoff: Backoff::fixed(Duration::from_millis(dice.below(3))),
            recycle_on_panic: dice.one_in(2),
            lazily_started: dice.one_in(2),
        };
        let aging = dice.one_in(5).then_some(Duration::from_millis(5));
        let threads = PoolConfig {
            limits: limits(&mut dice, 0),
            kind: PoolKind::Slots,
            queue_bound: dice.one_in(3).then_some(4),
            aging,
            places_max: dice.one_in(4).then_some(3),
        };
        let kind = if dice.one_in(8) { PoolKind::Slots } else { PoolKind::Workers(workers) };
        let processes = PoolConfig {
            limits: limits(&mut dice, 1),
            kind,
            queue_bound: dice.one_in(3).then_some(6),
            aging,
            places_max: None,
        };
        let warn =
            |dice: &mut Dice| dice.one_in(2).then(|| Duration::from_millis(1 + dice.below(20)));
        let config = CoreConfig {
            threads,
            processes,
            timeout_warning: warn(&mut dice),
            timeout_critical: warn(&mut dice),
        };
        let sickness = [2, 8, 50][dice.index(3)];
        let mut core = Core::new(config);
        core.sabotage = sabotage;
        Self {
            dice,
            core,
            oracle: Oracle::new(&config),
            now: Time::ZERO,
            config: workers,
            batches: Vec::new(),
            processes: BTreeMap::new(),
            running: Vec::new(),
            answers: Vec::new(),
            past: Vec::new(),
            tasks: Vec::new(),
            sickness,
            healthy: false,
            tells: super::number_from("ATASKER_SEED").is_some(),
        }
    }

    pub(super) fn events(&self) -> u64 {
        self.oracle.events()
    }

    pub(super) fn census(self) -> BTreeSet<String> {
        self.oracle.census
    }

    /// Anything may happen.
    pub(super) fn live(&mut self) {
        if !self.config.lazily_started {
            self.start_workers();
        }
        for _ in 0..20 + self.dice.below(200) {
            match self.dice.below(40) {
                0..8 => self.submit(),
                8..10 => self.cancel(),
                10..12 => self.pass_time(),
                12 if self.dice.one_in(4) => self.resize(),
                13 if self.dice.one_in(8) => self.stop(),
                14 => self.repeat_the_past(),
                15 if self.dice.one_in(4) => self.corrupt(),
                _ => _ = self.proceed(),
            }
        }
    }

    /// Nothing new happens, and what was begun comes to its end, or hangs and fails.
    pub(super) fn come_to_an_end(&mut self) {
        self.healthy = true;
        self.start_workers();
        if self.dice.one_in(2) {
            self.stop();
        }
        self.settle();
        let left: Vec<u64> = self.oracle.unresolved().collect();
        assert!(left.is_empty(), "tasks {left:?} are never resolved");
        self.event(Cause::Other, |core, now, out| {
            core.on_stopping(now, StopMode::Drain, out);
        });
        self.settle();
        assert_eq!(self.oracle.drained, 1, "`Drained` is told once a stop has come to its end");
        assert!(self.processes.is_empty(), "every worker is told to end");
        assert!(!self.core.has_workers(), "every worker that exited is forgotten");
        assert_eq!(self.core.next_deadline(), None, "no timer is left");
    }

    fn settle(&mut self) {
        for _ in 0..20_000 {
            if self.proceed() {
                continue;
            }
            let Some(due) = self.core.next_deadline() else {
                return;
            };
            self.now = self.now.max(due);
            self.event(Cause::Other, Core::on_deadline);
        }
        panic!("it never comes to rest");
    }

    pub(super) fn event(
        &mut self,
        cause: Cause,
        event: impl FnOnce(&mut Core<Payload>, Time, &mut Vec<Effect<Payload>>),
    ) {
        let mut out = Vec::new();
        event(&mut self.core, self.now, &mut out);
        self.take(cause, out);
    }

    pub(super) fn take(&mut self, cause: Cause, out: Vec<Effect<Payload>>) {
        if self.tells {
            println!("{} {cause:?} -> {out:?}", self.now.0);
        }
        let mut batch = VecDeque::new();
        for effect in &out {
            batch.push_back(match *effect {
                Effect::Run { ticket, .. } => Action::Run(ticket),
                Effect::Stage { worker, ticket, .. } => Action::Stage(worker, ticket),
                Effect::Revoke { worker, ticket } => Action::Revoke(worker, ticket),
                Effect::Kill { worker, ticket } => Action::Kill(worker, ticket),
                Effect::Signal { worker, .. } => Action::Signal(worker),
                Effect::Retire { worker } => Action::Retire(worker),
                Effect::Spawn { worker, .. } => {
                    let fresh = self.processes.insert(worker, Process::default()).is_none();
                    assert!(fresh, "an incarnation lives once");
                    Action::Spawn(worker)
                }
                _ => continue,
            });
        }
        if !batch.is_empty() {
            self.batches.push(batch);
        }
        self.core.check_invariants();
        self.oracle.check(&self.core, self.now, cause, out);
    }

    fn start_workers(&mut self) {
        self.event(Cause::Other, |core, now, out| {
            core.on_workers_wanted(now, out);
        });
    }

    fn submit(&mut self) {
        let options = options(&mut self.dice);
        let pool = PoolId::ALL[self.dice.index(2)];
        let number = self.tasks.len() as u64 + 1;
        let payload = Arc::new(number);
        let mut out = Vec::new();
        let submission = Submission { pool, options, payload: payload.clone(), calls: 1 };
        match self.core.on_submitted(self.now, submission, &mut out) {
            Ok(task) => {
                assert_eq!(task.number(), number, "numbers count what was accepted");
                self.oracle.on_submitted(number, (payload, pool, options, self.now));
                self.tasks.push(task);
            }
            Err(refused) => {
                assert!(out.is_empty() && *refused.payload == number, "a refusal changes nothing");
            }
        }
        if self.tells {
            println!("submitted {number} to {pool:?}: {options:?}");
        }
        self.take(Cause::Other, out);
    }

    fn cancel(&mut self) {
        let Some(task) = self.dice.pick(&self.tasks) else {
            return;
        };
        self.oracle.task(task).cancel_requested = true;
        let was_resolved = !self.oracle.unresolved().any(|number| number == task.number());
        let mut out = Vec::new();
        let outcome = self.core.on_cancelled(self.now, task, &mut out);
        self.take(Cause::Other, out);
        let is_resolved = !self.oracle.unresolved().any(|number| number == task.number());
        let expected = match (was_resolved, is_resolved) {
            (true, _) => Cancel::TooLate,
            (false, true) => Cancel::Resolved,
            (false, false) => Cancel::InProgress,
        };
        assert_eq!(outcome, expected, "a cancellation says what came of it");
    }

    fn pass_time(&mut self) {
        let jump = match self.dice.below(4) {
            0 => self.dice.below(100 * MILLISECOND),
            1 => self.core.next_deadline().map_or(1, |due| due.0.saturating_sub(self.now.0)),
            _ => self.dice.below(2 * MILLISECOND),
        };
        self.now = Time(self.now.0 + jump.min(1000 * MILLISECOND));
        if self.dice.one_in(4) {
            return;
        }
        self.event(Cause::Other, Core::on_deadline);
        assert!(
            self.core.next_deadline().is_none_or(|due| due > self.now),
            "everything due has happened"
        );
    }

    fn resize(&mut self) {
        let pool = PoolId::ALL[self.dice.index(2)];
        let limits = limits(&mut self.dice, pool as u64);
        self.oracle.limits[pool as usize] = limits;
        self.event(Cause::Other, |core, now, out| {
            core.on_resized(now, pool, limits, out);
        });
    }

    fn stop(&mut self) {
        let mode = [StopMode::Drain, StopMode::CancelQueued, StopMode::KillNow][self.dice.index(3)];
        self.oracle.stop = self.oracle.stop.max(Some(mode));
        self.event(Cause::Other, |core, now, out| {
            core.on_stopping(now, mode, out);
        });
    }

    fn repeat_the_past(&mut self) {
        let index = self.past.len().min(30);
        if index > 0 {
            let event = self.past[self.past.len() - 1 - self.dice.index(index)].clone();
            self.tell_core(event);
        }
    }

    fn corrupt(&mut self) {
        let all: Vec<WorkerId> = self.processes.keys().copied().collect();
        if let Some(worker) = self.dice.pick(&all) {
            self.tell_core(Event::Corrupt(worker));
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.past.push(event.clone());
        match &event {
            Event::Finished(ticket, _) | Event::RevokeSettled(_, ticket, true) => {
                self.oracle.on_attempt_over(*ticket);
            }
            Event::Exited(worker, _) => self.oracle.on_exited(*worker),
            _ => {}
        }
        self.tell_core(event);
    }

    pub(super) fn tell_core(&mut self, event: Event) {
        if self.tells {
            println!("{event:?}");
        }
        let cause = match event {
            Event::Finished(ticket, _) => Cause::Finished(ticket),
            Event::Exited(worker, _) => Cause::Exited(worker),
            _ => Cause::Other,
        };
        self.event(cause, |core, now, out| match event {
            Event::Finished(ticket, finish) => {
                core.on_finished(now, ticket, finish, Duration::ZERO, out);
            }
            Event::Begun(worker, ticket) => core.on_begun(now, worker, ticket),
            Event::RevokeSettled(worker, ticket, revoked) => {
                core.on_revoke_settled(now, worker, ticket, revoked, out);
            }
            Event::KillSettled(worker, ticket, won) => {
                let killed = if won { Killed::Won } else { Killed::Lost };
                core.on_kill_settled(now, worker, ticket, killed, out);
            }
            Event::Ready(worker) => core.on_worker_ready(now, worker, out),
            Event::Corrupt(worker) => core.on_worker_corrupt(now, worker, out),
            Event::Exited(worker, begun) => core.on_worker_exited(now, worker, &begun, out),
        });
    }
}
