//! What a supervisor tells about itself and its tasks, and cancelling one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::driven::Driven;
use super::error::StartError;
use super::executor::Executor;
use super::shared::Shared;
use super::worker_settings::check_workers;
use crate::background::BackgroundWorkerInfo;
use crate::blackbox::Stack;
use crate::core::{self, Cancel, PoolId, TaskState, Time};
use crate::registry::{self, Catalogue, FunctionInfo};
use crate::say::say;
use crate::sys::fork::is_forked_child;
use crate::task::cell::TaskCell;
use crate::task::error::SubmitError;
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::info::{Ended, Pool, Progress, TaskInfo, TaskStatus};
use crate::task::options::{Limits, Priority};
use crate::threads::ThreadPool;

/// How a supervisor stands at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisorInfo {
    /// Its name.
    pub name: String,
    /// The thread pool.
    pub threads: PoolInfo,
    /// The process pool, or what the builder put in its place.
    pub processes: PoolInfo,
    /// The async loops together.
    pub loops: PoolInfo,
    /// The threads that exist, busy or idle.
    pub thread_count: usize,
    /// The worker processes, in the order of their start.
    pub workers: Vec<WorkerInfo>,
    /// The names of the schedulers, in the order of their registration.
    pub schedulers: Vec<String>,
    /// The background workers that exist, whether they run or not, in the order in which they were made.
    pub background_workers: Vec<BackgroundWorkerInfo>,
    /// Tasks that have ended, by terminal state.
    pub ended: Totals,
}

/// How one pool stands at one moment.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PoolInfo {
    /// Its limits.
    pub limits: Limits,
    /// Places taken. More than zero while a closure whose task has timed out or was cancelled still runs, or a
    /// future has not come to its next await.
    pub busy: u32,
    /// Tasks that run.
    pub running: usize,
    /// Tasks that wait for a place, by class, as [`Priority::ALL`] orders them.
    pub queued: [usize; 4],
    /// Tasks that wait for their delay or backoff.
    pub delayed: usize,
    /// Whether tasks are [held back](crate::SupervisorBuilder::min_available_memory) because the machine is short of
    /// memory.
    pub held_back: bool,
}

impl PoolInfo {
    /// Tasks of one class that wait for a place.
    pub fn queued(&self, priority: Priority) -> usize {
        self.queued[priority as usize]
    }

    /// Tasks that have not ended.
    pub fn outstanding(&self) -> usize {
        self.running + self.delayed + self.queued.iter().sum::<usize>()
    }
}

/// One worker process.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Counts the worker processes of this supervisor.
    pub number: u64,
    /// Its process, once it is ready.
    pub pid: Option<u32>,
    /// The task it runs.
    pub task: Option<TaskId>,
}

/// How many tasks have ended, by terminal state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// The function returned.
    pub completed: u64,
    /// The function panicked.
    pub panicked: u64,
    /// The worker died.
    pub crashed: u64,
    /// Ran longer than the timeout.
    pub timed_out: u64,
    /// Cancelled, or the supervisor stopped.
    pub cancelled: u64,
    /// Waited longer than the queue timeout.
    pub expired: u64,
    /// Refused by the worker, or by a process pool that had given up.
    pub rejected: u64,
    /// Killed its worker too often.
    pub quarantined: u64,
}

impl PoolInfo {
    /// Of a pack that runs, the core knows only that. The call that runs, or will be the first to.
    fn look_into(&mut self, task: &View) -> TaskId {
        if task.begun == 0 {
            return task.id;
        }
        let waiting = (task.calls - task.begun) as usize;
        self.queued[task.class as usize] += waiting;
        self.running -= waiting + task.ended as usize;
        TaskId { number: task.id.number + u64::from(task.begun - 1), ..task.id }
    }
}

/// Counts the ends of tasks, by their status.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; TaskStatus::Quarantined as usize + 1]);

impl Counters {
    pub(crate) fn add(&self, status: TaskStatus, tasks: u64) {
        self.0[status as usize].fetch_add(tasks, Ordering::Relaxed);
    }

    fn totals(&self) -> Totals {
        let count = |status: TaskStatus| self.0[status as usize].load(Ordering::Relaxed);
        Totals {
            completed: count(TaskStatus::Completed),
            panicked: count(TaskStatus::Panicked),
            crashed: count(TaskStatus::Crashed),
            timed_out: count(TaskStatus::TimedOut),
            cancelled: count(TaskStatus::Cancelled),
            expired: count(TaskStatus::Expired),
            rejected: count(TaskStatus::Rejected),
            quarantined: count(TaskStatus::Quarantined),
        }
    }
}

/// By what a task can be asked for.
#[derive(Clone, Copy, Debug)]
pub enum TaskKey<'a> {
    /// Its number.
    Id(TaskId),
    /// The id that its caller chose.
    Chosen(&'a str),
}

impl From<TaskId> for TaskKey<'_> {
    fn from(id: TaskId) -> Self {
        Self::Id(id)
    }
}

