//! What the core keeps of one task, and the slab of all of them.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use super::effect::{CancelReason, PoolId};
use crate::admission::{Span, Time, WARN_LEVELS};
#[cfg(atasker_sabotage)]
use crate::sabotage::{self, Bug};
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::options::{Options, Priority, RetryPolicy, TimeLimit};

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The slot keeps no task.
    Vacant,
    /// Waits for its delay or its backoff. Alarm: its end.
    Delayed,
    /// In a line. Alarm: its queue timeout.
    Queued,
    /// Runs in a slot. Alarm: the first of its limits.
    Running,
    /// With a worker, behind another. Alarm: its queue timeout.
    Staged,
    /// First with a worker, or known to be begun. Alarm: the first of its limits.
    Begun,
    /// `Effect::Revoke` is under way.
    Revoking(Revoke),
    /// `Effect::Kill` is under way.
    Killing(Kill),
    /// Its worker is killed because of its memory. It ends as a crash once the worker is dead for certain.
    Crashing,
    /// It timed out and is to be retried once the attempt has ended for certain. Alarm, without a worker: the end of the
    /// time that it has for that.
    AwaitingEnd,
    /// It is resolved, but its closure or future has not ended and holds the slot.
    Detached,
}

/// What is to happen to a task that is taken back from its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revoke {
    Requeue,
    Expire,
    Cancel(CancelReason),
}

/// Why a task is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kill {
    TimedOut(TimeLimit),
    Cancel(CancelReason),
    /// There is too much of it in its worker.
    Memory,
}

/// What is known about the begin of the present attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has not begun.
    Open,
    /// Nothing is in front of it, so it must be taken as begun. Counted in `attempts`.
    Presumed,
    /// It has begun. Counted in `attempts`.
    Sure,
}

/// What is kept of a task of which more is said than most need.
#[derive(Debug)]
pub(super) struct Rare {
    pub(super) retry: RetryPolicy,
    /// How long the last attempt ran that came to an end.
    pub(super) ran: Span,
    /// With how many deaths of its worker it ends.
    pub(super) crash_limit: Option<u32>,
    /// How many there were.
    pub(super) crashes: u32,
    pub(super) soft_timeout: Span,
    /// When the present attempt is to be asked to end; `NEVER` once it was.
    pub(super) soft_due: Time,
    cpu_limit: Option<Duration>,
    pub(super) cpu: CpuWatch,
    /// How many more bytes its worker may have than when it began.
    pub(super) memory_limit: Option<u64>,
    /// How many the worker had, and the attempt that this is about.
    pub(super) memory_before: Option<(u32, u64)>,
}

/// Where the watch over the CPU time of an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CpuWatch {
    /// There is no limit, or no process of its own.
    Off,
    /// Before, it can't have been used up.
    Due(Time),
    /// `Effect::ReadCpu` is under way.
    Reading,
}

impl Rare {
    fn of(options: &Options) -> Option<Box<Self>> {
        let crash_limit = options.reachable_crash_limit();
        let Options { retry, soft_timeout, cpu_limit, memory_limit, .. } = *options;
        let is_rare = retry.retries > 0
            || crash_limit.is_some()
            || soft_timeout.is_some()
            || cpu_limit.is_some()
            || memory_limit.is_some();
        is_rare.then(|| {
            Box::new(Self {
                retry,
                ran: Span::ZERO,
                crash_limit,
                crashes: 0,
                soft_timeout: soft_timeout.into(),
                soft_due: Time::NEVER,
                cpu_limit,
                cpu: CpuWatch::Off,
                memory_limit,
                memory_before: None,
            })
        })
    }

    /// An attempt begins; in a process, which may use so many cores.
    pub(super) fn set_limits(&mut self, now: Time, cores: Option<u32>) {
        self.soft_due = now + self.soft_timeout;
        self.cpu = match self.cpu_limit.zip(cores) {
            Some((limit, cores)) => CpuWatch::Due(now + limit / cores),
            None => CpuWatch::Off,
        };
    }

    /// How much more CPU time an attempt may use that has used so much.
    pub(super) fn cpu_limit_left(&self, used: Duration) -> Duration {
        self.cpu_limit.unwrap_or(Duration::MAX).saturating_sub(used)
    }
}

