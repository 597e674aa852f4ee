//! One test per rule, as short stories: what happens, and what the core answers to it.

mod fleet;
mod futures;
mod limits;
mod memory;
mod packs;
mod rings;
mod slots;
mod stopping;
mod time;
mod workers;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Ask, Cancel, Core, CoreConfig, Effect, Ending, Finish, Finished, HoldBack, Killed,
    MemoryExcess, PoolConfig, PoolId, PoolKind, RefuseReason, SignalReason, StopMode, Submission,
    Time, Weighed, WorkersConfig,
};
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::options::{Backoff, Limits, Options, Priority, RetryOn, TimeLimit};

type Name = &'static str;

/// A core, and the effects of the last event in a few words.
struct Story {
    core: Core<Name>,
    now: Time,
    pool: PoolId,
    tasks: BTreeMap<Name, TaskId>,
    tickets: BTreeMap<Name, Ticket>,
    answer: String,
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn priority(priority: Priority) -> Options {
    Options { priority, ..Options::DEFAULT }
}

fn retry(retries: u32, on: RetryOn) -> Options {
    let mut options = Options::DEFAULT;
    options.retry.retries = retries;
    options.retry.set_kinds([on]);
    options
}

pub(super) const WORKERS: WorkersConfig = WorkersConfig {
    burst: Some(0),
    spares: 0,
    entries_per_worker: 1,
    prefetch: Duration::MAX,
    worth_a_wake: Duration::ZERO,
    claim_deadline: None,
    exit_timeout: Duration::MAX,
    waits_behind: Duration::MAX,
    cores: 2,
    staged_is_begun: true,
    restart_limit: 2,
    restart_backoff: Backoff::NONE,
    recycle_on_panic: false,
    recycle_after_tasks: None,
    recycle_after: None,
    memory_soft_limit: None,
    memory_hard_limit: None,
    holds_back: false,
    lazily_started: false,
};

const RINGS: WorkersConfig =
    WorkersConfig { entries_per_worker: 3, staged_is_begun: false, ..WORKERS };

fn pool(limits: Limits, kind: PoolKind) -> PoolConfig {
    PoolConfig { limits, kind, queue_bound: None, aging: None, places_max: None }
}

impl Story {
    fn new(pool_id: PoolId, config: PoolConfig, warn: [Option<Duration>; 2]) -> Self {
        let config = CoreConfig {
            threads: config,
            processes: config,
            loops: config,
            timeout_warning: warn[0],
            timeout_critical: warn[1],
        };
        let (tasks, tickets) = (BTreeMap::new(), BTreeMap::new());
        let core = Core::new(config);
        Self { core, now: Time::ZERO, pool: pool_id, tasks, tickets, answer: String::new() }
    }

    fn slots(limits: Limits) -> Self {
        Self::new(PoolId::Threads, pool(limits, PoolKind::Slots), [None; 2])
    }

    fn futures(limits: Limits) -> Self {
        Self::new(PoolId::Loops, pool(limits, PoolKind::Futures), [None; 2])
    }

    /// All workers are ready.
    fn workers(limits: Limits, config: WorkersConfig) -> Self {
        let slots = pool(Limits::new(1), PoolKind::Slots);
        let processes = pool(limits, PoolKind::Workers(config));
        let mut story = Self::new(PoolId::Processes, slots, [None; 2]);
        story.core = Core::new(CoreConfig {
            threads: slots,
            processes,
            loops: slots,
            timeout_warning: None,
            timeout_critical: None,
        });
        story.event(Core::on_workers_wanted);
        // Who was never used comes last, and of these who has been there longest.
        for worker in (1..=u64::from(limits.places() + config.spares)).rev() {
            story.ready(worker);
        }
        story.core.workers_mut().learn(Duration::from_nanos(1));
        story
    }

    fn event(
        &mut self,
        event: impl FnOnce(&mut Core<Name>, Time, &mut Vec<Effect<Name>>),
    ) -> &mut Self {
        let mut out = Vec::new();
        event(&mut self.core, self.now, &mut out);
        self.core.check_invariants();
        let words: Vec<String> = out.iter().map(|effect| self.word(effect)).collect();
        self.answer = words.join(", ");
        self
    }

