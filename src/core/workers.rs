//! The bookkeeping of one pool's worker processes: which there are, what they hold, which are idle. It
//! knows slots of tasks but not the tasks.

use std::collections::VecDeque;
use std::time::Duration;

use super::effect::MemoryExcess;
use super::event::WorkersConfig;
use super::failures::Failures;
use super::prediction::Prediction;
use crate::admission::{Span, Time};
use crate::task::id::WorkerId;

/// So long after a death was told no worker is started that nobody waits for. A start has a core for half a millisecond,
/// which whoever was told may need for what he does next.
pub(super) const CALM: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerState {
    /// Spawned, not ready yet.
    Starting,
    Ready,
    /// Gets nothing more and ends by itself.
    Retiring,
    /// Was sent SIGKILL. Holds no place.
    Dying {
        on_its_own_fault: bool,
    },
}

impl WorkerState {
    /// Whether it is, or will be, of use.
    pub(super) fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Ready)
    }

    pub(super) fn is_dying(self) -> bool {
        matches!(self, Self::Dying { .. })
    }
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) state: WorkerState,
    /// The slots of the tasks it was given, in that order.
    pub(super) entries: VecDeque<u32>,
    /// Whether it is to be replaced. It goes on until another is ready in its place.
    pub(super) worn: bool,
    /// How many calls it may still finish before it is worn.
    calls_left: u32,
    /// Since when it is ready; `NEVER` before.
    pub(super) ready_since: Time,
    /// Whether it has ever taken up a task.
    pub(super) has_served: bool,
    /// Whether it was given something since it was weighed.
    pub(super) has_run: bool,
    /// Why what it runs is to be killed because of its memory.
    pub(super) excess: Option<MemoryExcess>,
    /// Since when it has taken up nothing, if it was too late for a task's timeout; else `NEVER`.
    late_since: Time,
    /// What is first with it runs for so long that nothing is to wait behind it.
    pub(super) overruns: bool,
    /// It was to end and had nothing left to do when that was looked at.
    pub(super) lingers: bool,
}

impl Worker {
    /// Whether it occupies a place.
    pub(super) fn is_busy(&self) -> bool {
        !self.entries.is_empty() && !self.state.is_dying()
    }

    /// Whether something may be staged behind what it has.
    fn has_room(&self, held_max: usize) -> bool {
        let is_open = matches!(self.state, WorkerState::Ready) && !self.overruns;
        is_open && (1..held_max).contains(&self.entries.len())
    }
}

#[derive(Debug)]
pub(super) struct Workers {
    pub(super) config: WorkersConfig,
    /// Whether any worker is ever replaced for what it has done.
    pub(super) recycles: bool,
    /// Whether all workers that run something are weighed.
    pub(super) weighs: bool,
    /// Sorted by id: they are inserted in that order.
    all: Vec<Worker>,
    /// Ready and without entries; the most recently used at the end, those that were never used first.
    idle: Vec<WorkerId>,
    live: u32,
    starting: u32,
    /// Live ones that are to be replaced.
    worn: u32,
    /// How many have room behind what they have.
    roomy: u32,
    prediction: Prediction,
    pub(super) failures: Failures,
    /// Whether workers are wanted at all.
    pub(super) wanted: bool,
    /// When to look for workers that are stuck; `NEVER` while none is busy.
    pub(super) claim_check: Time,
    /// When to look for workers that were to end and have not; `NEVER` while there is none.
    pub(super) exit_check: Time,
    /// When to weigh workers; `NEVER` while none is busy, or there is no limit.
    pub(super) memory_check: Time,
    /// When to look for what waits behind something that runs for long; `NEVER` while nothing waits behind another.
    pub(super) overrun_check: Time,
    /// When to look again whether an idle worker is of use after all; `NEVER` if there is no need.
    pub(super) balance_check: Time,
    /// The end of [`CALM`] after the last death.
    pub(super) calm_until: Time,
}