/// One task. Kept small: a million of them may wait.
#[derive(Debug)]
pub(super) struct Record<P> {
    /// Of its first call. Zero in a vacant slot.
    pub(super) number: u64,
    /// Taken when the task is resolved.
    pub(super) payload: Option<P>,
    /// The submission or the end of its delay.
    pub(super) queued_from: Time,
    /// In an attempt: its begin. Between attempts: since when it waits again.
    pub(super) mark: Time,
    pub(super) timeout: Span,
    pub(super) queue_timeout: Span,
    /// When the timer of the present state fires; `NEVER` if none is set.
    pub(super) alarm: Time,
    pub(super) rare: Option<Box<Rare>>,
    /// The worker that has it or had it last; zero for none.
    worker: u64,
    /// Counts how often it was given out: the number of its ticket.
    pub(super) issue: u32,
    /// Attempts that began, as far as known.
    pub(super) attempts: u32,
    /// More than one in a pack.
    pub(super) calls: u32,
    pub(super) state: State,
    pub(super) pool: PoolId,
    pub(super) priority: Priority,
    pub(super) progress: Progress,
    /// The levels at which its wait was reported.
    pub(super) reported: [bool; WARN_LEVELS],
    /// Whether it has a timer of its own for that.
    pub(super) warn_timer: bool,
    /// Whether `Effect::Split` was emitted for the present attempt: nothing more is to be had from it.
    pub(super) split_asked: bool,
    /// Whether it was split from a pack, so that the task's ids may name the wrong slot.
    is_rest: bool,
}

const _: () = {
    let record = size_of::<Record<std::sync::Arc<u8>>>();
    let node = size_of::<crate::admission::Node>();
    assert!(record + node <= 128, "a waiting task must stay small");
};

impl<P> Record<P> {
    #[inline]
    pub(super) fn new(
        number: u64,
        pool: PoolId,
        options: &Options,
        queued_from: Time,
        payload: P,
        calls: u32,
    ) -> Self {
        Self {
            number,
            payload: Some(payload),
            queued_from,
            mark: queued_from,
            timeout: options.timeout.into(),
            queue_timeout: options.queue_timeout.into(),
            alarm: Time::NEVER,
            rare: Rare::of(options),
            worker: 0,
            issue: 0,
            attempts: 0,
            calls,
            state: State::Delayed,
            pool,
            priority: options.priority,
            progress: Progress::Open,
            reported: [false; WARN_LEVELS],
            warn_timer: false,
            split_asked: false,
            is_rest: false,
        }
    }

    /// The calls of a pack from `kept` on become a task of their own, which has never begun.
    pub(super) fn split(&mut self, kept: u32, payload: P) -> Self {
        let rest = Self {
            number: self.number + u64::from(kept),
            payload: Some(payload),
            queued_from: self.queued_from,
            mark: self.queued_from,
            timeout: self.timeout,
            queue_timeout: self.queue_timeout,
            alarm: Time::NEVER,
            rare: None,
            worker: 0,
            issue: 0,
            attempts: 0,
            calls: self.calls - kept,
            state: State::Delayed,
            pool: self.pool,
            priority: self.priority,
            progress: Progress::Open,
            reported: self.reported,
            warn_timer: false,
            split_asked: false,
            is_rest: true,
        };
        self.calls = kept;
        rest
    }

    /// How many more bytes its worker may have than when it began.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.rare.as_ref()?.memory_limit
    }

    /// How long the last attempt ran that came to an end.
    pub(super) fn ran(&self) -> Span {
        self.rare.as_ref().map_or(Span::ZERO, |rare| rare.ran)
    }

    /// When the first limit of the present attempt has passed.
    #[inline]
    pub(super) fn limit_due(&self) -> Time {
        let due = self.mark + self.timeout;
        let Some(rare) = &self.rare else { return due };
        match rare.cpu {
            CpuWatch::Due(cpu_due) => due.min(rare.soft_due).min(cpu_due),
            CpuWatch::Off | CpuWatch::Reading => due.min(rare.soft_due),
        }
    }

    /// Whether its timeout has passed.
    pub(super) fn is_timed_out(&self, now: Time) -> bool {
        self.mark + self.timeout <= now
    }

    /// Whether the task's number, or that of one of its calls, is this.
    fn has(&self, number: u64) -> bool {
        number.wrapping_sub(self.number) < u64::from(self.calls)
    }

    pub(super) fn begun(&self) -> bool {
        self.progress != Progress::Open
    }

    pub(super) fn surely_begun(&self) -> bool {
        self.progress == Progress::Sure
    }

    pub(super) fn worker(&self) -> Option<WorkerId> {
        (self.worker != 0).then_some(WorkerId(self.worker))
    }

    pub(super) fn set_worker(&mut self, worker: Option<WorkerId>) {
        self.worker = worker.map_or(0, |worker| worker.0);
    }

    pub(super) fn is_with(&self, worker: WorkerId) -> bool {
        self.worker == worker.0
    }

    /// Whether it is among a worker's entries.
    pub(super) fn is_with_worker(&self) -> bool {
        match self.state {
            State::Staged
            | State::Begun
            | State::Revoking(_)
            | State::Killing(_)
            | State::Crashing => true,
            State::AwaitingEnd => self.worker != 0,
            _ => false,
        }
    }

    /// Whether it may be asked to be split.
    pub(super) fn is_splittable(&self) -> bool {
        self.calls > 1 && !self.split_asked
    }

    /// Since when it waits.
    pub(super) fn waits_since(&self) -> Time {
        if self.attempts == 0 { self.queued_from } else { self.mark }
    }

    /// Whether it waits behind another in a worker.
    pub(super) fn waits_staged(&self) -> bool {
        match self.state {
            State::Staged => true,
            State::Revoking(_) => !self.begun(),
            _ => false,
        }
    }

    #[cfg(test)]
    /// Whether it waits for its begin, in a line or behind another task.
    pub(super) fn is_waiting(&self) -> bool {
        match self.state {
            State::Queued | State::Staged => true,
            State::Revoking(_) => !self.begun(),
            _ => false,
        }
    }
}

