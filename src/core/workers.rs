//! The bookkeeping of one pool's worker processes: which there are, what they hold, which are idle. It
//! knows slots of tasks but not the tasks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::event::WorkersConfig;
use crate::admission::Time;
use crate::task::id::WorkerId;

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
    pub(super) state: WorkerState,
    /// The slots of the tasks it was given, in that order.
    pub(super) entries: VecDeque<u32>,
}

impl Worker {
    /// Whether it occupies a place.
    pub(super) fn is_busy(&self) -> bool {
        !self.entries.is_empty() && !self.state.is_dying()
    }
}

#[derive(Debug)]
pub(super) struct Workers {
    pub(super) config: WorkersConfig,
    all: BTreeMap<WorkerId, Worker>,
    /// Ready and without entries; the most recently used at the end.
    idle: Vec<WorkerId>,
    live: u32,
    starting: u32,
    /// Deaths in a row with nothing begun.
    pub(super) failures: u32,
    /// Whether workers are wanted at all.
    pub(super) wanted: bool,
    /// How long an entry is predicted to run, in nanoseconds. Zero until the first has finished.
    estimate: u64,
    /// When to look for workers that are stuck; `NEVER` while none is busy.
    pub(super) claim_check: Time,
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
            all: BTreeMap::new(),
            idle: Vec::new(),
            live: 0,
            starting: 0,
            failures: 0,
            wanted: false,
            estimate: 0,
            claim_check: Time::NEVER,
        }
    }

    pub(super) fn insert(&mut self, id: WorkerId) {
        self.all.insert(id, Worker { state: WorkerState::Starting, entries: VecDeque::new() });
        self.live += 1;
        self.starting += 1;
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.all.get(&id)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (WorkerId, &Worker)> {
        self.all.iter().map(|(&id, worker)| (id, worker))
    }

    pub(super) fn entries_mut(&mut self, id: WorkerId) -> &mut VecDeque<u32> {
        &mut self.all.get_mut(&id).expect("a worker with entries is known").entries
    }

    pub(super) fn set_state(&mut self, id: WorkerId, state: WorkerState) {
        let worker = self.all.get_mut(&id).expect("only a known worker changes its state");
        let before = std::mem::replace(&mut worker.state, state);
        let has_entries = !worker.entries.is_empty();
        self.live -= u32::from(before.is_live());
        self.live += u32::from(state.is_live());
        self.starting -= u32::from(before == WorkerState::Starting);
        match state {
            WorkerState::Ready if !has_entries => self.idle.push(id),
            _ => self.idle.retain(|&idle| idle != id),
        }
    }

    /// An entry has run so long. The prediction rises at once, because what is staged behind a long task
    /// waits, and falls slowly.
    pub(super) fn learn(&mut self, ran: Duration) {
        let ran = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX).max(1);
        let blended = self.estimate - self.estimate / 8 + ran / 8;
        self.estimate = ran.max(blended);
    }

    /// How many entries a worker may hold: one that runs, and as much ahead as is predicted to run for the
    /// time of prefetch, but one at least.
    pub(super) fn entries_max(&self) -> usize {
        let most = self.config.entries_per_worker;
        if most == 1 {
            return 1;
        }
        let prefetch = u64::try_from(self.config.prefetch.as_nanos()).unwrap_or(u64::MAX);
        let ahead = prefetch.checked_div(self.estimate).unwrap_or(1);
        1 + usize::try_from(ahead).unwrap_or(usize::MAX).clamp(1, most - 1)
    }

    /// A worker has become busy.
    pub(super) fn arm_claim_check(&mut self, now: Time) {
        if let Some(deadline) = self.config.claim_deadline
            && self.claim_check == Time::NEVER
        {
            self.claim_check = now + deadline;
        }
    }

    /// A worker that has run dry may take the next task.
    pub(super) fn set_idle(&mut self, id: WorkerId) {
        if self.all.get(&id).is_some_and(|worker| worker.state == WorkerState::Ready) {
            self.idle.push(id);
        }
    }

    pub(super) fn take_idle(&mut self) -> Option<WorkerId> {
        self.idle.pop()
    }

    pub(super) fn idle(&self) -> &[WorkerId] {
        &self.idle
    }

    /// How long the next spawn is to wait after failures. `noise` differs between spawns.
    pub(super) fn delay_of_spawn(&self, noise: u64) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            failures => self.config.restart_backoff.wait_before(failures.saturating_add(1), noise),
        }
    }

    pub(super) fn live(&self) -> u32 {
        self.live
    }

    pub(super) fn starting(&self) -> u32 {
        self.starting
    }

    /// The worker is gone; what it held comes back.
    pub(super) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.all.remove(&id)?;
        self.live -= u32::from(worker.state.is_live());
        self.starting -= u32::from(worker.state == WorkerState::Starting);
        self.idle.retain(|&idle| idle != id);
        Some(worker)
    }

    /// Which one to retire when there are too many: nothing is lost with one that is still starting, then
    /// goes the one that has been idle longest.
    pub(super) fn superfluous(&self) -> Option<WorkerId> {
        let starting = || {
            let mut newest_first = self.iter().rev();
            newest_first.find(|(_, worker)| worker.state == WorkerState::Starting).map(|(id, _)| id)
        };
        let cold = (self.starting > 0).then(starting).flatten();
        cold.or_else(|| self.idle.first().copied())
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let count = |wanted: fn(WorkerState) -> bool| {
            self.all.values().filter(|worker| wanted(worker.state)).count() as u32
        };
        assert_eq!(self.live, count(WorkerState::is_live), "live workers must be counted");
        assert_eq!(
            self.starting,
            count(|state| state == WorkerState::Starting),
            "starting workers must be counted"
        );
        for (id, worker) in &self.all {
            let listed = self.idle.iter().filter(|idle| *idle == id).count();
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
