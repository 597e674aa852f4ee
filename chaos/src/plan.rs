//! What a run does, as it follows from its seed: the lives of supervisors, the tasks of each, and how they are
//! treated. What the threads and processes make of it is up to the machine.

use std::time::Duration;

use atasker::{Backoff, Limits, Priority, RetryOn, Transport};

use crate::dice::Dice;
use crate::tasks::{Conduct, Deed};

/// How a supervisor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Drain,
    DrainFor(Duration),
    CancelQueued,
    KillNow,
    /// It is dropped.
    Drop,
}

impl End {
    /// Whether accepted tasks may be ended by it.
    pub(crate) fn ends_tasks(self) -> bool {
        self != Self::Drain
    }
}

/// One supervisor, from its start to its end.
#[derive(Clone, Debug)]
pub(crate) struct LifePlan {
    pub(crate) seed: u64,
    pub(crate) life: u64,
    pub(crate) transport: Transport,
    pub(crate) limits: Limits,
    /// How many threads submit.
    pub(crate) lanes: u64,
    /// At the end of each but the last it has nothing more to do, and goes on.
    pub(crate) chapters: u64,
    /// About how many tasks are submitted in each.
    pub(crate) tasks: u64,
    /// A worker is killed from outside for so many tasks.
    pub(crate) tasks_per_kill: u64,
    /// Whether workers are stopped and continued.
    pub(crate) stops_workers: bool,
    /// Looking after workers heals much. Where it comes late, what it would heal is a hang.
    pub(crate) claim_deadline: Duration,
    pub(crate) recycles_on_panic: bool,
    pub(crate) recycled_after_tasks: Option<u32>,
    pub(crate) recycled_after: Option<Duration>,
    /// How long a worker that is to end may take for it.
    pub(crate) exit_timeout: Duration,
    /// Whether the pool looks how much memory the machine has left.
    pub(crate) looks_at_memory: bool,
    pub(crate) spares: u32,
    /// Of tasks that have none of their own.
    pub(crate) crash_limit: Option<u32>,
    pub(crate) queue_bound: Option<usize>,
    pub(crate) end: End,
    /// Whether every task of the last chapter has ended before the supervisor does.
    pub(crate) settled: bool,
}

/// What is asked of all lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) transport: Option<Transport>,
    pub(crate) tasks_per_kill: Option<u64>,
    pub(crate) chapters: Option<u64>,
    /// At most so many tasks in each, not none.
    pub(crate) chapter_tasks: Option<u64>,
    /// At most about so many tasks, not none.
    pub(crate) tasks_max: u64,
}

impl LifePlan {
    pub(crate) fn of(seed: u64, life: u64, wish: Wish) -> Self {
        let dice = &mut Dice::of(seed, life << 1 | 1);
        let rarely_channel = if dice.one_in(5) { Transport::Channel } else { Transport::Ring };
        let tasks_per_kill = dice.pick(&[40, 100, 400, 100_000]);
        let recycled_after_tasks = dice.one_in(4).then(|| dice.pick(&[1, 8, 60, 400]));
        let mut tasks = dice.pick(&[200, 600, 2_000, 8_000]);
        let chapters = dice.pick(&[1, 1, 1, 1, 1, 2, 4, 30]);
        if chapters > 4 {
            tasks = tasks.min(2_000);
        }
        if let Some(each) = recycled_after_tasks {
            // No life is to consist of nothing but the start of workers.
            tasks = tasks.min(u64::from(each) * 50);
        }
        tasks = tasks.min(wish.tasks_max).min(wish.chapter_tasks.unwrap_or(u64::MAX)).max(1);
        Self {
            seed,
            life,
            transport: wish.transport.unwrap_or(rarely_channel),
            limits: limits(dice),
            lanes: dice.pick(&[1, 1, 2, 2, 3, 4]),
            chapters: wish.chapters.unwrap_or(chapters).min(wish.tasks_max / tasks).max(1),
            tasks,
            tasks_per_kill: wish.tasks_per_kill.unwrap_or(tasks_per_kill),
            stops_workers: dice.one_in(2),
            claim_deadline: dice.pick(&[SOON, Duration::from_secs(600)]),
            recycles_on_panic: dice.one_in(4),
            recycled_after_tasks,
            recycled_after: dice.one_in(6).then(|| dice.micros(100_000, 1_500_000)),
            spares: dice.pick(&[0, 0, 0, 1, 2]),
            crash_limit: dice.one_in(4).then(|| dice.between(1, 3) as u32),
            queue_bound: dice.one_in(4).then(|| dice.between(1, 40) as usize),
            end: match dice.below(8) {
                0..=2 => End::Drain,
                3 => End::DrainFor(dice.micros(0, 30_000)),
                4 => End::DrainFor(Duration::from_secs(60)),
                5 => End::CancelQueued,
                6 => End::KillNow,
                _ => End::Drop,
            },
            settled: dice.one_in(3),
            exit_timeout: Duration::from_millis(dice.pick(&[20, 200, 10_000])),
            looks_at_memory: dice.one_in(6),
        }
    }

