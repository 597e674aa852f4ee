//! The shell, the transports and the workers, played by dice: effects are performed late and interleaved,
//! answers arrive late and twice, workers die at any point.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::dice::Dice;
use super::oracle::{Cause, Oracle, Payload};
use crate::core::sabotage::Sabotage;
use crate::core::{
    Cancel, Core, CoreConfig, Effect, Finish, PoolConfig, PoolId, PoolKind, StopMode, Submission,
    Time, WorkersConfig,
};
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::options::{Backoff, Limits, Options, Priority, RetryOn, RetryPolicy};

/// An effect without its payload, on its way to be performed.
#[derive(Clone, Copy, Debug)]
enum Action {
    Run(Ticket),
    Stage(WorkerId, Ticket),
    Revoke(WorkerId, Ticket),
    Kill(WorkerId, Ticket),
    Signal(WorkerId),
    Spawn(WorkerId),
    Retire(WorkerId),
}

/// What the shell tells the core.
#[derive(Clone, Debug)]
enum Event {
    Finished(Ticket, Finish),
    Begun(WorkerId, Ticket),
    RevokeSettled(WorkerId, Ticket, bool),
    KillSettled(WorkerId, Ticket, bool),
    Ready(WorkerId),
    Corrupt(WorkerId),
    Exited(WorkerId, Vec<Ticket>),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    ticket: Ticket,
    begun: bool,
    committed: bool,
    killed: bool,
}

#[derive(Debug, Default)]
struct Process {
    spawned: bool,
    ready: bool,
    signalled: bool,
    retired: bool,
    dead: bool,
    entries: VecDeque<Entry>,
    /// Revoked or killed before they arrived.
    unwelcome: BTreeSet<Ticket>,
    /// What it has committed, not yet told to the core.
    outbox: VecDeque<Event>,
}

pub(super) struct World {
    dice: Dice,
    core: Core<Payload>,
    oracle: Oracle,
    now: Time,
    config: WorkersConfig,
    batches: Vec<VecDeque<Action>>,
    processes: BTreeMap<WorkerId, Process>,
    running: Vec<Ticket>,
    answers: Vec<Event>,
    past: Vec<Event>,
    tasks: Vec<TaskId>,
    /// How likely a worker dies before it is ready: one in this many.
    sickness: u64,
    healthy: bool,
    /// Whether every event is printed.
    tells: bool,
}

const MILLISECOND: u64 = 1_000_000;

