//! Packs that grow: while quick calls of one function come faster than they are given out, each joins the one before it,
//! as long as that waits in its line. It costs a fraction of a task of its own.
//!
//! For this to happen, the last that was submitted has to wait, though a worker would have room for it behind others. It
//! does as long as its worker has [`AHEAD`] entries, and not for long: until a worker has finished one, until
//! something else is submitted, until somebody waits ([`on_attended`](Core::on_attended)), and in any case only for
//! [`LOOK_AGAIN`](super::balance::LOOK_AGAIN). TCP holds small segments back in the same way (J. Nagle, RFC 896).

use super::effect::{Effect, PoolId};
use super::machine::Core;
use crate::admission::Time;
use crate::task::id::{TaskId, WorkerId};

/// How many entries a worker has at least while what grows waits: one that runs, and one for when that has ended.
const AHEAD: usize = 2;

impl<P: Clone> Core<P> {
    /// Whether this was submitted as one that grows, and still does.
    pub(crate) fn grows(&self, pack: TaskId) -> bool {
        self.growing == Some(pack.slot) && self.tasks[pack.slot].number == pack.number
    }

    /// One more call joins `pack`, which was submitted as one that grows. `None`: it grows no longer.
    pub(crate) fn on_joined(&mut self, pack: TaskId) -> Option<TaskId> {
        if !self.grows(pack) {
            return None;
        }
        let slot = pack.slot;
        let record = &self.tasks[slot];
        let number = self.last_number + 1;
        let is_last = record.number + u64::from(record.calls) == number;
        let pool = self.pool(record.pool);
        if !is_last
            || record.priority != self.nodes.class(slot)
            || !pool.has_room(record.priority, 1)
        {
            return None;
        }
        let pool = &mut self.pools[record.pool as usize];
        if !pool.admission.grow(&mut self.nodes, slot) {
            return None;
        }
        pool.unresolved += 1;
        self.tasks[slot].calls += 1;
        self.last_number = number;
        Some(TaskId { number, slot })
    }

    /// Somebody waits, and nothing more may come: what grows is given out.
    pub(crate) fn on_attended(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        self.stop_growing(now, out);
    }

    #[inline]
    pub(super) fn stop_growing(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        if let Some(slot) = self.growing.take() {
            self.schedule_in(self.tasks[slot].pool, now, out);
        }
    }

    /// Whether this is to wait for more calls rather than be staged behind what the worker has.
    pub(super) fn waits_to_grow(&mut self, slot: u32, worker: WorkerId, now: Time) -> bool {
        if self.growing != Some(slot) {
            return false;
        }
        let workers = self.pool_mut(PoolId::Processes).workers_mut();
        let waits = workers.get(worker).is_some_and(|worker| worker.entries.len() >= AHEAD);
        if waits {
            workers.arm_balance_check(now);
        }
        waits
    }
}
