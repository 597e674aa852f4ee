//! How much memory workers have of their own: they are weighed now and then while they run something.
//!
//! One time per pool, as for claims: it is set while a worker is busy, and only if there is a limit. A worker that
//! has run dry is weighed once more. What runs in one that is too heavy is killed as if it had timed out, by
//! winning its word, so that a task that comes next is never hit; it ends as a crash.

use std::time::Duration;

use super::effect::{Effect, MemoryExcess, MemoryLimit, PoolId, SignalReason};
use super::failures::Failures;
use super::machine::Core;
use super::task::{Kill, Progress, State};
use super::workers::{Worker, WorkerState};
use crate::admission::Time;
use crate::task::id::{Ticket, WorkerId};

/// What a worker had of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weighed {
    pub(crate) bytes: u64,
    /// When what it runs began, as it says itself.
    pub(crate) at_begin: Option<u64>,
}

/// In this time a task that does nothing else gets some ten megabytes, since the kernel has to clear them.
pub(super) const WEIGH_EVERY: Duration = Duration::from_millis(20);

impl<P: Clone> Core<P> {
    /// A task is given to a worker. One that is weighed for its own limit is told of it after this.
    #[cold]
    pub(super) fn watch_memory(
        &mut self,
        slot: u32,
        worker: WorkerId,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        let of_task = self.tasks[slot].memory_limit();
        let workers = self.workers_mut();
        if workers.weighs || of_task.is_some() {
            workers.arm_memory_check(worker, now);
        }
        if of_task.is_some() {
            let ticket = Some(self.tasks.ticket(slot));
            out.push(Effect::Weigh { worker, ticket });
        }
    }

    /// Has every worker weighed that runs something, or did so when they were weighed last.
    pub(super) fn check_memory(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        let Some(workers) = &mut self.pools[PoolId::Processes as usize].workers else {
            return;
        };
        if workers.memory_check > now {
            return;
        }
        let tasks = &self.tasks;
        let weighs = workers.weighs;
        let limited = |slot: &u32| tasks[*slot].memory_limit().is_some();
        let is_watched = |worker: &Worker| {
            worker.is_busy() && (weighs || worker.entries.front().is_some_and(limited))
        };
        let again = workers.iter().any(is_watched);
        for worker in workers.iter().filter(|it| is_watched(it) || it.has_run) {
            let ticket = worker.entries.front().map(|&slot| tasks.ticket(slot));
            out.push(Effect::Weigh { worker: worker.id, ticket });
        }
        workers.memory_check = if again { now + WEIGH_EVERY } else { Time::NEVER };
        workers.forget_who_has_run();
    }

    /// `Effect::Weigh` was performed. `ticket` was first with the worker then.
    pub(crate) fn on_weighed(
        &mut self,
        now: Time,
        worker_id: WorkerId,
        ticket: Option<Ticket>,
        weighed: Weighed,
        out: &mut Vec<Effect<P>>,
    ) {
        let bytes = weighed.bytes;
        let Some(worker) =
            self.pool(PoolId::Processes).workers.as_ref().and_then(|workers| {
                workers.get(worker_id).filter(|worker| !worker.state.is_dying())
            })
        else {
            return;
        };
        let (state, is_idle) = (worker.state, worker.entries.is_empty());
        let current = ticket.and_then(|ticket| self.tasks.find_ticket(ticket));
        let current = current.filter(|record| record.is_with(worker_id));
        let runs = current.is_some_and(|record| record.state == State::Begun);
        let slot = ticket.filter(|_| runs).map(|ticket| ticket.task.slot);
        #[cfg(any(test, atasker_sabotage))]
        let slot = match self.sabotage {
            Some(super::sabotage::Sabotage::MemoryKillHitsTheNext) => {
                let front = worker.entries.front().copied();
                front.filter(|&slot| self.tasks[slot].state == State::Begun)
            }
            _ => slot,
        };
        if let Some(excess) = slot.and_then(|slot| self.excess_of_task(slot, weighed)) {
            self.kill_for_memory(slot.expect("it has too much"), worker_id, excess, out);
        } else if let Some(excess) = self.excess_of_worker(bytes) {
            match slot {
                Some(slot) => self.kill_for_memory(slot, worker_id, excess, out),
                None if is_idle && state == WorkerState::Ready => self.recycle(worker_id, now, out),
                // What it runs now has come to it after it was weighed.
                None => {}
            }
        } else if self.workers_mut().config.memory_soft_limit.is_some_and(|limit| bytes > limit) {
            self.workers_mut().set_worn(worker_id);
        }
        self.schedule(now, out);
    }

    /// By what the task has taken too much since it began. How it was then says the worker, once it has its arguments, and
    /// until then the first weighing.
    fn excess_of_task(&mut self, slot: u32, weighed: Weighed) -> Option<MemoryExcess> {
        let Weighed { bytes, at_begin } = weighed;
        let record = &mut self.tasks[slot];
        let issue = record.issue;
        let rare = record.rare.as_mut()?;
        let allowed = rare.memory_limit?;
        let first = match rare.memory_before {
            Some((attempt, before)) if attempt == issue => before,
            _ => rare.memory_before.insert((issue, bytes)).1,
        };
        let before = at_begin.unwrap_or(first);
        let used = bytes.saturating_sub(before);
        (used > allowed).then_some(MemoryExcess { limit: MemoryLimit::Task, allowed, used })
    }

    fn excess_of_worker(&self, used: u64) -> Option<MemoryExcess> {
        let allowed = self.pool(PoolId::Processes).workers().config.memory_hard_limit?;
        (used > allowed).then_some(MemoryExcess { limit: MemoryLimit::Worker, allowed, used })
    }

    fn kill_for_memory(
        &mut self,
        slot: u32,
        worker: WorkerId,
        excess: MemoryExcess,
        out: &mut Vec<Effect<P>>,
    ) {
        self.workers_mut().set_excess(worker, excess);
        self.start_kill(slot, Kill::Memory, out);
    }

    /// The kill was won. What the task ended of is known when its worker is dead.
    pub(super) fn on_memory_kill_won(
        &mut self,
        slot: u32,
        worker: WorkerId,
        out: &mut Vec<Effect<P>>,
    ) {
        let workers = self.workers_mut();
        workers.failures = Failures::NONE;
        let excess = workers.get(worker).and_then(|worker| worker.excess);
        let excess = excess.expect("it was weighed before its task was to be killed");
        self.kill_worker(worker, SignalReason::Memory(excess), out);
        let record = &mut self.tasks[slot];
        (record.state, record.progress) = (State::Crashing, Progress::Sure);
    }
}
