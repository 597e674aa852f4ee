//! Which worker gets what, where one has something ahead and another nothing to do.
//!
//! To wake a worker that sleeps costs the waker microseconds and takes the worker tens of them, and to move a
//! task costs about what a small one runs. So what is predicted to be done before that stays, or goes, behind
//! a worker that is awake for certain, because it runs something. Predictions fail: as long as one is relied
//! on, the pool is looked at again after [`LOOK_AGAIN`], and what turned out to run long keeps nothing waiting
//! any more.

use std::cmp::Reverse;
use std::time::Duration;

use super::effect::{Effect, PoolId};
use super::machine::Core;
use super::task::{Revoke, State};
use super::workers::{Worker, WorkerState};
use crate::admission::Time;
use crate::task::id::WorkerId;
use crate::task::options::Priority;

/// How long a wrong prediction may keep a task behind another while a worker is idle.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(1);

impl<P: Clone> Core<P> {
    /// An idle worker gets what is staged behind another's task, or the rest of a pack that runs there. What
    /// still waits in a line may not start by its limits, which are no wider than those of what may.
    pub(super) fn rebalance(&mut self, pool_id: PoolId, now: Time, out: &mut Vec<Effect<P>>) {
        let pool = self.pool(pool_id);
        let idle = pool.workers().idle().len().saturating_sub(pool.revoking);
        let may_move = |class: Priority| {
            let ahead = pool.staged[class as usize] > 0 || pool.splittable[class as usize] > 0;
            ahead && pool.admission.has_place(class)
        };
        if idle == 0 || !Priority::ALL.into_iter().any(may_move) {
            return;
        }
        if !self.is_worth_moving(pool_id, now) {
            self.pool_mut(pool_id).workers_mut().arm_balance_check(now);
            return;
        }
        // As many as each would have had, or every single one would have to be fetched when the last is done.
        let workers = pool.workers();
        let staged: usize =
            workers.iter().map(|worker| worker.entries.len().saturating_sub(1)).sum();
        let most = idle * (staged / workers.iter().len()).max(1);
        // In any worker the first are the most urgent and, but for what was taken back, the oldest.
        let candidates: Vec<u32> = self
            .staged_slots(pool_id, most)
            .filter(|&slot| pool.admission.has_place(self.nodes.class(slot)))
            .collect();
        let key = |slot: u32| (Reverse(self.nodes.class(slot)), self.nodes.order(slot));
        let mut keys: Vec<_> = candidates.iter().map(|&slot| key(slot)).collect();
        keys.sort_unstable();
        keys.truncate(most);
        let last = keys.last().copied();
        let chosen: Vec<u32> =
            candidates.into_iter().filter(|&slot| Some(key(slot)) <= last).collect();
        for &slot in &chosen {
            self.start_revoke(slot, Revoke::Requeue, out);
        }
        self.split_for_idle(pool_id, idle.saturating_sub(chosen.len()), out);
    }

    /// An idle worker gets what is staged elsewhere and more urgent than the next in line, which is of `class`. `true`:
    /// whether it does is being decided, and the line waits for that.
    pub(super) fn takes_back_for_idle(
        &mut self,
        pool_id: PoolId,
        class: Priority,
        out: &mut Vec<Effect<P>>,
    ) -> bool {
        let pool = self.pool(pool_id);
        let idle = pool.workers().idle().len();
        if idle == 0 || !pool.is_staged_above(class) {
            return false;
        }
        let key = |&slot: &u32| (Reverse(self.nodes.class(slot)), self.nodes.order(slot));
        let mut urgent: Vec<u32> = self
            .staged_slots(pool_id, usize::MAX)
            .filter(|&slot| self.nodes.class(slot) > class)
            .collect();
        urgent.sort_unstable_by_key(key);
        urgent.truncate(idle.saturating_sub(pool.revoking));
        // From the back to the front, see `staged_slots`.
        for slot in urgent.into_iter().rev() {
            self.start_revoke(slot, Revoke::Requeue, out);
        }
        self.pool(pool_id).revoking > 0
    }