impl World {
    pub(super) fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let mut dice = Dice::new(seed);
        let rings = dice.one_in(2);
        let workers = WorkersConfig {
            burst: dice.below(3) as u32,
            entries_per_worker: if rings { 4 } else { 1 },
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
        let kind = if dice.one_in(8) {
            PoolKind::Slots
        } else {
            PoolKind::Workers(workers)
        };
        let processes = PoolConfig {
            limits: limits(&mut dice, 1),
            kind,
            queue_bound: dice.one_in(3).then_some(6),
            aging,
            places_max: None,
        };
        let warn = |dice: &mut Dice| {
            dice.one_in(2)
                .then(|| Duration::from_millis(1 + dice.below(20)))
        };
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
            core.on_stopping(now, StopMode::Drain, out)
        });
        self.settle();
        assert_eq!(
            self.oracle.drained, 1,
            "`Drained` is told once a stop has come to its end"
        );
        assert!(self.processes.is_empty(), "every worker is told to end");
        assert!(
            !self.core.has_workers(),
            "every worker that exited is forgotten"
        );
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
            self.event(Cause::Other, |core, now, out| core.on_deadline(now, out));
        }
        panic!("it never comes to rest");
    }

    fn event(
        &mut self,
        cause: Cause,
        event: impl FnOnce(&mut Core<Payload>, Time, &mut Vec<Effect<Payload>>),
    ) {
        let mut out = Vec::new();
        event(&mut self.core, self.now, &mut out);
        self.take(cause, out);
    }

    fn take(&mut self, cause: Cause, out: Vec<Effect<Payload>>) {
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
            core.on_workers_wanted(now, out)
        });
    }

    fn submit(&mut self) {
        let options = options(&mut self.dice);
        let pool = PoolId::ALL[self.dice.index(2)];
        let number = self.tasks.len() as u64 + 1;
        let payload = Arc::new(number);
        let mut out = Vec::new();
        let submission = Submission {
            pool,
            options,
            payload: payload.clone(),
        };
        match self.core.on_submitted(self.now, submission, &mut out) {
            Ok(task) => {
                assert_eq!(task.number(), number, "numbers count what was accepted");
                self.oracle
                    .on_submitted(number, (payload, pool, options, self.now));
                self.tasks.push(task);
            }
            Err(refused) => assert!(
                out.is_empty() && *refused.payload == number,
                "a refusal changes nothing"
            ),
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
        let was_resolved = !self
            .oracle
            .unresolved()
            .any(|number| number == task.number());
        let mut out = Vec::new();
        let outcome = self.core.on_cancelled(self.now, task, &mut out);
        self.take(Cause::Other, out);
        let is_resolved = !self
            .oracle
            .unresolved()
            .any(|number| number == task.number());
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
            1 => self
                .core
                .next_deadline()
                .map_or(1, |due| due.0.saturating_sub(self.now.0)),
            _ => self.dice.below(2 * MILLISECOND),
        };
        self.now = Time(self.now.0 + jump.min(1000 * MILLISECOND));
        if self.dice.one_in(4) {
            return;
        }
        self.event(Cause::Other, |core, now, out| core.on_deadline(now, out));
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
            core.on_resized(now, pool, limits, out)
        });
    }

    fn stop(&mut self) {
        let mode = [StopMode::Drain, StopMode::CancelQueued, StopMode::KillNow][self.dice.index(3)];
        self.oracle.stop = self.oracle.stop.max(Some(mode));
        self.event(Cause::Other, |core, now, out| {
            core.on_stopping(now, mode, out)
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

    fn tell(&mut self, event: Event) {
        self.past.push(event.clone());
        match &event {
            Event::Finished(ticket, _) => self.oracle.on_attempt_over(*ticket),
            Event::RevokeSettled(_, ticket, true) => self.oracle.on_attempt_over(*ticket),
            Event::Exited(worker, _) => self.oracle.on_exited(*worker),
            _ => {}
        }
        self.tell_core(event);
    }

    fn tell_core(&mut self, event: Event) {
        if self.tells {
            println!("{event:?}");
        }
        let cause = match event {
            Event::Finished(ticket, _) => Cause::Finished(ticket),
            Event::Exited(worker, _) => Cause::Exited(worker),
            _ => Cause::Other,
        };
        self.event(cause, |core, now, out| match event {
            Event::Finished(ticket, finish) => core.on_finished(now, ticket, finish, out),
            Event::Begun(worker, ticket) => core.on_begun(now, worker, ticket),
            Event::RevokeSettled(worker, ticket, revoked) => {
                core.on_revoke_settled(now, worker, ticket, revoked, out);
            }
            Event::KillSettled(worker, ticket, won) => {
                core.on_kill_settled(now, worker, ticket, won, out)
            }
            Event::Ready(worker) => core.on_worker_ready(now, worker, out),
            Event::Corrupt(worker) => core.on_worker_corrupt(now, worker, out),
            Event::Exited(worker, begun) => core.on_worker_exited(now, worker, &begun, out),
        });
    }

    /// One thing that was going to happen anyway. Whether there was one.
    fn proceed(&mut self) -> bool {
        let start = self.dice.below(4);
        (0..4).any(|offset| match (start + offset) % 4 {
            0 => self.perform_some(),
            1 => self.answer_some(),
            2 => self.finish_some_closure(),
            _ => self.advance_some_process(),
        })
    }

    fn answer_some(&mut self) -> bool {
        if self.answers.is_empty() {
            return false;
        }
        let index = self.dice.index(self.answers.len());
        let answer = self.answers.swap_remove(index);
        self.tell(answer);
        true
    }

    fn finish_some_closure(&mut self) -> bool {
        if self.running.is_empty() {
            return false;
        }
        let index = self.dice.index(self.running.len());
        let ticket = self.running.swap_remove(index);
        let finish = finish(&mut self.dice);
        self.tell(Event::Finished(ticket, finish));
        true
    }

    fn perform_some(&mut self) -> bool {
        if self.batches.is_empty() {
            return false;
        }
        let index = self.dice.index(self.batches.len());
        let action = self.batches[index]
            .pop_front()
            .expect("empty batches are dropped");
        if self.batches[index].is_empty() {
            self.batches.swap_remove(index);
        }
        self.perform(action);
        true
    }

    fn perform(&mut self, action: Action) {
        let worker = match action {
            Action::Run(ticket) => {
                self.oracle.on_really_begun(ticket);
                self.running.push(ticket);
                return;
            }
            Action::Stage(worker, _)
            | Action::Revoke(worker, _)
            | Action::Kill(worker, _)
            | Action::Signal(worker)
            | Action::Spawn(worker)
            | Action::Retire(worker) => worker,
        };
        let Some(process) = self.processes.get_mut(&worker) else {
            self.answer_for_the_dead(action);
            return;
        };
        match action {
            Action::Run(_) => {}
            Action::Stage(_, ticket) => {
                if !process.dead && !process.unwelcome.contains(&ticket) {
                    let begun = self.config.staged_is_begun;
                    process.entries.push_back(Entry {
                        ticket,
                        begun,
                        committed: false,
                        killed: false,
                    });
                    if begun {
                        self.oracle.on_really_begun(ticket);
                    }
                }
            }
            Action::Revoke(_, ticket) => {
                let begun = process
                    .entries
                    .iter()
                    .any(|entry| entry.ticket == ticket && entry.begun);
                if !begun {
                    process.entries.retain(|entry| entry.ticket != ticket);
                    process.unwelcome.insert(ticket);
                }
                self.answers
                    .push(Event::RevokeSettled(worker, ticket, !begun));
            }
            Action::Kill(_, ticket) => {
                let entry = process
                    .entries
                    .iter_mut()
                    .find(|entry| entry.ticket == ticket);
                let won = match entry {
                    Some(entry) => {
                        entry.killed = !entry.committed;
                        entry.killed
                    }
                    None => process.unwelcome.insert(ticket),
                };
                self.answers.push(Event::KillSettled(worker, ticket, won));
            }
            Action::Signal(_) => process.signalled = true,
            Action::Spawn(_) => process.spawned = true,
            Action::Retire(_) => process.retired = true,
        }
    }

    /// What is asked of a worker that is gone may be answered, or not; nobody cares.
    fn answer_for_the_dead(&mut self, action: Action) {
        let luck = self.dice.one_in(2);
        match action {
            Action::Revoke(worker, ticket) if luck => {
                self.tell_core(Event::RevokeSettled(worker, ticket, true))
            }
            Action::Revoke(worker, ticket) => {
                self.tell_core(Event::RevokeSettled(worker, ticket, false))
            }
            Action::Kill(worker, ticket) if luck => {
                self.tell_core(Event::KillSettled(worker, ticket, true))
            }
            _ => {}
        }
    }

    fn advance_some_process(&mut self) -> bool {
        let mut all: Vec<WorkerId> = self.processes.keys().copied().collect();
        while !all.is_empty() {
            let index = self.dice.index(all.len());
            let worker = all.swap_remove(index);
            if self.advance(worker) {
                return true;
            }
        }
        false
    }

    fn advance(&mut self, worker: WorkerId) -> bool {
        let (dice, healthy) = (&mut self.dice, self.healthy);
        let Some(process) = self.processes.get_mut(&worker) else {
            return false;
        };
        if process.dead || (!process.outbox.is_empty() && dice.one_in(2)) {
            return match process.outbox.pop_front() {
                Some(event) => {
                    self.tell(event);
                    true
                }
                None => self.exit(worker),
            };
        }
        if !process.spawned {
            process.dead |= process.signalled;
            return process.signalled;
        }
        let ends_by_itself = process.retired && process.entries.iter().all(|entry| entry.committed);
        let struck = !healthy && dice.one_in(if process.ready { 40 } else { self.sickness });
        if struck || (process.signalled && dice.one_in(3)) || ends_by_itself {
            process.dead = true;
            return true;
        }
        if !process.ready {
            process.ready = true;
            process.outbox.push_back(Event::Ready(worker));
            return true;
        }
        self.work(worker)
    }

    /// The worker begins, or completes, the first entry that is not done.
    fn work(&mut self, worker: WorkerId) -> bool {
        let (dice, healthy) = (&mut self.dice, self.healthy);
        let Some(process) = self.processes.get_mut(&worker) else {
            return false;
        };
        let parked_or_idle = process.signalled || !process.outbox.is_empty();
        let Some(entry) = process.entries.iter_mut().find(|entry| !entry.committed) else {
            return parked_or_idle;
        };
        if entry.killed {
            return parked_or_idle;
        }
        if !entry.begun {
            entry.begun = true;
            let ticket = entry.ticket;
            self.oracle.on_really_begun(ticket);
            if dice.one_in(2) {
                process.outbox.push_back(Event::Begun(worker, ticket));
            }
        } else if healthy || dice.one_in(2) {
            entry.committed = true;
            process
                .outbox
                .push_back(Event::Finished(entry.ticket, finish(dice)));
        }
        true
    }

    fn exit(&mut self, worker: WorkerId) -> bool {
        let process = self
            .processes
            .remove(&worker)
            .expect("a process exits once");
        let lost = process
            .entries
            .iter()
            .filter(|entry| entry.begun && !entry.committed);
        let begun = lost.map(|entry| entry.ticket).collect();
        self.tell(Event::Exited(worker, begun));
        true
    }
}

fn limits(dice: &mut Dice, least: u64) -> Limits {
    Limits::new((least + dice.below(3)) as u32)
        .reserve_normal(dice.below(2) as u32)
        .reserve_high(dice.below(2) as u32)
}

fn finish(dice: &mut Dice) -> Finish {
    match dice.below(10) {
        0 => Finish::ReturnedError,
        1 => Finish::Panicked,
        2 => Finish::Refused,
        _ => Finish::Returned,
    }
}

fn options(dice: &mut Dice) -> Options {
    let mut millis = |one_in, most| {
        dice.one_in(one_in)
            .then(|| Duration::from_millis(dice.below(most)))
    };
    let (timeout, queue_timeout, delay) = (millis(3, 10), millis(4, 10), millis(5, 10));
    let mut retry = RetryPolicy::NEVER;
    if dice.one_in(2) {
        retry.retries = 1 + dice.below(3) as u32;
        retry.backoff = Backoff::fixed(Duration::from_millis(dice.below(3)));
        let kinds = [
            RetryOn::Crash,
            RetryOn::Timeout,
            RetryOn::Panic,
            RetryOn::Error,
        ];
        let chosen: Vec<RetryOn> = kinds.into_iter().filter(|_| !dice.one_in(4)).collect();
        retry.set_kinds(chosen);
    }
    Options {
        priority: Priority::ALL[dice.index(4)],
        timeout,
        queue_timeout,
        delay,
        retry,
    }
}