    fn word(&mut self, effect: &Effect<Name>) -> String {
        let name = |task: TaskId| {
            let named = self.tasks.iter().find(|(_, known)| **known == task);
            named.map_or("the new one", |(name, _)| *name)
        };
        match effect {
            Effect::Run { ticket, payload, .. } => {
                self.tickets.insert(payload, *ticket);
                format!("run {payload}")
            }
            Effect::Abort { payload, .. } => format!("abort {payload}"),
            Effect::Stage { worker, ticket } => {
                let payload = *self.core.payload_of(*ticket).expect("it was staged just now");
                self.tickets.insert(payload, *ticket);
                format!("stage {payload} on {worker}")
            }
            Effect::Revoke { worker, ticket } => {
                format!("revoke {} on {worker}", name(ticket.task))
            }
            Effect::Kill { worker, ticket } => format!("kill {} on {worker}", name(ticket.task)),
            Effect::Split { worker, ticket } => format!("split {} on {worker}", name(ticket.task)),
            Effect::CheckClaim { worker, ticket } => {
                format!("check {} on {worker}", name(ticket.task))
            }
            Effect::LookAfter { worker } => format!("look after {worker}"),
            Effect::AskToEnd { payload, why: Ask::GivenUp, .. } => format!("ask {payload} to end"),
            Effect::AskToEnd { payload, why: Ask::SoftTimeout, .. } => format!("hurry {payload}"),
            Effect::ReadCpu { worker, ticket } => {
                format!("read the clock of {worker} for {}", name(ticket.task))
            }
            Effect::Weigh { worker, .. } => format!("weigh {worker}"),
            Effect::LookAtMemory => "look at the memory".to_owned(),
            Effect::Signal { worker, why: SignalReason::Memory(excess) } => {
                let MemoryExcess { limit, allowed, used } = excess;
                format!("signal {worker} {limit:?} memory {used} of {allowed}")
            }
            Effect::Signal { worker, why } => format!("signal {worker} {why:?}"),
            Effect::Spawn { worker, delay } if delay.is_zero() => format!("spawn {worker}"),
            Effect::Spawn { worker, .. } => format!("spawn {worker} later"),
            Effect::Retire { worker } => format!("retire {worker}"),
            Effect::Resolve { payload, ending, .. } => {
                format!("{payload} {}", ending_word(*ending))
            }
            Effect::Retry { payload, why, wait, .. } if wait.is_zero() => {
                format!("{payload} again after {why:?}")
            }
            Effect::Retry { payload, why, .. } => format!("{payload} again later after {why:?}"),
            Effect::Warn { payload, level, waited, .. } => {
                format!("{payload} waits {waited:?} {level:?}")
            }
            Effect::PoolFailed => "pool failed".to_owned(),
            Effect::Drained => "drained".to_owned(),
        }
    }

    #[track_caller]
    fn is(&mut self, answer: &str) -> &mut Self {
        assert_eq!(self.answer, answer);
        self
    }

    fn submit(&mut self, name: Name, options: Options) -> &mut Self {
        self.try_submit(name, options).expect("it is accepted");
        self
    }

    fn try_submit(&mut self, name: Name, options: Options) -> Result<(), RefuseReason> {
        self.try_submit_pack(name, 1, options)
    }

    fn submit_pack(&mut self, name: Name, calls: u32, options: Options) -> &mut Self {
        self.try_submit_pack(name, calls, options).expect("it is accepted");
        self
    }

    fn try_submit_pack(
        &mut self,
        name: Name,
        calls: u32,
        options: Options,
    ) -> Result<(), RefuseReason> {
        let pool = self.pool;
        let mut result = Ok(());
        let mut task = None;
        self.event(|core, now, out| {
            let submission =
                Submission { pool, options: &options, payload: name, calls, grows: false };
            match core.on_submitted(now, submission, out) {
                Ok(id) => task = Some(id),
                Err(refused) => {
                    assert_eq!(refused.payload, name, "a refused payload comes back");
                    result = Err(refused.reason);
                }
            }
        });
        task.map(|task| self.tasks.insert(name, task));
        result
    }

    fn finish(&mut self, name: Name, finish: Finish) -> &mut Self {
        let ticket = self.tickets[name];
        self.event(|core, now, out| core.on_finished(now, ticket, finish, Duration::ZERO, out))
    }

    /// The report of its last crash is kept.
    fn kept(&mut self, name: Name) -> &mut Self {
        let task = self.tasks[name];
        self.event(|core, now, out| core.on_crash_kept(now, task, Duration::ZERO, out))
    }

    fn done(&mut self, name: Name) -> &mut Self {
        self.finish(name, Finish::Returned)
    }

    #[track_caller]
    fn cancel(&mut self, name: Name, expected: Cancel) -> &mut Self {
        let task = self.tasks[name];
        let mut outcome = None;
        self.event(|core, now, out| outcome = Some(core.on_cancelled(now, task, out)));
        assert_eq!(outcome, Some(expected));
        self
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now = self.now + time;
        self.event(Core::on_deadline);
        self.core.check_nothing_is_overdue(self.now);
        self
    }

    /// Time passes, and nobody looks.
    fn suspend(&mut self, time: Duration) -> &mut Self {
        let seen = self.now;
        self.now = seen + time;
        self.event(|core, now, _| core.on_late(now, seen))
    }

    fn resize(&mut self, limits: Limits) -> &mut Self {
        let pool = self.pool;
        self.event(|core, now, out| core.on_resized(now, pool, limits, out))
    }

