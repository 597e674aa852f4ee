//! The shell, the transports and the workers, played by dice: effects are performed late and interleaved,
//! answers arrive late and twice, workers die at any point.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::dice::{Dice, limits, options};
use super::oracle::{Cause, Oracle, Payload};
use super::shell::{Event, Process};
use super::transport::Action;
use crate::core::Weighed;
use crate::core::sabotage::Sabotage;
use crate::core::{
    Cancel, Core, CoreConfig, Effect, Finished, Killed, PoolConfig, PoolId, PoolKind, StopMode,
    Submission, TaskState, Time, WorkersConfig,
};
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::options::{Backoff, Options};

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) core: Core<Payload>,
    pub(super) oracle: Oracle,
    pub(super) now: Time,
    pub(super) config: WorkersConfig,
    pub(super) batches: Vec<VecDeque<Action>>,
    pub(super) processes: BTreeMap<WorkerId, Process>,
    pub(super) running: Vec<Ticket>,
    /// What was told to end, begun or not.
    pub(super) aborted: BTreeSet<Ticket>,
    pub(super) answers: Vec<Event>,
    /// Splits that the core does not know of, with what was kept.
    pub(super) splits: VecDeque<(WorkerId, Ticket, u32)>,
    /// Whether what only changes a ring is done, and answered, at once.
    pub(super) prompt: bool,
    pub(super) prompts: VecDeque<Action>,
    pub(super) is_prompting: bool,
    pub(super) past: Vec<Event>,
    pub(super) tasks: Vec<TaskId>,
    /// The pack that was submitted last, if it was one that grows.
    pub(super) growing: Option<TaskId>,
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
            burst: [Some(0), Some(1), Some(2), None][dice.index(4)],
            spares: dice.below(3) as u32,
            entries_per_worker: if rings { 4 + dice.index(13) } else { 1 },
            prefetch: [Duration::ZERO, Duration::from_micros(20), Duration::MAX][dice.index(3)],
            worth_a_wake: Duration::from_millis(if rings {
                dice.below(2) * dice.below(5)
            } else {
                0
            }),
            claim_deadline: (rings && dice.one_in(2)).then_some(Duration::from_millis(7)),
            waits_behind: [Duration::from_millis(2), Duration::MAX][dice.index(2)],
            exit_timeout: Duration::from_millis(5),
            cores: 1 + dice.below(3) as u32,
            staged_is_begun: !rings,
            restart_limit: 1 + dice.below(8) as u32,
            restart_backoff: Backoff::fixed(Duration::from_millis(dice.below(3))),
            recycle_on_panic: dice.one_in(4),
            recycle_after_tasks: dice.one_in(2).then(|| 1 + dice.below(6) as u32),
            recycle_after: dice.one_in(3).then(|| Duration::from_millis(dice.below(20))),
            memory_soft_limit: dice.one_in(3).then_some(50),
            memory_hard_limit: dice.one_in(4).then_some(80),
            holds_back: dice.one_in(3),
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
        let loops = PoolConfig {
            limits: limits(&mut dice, 0),
            kind: PoolKind::Futures,
            places_max: None,
            ..threads
        };
        let warn =
            |dice: &mut Dice| dice.one_in(2).then(|| Duration::from_millis(1 + dice.below(20)));
        let config = CoreConfig {
            threads,
            processes,
            loops,
            timeout_warning: warn(&mut dice),
            timeout_critical: warn(&mut dice),
        };
        let prompt = rings && dice.one_in(2);
        let sickness = [2, 8, 50][dice.index(3)];
        let mut core = Core::new(config);
        core.sabotage = sabotage;
        let mut oracle = Oracle::new(&config);
        oracle.prompt = prompt;
        Self {
            dice,
            core,
            oracle,
            now: Time::ZERO,
            config: workers,
            batches: Vec::new(),
            processes: BTreeMap::new(),
            running: Vec::new(),
            aborted: BTreeSet::new(),
            answers: Vec::new(),
            splits: VecDeque::new(),
            prompt,
            prompts: VecDeque::new(),
            is_prompting: false,
            past: Vec::new(),
            tasks: Vec::new(),
            growing: None,
            sickness,
            healthy: false,
            tells: crate::dice::number_from("ATASKER_SEED").is_some(),
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
                18..21 => self.join(),
                21 => self.attend(),
                10..12 => self.pass_time(),
                17 => self.suspend(),
                16 => self.split_some(),
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
                Effect::Abort { ticket, .. } => Action::Abort(ticket),
                Effect::Stage { worker, ticket, .. } => Action::Stage(worker, ticket),
                Effect::Revoke { worker, ticket } => Action::Revoke(worker, ticket),
                Effect::Kill { worker, ticket } => Action::Kill(worker, ticket),
                Effect::Split { worker, ticket } => Action::Split(worker, ticket),
                Effect::CheckClaim { worker, ticket } => Action::CheckClaim(worker, ticket),
                Effect::AskToEnd { worker, ticket, .. } => Action::AskToEnd(worker, ticket),
                Effect::ReadCpu { worker, ticket } => Action::ReadCpu(worker, ticket),
                Effect::Weigh { worker, ticket } => Action::Weigh(worker, ticket),
                Effect::LookAtMemory => Action::LookAtMemory,
                Effect::LookAfter { worker } => Action::LookAfter(worker),
                Effect::Retry { task, wait, counts: true, .. } => Action::KeepCrash(task, wait),
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
        self.core.check_invariants();
        self.oracle.check(&self.core, self.now, cause, out);
        self.take_actions(batch);
    }

    fn start_workers(&mut self) {
        self.event(Cause::Other, |core, now, out| {
            core.on_workers_wanted(now, out);
        });
    }

    fn submit(&mut self) {
        let pool = PoolId::ALL[self.dice.index(PoolId::ALL.len())];
        let calls = if self.dice.one_in(3) { 1 + self.dice.below(6) as u32 } else { 1 };
        let grows = self.dice.one_in(3);
        let mut options = options(&mut self.dice);
        if calls > 1 || grows {
            options = Options { priority: options.priority, ..Options::DEFAULT };
        }
        let number = self.tasks.len() as u64 + 1;
        let payload = Arc::new(number);
        let mut out = Vec::new();
        let submission =
            Submission { pool, options: &options, payload: payload.clone(), calls, grows };
        match self.core.on_submitted(self.now, submission, &mut out) {
            Ok(task) => {
                assert_eq!(task.number(), number, "numbers count what was accepted");
                self.oracle.on_submitted(number, calls, (payload, pool, options, self.now));
                self.growing = grows.then_some(task);
                let call = |index| TaskId { number: number + u64::from(index), ..task };
                self.tasks.extend((0..calls).map(call));
            }
            Err(refused) => {
                assert!(out.is_empty() && *refused.payload == number, "a refusal changes nothing");
            }
        }
        if self.tells {
            println!("submitted {number} to {pool:?}: {calls} calls, {options:?}");
        }
        self.take(Cause::Other, out);
    }

    fn cancel(&mut self) {
        let Some(task) = self.dice.pick(&self.tasks) else {
            return;
        };
        let was_resolved = self.oracle.is_resolved(task.number());
        let found = self.core.task(task).map(|task| (task.id.number, task.calls));
        assert_eq!(found.is_none(), was_resolved, "what is not resolved is found by any call's id");
        let mut again = false;
        if let Some((first, calls)) = found {
            for number in first..first + u64::from(calls) {
                again |= std::mem::replace(&mut self.oracle.call(number).cancel_requested, true);
            }
        }
        let mut out = Vec::new();
        let outcome = self.core.on_cancelled(self.now, task, &mut out);
        let resolves = out.iter().any(|effect| {
            matches!(effect, Effect::Resolve { task, .. } if Some(task.number) == found.map(|it| it.0))
        });
        let expected = match (was_resolved, resolves) {
            (true, _) => Cancel::TooLate,
            (false, true) => Cancel::Resolved,
            // Whoever was first cancels it, be it a stop.
            (false, false)
                if (again || self.oracle.stop.is_some()) && outcome == Cancel::TooLate =>
            {
                Cancel::TooLate
            }
            (false, false) => Cancel::InProgress,
        };
        assert_eq!(outcome, expected, "a cancellation says what came of it");
        self.take(Cause::Other, out);
    }

    /// The shell takes a part of a pack back for reasons of its own.
    fn split_some(&mut self) {
        let packs = self.core.tasks().filter(|task| task.calls > 1);
        let packs: Vec<_> = packs.map(|it| (it.latest, it.calls, it.state, it.worker)).collect();
        let Some((ticket, calls, state, worker)) = self.dice.pick(&packs) else {
            return;
        };
        if state == TaskState::Queued {
            let kept = 1 + self.dice.below(u64::from(calls) - 1) as u32;
            self.tell(Event::PackSplit(ticket, kept));
        } else if let Some(worker) = worker
            && let Some(entry) = self.entry(worker, ticket).copied()
            && !entry.committed
        {
            let kept = entry.begun + self.dice.below(6) as u32;
            self.split(worker, ticket, kept.max(1));
        }
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
        // A prompt answer may put back what has expired meanwhile.
        assert!(
            self.prompt || self.core.next_deadline().is_none_or(|due| due > self.now),
            "everything due has happened"
        );
    }

    /// Time passes, and nobody notices.
    fn suspend(&mut self) {
        let seen = self.now;
        let due = self.core.next_deadline().unwrap_or(seen).max(seen);
        self.now = Time(due.0 + self.dice.below(1000 * MILLISECOND));
        self.core.on_late(self.now, seen);
        self.core.check_invariants();
        self.oracle.on_suspended(seen, self.now);
        if self.tells {
            println!("suspended from {} to {}", seen.0, self.now.0);
        }
    }

    fn resize(&mut self) {
        let pool = PoolId::ALL[self.dice.index(PoolId::ALL.len())];
        let limits = limits(&mut self.dice, u64::from(pool == PoolId::Processes));
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
        match &event {
            Event::Finished(all) => {
                for Finished { ticket, .. } in all.clone() {
                    while self.tell_split(|split| split.1 == ticket) {}
                    self.oracle.on_attempt_over(ticket);
                }
            }
            Event::RevokeSettled(_, ticket, revoked) => {
                while self.tell_split(|split| split.1 == *ticket) {}
                if *revoked {
                    self.oracle.on_attempt_over(*ticket);
                }
            }
            Event::KillSettled(_, ticket, killed) => {
                while self.tell_split(|split| split.1 == *ticket) {}
                if *killed == Killed::NotBegun {
                    self.oracle.on_attempt_over(*ticket);
                }
            }
            Event::Ready(worker) => self.oracle.on_ready(*worker),
            Event::Doomed(worker, begun) => self.oracle.on_doomed(*worker, begun),
            Event::Exited(worker, _) => self.oracle.on_exited(*worker),
            _ => {}
        }
        self.past.push(event.clone());
        self.tell_core(event);
    }

    pub(super) fn tell_core(&mut self, event: Event) {
        if self.tells {
            println!("{event:?}");
        }
        let cause = match &event {
            Event::Finished(all) => Cause::Finished(all.iter().map(|it| it.ticket).collect()),
            Event::Doomed(worker, _) => Cause::Doomed(*worker),
            Event::Exited(worker, _) => Cause::Exited(*worker),
            Event::Weighed(_, ticket, bytes) => Cause::Weighed(*ticket, *bytes),
            _ => Cause::Other,
        };
        let (core, now, mut out) = (&mut self.core, self.now, Vec::new());
        match event {
            Event::Finished(all) => match all[..] {
                [Finished { ticket, finish, ran }] => {
                    core.on_finished(now, ticket, finish, ran, &mut out);
                }
                _ => core.on_all_finished(now, &all, &mut out),
            },
            Event::Begun(worker, ticket) => core.on_begun(now, worker, ticket),
            Event::RevokeSettled(worker, ticket, revoked) => {
                core.on_revoke_settled(now, worker, ticket, revoked, &mut out);
            }
            Event::KillSettled(worker, ticket, killed) => {
                core.on_kill_settled(now, worker, ticket, killed, &mut out);
            }
            Event::PackSplit(ticket, kept) => {
                let number = ticket.task.number;
                let rest = Arc::new(number + u64::from(kept));
                if core.on_pack_split(now, ticket, kept, rest.clone(), &mut out).is_none() {
                    self.oracle.on_split(number, kept, rest);
                }
            }
            Event::ClaimChecked(worker, ticket, begun) => {
                core.on_claim_checked(now, worker, ticket, begun, &mut out);
            }
            Event::NotAsked(worker, ticket) => core.on_not_asked(now, worker, ticket),
            Event::CpuRead(worker, ticket, used) => {
                core.on_cpu_read(now, worker, ticket, used, &mut out);
            }
            Event::Weighed(worker, ticket, bytes) => {
                let weighed = Weighed { bytes, at_begin: None };
                core.on_weighed(now, worker, ticket, weighed, &mut out);
            }
            Event::MemorySeen(enough) => {
                self.oracle.is_short = !enough;
                let _changed = core.on_memory_seen(now, enough, &mut out);
            }
            Event::CrashKept(task, wait) => {
                self.oracle.on_crash_kept(task);
                core.on_crash_kept(now, task, wait, &mut out);
            }
            Event::Ready(worker) => core.on_worker_ready(now, worker, &mut out),
            Event::Corrupt(worker) => core.on_worker_corrupt(now, worker, &mut out),
            Event::Doomed(worker, begun) => core.on_worker_doomed(now, worker, &begun, &mut out),
            Event::Exited(worker, begun) => core.on_worker_exited(now, worker, &begun, &mut out),
        }
        self.take(cause, out);
    }
}