    /// Nothing waits for long behind what runs, while others in line, that came later, are begun: where something runs
    /// for longer than was to be expected, what is staged behind it goes back to its place in line, and with it what a pack
    /// has not begun, and nothing more is staged there until it has ended.
    pub(super) fn check_overruns(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        let Some(workers) = &self.pool(PoolId::Processes).workers else { return };
        if workers.overrun_check > now {
            return;
        }
        let (waits_behind, held_max) = (workers.waits_behind(), workers.held_max());
        let (mut next, mut overrunning) = (Time::NEVER, Vec::new());
        for worker in workers.iter().filter(|it| it.state == WorkerState::Ready && !it.overruns) {
            let Some(&front) = worker.entries.front() else { continue };
            let record = &self.tasks[front];
            if worker.entries.len() == 1 && !record.is_splittable() {
                continue;
            }
            let since = if record.begun() { record.mark } else { now };
            if since + waits_behind <= now {
                overrunning.push((worker.id, front));
            } else {
                next = next.min(since + waits_behind);
            }
        }
        self.workers_mut().overrun_check = next;
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(super::sabotage::Sabotage::OverrunIgnored) {
            return;
        }
        if overrunning.is_empty() {
            return;
        }
        for (worker, front) in overrunning {
            self.workers_mut().set_overruns(worker);
            let record = &self.tasks[front];
            if record.state == State::Begun && record.is_splittable() {
                self.ask_to_split(front, out);
            }
        }
        // What others have beyond what they would be given by now may have come later, and be more than it seemed. It
        // comes after what waited here, because each is staged again as soon as it is back.
        let (behind, beyond): (Vec<_>, Vec<_>) = self
            .pool(PoolId::Processes)
            .workers()
            .iter()
            .flat_map(|worker| {
                let kept = if worker.overruns { 0 } else { held_max };
                worker.entries.iter().skip(kept).rev().map(|&slot| (slot, worker.overruns))
            })
            .filter(|&(slot, _)| self.tasks[slot].state == State::Staged)
            .partition(|&(_, overruns)| overruns);
        for (slot, _) in behind.into_iter().chain(beyond) {
            self.start_revoke(slot, Revoke::Requeue, out);
        }
    }

    /// A busy worker behind whose tasks one of `class` is predicted to begin sooner than an idle worker would
    /// be awake.
    pub(super) fn quick_place_behind(
        &mut self,
        pool_id: PoolId,
        class: Priority,
        now: Time,
    ) -> Option<WorkerId> {
        let pool = self.pool(pool_id);
        let workers = pool.workers();
        let wake = workers.config.worth_a_wake;
        if wake.is_zero()
            || class == Priority::Critical
            || workers.idle().is_empty()
            || pool.is_staged_above(class)
        {
            return None;
        }
        // Nor if something less urgent would get the idle worker, for which this would have to be fetched back.
        let below = Priority::ALL.into_iter().filter(|&other| other < class);
        if below.map(|other| pool.admission.queued(other)).any(|queued| queued > 0) {
            return None;
        }
        let estimate = workers.estimate()?;
        // What would be taken back at once for the idle worker does not go behind another.
        if self.is_worth_moving(pool_id, now) {
            return None;
        }
        let quick = |worker: &Worker| {
            let ahead = estimate * (worker.entries.len() as u32 + 1);
            worker.is_busy() && ahead < wake
        };
        let behind = workers.roomiest(|worker| {
            let fits = worker.entries.back().is_some_and(|&ahead| self.nodes.class(ahead) >= class);
            fits && quick(worker)
        })?;
        self.pool_mut(pool_id).workers_mut().arm_balance_check(now);
        Some(behind)
    }

    /// Whether an idle worker would be of use for what others have ahead.
    fn is_worth_moving(&self, pool_id: PoolId, now: Time) -> bool {
        let workers = self.pool(pool_id).workers();
        let wake = workers.config.worth_a_wake;
        let Some(estimate) = workers.estimate().filter(|_| !wake.is_zero()) else { return true };
        workers.iter().filter(|worker| worker.is_busy()).any(|worker| {
            let ahead = estimate * worker.entries.len() as u32;
            ahead >= wake || self.runs_long(worker, now)
        })
    }

    /// Whether what is first with the worker runs longer than a wake takes.
    fn runs_long(&self, worker: &Worker, now: Time) -> bool {
        let wake = self.pool(PoolId::Processes).workers().config.worth_a_wake;
        let front = worker.entries.front();
        front.is_some_and(|&slot| now.since(self.tasks[slot].mark) >= wake)
    }

    /// It is time to look again at what a prediction was relied on for.
    pub(super) fn check_balance(&mut self, now: Time) {
        let processes = &self.pools[PoolId::Processes as usize];
        if processes.workers.as_ref().is_some_and(|it| it.balance_check <= now) {
            self.growing = None;
        }
        for pool in &mut self.pools {
            if let Some(workers) = pool.workers.as_mut().filter(|it| it.balance_check <= now) {
                workers.balance_check = Time::NEVER;
            }
        }
    }
}