    fn ready(&mut self, worker: u64) -> &mut Self {
        self.event(|core, now, out| core.on_worker_ready(now, WorkerId(worker), out))
    }

    fn revoked(&mut self, worker: u64, name: Name, revoked: bool) -> &mut Self {
        let ticket = self.tickets[name];
        self.event(|core, now, out| {
            core.on_revoke_settled(now, WorkerId(worker), ticket, revoked, out);
        })
    }

    fn killed(&mut self, worker: u64, name: Name, won: bool) -> &mut Self {
        let killed = if won { Killed::Won } else { Killed::Lost };
        self.kill_settled(worker, name, killed)
    }

    fn kill_settled(&mut self, worker: u64, name: Name, killed: Killed) -> &mut Self {
        let ticket = self.tickets[name];
        self.event(|core, now, out| {
            core.on_kill_settled(now, WorkerId(worker), ticket, killed, out);
        })
    }

    fn split(&mut self, name: Name, kept: u32, rest: Name) -> &mut Self {
        let task = self.tasks[name];
        let ticket = self.core.task(task).expect("it is not resolved").latest;
        let number = ticket.task.number + u64::from(kept);
        self.tasks.insert(rest, TaskId { number, slot: task.slot });
        let mut late = None;
        self.event(|core, now, out| late = core.on_pack_split(now, ticket, kept, rest, out));
        assert_eq!(late, None, "the split is not too late");
        self
    }

    fn checked(&mut self, worker: u64, name: Name, begun: bool) -> &mut Self {
        let ticket = self.tickets[name];
        self.event(|core, now, out| {
            core.on_claim_checked(now, WorkerId(worker), ticket, begun, out);
        })
    }

    fn not_offered(&mut self, worker: u64, name: Name, is_about: bool) -> &mut Self {
        let ticket = self.tickets[name];
        let mut answer = None;
        self.event(|core, now, _| {
            answer = Some(core.on_not_offered(now, WorkerId(worker), ticket));
        });
        assert_eq!(answer, Some(is_about));
        self
    }

    fn not_asked(&mut self, worker: u64, name: Name) -> &mut Self {
        let ticket = self.tickets[name];
        self.event(|core, now, _| core.on_not_asked(now, WorkerId(worker), ticket))
    }

    fn cpu_read(&mut self, worker: u64, name: Name, used: Option<Duration>) -> &mut Self {
        let ticket = self.tickets[name];
        self.event(|core, now, out| {
            core.on_cpu_read(now, WorkerId(worker), ticket, used, out);
        })
    }

    fn weighed(&mut self, worker: u64, name: Option<Name>, bytes: u64) -> &mut Self {
        self.weighed_since(worker, name, None, bytes)
    }

    fn weighed_since(
        &mut self,
        worker: u64,
        name: Option<Name>,
        at_begin: Option<u64>,
        bytes: u64,
    ) -> &mut Self {
        let ticket = name.map(|name| self.tickets[name]);
        let (worker, weighed) = (WorkerId(worker), Weighed { bytes, at_begin });
        self.event(|core, now, out| core.on_weighed(now, worker, ticket, weighed, out))
    }

    #[track_caller]
    fn memory_seen(&mut self, enough: bool, expected: HoldBack) -> &mut Self {
        let mut changed = None;
        self.event(|core, now, out| changed = Some(core.on_memory_seen(now, enough, out)));
        assert_eq!(changed, Some(expected));
        self
    }

    fn doomed(&mut self, worker: u64, begun: &[Name]) -> &mut Self {
        let begun: Vec<Ticket> = begun.iter().map(|name| self.tickets[name]).collect();
        self.event(|core, now, out| core.on_worker_doomed(now, WorkerId(worker), &begun, out))
    }

    fn exited(&mut self, worker: u64, begun: &[Name]) -> &mut Self {
        let begun: Vec<Ticket> = begun.iter().map(|name| self.tickets[name]).collect();
        self.event(|core, now, out| core.on_worker_exited(now, WorkerId(worker), &begun, out))
    }

    fn stop(&mut self, mode: StopMode) -> &mut Self {
        self.event(|core, now, out| core.on_stopping(now, mode, out))
    }
}

fn ending_word(ending: Ending) -> String {
    match ending {
        Ending::Finished => "finished".to_owned(),
        Ending::Crashed { worker } => format!("crashed in {worker}"),
        Ending::Quarantined { worker } => format!("quarantined in {worker}"),
        Ending::TimedOut { limit: TimeLimit::Cpu, .. } => "used up its CPU time".to_owned(),
        Ending::TimedOut { .. } => "timed out".to_owned(),
        Ending::Cancelled { why } => format!("cancelled ({why:?})"),
        Ending::Expired => "expired".to_owned(),
        Ending::PoolFailed => "lost its pool".to_owned(),
    }
}
