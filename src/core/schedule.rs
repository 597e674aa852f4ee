//! What every event ends with: whatever may start is started, and what stands in the way of more urgent
//! work is taken back.

use super::effect::{Effect, PoolId};
use super::event::StopMode;
use super::machine::{Core, Pool};
use super::task::{Progress, Revoke, State};
use crate::admission::Time;
use crate::task::id::WorkerId;
use crate::task::options::{Limits, Priority};

impl<P: Clone> Core<P> {
    pub(super) fn schedule(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        for pool in PoolId::ALL {
            self.schedule_in(pool, now, out);
        }
    }

    /// The same after what concerns one pool only.
    pub(super) fn schedule_in(&mut self, pool: PoolId, now: Time, out: &mut Vec<Effect<P>>) {
        if let Some(workers) = &self.pool(pool).workers {
            if self.stop.is_none() && self.pool(pool).is_calm() {
                return;
            }
            if workers.worn() > 0 {
                self.retire_worn(pool, now, out);
            }
            self.start_on_workers(pool, now, out);
            self.take_back_for_urgent(pool, out);
            if !self.pool(pool).workers().idle().is_empty() {
                self.rebalance(pool, now, out);
            }
            if self.stop.is_some() || !self.pool(pool).is_fully_staffed() {
                self.spawn_missing(pool, now, out);
                self.drop_superfluous(pool, now, out);
            }
        } else {
            self.start_in_slots(pool, now, out);
        }
        if self.stop.is_some() {
            self.notice_drained(now, out);
        }
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
        #[cfg(any(test, atasker_sabotage))]
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
            if self.pool(pool).shortage.is_some() && self.is_held_back(pool, class, now, out) {
                break;
            }
            // What the worker has when it begins is to be known.
            let needs_idle = self.tasks[slot].memory_limit().is_some();
            if admitted
                && !needs_idle
                && let Some(busy) = self.quick_place_behind(pool, class, now)
            {
                if self.waits_to_grow(slot, busy, now) {
                    break;
                }
                self.stage(slot, busy, now, out);
                continue;
            }
            if admitted && self.takes_back_for_idle(pool, class, out) {
                break;
            }
            let idle = admitted.then(|| self.pool_mut(pool).workers_mut().take_idle()).flatten();
            let behind = || self.place_behind(pool, class).filter(|_| !needs_idle);
            let Some(worker) = idle.or_else(behind) else {
                break;
            };
            if idle.is_none() && self.waits_to_grow(slot, worker, now) {
                break;
            }
            self.stage(slot, worker, now, out);
        }
    }

    fn stage(&mut self, slot: u32, worker: WorkerId, now: Time, out: &mut Vec<Effect<P>>) {
        self.leave_line(slot);
        let record = &mut self.tasks[slot];
        record.state = State::Staged;
        record.issue += 1;
        record.set_worker(Some(worker));
        record.split_asked = false;
        let (class, calls) = (self.nodes.class(slot), record.calls as usize);
        let pool = self.pool_mut(PoolId::Processes);
        pool.staged[class as usize] += calls;
        let staged_is_begun = pool.workers().config.staged_is_begun;
        if pool.workers_mut().push(worker, slot) {
            pool.admission.occupy();
            pool.workers_mut().arm_claim_check(now);
            if calls > 1 {
                pool.workers_mut().arm_overrun_check(now);
            }
            self.begin(slot, now);
            if staged_is_begun {
                self.tasks[slot].progress = Progress::Sure;
            }
        } else {
            pool.workers_mut().arm_overrun_check(now);
            if let Some(due) = self.warn_due(slot) {
                self.staged_report = self.staged_report.min(due);
            }
        }
        self.count_splittable(slot, true);
        if self.pool(PoolId::Processes).workers().weighs || self.tasks[slot].rare.is_some() {
            self.watch_memory(slot, worker, now, out);
        }
        out.push(Effect::Stage { worker, ticket: self.tasks.ticket(slot) });
    }

    /// A worker behind whose tasks one of `class` may be staged: none of them is of a lower class (the last
    /// is the least urgent), and the limits will let it start when the one in front is done. Critical tasks
    /// wait for a worker of their own. As long as a more urgent one waits in any worker, there is none: the less urgent
    /// one might begin first.
    fn place_behind(&self, pool: PoolId, class: Priority) -> Option<WorkerId> {
        let pool = self.pool(pool);
        if class == Priority::Critical
            || pool.admission.busy() > pool.admission.ceiling(class)
            || pool.is_staged_above(class)
        {
            return None;
        }
        pool.workers().roomiest(|worker| {
            worker.entries.back().is_some_and(|&ahead| self.nodes.class(ahead) >= class)
        })
    }

    /// What is with a worker and has not begun must not start before a more urgent task that waits, nor
    /// beyond its limits.
    fn take_back_for_urgent(&mut self, pool_id: PoolId, out: &mut Vec<Effect<P>>) {
        let stopped = self.stop >= Some(StopMode::CancelQueued);
        let pool = self.pool(pool_id);
        // A lower class makes way at least for what a higher one does.
        let Some(lowest) = pool.lowest_ahead().filter(|&class| stopped || pool.must_yield(class))
        else {
            return;
        };
        let yields = |class| stopped || class == lowest || pool.must_yield(class);
        self.take_back(pool_id, Priority::ALL.map(yields), out);
    }

    /// Takes back what is with a worker and has not begun, of these classes.
    #[cold]
    fn take_back(
        &mut self,
        pool: PoolId,
        classes: [bool; Priority::ALL.len()],
        out: &mut Vec<Effect<P>>,
    ) {
        let staged: Vec<u32> = self
            .staged_slots(pool, usize::MAX)
            .filter(|&slot| classes[self.nodes.class(slot) as usize])
            .collect();
        for slot in staged {
            self.start_revoke(slot, Revoke::Requeue, out);
        }
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(super::sabotage::Sabotage::UrgentBehindRest) {
            return;
        }
        self.split_packs(pool, classes, out);
    }

    /// In each worker the first `most` that wait behind another and are not being taken back already, from
    /// the back of its queue to the front: a ring whose last entry is taken back can use its place again.
    pub(super) fn staged_slots(&self, pool: PoolId, most: usize) -> impl Iterator<Item = u32> {
        let workers = self.pool(pool).workers();
        workers.iter().flat_map(move |worker| {
            let is_staged = |slot: &u32| self.tasks[*slot].state == State::Staged;
            let first = worker.entries.iter().copied().filter(is_staged).take(most);
            let mut first: Vec<u32> = first.collect();
            first.reverse();
            first
        })
    }
}

