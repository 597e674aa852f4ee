//! How many worker processes there are to be.
//!
//! No worker is a spare one by name. There are as many more as the pool is to have spares, and since tasks
//! start within the limits, that many are idle; of the idle ones the most recently used is taken, so the others
//! sleep on. When one is lost, the next task finds an idle one at once, and another is started.

use super::effect::{Effect, PoolId, SignalReason};
use super::event::StopMode;
use super::machine::{Core, Pool};
use crate::admission::Time;
use crate::task::id::WorkerId;
use crate::task::options::Priority;

impl<P: Clone> Core<P> {
    /// Spawns up to the number that the limits ask for, and extra ones for critical tasks that wait.
    pub(super) fn spawn_missing(&mut self, pool: PoolId, now: Time, out: &mut Vec<Effect<P>>) {
        let stop = self.stop;
        let pool = &mut self.pools[pool as usize];
        let draining =
            matches!(stop, Some(StopMode::Drain | StopMode::CancelQueued)) && pool.unresolved > 0;
        pool.workers_mut().wanted |= draining;
        let extra_max = pool.workers_max();
        let wanted = pool.workers_to_have(stop);
        #[cfg(any(test, atasker_sabotage))]
        let wanted = match self.sabotage {
            Some(super::sabotage::Sabotage::SpareNotReplaced) => {
                wanted.min(pool.admission.limits().places())
            }
            _ => wanted,
        };
        let critical = pool.admission.queued(Priority::Critical);
        let idle_for_none =
            pool.failed || stop == Some(StopMode::KillNow) || !pool.workers().wanted;
        let workers = pool.workers_mut();
        while !idle_for_none
            && (workers.live() < wanted
                || (workers.live() < extra_max && (workers.starting() as usize) < critical))
        {
            self.last_worker += 1;
            let worker = WorkerId(self.last_worker);
            workers.insert(worker);
            let delay = workers.delay_of_spawn(self.last_worker, now);
            out.push(Effect::Spawn { worker, delay });
        }
    }

    /// Retires what is idle or not even ready beyond the limits; what is busy follows when it has run dry.
    /// When all is to be killed, kills what holds no task.
    pub(super) fn drop_superfluous(&mut self, pool: PoolId, now: Time, out: &mut Vec<Effect<P>>) {
        if self.stop == Some(StopMode::KillNow) {
            self.kill_unoccupied(pool, out);
            return;
        }
        let pool = &mut self.pools[pool as usize];
        let critical_waits = pool.admission.queued(Priority::Critical) > 0;
        let keep = match pool.failed {
            true => 0,
            false if critical_waits => pool.workers_max(),
            false => pool.workers_to_keep(),
        };
        let workers = pool.workers_mut();
        while workers.live() > keep
            && let Some(worker) = workers.superfluous()
        {
            workers.retire(worker, now);
            out.push(Effect::Retire { worker });
        }
    }

    fn kill_unoccupied(&mut self, pool: PoolId, out: &mut Vec<Effect<P>>) {
        let workers = self.pool(pool).workers();
        let unoccupied: Vec<WorkerId> = workers
            .iter()
            .filter(|worker| worker.entries.is_empty())
            .map(|worker| worker.id)
            .collect();
        for worker in unoccupied {
            self.kill_worker(worker, SignalReason::Stopping, out);
        }
    }

    /// Tells once that a stop has come to its end. Closures that can't be stopped are waited for unless all
    /// was to be killed.
    pub(super) fn notice_drained(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        let Some(stop) = self.stop.filter(|_| !self.drained) else {
            return;
        };
        let outstanding =
            |pool: &Pool| pool.unresolved > 0 || (stop < StopMode::KillNow && pool.detached > 0);
        if self.pools.iter().any(outstanding) {
            return;
        }
        self.drained = true;
        if let Some(workers) = &mut self.pool_mut(PoolId::Processes).workers {
            let live: Vec<WorkerId> = workers
                .iter()
                .filter(|worker| worker.state.is_live())
                .map(|worker| worker.id)
                .collect();
            for worker in live {
                workers.retire(worker, now);
                out.push(Effect::Retire { worker });
            }
        }
        out.push(Effect::Drained);
    }
}

impl Pool {
    /// Whether there are as many workers as there are to be while nothing is out of the ordinary.
    pub(super) fn is_fully_staffed(&self) -> bool {
        let ordinary = !self.failed && self.admission.queued(Priority::Critical) == 0;
        ordinary && self.workers().live() == self.workers_to_keep()
    }

    /// How many live workers there are to be, for the critical tasks that run too, but not for those that wait.
    /// While stopping no more than there are tasks.
    fn workers_to_have(&self, stop: Option<StopMode>) -> u32 {
        let places = self.admission.limits().places();
        match stop {
            Some(_) => places.min(u32::try_from(self.unresolved).unwrap_or(u32::MAX)),
            None => self.workers_to_keep(),
        }
    }

    /// Beyond how many an idle worker is one too many while no critical task waits.
    pub(super) fn workers_to_keep(&self) -> u32 {
        let standing_by = self.workers().config.spares.saturating_add(self.replacements());
        self.workers_in_use().saturating_add(standing_by)
    }

    /// How many workers are in use when all places are taken.
    pub(super) fn workers_in_use(&self) -> u32 {
        let workers = self.workers();
        let places = self.admission.limits().places();
        // Critical tasks have taken spare ones, or had some started for them.
        let beyond = workers.busy().saturating_sub(places).min(self.burst());
        places.saturating_add(beyond)
    }

    /// The same with as many extra ones as may be.
    fn workers_max(&self) -> u32 {
        let spares = self.workers().config.spares;
        let extra = self.burst().saturating_add(spares).saturating_add(self.replacements());
        self.admission.limits().places().saturating_add(extra)
    }

    /// How many may be started for critical tasks.
    fn burst(&self) -> u32 {
        self.workers().config.burst.unwrap_or(self.admission.limits().places())
    }
}
