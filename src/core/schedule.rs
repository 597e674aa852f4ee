//! What every event ends with: whatever may start is started, and what stands in the way of more urgent
//! work is taken back.

use super::effect::{Effect, PoolId};
use super::machine::Core;
use super::task::{Progress, Revoke, State};
use super::workers::WorkerState;
use crate::admission::Time;
use crate::task::id::WorkerId;
use crate::task::options::{Limits, Priority};

impl<P: Clone> Core<P> {
    pub(super) fn schedule(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        for pool in PoolId::ALL {
            if self.pool(pool).workers.is_some() {
                self.start_on_workers(pool, now, out);
                self.take_back_for_urgent(pool, out);
                self.rebalance(pool, out);
                self.spawn_missing(pool, out);
                self.drop_superfluous(pool, out);
            } else {
                self.start_in_slots(pool, now, out);
            }
        }
        self.notice_drained(out);
    }

    /// Other limits for a pool. What runs goes on.
    pub(crate) fn on_resized(
        &mut self,
        now: Time,
        pool: PoolId,
        limits: Limits,
        out: &mut Vec<Effect<P>>,
    ) {
        self.pool_mut(pool).admission.set_limits(limits);
        self.schedule(now, out);
    }

    fn next_in(&self, pool: PoolId) -> Option<(u32, Priority)> {
        #[cfg(test)]
        if self.is_sabotaged(super::sabotage::Sabotage::LowerClassOvertakes) {
            let mut lines = Priority::ALL.into_iter();
            let line = |class| self.pool(pool).admission.iter(&self.nodes, class).next();
            return lines.find_map(|class| Some((line(class)?, class)));
        }
        self.pool(pool).admission.next()
    }

    fn start_in_slots(&mut self, pool: PoolId, now: Time, out: &mut Vec<Effect<P>>) {
        while let Some((slot, class)) = self.next_in(pool)
            && self.pool(pool).admission.has_place(class)
        {
            self.leave_line(slot);
            self.pool_mut(pool).admission.occupy();
            let record = &mut self.tasks[slot];
            record.state = State::Running;
            record.issue += 1;
            let payload = record.payload.clone().expect("an unresolved task has its payload");
            self.begin(slot, now);
            out.push(Effect::Run { pool, ticket: self.tasks.ticket(slot), payload });
        }
    }

    fn start_on_workers(&mut self, pool: PoolId, now: Time, out: &mut Vec<Effect<P>>) {
        while let Some((slot, class)) = self.next_in(pool) {
            let admitted = self.pool(pool).admission.has_place(class);
            let idle = admitted.then(|| self.pool_mut(pool).workers_mut().take_idle()).flatten();
            let Some(worker) = idle.or_else(|| self.place_behind(pool, class)) else {
                break;
            };
            self.stage(slot, worker, now, out);
        }
    }

    fn stage(&mut self, slot: u32, worker: WorkerId, now: Time, out: &mut Vec<Effect<P>>) {
        self.leave_line(slot);
        let record = &mut self.tasks[slot];
        record.state = State::Staged;
        record.issue += 1;
        record.set_worker(Some(worker));
        let payload = record.payload.clone().expect("an unresolved task has its payload");
        let class = self.nodes.class(slot);
        let pool = self.pool_mut(PoolId::Processes);
        pool.staged[class as usize] += 1;
        let staged_is_begun = pool.workers().config.staged_is_begun;
        let entries = pool.workers_mut().entries_mut(worker);
        entries.push_back(slot);
        if entries.len() == 1 {
            pool.admission.occupy();
            self.begin(slot, now);
            if staged_is_begun {
                self.tasks[slot].progress = Progress::Sure;
            }
        } else {
            self.set_warn_timer(slot);
        }
        out.push(Effect::Stage { worker, ticket: self.tasks.ticket(slot), payload });
    }

    /// A worker behind whose tasks one of `class` may be staged: none of them is of a lower class, and the
    /// limits will let it start when the one in front is done. Critical tasks wait for a worker of their
    /// own.
    fn place_behind(&self, pool: PoolId, class: Priority) -> Option<WorkerId> {
        let pool = self.pool(pool);
        let workers = pool.workers();
        let entries_max = workers.config.entries_per_worker;
        if entries_max == 1
            || class == Priority::Critical
            || pool.admission.busy() > pool.admission.ceiling(class)
        {
            return None;
        }
        let fitting = workers.iter().filter(|(_, worker)| {
            worker.state == WorkerState::Ready
                && (1..entries_max).contains(&worker.entries.len())
                && worker.entries.iter().all(|&ahead| self.nodes.class(ahead) >= class)
        });
        fitting.min_by_key(|(_, worker)| worker.entries.len()).map(|(id, _)| id)
    }

    /// What is staged must not start before a more urgent task that waits, nor beyond its limits.
    fn take_back_for_urgent(&mut self, pool: PoolId, out: &mut Vec<Effect<P>>) {
        let admission = &self.pool(pool).admission;
        let waiting = admission.next().map(|(_, class)| class);
        let must_yield =
            |class: Priority| waiting > Some(class) || admission.busy() > admission.ceiling(class);
        let yielding: Vec<Priority> = Priority::ALL
            .into_iter()
            .filter(|&class| self.pool(pool).staged[class as usize] > 0 && must_yield(class))
            .collect();
        if yielding.is_empty() {
            return;
        }
        for slot in self.staged_slots(pool) {
            if yielding.contains(&self.nodes.class(slot)) {
                self.start_revoke(slot, Revoke::Requeue, out);
            }
        }
    }

    /// An idle worker gets what is staged behind another's task.
    fn rebalance(&mut self, pool_id: PoolId, out: &mut Vec<Effect<P>>) {
        let pool = self.pool(pool_id);
        let idle = pool.workers().idle().len();
        let any_staged = pool.staged.iter().any(|&count| count > 0);
        if idle == 0 || !any_staged || pool.admission.next().is_some() {
            return;
        }
        let staged = self.staged_slots(pool_id);
        let on_their_way = pool.staged.iter().sum::<usize>() - staged.len();
        let mut candidates: Vec<u32> = staged
            .into_iter()
            .filter(|&slot| pool.admission.has_place(self.nodes.class(slot)))
            .collect();
        candidates.sort_by_key(|&slot| {
            (std::cmp::Reverse(self.nodes.class(slot)), self.nodes.order(slot))
        });
        for slot in candidates.into_iter().take(idle.saturating_sub(on_their_way)) {
            self.start_revoke(slot, Revoke::Requeue, out);
        }
    }

    /// What waits behind another in a worker and is not being taken back already.
    fn staged_slots(&self, pool: PoolId) -> Vec<u32> {
        let workers = self.pool(pool).workers();
        let entries = workers.iter().flat_map(|(_, worker)| worker.entries.iter().copied());
        entries.filter(|&slot| self.tasks[slot].state == State::Staged).collect()
    }
}