impl<'a> From<&'a str> for TaskKey<'a> {
    fn from(id: &'a str) -> Self {
        Self::Chosen(id)
    }
}

/// The functions of a worker program.
#[derive(Clone, Debug)]
pub struct Functions(Vec<FunctionInfo>);

impl Functions {
    /// One after another, by their full paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &FunctionInfo> {
        self.0.iter()
    }
}

impl From<PoolId> for Pool {
    fn from(pool: PoolId) -> Self {
        match pool {
            PoolId::Threads => Self::Threads,
            PoolId::Processes => Self::Processes,
            PoolId::Loops => Self::Loops,
        }
    }
}

impl From<Pool> for PoolId {
    fn from(pool: Pool) -> Self {
        match pool {
            Pool::Threads => Self::Threads,
            Pool::Processes => Self::Processes,
            Pool::Loops => Self::Loops,
        }
    }
}

/// What the core tells of a task, taken out of its lock.
struct View {
    id: TaskId,
    /// How many there are, with the numbers from this on.
    calls: u32,
    cell: Arc<TaskCell>,
    pool: PoolId,
    class: Priority,
    state: TaskState,
    queued_from: Time,
    begun_at: Option<Time>,
    attempts: u32,
    worker: Option<WorkerId>,
    /// Of an attempt that has begun.
    ticket: Option<Ticket>,
    /// How many of its calls have begun, if the core knows that any has, and how many of these have ended.
    begun: u32,
    ended: u32,
}

impl View {
    fn of(driven: &Driven, task: core::TaskInfo<'_, Arc<TaskCell>>) -> Self {
        let open = if task.payload.is_pack {
            task.payload.with_pack(|slice| slice.missing()).unwrap_or(0)
        } else {
            task.calls
        };
        let ended = task.calls - open;
        Self {
            begun: driven.begun_calls(&task).max(ended),
            ended,
            id: task.id,
            calls: task.calls,
            cell: Arc::clone(task.payload),
            pool: task.pool,
            class: task.class,
            state: task.state,
            queued_from: task.queued_from,
            begun_at: task.begun_at,
            attempts: task.attempts,
            worker: task.worker,
            ticket: task.ticket,
        }
    }

    /// The numbers of its calls that have not ended.
    fn open_calls(&self) -> impl Iterator<Item = TaskId> {
        let open = self.ended..self.calls;
        open.map(|call| TaskId { number: self.id.number + u64::from(call), ..self.id })
    }

    /// Where a call was when it was last asked.
    fn stack(&self, call: TaskId, executor: &Executor) -> Option<Stack> {
        executor.stack(self.worker?, self.ticket_of(call)?, &self.cell.name.function)
    }

    /// Of an attempt at a call that has begun.
    fn ticket_of(&self, call: TaskId) -> Option<Ticket> {
        let behind = call.number - self.id.number;
        self.ticket.filter(|_| behind < self.begun.into()).map(|it| Ticket { task: call, ..it })
    }

    /// How far the attempt that runs has come.
    fn progress(&self, call: TaskId, executor: &Executor) -> Option<Progress> {
        let ticket = self.ticket_of(call)?;
        match self.worker {
            Some(worker) => executor.progress(worker, ticket),
            None => self.cell.said.progress(ticket.attempt),
        }
    }
}

impl Shared {
    pub(crate) fn info(&self) -> SupervisorInfo {
        let core = self.core.lock();
        let pool = |id| {
            let view = core.info(id);
            let queued: usize = view.waiting.iter().sum();
            PoolInfo {
                limits: view.limits,
                busy: view.busy,
                running: view.unresolved - queued - view.delayed,
                queued: view.waiting,
                delayed: view.delayed,
                held_back: view.held_back,
            }
        };
        let [threads, mut processes, loops] = PoolId::ALL.map(pool);
        let workers: Vec<_> = core
            .workers()
            .map(|(worker, first)| {
                let first = first.and_then(|first| core.task(first));
                (worker, first.map(|first| processes.look_into(&View::of(&core, first))))
            })
            .collect();
        drop(core);
        SupervisorInfo {
            name: self.settings.name.clone(),
            threads,
            processes,
            loops,
            thread_count: self.threads.get().map_or(0, ThreadPool::threads),
            workers: workers
                .into_iter()
                .map(|(worker, task)| WorkerInfo {
                    number: worker.0,
                    pid: self.executor.pid(worker),
                    task,
                })
                .collect(),
            schedulers: self.schedulers.names(),
            background_workers: self.background.info(),
            ended: self.counters.totals(),
        }
    }

    pub(crate) fn tasks(&self) -> Vec<TaskInfo> {
        let core = self.core.lock();
        let now = self.timer.now();
        let mut views: Vec<_> = core.tasks().map(|task| View::of(&core, task)).collect();
        drop(core);
        views.sort_unstable_by_key(|view| view.id);
        let calls = views.iter().flat_map(|view| view.open_calls().map(move |id| (view, id)));
        calls.map(|(view, id)| self.describe(view, id, now)).collect()
    }

