//! The public face: a [`Supervisor`] takes calls, and drives the core from whichever thread has an event.
//!
//! Read `shared` first (what the threads share, and how an event is told to the core), then `submit`,
//! `perform` (the core's effects), `run` (an attempt on a thread) and `executor` (where process tasks run).

pub(crate) mod builder;
pub(crate) mod callbacks;
pub(crate) mod cancel;
pub(crate) mod context;
mod crash;
pub(crate) mod default;
pub(crate) mod driven;
pub(crate) mod error;
pub(crate) mod executor;
mod exits;
pub(crate) mod external;
mod gather;
pub(crate) mod info;
mod looks;
#[cfg(feature = "async")]
pub(crate) mod loops;
pub(crate) mod map;
mod memory;
mod owner;
mod paces;
pub(crate) mod patience;
mod perform;
mod poison;
pub(crate) mod receive;
pub(crate) mod run;
pub(crate) mod schedulers;
pub(crate) mod shared;
mod space;
pub(crate) mod stop;
pub(crate) mod submit;
pub(crate) mod timer;
pub(crate) mod turns;
mod worker_limits;
mod worker_settings;

use std::sync::Arc;

use self::builder::SupervisorBuilder;
use self::external::Completer;
use self::info::{Functions, SupervisorInfo, TaskKey};
use self::map::{Map, MapStream, MapUnordered};
use self::schedulers::{Scheduler, SchedulerError};
use self::shared::Shared;
use self::stop::Stop;
use crate::task::call::Call;
use crate::task::error::{SubmitError, TrySubmitError};
use crate::task::handle::TaskHandle;
use crate::task::info::{Pool, TaskInfo};
use crate::task::options::Limits;

/// Admits tasks by priority and runs them: in worker processes, on threads.
///
/// Several may live in one program, each with pools of its own. Dropping one cancels what is queued and kills
/// its worker processes; [`stop`](Self::stop) is the polite way.
///
/// In a process that is forked from this one, submitting and waiting are errors, and dropping does nothing.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{Limits, Stop, Supervisor};
/// let supervisor = Supervisor::builder().threads(Limits::new(8)).start()?;
/// let text = supervisor.spawn_blocking(|| std::fs::read_to_string("Cargo.toml"))?.wait()??;
/// assert!(text.contains("[package]"));
/// supervisor.stop(Stop::Drain);
/// # Ok(()) }
/// ```
pub struct Supervisor {
    pub(crate) shared: Arc<Shared>,
}

impl Supervisor {
    /// Settings for a new supervisor.
    pub fn builder() -> SupervisorBuilder {
        SupervisorBuilder::default()
    }

    /// Submit a call. Waits for a place if the pool's queue is bounded and full.
    ///
    /// The first process task of a supervisor that was started without [`processes`](SupervisorBuilder::processes) starts
    /// that pool, and waits here until a worker is ready, at most twice the
    /// [`start_timeout`](SupervisorBuilder::start_timeout).
    ///
    /// Quick calls of one function, without options but a priority, that are submitted by dozens while nobody waits, travel
    /// together as in [`map`](Self::map). It takes the same as there, and delays none by more than about a millisecond; each has its
    /// own handle, number and end. As long as one of these handles is kept, so is what the others returned and nobody has taken.
    ///
    /// # Errors
    /// See [`SubmitError`]; nothing has run then. Where waiting could be for ever, in a callback or in a task
    /// of the same pool, a full queue is an error too.
    ///
    /// ```no_run
    /// # #[atasker::task] fn area(width: u32, height: u32) -> u32 { width * height }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let task = supervisor.submit(area::call(3, 4))?;
    /// assert_eq!(task.wait()?, 12);
    /// # Ok(()) }
    /// ```
    pub fn submit<T>(&self, call: Call<T>) -> Result<TaskHandle<T>, SubmitError> {
        self.shared.submit(call)
    }