    /// Whether the pool itself continues a worker that was stopped, or does without it.
    pub(crate) fn copes_with_stopped(&self) -> bool {
        self.transport == Transport::Ring && self.claim_deadline == SOON
    }

    /// The task of this number.
    pub(crate) fn task(&self, number: u64) -> TaskPlan {
        TaskPlan::of(self, number)
    }
}

/// Shorter than the library's own, so that a worker that was never woken is noticed soon.
const SOON: Duration = Duration::from_secs(3);

/// The limits of a pool of few workers.
pub(crate) fn limits(dice: &mut Dice) -> Limits {
    let limits = Limits::new(dice.pick(&[1, 1, 2, 3]));
    // Where there is but one worker, nobody does what it neglects.
    if dice.one_in(2) {
        return limits.reserve_normal(0).reserve_high(0);
    }
    limits.reserve_normal(dice.below(2) as u32).reserve_high(dice.below(2) as u32)
}

/// Which function it is, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Value,
    Fallible,
    Bytes(usize),
    /// Words that are handed over and come back.
    Lent(usize),
    /// Words that are handed over for reading.
    Sealed(usize),
}

impl Work {
    /// The name of the function.
    pub(crate) fn function(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Fallible => "fallible",
            Self::Bytes(_) => "bytes",
            Self::Lent(_) => "lent",
            Self::Sealed(_) => "sealed",
        }
    }
}

/// How its outcome is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Wait,
    WaitInSteps,
    Await,
    Ask,
    Callback,
    /// The handle is dropped.
    Detach,
}

#[derive(Clone, Debug)]
pub(crate) struct Retries {
    pub(crate) count: u32,
    pub(crate) on: Vec<RetryOn>,
    pub(crate) backoff: Backoff,
}

/// One task: what it does, what is declared, what is done to it.
#[derive(Clone, Debug)]
pub(crate) struct TaskPlan {
    pub(crate) work: Work,
    pub(crate) conduct: Conduct,
    pub(crate) priority: Priority,
    pub(crate) timeout: Option<Duration>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) cpu_limit: Option<Duration>,
    /// In bytes.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) crash_limit: Option<u32>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) delay: Option<Duration>,
    pub(crate) retries: Option<Retries>,
    pub(crate) way: Way,
    /// It is cancelled after so many further moves of its lane.
    pub(crate) cancelled_after: Option<u64>,
}

/// Task numbers: which lane submits it, how many it has submitted before, and whether it travels in a map.
pub(crate) fn number(lane: u64, index: u64, in_map: bool) -> u64 {
    (lane << 40 | index) << 1 | u64::from(in_map)
}

pub(crate) fn is_in_map(number: u64) -> bool {
    number & 1 == 1
}

impl TaskPlan {
    fn of(life: &LifePlan, number: u64) -> Self {
        let dice = &mut Dice::of(life.seed ^ life.life.wrapping_mul(0x5851_F42D_4C95_7F2D), number);
        if is_in_map(number) { Self::in_map(dice) } else { Self::single(dice, life.transport) }
    }

    /// Nothing is declared of it, so that it may be packed.
    fn in_map(dice: &mut Dice) -> Self {
        let deed = match dice.below(1000) {
            0 => Deed::Panic,
            1 => deadly(dice),
            2..=4 => Deed::SleepMicros(dice.between(1, 1500)),
            5..=50 => Deed::SpinMicros(dice.between(1, 60)),
            _ => Deed::Return,
        };
        Self {
            work: Work::Value,
            conduct: Conduct { deed, bad_attempts: None },
            priority: Priority::Normal,
            timeout: None,
            soft_timeout: None,
            cpu_limit: None,
            memory_limit: None,
            crash_limit: None,
            queue_timeout: None,
            delay: None,
            retries: None,
            way: Way::Wait,
            cancelled_after: None,
        }
    }