impl Workers {
    pub(super) fn new(config: WorkersConfig) -> Self {
        debug_assert!(config.entries_per_worker > 0, "a worker must take at least one task");
        debug_assert!(
            config.entries_per_worker == 1 || !config.staged_is_begun,
            "what is staged behind another has not begun"
        );
        debug_assert!(
            config.claim_deadline.is_none_or(|deadline| !deadline.is_zero()),
            "looking without pause would never end"
        );
        Self {
            config,
            recycles: config.recycles(),
            weighs: config.memory_soft_limit.is_some() || config.memory_hard_limit.is_some(),
            all: Vec::new(),
            idle: Vec::new(),
            live: 0,
            starting: 0,
            worn: 0,
            roomy: 0,
            prediction: Prediction::new(config.prefetch, config.entries_per_worker),
            failures: Failures::NONE,
            wanted: false,
            claim_check: Time::NEVER,
            exit_check: Time::NEVER,
            memory_check: Time::NEVER,
            balance_check: Time::NEVER,
            overrun_check: Time::NEVER,
            calm_until: Time::ZERO,
        }
    }

    /// `id` must be greater than any before.
    pub(super) fn insert(&mut self, id: WorkerId) {
        debug_assert!(self.all.last().is_none_or(|last| last.id < id), "ids only grow");
        self.all.push(Worker {
            id,
            state: WorkerState::Starting,
            entries: VecDeque::new(),
            worn: false,
            calls_left: self.config.calls_of(id),
            ready_since: Time::NEVER,
            has_served: false,
            has_run: false,
            excess: None,
            late_since: Time::NEVER,
            overruns: false,
            lingers: false,
        });
        self.live += 1;
        self.starting += 1;
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.at(id).map(|at| &self.all[at])
    }

    /// In the order of their start.
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Worker> {
        self.all.iter()
    }

    /// Gives the worker an entry. Whether it is its only one.
    #[inline]
    pub(super) fn push(&mut self, id: WorkerId, slot: u32) -> bool {
        self.change(id, |worker| {
            worker.entries.push_back(slot);
            worker.entries.len() == 1
        })
    }

    /// Takes an entry from a worker, which is idle then if it was the only one of a worker that is ready.
    /// The worker's state and what is first with it now.
    #[inline]
    pub(super) fn pull(&mut self, id: WorkerId, slot: u32) -> (WorkerState, Option<u32>) {
        let (state, front) = self.change(id, |worker| {
            let entries = &mut worker.entries;
            if entries.front() == Some(&slot) {
                entries.pop_front();
                worker.overruns = false;
            } else if entries.back() == Some(&slot) {
                entries.pop_back();
            } else {
                entries.retain(|&entry| entry != slot);
            }
            (worker.state, entries.front().copied())
        });
        if front.is_none() && state == WorkerState::Ready {
            self.idle.push(id);
        }
        (state, front)
    }

    pub(super) fn set_state(&mut self, id: WorkerId, state: WorkerState) {
        let (before, has_entries, worn) = self.change(id, |worker| {
            let before = std::mem::replace(&mut worker.state, state);
            (before, !worker.entries.is_empty(), worker.worn && before.is_live())
        });
        self.worn -= u32::from(worn && !state.is_live());
        self.live -= u32::from(before.is_live());
        self.live += u32::from(state.is_live());
        self.starting -= u32::from(before == WorkerState::Starting);
        match state {
            WorkerState::Ready if !has_entries => self.idle.insert(0, id),
            _ => self.idle.retain(|&idle| idle != id),
        }
    }

    pub(super) fn take_idle(&mut self) -> Option<WorkerId> {
        self.idle.pop()
    }

    pub(super) fn idle(&self) -> &[WorkerId] {
        &self.idle
    }