    pub(crate) fn task_info(&self, task: TaskId) -> Option<TaskInfo> {
        let (view, now) = self.view(task)?;
        let is_open = task.number - view.id.number >= view.ended.into();
        is_open.then(|| self.describe(&view, task, now))
    }

    /// Of the task, or of all calls of the pack that it is in.
    pub(crate) fn infos_of(&self, task: TaskId) -> Vec<TaskInfo> {
        let Some((view, now)) = self.view(task) else { return Vec::new() };
        view.open_calls().map(|id| self.describe(&view, id, now)).collect()
    }

    fn view(&self, task: TaskId) -> Option<(View, Time)> {
        let core = self.core.lock();
        let now = self.timer.now();
        Some((View::of(&core, core.task(task)?), now))
    }

    pub(crate) fn find_task(&self, key: TaskKey<'_>) -> Option<TaskInfo> {
        self.id_of(key).and_then(|task| self.task_info(task))
    }

    pub(crate) fn cancel_by_key(&self, key: TaskKey<'_>) -> bool {
        !is_forked_child() && self.id_of(key).is_some_and(|task| self.cancel_task(task))
    }

    fn id_of(&self, key: TaskKey<'_>) -> Option<TaskId> {
        match key {
            TaskKey::Id(task) => Some(task),
            TaskKey::Chosen(id) => self.chosen.lock().get(id).copied(),
        }
    }

    fn describe(&self, view: &View, id: TaskId, now: Time) -> TaskInfo {
        let ticket = view.ticket_of(id);
        let begun_at = view.begun_at.filter(|_| ticket.is_some());
        let waited_until = begun_at.unwrap_or(now);
        let ended = Ended {
            status: match view.state {
                TaskState::Queued | TaskState::Staged => TaskStatus::Queued,
                TaskState::Delayed => TaskStatus::Delayed,
                TaskState::Running | TaskState::Ending if ticket.is_none() => TaskStatus::Queued,
                TaskState::Running | TaskState::Ending => TaskStatus::Running,
            },
            priority: view.class,
            pool: view.pool.into(),
            attempts: if view.cell.is_pack { begun_at.is_some().into() } else { view.attempts },
            queued: waited_until.since(view.queued_from),
            ran: begun_at.map_or(Duration::ZERO, |begun| now.since(begun)),
            pid: view.worker.and_then(|worker| self.executor.pid(worker)),
            returned_error: None,
        };
        let progress = view.progress(id, &self.executor);
        let stack = view.stack(id, &self.executor);
        TaskInfo { progress, stack, ..ended.into_info(id, &view.cell.name) }
    }

    /// End a task as cancelled, if nothing else has ended it.
    pub(crate) fn cancel_task(&self, task: TaskId) -> bool {
        let cell = {
            let core = self.core.lock();
            core.task(task).map(|view| Arc::clone(view.payload))
        };
        let Some(cell) = cell else { return false };
        if cell.is_pack {
            return self.cancel_in_pack(task);
        }
        match self.drive(|core, now, effects| core.on_cancelled(now, task, effects)) {
            Cancel::TooLate => false,
            Cancel::Resolved => true,
            // Whatever had to be settled was settled while the effects were performed, here or in the thread
            // that had begun to settle it first.
            Cancel::InProgress => {
                cell.ended().is_some_and(|ended| ended.status == TaskStatus::Cancelled)
            }
        }
    }

    pub(crate) fn functions(&self) -> Result<Functions, SubmitError> {
        if is_forked_child() {
            return Err(SubmitError::Forked);
        }
        let this = self.this.upgrade().filter(|this| !this.is_stopping());
        let Some(this) = this else {
            return Err(SubmitError::Stopped);
        };
        if matches!(&self.executor, Executor::Workers(_)) {
            self.executor.start(&this).map_err(|error| self.refusal(error))?;
        }
        Ok(Functions(match self.executor.catalogue() {
            Some(catalogue) => Catalogue::functions(catalogue).to_vec(),
            None => registry::catalogue(),
        }))
    }

    pub(crate) fn resize(&self, pool: Pool, limits: Limits) -> Result<(), StartError> {
        if pool == Pool::Processes && limits.pool_size == 0 {
            let text = "a process pool needs a pool size of at least 1";
            return Err(StartError::Config(text.to_owned()));
        }
        if pool == Pool::Processes && matches!(self.executor, Executor::Workers(_)) {
            check_workers(limits.places()).map_err(StartError::Config)?;
        }
        say!(debug, target: "atasker::supervisor", ?pool, ?limits, "resized");
        self.drive(|core, now, effects| core.on_resized(now, pool.into(), limits, effects));
        Ok(())
    }

    pub(crate) fn failure_reason(&self) -> String {
        self.executor.failure_reason()
    }

    pub(crate) fn on_pool_failed(&self) {
        say!(error, target: "atasker::supervisor", reason = self.failure_reason(), "no workers");
        self.executor.on_pool_failed();
    }
}
