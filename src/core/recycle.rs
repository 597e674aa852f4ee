//! Workers that are replaced though nothing is wrong with them: after so many calls, or at an age.
//!
//! Such a worker is *worn*. It goes on serving until another is ready in its place, so that there are never
//! fewer than before; then it retires: it gets nothing more, what it has not begun is taken back, and what it
//! runs comes to its end. Few are replaced at the same time, and how long each lasts differs, because workers
//! that were started together would be worn together.
//!
//! Two retire at once: one that is to run a single call, and one in which a task has panicked, since what
//! would come next must not find what was left there.

use std::time::Duration;

use super::effect::{Effect, Finish, PoolId, SignalReason};
use super::event::WorkersConfig;
use super::machine::{Core, Pool};
use super::task::{Revoke, State};
use super::workers::WorkerState;
use crate::admission::Time;
use crate::task::id::WorkerId;

impl<P: Clone> Core<P> {
    /// A worker has finished so many calls.
    #[inline]
    pub(super) fn wear(
        &mut self,
        worker: WorkerId,
        calls: u32,
        finish: Finish,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        let workers = self.workers_mut();
        if workers.recycles {
            let worn = workers.wear(worker, calls, now);
            if worn && workers.config.recycle_after_tasks != Some(1) {
                workers.set_worn(worker);
            } else if worn || (finish == Finish::Panicked && workers.config.recycle_on_panic) {
                self.recycle(worker, now, out);
            }
        }
    }

    /// The worker gets no more tasks; what it has not begun is taken back.
    pub(super) fn recycle(&mut self, worker: WorkerId, now: Time, out: &mut Vec<Effect<P>>) {
        let workers = self.workers_mut();
        let Some(held) = workers.get(worker).filter(|worker| worker.state.is_live()) else {
            return;
        };
        let entries: Vec<u32> = held.entries.iter().copied().collect();
        workers.retire(worker, now);
        for slot in entries.into_iter().rev() {
            let record = &self.tasks[slot];
            if matches!(record.state, State::Staged | State::Begun) && !record.surely_begun() {
                self.start_revoke(slot, Revoke::Requeue, out);
            }
        }
        out.push(Effect::Retire { worker });
    }

    /// Those that are worn retire, as far as others are ready in their places.
    pub(super) fn retire_worn(&mut self, pool: PoolId, now: Time, out: &mut Vec<Effect<P>>) {
        while self.worn_may_retire(pool)
            && let Some(worker) = self.pool(pool).workers().worn_one()
        {
            self.recycle(worker, now, out);
        }
    }

    /// Kills those that were told to end, had nothing left to do when they were looked at last, and are still there:
    /// stopped, or stuck in what runs at a process's end. So each has once to twice the time for that.
    pub(super) fn check_exits(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        let Some(workers) = &mut self.pool_mut(PoolId::Processes).workers else {
            return;
        };
        if workers.exit_check > now {
            return;
        }
        let any_retiring = workers.iter().any(|worker| worker.state == WorkerState::Retiring);
        let next = now + workers.config.exit_timeout;
        workers.exit_check = if any_retiring { next } else { Time::NEVER };
        let lingering: Vec<WorkerId> = workers
            .ending()
            .filter_map(|worker| std::mem::replace(&mut worker.lingers, true).then_some(worker.id))
            .collect();
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(super::sabotage::Sabotage::LingeringWorkerKept) {
            return;
        }
        for worker in lingering {
            self.kill_worker(worker, SignalReason::Lingering, out);
        }
    }

    fn worn_may_retire(&self, pool: PoolId) -> bool {
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(super::sabotage::Sabotage::RetiredWithoutReplacement) {
            return true;
        }
        let pool = self.pool(pool);
        pool.workers().ready() > pool.workers_in_use()
    }
}

impl Pool {
    /// How many more workers there are to be because others are about to be replaced, for which the spare ones
    /// are not enough.
    pub(super) fn replacements(&self) -> u32 {
        let worn = self.workers().worn();
        if worn == 0 {
            return 0;
        }
        let at_a_time = (self.admission.limits().places() / 4).max(1);
        worn.min(at_a_time).saturating_sub(self.workers().config.spares)
    }
}

impl WorkersConfig {
    /// Whether any worker is ever replaced for what it has done.
    pub(super) fn recycles(&self) -> bool {
        self.recycle_on_panic || self.recycle_after_tasks.is_some() || self.recycle_after.is_some()
    }

    /// How many calls a worker finishes before it is worn.
    pub(super) fn calls_of(&self, worker: WorkerId) -> u32 {
        self.recycle_after_tasks.map_or(u32::MAX, |calls| {
            calls - ((u64::from(calls / 4) * fraction(worker)) >> 32) as u32
        })
    }

    /// At which age a worker is worn.
    pub(super) fn age_of(&self, worker: WorkerId) -> Option<Duration> {
        let age = self.recycle_after?;
        Some(age.saturating_sub(age / 4 / 1024 * (fraction(worker) >> 22) as u32))
    }
}

/// In 2^32nds. Multiples of the golden ratio: those of neighbours are far from each other (Knuth, "The Art of
/// Computer Programming", volume 3, 6.4).
fn fraction(worker: WorkerId) -> u64 {
    worker.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::WORKERS;

    #[test]
    fn workers_last_up_to_a_quarter_shorter_and_not_all_alike() {
        let config = WorkersConfig {
            recycle_after_tasks: Some(100),
            recycle_after: Some(Duration::from_secs(1000)),
            ..WORKERS
        };
        let calls: Vec<u32> = (1..=8).map(|id| config.calls_of(WorkerId(id))).collect();
        assert!(calls.iter().all(|calls| (75..=100).contains(calls)), "{calls:?}");
        let apart = |a: u32, b: u32| a.abs_diff(b) >= 2;
        let mut sorted = calls.clone();
        sorted.sort_unstable();
        assert!(sorted.is_sorted_by(|a, b| apart(*a, *b)), "{calls:?}");
        for id in 1..=8 {
            let age = config.age_of(WorkerId(id)).expect("it ages").as_secs();
            assert!((750..=1000).contains(&age), "{age}");
        }
        for few in 1..4 {
            let config = WorkersConfig { recycle_after_tasks: Some(few), ..WORKERS };
            assert_eq!(config.calls_of(WorkerId(7)), few);
        }
        assert_eq!(WORKERS.calls_of(WorkerId(1)), u32::MAX);
        assert_eq!(WORKERS.age_of(WorkerId(1)), None);
    }
}
