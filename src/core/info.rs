//! Answers to questions. None of these changes anything.

use super::effect::PoolId;
use super::machine::{Core, Pool};
use super::task::{Record, State};
use super::workers::{WorkerState, Workers};
use crate::admission::Time;
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::options::{Limits, Priority};

/// Where a task is, in the words of the public face.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TaskState {
    /// Waits for its delay, or for its backoff.
    Delayed,
    Queued,
    /// With a worker, behind another task, and still revocable.
    Staged,
    Running,
    /// It timed out; its next attempt waits for the end of this one.
    Ending,
}

/// What is known of a task that has not reached its terminal state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskInfo<'a, P> {
    pub(crate) id: TaskId,
    /// For how many calls it stands; `id` is the first one's.
    pub(crate) calls: u32,
    pub(crate) payload: &'a P,
    pub(crate) pool: PoolId,
    /// Where it waits or waited: higher than `priority` if aging lifted it.
    pub(crate) class: Priority,
    pub(crate) state: TaskState,
    /// Its submission, or the end of its delay.
    pub(crate) queued_from: Time,
    /// Of the present attempt.
    pub(crate) begun_at: Option<Time>,
    pub(crate) attempts: u32,
    /// Where it runs, or ran last.
    pub(crate) worker: Option<WorkerId>,
    /// Of the present attempt.
    pub(crate) ticket: Option<Ticket>,
    /// What names the task in `on_pack_split`, begun or not.
    #[cfg_attr(not(test), expect(dead_code, reason = "for a shell that submits packs"))]
    pub(crate) latest: Ticket,
}

/// What is known of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolInfo {
    pub(crate) limits: Limits,
    /// Places taken, by closures too that run on after they were given up.
    pub(crate) busy: u32,
    /// By class, least urgent first: calls that wait for their begin.
    pub(crate) waiting: [usize; Priority::ALL.len()],
    pub(crate) delayed: usize,
    /// Calls that have not reached their terminal state.
    pub(crate) unresolved: usize,
    /// Closures that run on after their tasks were resolved.
    pub(crate) detached: usize,
    pub(crate) workers: WorkerCounts,
    /// What waits is held back because the machine is short of memory.
    pub(crate) held_back: bool,
    pub(crate) failed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerCounts {
    pub(crate) starting: u32,
    pub(crate) ready: u32,
    /// Of those that are ready.
    pub(crate) idle: u32,
    pub(crate) retiring: u32,
    pub(crate) dying: u32,
}

impl<P: Clone> Core<P> {
    pub(crate) fn info(&self, pool: PoolId) -> PoolInfo {
        let pool = self.pool(pool);
        PoolInfo {
            limits: pool.admission.limits(),
            busy: pool.admission.busy(),
            waiting: Priority::ALL.map(|class| pool.waiting(class)),
            delayed: pool.delayed,
            unresolved: pool.unresolved,
            detached: pool.detached,
            workers: worker_counts(pool),
            held_back: pool.is_held_back(),
            failed: pool.failed,
        }
    }

    pub(crate) fn limits(&self, pool: PoolId) -> Limits {
        self.pool(pool).admission.limits()
    }

    #[cfg(test)]
    /// Whether a task of `class` would not be refused as `QueueFull` now.
    pub(crate) fn has_room(&self, pool: PoolId, class: Priority) -> bool {
        self.pool(pool).has_room(class, 1)
    }

    /// A task that has not reached its terminal state; of a call in a pack, the pack.
    pub(crate) fn task(&self, task: TaskId) -> Option<TaskInfo<'_, P>> {
        let slot = self.tasks.locate(task)?;
        self.task_info(slot, &self.tasks[slot])
    }

    /// What the ticket stands for, if it is current.
    #[inline]
    pub(crate) fn payload_of(&self, ticket: Ticket) -> Option<&P> {
        self.tasks.find_ticket(ticket)?.payload.as_ref()
    }

    /// The ticket of a task, or of the pack that it is in, and how many calls that has. If it waits, the
    /// ticket of its last attempt.
    pub(crate) fn ticket_of(&self, task: TaskId) -> Option<(Ticket, u32)> {
        let slot = self.tasks.locate(task)?;
        Some((self.tasks.ticket(slot), self.tasks[slot].calls))
    }

    /// Whether the attempt is with a worker, begun or not.
    pub(crate) fn is_staged(&self, ticket: Ticket) -> bool {
        self.tasks.find_ticket(ticket).is_some_and(|record| {
            use State::{Begun, Killing, Revoking, Staged};
            matches!(record.state, Staged | Begun | Revoking(_) | Killing(_))
        })
    }

    /// All tasks that have not reached their terminal state, in no particular order.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskInfo<'_, P>> {
        self.tasks.slots().filter_map(|slot| self.task_info(slot, &self.tasks[slot]))
    }

    /// The worker processes in the order of their start, each with the task that is first with it.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (WorkerId, Option<TaskId>)> {
        let workers = self.pool(PoolId::Processes).workers.as_ref();
        workers.into_iter().flat_map(|workers| {
            workers
                .iter()
                .map(|worker| (worker.id, worker.entries.front().map(|&slot| self.tasks.id(slot))))
        })
    }

    #[cfg(test)]
    /// Whether a prediction is relied on, and looked at again soon.
    pub(crate) fn looks_again(&self) -> bool {
        self.pools
            .iter()
            .filter_map(|pool| pool.workers.as_ref())
            .any(|workers| workers.balance_check != Time::NEVER)
    }

    #[cfg(test)]
    /// Whether a process of the pool is alive, or about to be.
    pub(crate) fn has_workers(&self) -> bool {
        self.pools
            .iter()
            .filter_map(|pool| pool.workers.as_ref())
            .any(|workers| workers.iter().next().is_some())
    }

    fn task_info<'a>(&self, slot: u32, record: &'a Record<P>) -> Option<TaskInfo<'a, P>> {
        let state = match record.state {
            State::Vacant | State::Detached => return None,
            State::Delayed => TaskState::Delayed,
            State::Queued => TaskState::Queued,
            State::Staged => TaskState::Staged,
            State::Revoking(_) if !record.begun() => TaskState::Staged,
            State::Running
            | State::Begun
            | State::Revoking(_)
            | State::Killing(_)
            | State::Crashing => TaskState::Running,
            State::AwaitingEnd => TaskState::Ending,
        };
        Some(TaskInfo {
            id: self.tasks.id(slot),
            calls: record.calls,
            payload: record.payload.as_ref()?,
            pool: record.pool,
            class: if record.issue == 0 && state == TaskState::Delayed {
                record.priority
            } else {
                self.nodes.class(slot)
            },
            state,
            queued_from: record.queued_from,
            begun_at: record.begun().then_some(record.mark),
            attempts: record.attempts,
            worker: record.worker(),
            ticket: record.begun().then(|| self.tasks.ticket(slot)),
            latest: self.tasks.ticket(slot),
        })
    }
}

fn worker_counts(pool: &Pool) -> WorkerCounts {
    let mut counts = WorkerCounts::default();
    for worker in pool.workers.iter().flat_map(Workers::iter) {
        match worker.state {
            WorkerState::Starting => counts.starting += 1,
            WorkerState::Ready => counts.ready += 1,
            WorkerState::Retiring => counts.retiring += 1,
            WorkerState::Dying { .. } => counts.dying += 1,
        }
        counts.idle += u32::from(worker.state == WorkerState::Ready && worker.entries.is_empty());
    }
    counts
}