    /// The worker with the fewest entries of those behind whose entries there is room.
    pub(super) fn roomiest(&self, fits: impl Fn(&Worker) -> bool) -> Option<WorkerId> {
        if self.roomy == 0 {
            return None;
        }
        let (mut left, mut best) = (self.roomy, None::<&Worker>);
        for worker in self.all.iter().filter(|it| it.has_room(self.prediction.held_max)) {
            if best.is_none_or(|best| worker.entries.len() < best.entries.len()) && fits(worker) {
                best = Some(worker);
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
        best.map(|worker| worker.id)
    }

    /// An entry has run so long.
    pub(super) fn learn(&mut self, ran: Duration) {
        if self.prediction.learn(ran) {
            let held_max = self.prediction.held_max;
            self.roomy = self.all.iter().map(|worker| u32::from(worker.has_room(held_max))).sum();
        }
    }

    /// How many entries a worker is to hold at most.
    pub(super) fn held_max(&self) -> usize {
        self.prediction.held_max
    }

    /// How long an entry runs, as far as known.
    pub(super) fn estimate(&self) -> Option<Duration> {
        self.prediction.estimate()
    }

    /// A prediction was relied on.
    pub(super) fn arm_balance_check(&mut self, now: Time) {
        if self.balance_check == Time::NEVER {
            self.balance_check = now + super::balance::LOOK_AGAIN;
        }
    }

    /// Something was staged behind another. What was predicted when the check was armed may have been much longer.
    pub(super) fn arm_overrun_check(&mut self, now: Time) {
        self.overrun_check = self.overrun_check.min(now + self.waits_behind());
    }

    /// How long what is staged may wait behind what runs: twice what that is predicted to take, but not less than is
    /// staged ahead.
    pub(super) fn waits_behind(&self) -> Duration {
        let predicted = self.estimate().unwrap_or_default();
        self.config.waits_behind.max(predicted.saturating_mul(2))
    }

    /// Nothing more is staged with this worker until what is first with it has ended.
    pub(super) fn set_overruns(&mut self, id: WorkerId) {
        self.change(id, |worker| worker.overruns = true);
    }

    /// A worker was given something, and is to be weighed.
    pub(super) fn arm_memory_check(&mut self, id: WorkerId, now: Time) {
        self.change(id, |worker| worker.has_run = true);
        if self.memory_check == Time::NEVER {
            self.memory_check = now + super::memory::WEIGH_EVERY;
        }
    }

    /// It did not take up within the task's timeout what it was given at that time. Since when it is late.
    pub(super) fn note_late(&mut self, id: WorkerId, given: Time) -> Time {
        self.change(id, |worker| {
            worker.late_since = worker.late_since.min(given);
            worker.late_since
        })
    }

    /// It gets something only if no other is idle.
    pub(super) fn prefer_others(&mut self, id: WorkerId) {
        if let Some(at) = self.idle.iter().position(|idle| *idle == id) {
            self.idle[..=at].rotate_right(1);
        }
    }

    /// It has taken something up.
    #[inline]
    pub(super) fn note_taken_up(&mut self, id: WorkerId) {
        if let Some(at) = self.at(id) {
            (self.all[at].late_since, self.all[at].has_served) = (Time::NEVER, true);
        }
    }

    /// None of them could have been in time.
    pub(super) fn forget_all_late(&mut self) {
        for worker in &mut self.all {
            (worker.late_since, worker.lingers) = (Time::NEVER, false);
        }
    }

    /// All were weighed that have.
    pub(super) fn forget_who_has_run(&mut self) {
        self.all.iter_mut().for_each(|worker| worker.has_run = false);
    }

    pub(super) fn set_excess(&mut self, id: WorkerId, excess: MemoryExcess) {
        self.change(id, |worker| worker.excess = Some(excess));
    }

    /// A worker has become busy.
    pub(super) fn arm_claim_check(&mut self, now: Time) {
        if let Some(deadline) = self.config.claim_deadline
            && self.claim_check == Time::NEVER
        {
            self.claim_check = now + deadline;
        }
    }

    /// It gets nothing more, and is to end when it has done what it has.
    pub(super) fn retire(&mut self, id: WorkerId, now: Time) {
        self.set_state(id, WorkerState::Retiring);
        if self.exit_check == Time::NEVER {
            self.exit_check = now + self.config.exit_timeout;
        }
    }

    /// Those that were to end and have nothing left to do.
    pub(super) fn ending(&mut self) -> impl Iterator<Item = &mut Worker> {
        let is_ending = |it: &Worker| it.state == WorkerState::Retiring && it.entries.is_empty();
        self.all.iter_mut().filter(move |worker| is_ending(worker))
    }

    /// How long the next spawn is to wait: after failures, or for [`CALM`]. `noise` differs between spawns.
    pub(super) fn delay_of_spawn(&self, noise: u64, now: Time) -> Duration {
        match self.failures.in_a_row() {
            0 if self.idle.is_empty() => Duration::ZERO,
            0 => self.calm_until.since(now),
            failures => self.config.restart_backoff.wait_before(failures.saturating_add(1), noise),
        }
    }

    pub(super) fn live(&self) -> u32 {
        self.live
    }

    pub(super) fn starting(&self) -> u32 {
        self.starting
    }

    /// Those that get tasks.
    pub(super) fn ready(&self) -> u32 {
        self.live - self.starting
    }

    /// Live ones that are to be replaced.
    pub(super) fn worn(&self) -> u32 {
        self.worn
    }

    /// It has become ready, and ages from now on.
    pub(super) fn set_ready(&mut self, id: WorkerId, now: Time) {
        self.set_state(id, WorkerState::Ready);
        self.change(id, |worker| worker.ready_since = now);
    }

    /// It is to be replaced, if it is of any use at all.
    pub(super) fn set_worn(&mut self, id: WorkerId) {
        let newly = self.change(id, |worker| {
            worker.state.is_live() && !std::mem::replace(&mut worker.worn, true)
        });
        self.worn += u32::from(newly);
    }

    /// It has finished so many calls. Whether it is worn by that, or by its age.
    pub(super) fn wear(&mut self, id: WorkerId, calls: u32, now: Time) -> bool {
        let age = Span::from(self.config.age_of(id));
        self.change(id, |worker| {
            worker.calls_left = worker.calls_left.saturating_sub(calls);
            worker.calls_left == 0 || worker.ready_since + age <= now
        })
    }

    /// Which of those that are to be replaced retires first: one that is idle, or else the oldest. Where what was
    /// sent can't be taken back, it might be on its way, so there only an idle one retires.
    pub(super) fn worn_one(&self) -> Option<WorkerId> {
        let mut worn = self.all.iter().filter(|worker| worker.worn && worker.state.is_live());
        let oldest = worn.clone().next().filter(|_| !self.config.staged_is_begun);
        worn.find(|worker| worker.entries.is_empty()).or(oldest).map(|worker| worker.id)
    }

    /// Those with a task that will get further ones.
    pub(super) fn busy(&self) -> u32 {
        self.live - self.starting - self.idle.len() as u32
    }

    /// The worker is gone; what it held comes back.
    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.all.remove(self.at(id)?);
        self.live -= u32::from(worker.state.is_live());
        self.worn -= u32::from(worker.worn && worker.state.is_live());
        self.starting -= u32::from(worker.state == WorkerState::Starting);
        self.roomy -= u32::from(worker.has_room(self.prediction.held_max));
        self.idle.retain(|&idle| idle != id);
        Some(worker)
    }

    /// Which one to retire when there are too many: nothing is lost with one that is still starting, then
    /// goes the one that has been idle longest.
    pub(super) fn superfluous(&self) -> Option<WorkerId> {
        let is_starting = |worker: &&Worker| worker.state == WorkerState::Starting;
        let newest = self.iter().rev().find(is_starting).map(|worker| worker.id);
        newest.or_else(|| self.idle.first().copied())
    }

    #[inline]
    fn at(&self, id: WorkerId) -> Option<usize> {
        // Where it is if none of those that came after the first is gone.
        let guess = id.0.checked_sub(self.all.first()?.id.0)? as usize;
        if self.all.get(guess).is_some_and(|worker| worker.id == id) {
            return Some(guess);
        }
        self.all.binary_search_by_key(&id, |worker| worker.id).ok()
    }

    /// Changes a worker that is known, and what is counted of it.
    fn change<R>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> R) -> R {
        let at = self.at(id).expect("only a known worker changes");
        let worker = &mut self.all[at];
        let held_max = self.prediction.held_max;
        self.roomy -= u32::from(worker.has_room(held_max));
        let answer = change(worker);
        self.roomy += u32::from(worker.has_room(held_max));
        answer
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let count = |wanted: fn(WorkerState) -> bool| {
            self.all.iter().filter(|worker| wanted(worker.state)).count() as u32
        };
        assert_eq!(self.live, count(WorkerState::is_live), "live workers must be counted");
        assert_eq!(
            self.starting,
            count(|state| state == WorkerState::Starting),
            "starting workers must be counted"
        );
        let worn = self.all.iter().filter(|worker| worker.worn && worker.state.is_live());
        assert_eq!(self.worn as usize, worn.count(), "worn workers must be counted");
        let roomy = self.all.iter().filter(|worker| worker.has_room(self.prediction.held_max));
        assert_eq!(self.roomy as usize, roomy.count(), "workers with room must be counted");
        for worker in &self.all {
            let listed = self.idle.iter().filter(|&&idle| idle == worker.id).count();
            let idle = worker.state == WorkerState::Ready && worker.entries.is_empty();
            assert_eq!(
                listed,
                usize::from(idle),
                "a worker is idle when it is ready and has nothing"
            );
            assert!(
                worker.entries.len() <= self.config.entries_per_worker,
                "a worker must not hold more than it may"
            );
        }
    }
}
