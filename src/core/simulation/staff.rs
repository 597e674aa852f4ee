//! What is promised of the workers: that there are enough of them, and not too many.

use super::oracle::{Cause, Oracle};
use crate::core::{PoolId, PoolKind, WorkersConfig};
use crate::task::id::WorkerId;

impl Oracle {
    pub(super) fn on_ready(&mut self, worker: WorkerId) {
        if self.fleet.contains(&worker) {
            self.serving.insert(worker);
        }
    }

    /// It has retired, and what it was given counts as begun.
    pub(super) fn on_ended(&self, worker: WorkerId) {
        assert!(!self.is_occupied(worker), "nothing is lost with a worker that retires");
    }

    /// It gets nothing more. Whether it was ready.
    pub(super) fn leave_fleet(&mut self, worker: WorkerId) -> bool {
        self.fleet.remove(&worker);
        self.serving.remove(&worker)
    }

    /// No worker is replaced before another is ready, but where what comes next must not find what was left.
    pub(super) fn on_retired(&mut self, worker: WorkerId, cause: &Cause) {
        let PoolKind::Workers(config) = self.kinds[PoolId::Processes as usize] else {
            panic!("only workers retire");
        };
        let WorkersConfig { recycle_on_panic, recycle_after_tasks, .. } = config;
        let ends = self.stop.is_some() || self.drained > 0 || self.pool_failed > 0;
        let is_too_heavy = match *cause {
            Cause::Weighed(_, bytes) => config.memory_hard_limit.is_some_and(|limit| bytes > limit),
            _ => false,
        };
        let at_once = is_too_heavy || recycle_on_panic || recycle_after_tasks == Some(1);
        if !self.leave_fleet(worker) || ends || at_once {
            return;
        }
        let (count, places) =
            (self.serving.len(), self.limits[PoolId::Processes as usize].places());
        self.census.insert("A worker that was ready retires".to_owned());
        assert!(count >= places as usize, "{count} workers are ready, not {places}");
    }

    /// Whatever workers come to, others are there or on their way, and as many beyond as there are to be.
    pub(super) fn check_fleet(&self) {
        let PoolKind::Workers(WorkersConfig { burst, spares, .. }) =
            self.kinds[PoolId::Processes as usize]
        else {
            return;
        };
        let ends = self.stop.is_some() || self.drained > 0 || self.pool_failed > 0;
        if ends || !self.was_started {
            return;
        }
        let ordinary = self.limits[PoolId::Processes as usize].places() + spares;
        let count = self.fleet.len() as u32;
        assert!(count >= ordinary, "there are {count} workers, not {ordinary}");
        let at_work = |worker: &&WorkerId| self.is_occupied(**worker);
        let unoccupied = self.fleet.len() as u32 - self.fleet.iter().filter(at_work).count() as u32;
        let replacements = (self.limits[PoolId::Processes as usize].places() / 4).max(1);
        let burst = burst.unwrap_or(self.limits[PoolId::Processes as usize].places());
        let most = ordinary + burst + replacements;
        assert!(unoccupied <= most, "there are {unoccupied} workers without work");
    }
}