    /// Submit a call if its pool's queue has a place; otherwise the call comes back. Waits, as [`submit`](Self::submit)
    /// does, only while it starts the process pool.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Call, Limits, Supervisor, TrySubmitError};
    /// let supervisor =
    ///     Supervisor::builder().threads(Limits::new(1)).queue_bound(1).start()?;
    /// let (hold, held) = std::sync::mpsc::channel::<()>();
    /// let running = supervisor.spawn_blocking(move || held.recv().is_ok())?;
    /// let waiting = supervisor.spawn_blocking(|| ())?;
    /// let Err(TrySubmitError::QueueFull(call)) = supervisor.try_submit(Call::closure(|| 3)) else {
    ///     panic!("one runs and one waits");
    /// };
    /// drop(hold);
    /// assert_eq!(supervisor.submit(call)?.wait()?, 3);
    /// # drop((running, waiting));
    /// # Ok(()) }
    /// ```
    #[expect(clippy::result_large_err, reason = "the error gives the call back, as it was")]
    pub fn try_submit<T>(&self, call: Call<T>) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        self.shared.try_submit(call).map_err(Into::into)
    }

    /// Submit a call, waiting for a place in a bounded queue without blocking the thread.
    ///
    /// The call is submitted when the future is polled; dropping it before it is ready submits nothing. Where that starts
    /// the process pool it does block, as [`submit`](Self::submit) says: in async code, start it with
    /// [`processes`](SupervisorBuilder::processes) beforehand.
    pub async fn submit_async<T>(&self, call: Call<T>) -> Result<TaskHandle<T>, SubmitError> {
        self.shared.submit_async(call).await
    }

    /// Run a closure on the thread pool. For options, submit a [`Call::closure`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let words = supervisor.spawn_blocking(|| "a b c".split(' ').count())?;
    /// assert_eq!(words.wait()?, 3);
    /// # Ok(()) }
    /// ```
    pub fn spawn_blocking<T, F>(&self, closure: F) -> Result<TaskHandle<T>, SubmitError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.submit(Call::closure(closure))
    }

    /// A task that is started here and ends elsewhere.
    ///
    /// When it is admitted to the thread pool, `start` is called there with a [`Completer`]. The task holds
    /// its place until the completer gives the value, also long after `start` has returned. A completer that
    /// is dropped cancels the task.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let task = supervisor.external_task("device", |completer| {
    ///     std::thread::spawn(move || completer.complete(42));
    /// })?;
    /// assert_eq!(task.wait()?, 42);
    /// # Ok(()) }
    /// ```
    pub fn external_task<T, F>(&self, name: &str, start: F) -> Result<TaskHandle<T>, SubmitError>
    where
        T: Send + 'static,
        F: FnOnce(Completer<T>) + Send + 'static,
    {
        self.submit(Call::external(name, external::starter(start)))
    }

    /// Submit calls as they are needed; their results in the order of the calls.
    ///
    /// Small calls of one function travel together, see [`Map`]. That needs rings, and no
    /// [`queue_bound`](SupervisorBuilder::queue_bound), `recycle_after_tasks(1)`, `recycle_on_panic`
    /// or `crash_limit(1)`.
    ///
    /// Lazy: what runs, what waits and what has ended but was not read is bounded by the window
    /// ([`Map::window`]), and nothing is submitted before the first result is asked for. Up to a window of calls
    /// are taken from the source before a result is given; from a source that waits for something, take them
    /// yourself and [`submit`](Self::submit) them, or say a window of few.
    ///
    /// A call that can't be submitted is an error in its place. Dropping the iterator cancels what has not
    /// ended.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::Call;
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let squares = supervisor.map((0..4).map(|n| Call::closure(move || n * n)));
    /// assert_eq!(squares.collect::<Result<Vec<i32>, _>>()?, [0, 1, 4, 9]);
    /// # Ok(()) }
    /// ```
    pub fn map<T, I>(&self, calls: I) -> Map<'_, I::IntoIter, T>
    where
        I: IntoIterator<Item = Call<T>>,
    {
        Map::new(&self.shared, calls.into_iter())
    }

    /// Like [`map`](Self::map), but each result as soon as it is there, with its index; and each call is a task
    /// of its own, however small.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::Call;
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// for done in supervisor.map_unordered((0..4).map(|n| Call::closure(move || n * n))) {
    ///     assert_eq!(done.result?, (done.index * done.index) as i32);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn map_unordered<T, I>(&self, calls: I) -> MapUnordered<'_, I::IntoIter, T>
    where
        I: IntoIterator<Item = Call<T>>,
    {
        MapUnordered::new(&self.shared, calls.into_iter())
    }

    /// Like [`map`](Self::map), as a `Stream` for any async runtime; each call is a task of its own, however
    /// small.
    pub fn map_stream<T, I>(&self, calls: I) -> MapStream<I::IntoIter, T>
    where
        I: IntoIterator<Item = Call<T>>,
    {
        MapStream::new(&self.shared, calls.into_iter())
    }

    /// How the supervisor and its pools stand.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// assert_eq!(supervisor.info().threads.running, 0);
    /// # Ok(()) }
    /// ```
    pub fn info(&self) -> SupervisorInfo {
        self.shared.info()
    }

    /// Every task that has not ended, in the order of submission.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.shared.tasks()
    }

    /// One task that has not ended, by its [`TaskId`](crate::TaskId) or by the id that its caller chose.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::Call;
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let (hold, held) = std::sync::mpsc::channel::<()>();
    /// let call = Call::closure(move || held.recv().is_ok()).id("nightly");
    /// let task = supervisor.submit(call)?;
    /// assert_eq!(supervisor.task("nightly").map(|info| info.id), Some(task.id()));
    /// drop(hold);
    /// task.wait()?;
    /// assert!(supervisor.task("nightly").is_none());
    /// # Ok(()) }
    /// ```
    pub fn task<'k>(&self, task: impl Into<TaskKey<'k>>) -> Option<TaskInfo> {
        self.shared.find_task(task.into())
    }

    /// End a task as cancelled, by its [`TaskId`](crate::TaskId) or by the id that its caller chose: what
    /// [`TaskHandle::cancel`] does, for those who do not have the handle, say because a thread waits in it.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::Call;
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let (hold, held) = std::sync::mpsc::channel::<()>();
    /// let task = supervisor.submit(Call::closure(move || held.recv().is_ok()).id("nightly"))?;
    /// let waiter = std::thread::spawn(move || task.wait());
    /// assert!(supervisor.cancel("nightly"));
    /// # drop(hold);
    /// assert!(waiter.join().unwrap().is_err());
    /// # Ok(()) }
    /// ```
    pub fn cancel<'k>(&self, task: impl Into<TaskKey<'k>>) -> bool {
        self.shared.cancel_by_key(task.into())
    }

    /// The functions that can be called by name: those of the worker program.
    ///
    /// Starts the process pool if it has not been started, to ask a separate worker program.
    pub fn functions(&self) -> Result<Functions, SubmitError> {
        self.shared.functions()
    }

    /// Change a pool's limits while it runs. What runs goes on, also when there is no place for it any
    /// more; worker processes are started or retired accordingly.
    ///
    /// # Errors
    /// [`StartError::Config`](crate::StartError::Config) if the process pool's size would be zero.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Limits, Pool};
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// supervisor.resize(Pool::Threads, Limits::new(2))?;
    /// assert_eq!(supervisor.info().threads.limits.places(), 2);
    /// # Ok(()) }
    /// ```
    pub fn resize(&self, pool: Pool, limits: Limits) -> Result<(), crate::StartError> {
        self.shared.resize(pool, limits)
    }

    /// Keep at least this many idle threads from now on.
    pub fn set_min_threads(&self, threads: u32) {
        if let Some(pool) = self.shared.threads.get() {
            pool.set_min(threads as usize);
        }
    }

    /// Start a [`Scheduler`] of your own, and stop it with this supervisor: before anything else is stopped, the one
    /// that was registered last first.
    ///
    /// # Errors
    /// There is one of that name, it did not start, or the supervisor is stopping. It is not registered then.
    pub fn register_scheduler(
        &self,
        name: impl Into<String>,
        scheduler: impl Scheduler + 'static,
    ) -> Result<(), SchedulerError> {
        self.shared.schedulers.register(name.into(), Arc::new(scheduler))
    }

    /// Let go of a scheduler without stopping it: one that has ended by itself, or is to go on when the supervisor
    /// stops.
    pub fn unregister_scheduler(&self, name: &str) -> Option<Arc<dyn Scheduler>> {
        self.shared.schedulers.unregister(name)
    }

    /// Stop, and wait for it. [Schedulers](Self::register_scheduler) are stopped first; after that no call is
    /// accepted. What becomes of the tasks is said by `how`.
    ///
    /// May be called again with a harder [`Stop`] while another thread waits in a softer one. In a callback
    /// or a task of this supervisor it only begins the stop and returns at once. Callbacks that are due are waited for; after
    /// [`Stop::KillNow`] and [`Stop::DrainFor`] for a second at most.
    pub fn stop(&self, how: Stop) {
        self.shared.stop(how);
    }

    /// Wait until somebody has stopped this supervisor.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Stop, Supervisor};
    /// let supervisor = std::sync::Arc::new(Supervisor::builder().start()?);
    /// let other = supervisor.clone();
    /// let stopper = std::thread::spawn(move || other.stop(Stop::Drain));
    /// supervisor.join();
    /// # stopper.join().unwrap();
    /// # Ok(()) }
    /// ```
    pub fn join(&self) {
        self.shared.join();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if crate::sys::fork::is_forked_child() {
            // None of its threads and processes is this process's to end, and a lock may be held for ever.
            std::mem::forget(Arc::clone(&self.shared));
            return;
        }
        self.shared.on_supervisor_dropped();
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor")
            .field("name", &self.shared.settings.name)
            .finish_non_exhaustive()
    }
}