    fn single(dice: &mut Dice, transport: Transport) -> Self {
        let work = work(dice, transport);
        let deed = deed(dice, work);
        let mut plan = Self {
            work,
            conduct: Conduct { deed, bad_attempts: None },
            priority: dice.pick(&PRIORITIES),
            timeout: dice.one_in(6).then(|| match dice.below(3) {
                0 => dice.micros(300, 4_000),
                1 => dice.micros(5_000, 100_000),
                _ => Duration::from_secs(300),
            }),
            soft_timeout: dice.one_in(20).then(|| dice.micros(100, 5_000)),
            cpu_limit: dice.one_in(40).then(|| dice.micros(1_000, 50_000)),
            memory_limit: dice.one_in(60).then_some(NEVER_REACHED),
            crash_limit: dice.one_in(8).then(|| dice.between(1, 3) as u32),
            queue_timeout: dice.one_in(16).then(|| match dice.below(3) {
                0 => Duration::from_secs(300),
                _ => dice.micros(0, 5_000),
            }),
            delay: dice.one_in(20).then(|| dice.micros(0, 6_000)),
            retries: dice.one_in(4).then(|| retries(dice)),
            way: dice.pick(&WAYS),
            cancelled_after: dice.one_in(12).then(|| dice.below(25)),
        };
        if plan.retries.is_some() {
            plan.conduct.bad_attempts = Some(dice.between(1, 3));
        }
        if matches!(deed, Deed::HogMib(_) | Deed::HangWithMib(_)) && dice.one_in(2) {
            plan.memory_limit = Some(dice.between(1, 40) << 20);
        }
        match deed {
            Deed::HangWithMib(_) => plan.timeout = Some(dice.micros(500, 60_000)),
            Deed::Burn => {
                plan.cpu_limit = Some(dice.micros(1_000, 40_000));
                plan.timeout = Some(MUCH_TOO_LATE);
            }
            Deed::Heed => {
                plan.soft_timeout = Some(dice.micros(100, 8_000));
                plan.timeout = Some(MUCH_TOO_LATE);
                if let Some(retries) = &mut plan.retries {
                    // It never needs its timeout; if it does, that is to be seen, not tried again.
                    retries.on.retain(|on| *on != RetryOn::Timeout);
                }
            }
            _ => {}
        }
        plan
    }
}

/// A limit of memory, in bytes, that nothing here comes to.
const NEVER_REACHED: u64 = 4 << 30;
/// The timeout of what another limit ends, or asks to end.
pub(crate) const MUCH_TOO_LATE: Duration = Duration::from_secs(20);

pub(crate) const PRIORITIES: [Priority; 8] = [
    Priority::Normal,
    Priority::Normal,
    Priority::Normal,
    Priority::Normal,
    Priority::Low,
    Priority::Low,
    Priority::High,
    Priority::Critical,
];

pub(crate) const WAYS: [Way; 10] = [
    Way::Wait,
    Way::Wait,
    Way::Wait,
    Way::Wait,
    Way::WaitInSteps,
    Way::Await,
    Way::Await,
    Way::Ask,
    Way::Callback,
    Way::Detach,
];

/// Those of which nothing is said to the pool before the end is wanted.
pub(crate) const LATE_WAYS: [Way; 10] = [
    Way::Wait,
    Way::Wait,
    Way::Wait,
    Way::Wait,
    Way::WaitInSteps,
    Way::WaitInSteps,
    Way::Await,
    Way::Await,
    Way::Ask,
    Way::Detach,
];

/// Around what fits into an entry, into a place, and beside the ring.
const LENGTHS: [usize; 12] =
    [0, 1, 50, 90, 200, 1_024, 4_000, 16_383, 16_384, 16_385, 70_000, 1_200_000];

fn work(dice: &mut Dice, transport: Transport) -> Work {
    match dice.below(40) {
        25..=33 => Work::Fallible,
        34..=37 => Work::Bytes(dice.pick(&LENGTHS)),
        38 if transport == Transport::Ring => Work::Lent(dice.between(1, 20_000) as usize),
        39 if transport == Transport::Ring => Work::Sealed(dice.between(1, 20_000) as usize),
        _ => Work::Value,
    }
}

fn deed(dice: &mut Dice, work: Work) -> Deed {
    match dice.below(1000) {
        600..=749 => Deed::SpinMicros(dice.between(1, 300)),
        750..=829 => Deed::SleepMicros(dice.between(1, 3_000)),
        830..=839 => Deed::SleepMicros(dice.between(3_000, 15_000)),
        840..=889 if work == Work::Fallible => Deed::Fail,
        890..=894 => Deed::HangAtExit,
        895..=909 => Deed::Heed,
        910..=939 => Deed::Panic,
        940..=964 => deadly(dice),
        965..=979 => Deed::HangWithMib(dice.pick(&[0, 0, 0, 30, 100])),
        980..=989 => Deed::HogMib(dice.between(1, 20)),
        990..=999 => Deed::Burn,
        _ => Deed::Return,
    }
}

fn deadly(dice: &mut Dice) -> Deed {
    let ways = [Deed::Abort, Deed::NullWrite, Deed::Exit(0), Deed::Exit(42), Deed::KillItself];
    if dice.one_in(12) { Deed::StackOverflow } else { dice.pick(&ways) }
}

fn retries(dice: &mut Dice) -> Retries {
    let kinds = [RetryOn::Crash, RetryOn::Timeout, RetryOn::Panic, RetryOn::Error];
    let on = if dice.one_in(3) {
        kinds.to_vec()
    } else {
        kinds.into_iter().filter(|_| dice.one_in(2)).collect()
    };
    let backoff = match dice.below(3) {
        0 => Backoff::fixed(dice.micros(1, 3_000)),
        _ => Backoff::NONE,
    };
    Retries { count: dice.between(1, 3) as u32, on, backoff }
}