impl Pool {
    /// Whether what is of `class` and has not begun has to make way for what waits, or for the limits.
    fn must_yield(&self, class: Priority) -> bool {
        let waiting = self.admission.next().map(|(_, class)| class);
        waiting > Some(class)
            || self.admission.busy() > self.admission.ceiling(class)
            || (class != Priority::Critical && self.is_short())
    }

    /// Whether nothing waits, in a line or in a worker, and there are as many workers as there are to be: there is
    /// nothing to decide.
    #[inline]
    pub(super) fn is_calm(&self) -> bool {
        !self.admission.has_waiting()
            && self.staged == [0; Priority::ALL.len()]
            && self.splittable == [0; Priority::ALL.len()]
            && self.workers().worn() == 0
            && self.is_fully_staffed()
    }

    /// Whether anything more urgent waits behind what runs in a worker.
    pub(super) fn is_staged_above(&self, class: Priority) -> bool {
        Priority::ALL.into_iter().any(|other| other > class && self.staged[other as usize] > 0)
    }

    /// The lowest class of which something is with a worker and may be taken back.
    fn lowest_ahead(&self) -> Option<Priority> {
        Priority::ALL
            .into_iter()
            .find(|&class| self.staged[class as usize] > 0 || self.splittable[class as usize] > 0)
    }
}