/// All tasks, by slot.
#[derive(Debug)]
pub(super) struct Tasks<P> {
    records: Vec<Record<P>>,
    vacant: Vec<u32>,
    /// The slots of those that were split from a pack, by their first number.
    rests: BTreeMap<u64, u32>,
}

impl<P> Tasks<P> {
    pub(super) const EMPTY: Self =
        Self { records: Vec::new(), vacant: Vec::new(), rests: BTreeMap::new() };

    #[inline]
    pub(super) fn insert(&mut self, record: Record<P>) -> u32 {
        if let Some(slot) = self.vacant.pop() {
            self[slot] = record;
            return slot;
        }
        let slot =
            u32::try_from(self.records.len()).expect("memory ends before four billion tasks wait");
        self.records.push(record);
        slot
    }

    /// The same for what was split from a pack.
    pub(super) fn insert_rest(&mut self, record: Record<P>) -> u32 {
        let number = record.number;
        let slot = self.insert(record);
        self.rests.insert(number, slot);
        slot
    }

    /// The record's payload must have been taken.
    #[inline]
    pub(super) fn vacate(&mut self, slot: u32) {
        let record = &mut self[slot];
        debug_assert!(record.payload.is_none(), "a payload is never dropped in the core");
        let was_rest = record.is_rest.then_some(record.number);
        (record.number, record.calls) = (0, 0);
        (record.state, record.rare) = (State::Vacant, None);
        self.vacant.push(slot);
        if let Some(number) = was_rest {
            self.rests.remove(&number);
        }
    }

    fn find(&self, task: TaskId) -> Option<&Record<P>> {
        #[cfg(atasker_sabotage)]
        if sabotage::is_planted(Bug::GenerationUnchecked) {
            return self.records.get(task.slot as usize).filter(|record| record.number != 0);
        }
        self.records.get(task.slot as usize).filter(|record| record.has(task.number))
    }

    /// Where a task, or the pack that has its call, is kept, also if it was split from the pack that its id
    /// names the slot of.
    pub(super) fn locate(&self, task: TaskId) -> Option<u32> {
        if self.find(task).is_some() {
            return Some(task.slot);
        }
        let (_, &slot) = self.rests.range(..=task.number).next_back()?;
        self[slot].has(task.number).then_some(slot)
    }

    /// The record of a ticket that is still current.
    pub(super) fn find_ticket(&self, ticket: Ticket) -> Option<&Record<P>> {
        #[cfg(atasker_sabotage)]
        if sabotage::is_planted(Bug::GenerationUnchecked) {
            return self.find(ticket.task);
        }
        self.find(ticket.task).filter(|record| record.issue == ticket.attempt)
    }

    pub(super) fn id(&self, slot: u32) -> TaskId {
        TaskId { number: self[slot].number, slot }
    }

    pub(super) fn ticket(&self, slot: u32) -> Ticket {
        Ticket { task: self.id(slot), attempt: self[slot].issue }
    }

    /// Every slot that keeps a task.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + use<'_, P> {
        (0..).zip(&self.records).filter(|(_, record)| record.number != 0).map(|(slot, _)| slot)
    }

    /// How many slots there are, vacant ones too.
    pub(super) fn slots_end(&self) -> u32 {
        self.records.len() as u32
    }
}

impl<P> Index<u32> for Tasks<P> {
    type Output = Record<P>;

    fn index(&self, slot: u32) -> &Record<P> {
        &self.records[slot as usize]
    }
}

impl<P> IndexMut<u32> for Tasks<P> {
    fn index_mut(&mut self, slot: u32) -> &mut Record<P> {
        &mut self.records[slot as usize]
    }
}
