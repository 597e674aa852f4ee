//! A loop: its handle, its thread if it has one of its own, and its end.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Condvar, Weak};
use std::task::{Context, Poll, Waker};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use super::attempt::Attempt;
use super::error::LoopError;
use super::job::{AsyncJob, JobCore};
use super::jobs::{Added, Driver, Entry, Job, Jobs};
use super::schedule::Schedule;
use super::seat::Seat;
use crate::core::PoolId;
use crate::registry::panics;
use crate::say::say;
use crate::supervisor::context::{self, Place};
use crate::supervisor::shared::Shared;
use crate::sync::{GiveUp, Mutex, wait_on};
use crate::sys;
use crate::task::call::Call;
use crate::task::error::{SubmitError, TaskError};
use crate::task::handle::TaskHandle;
use crate::task::id::Ticket;

/// How long a stop waits for a future that was told to end and has not come to its next await.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the stop of a loop does with the tasks on it. Scheduled jobs end with every stop, and runs of theirs that go on
/// are dropped at their next await.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{LoopStop, Supervisor};
/// let supervisor = Supervisor::builder().start()?;
/// let devices = supervisor.create_loop("devices")?;
/// let reading = devices.spawn(async { 42 })?;
/// devices.stop(LoopStop::Wait);
/// assert_eq!(reading.wait()?, 42);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopStop {
    /// Every task that was accepted runs to its end, those that wait for a place or a delay too.
    Wait,
    /// The same, for at most this long; then like [`Cancel`](Self::Cancel).
    WaitFor(Duration),
    /// Every task is cancelled, and its future dropped at its next await. The stop waits a second for one that does
    /// not come to it.
    Cancel,
}

/// How far the end of a loop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    /// No more seats are given.
    Closing,
    /// The same, and whatever begins is aborted.
    Cancelling,
    /// Nothing runs any more.
    Ended,
}

/// A named loop of a supervisor, on which futures run: a thread with a single-threaded tokio runtime of its own, or a
/// tokio runtime of yours.
///
/// Made by [`Supervisor::create_loop`](crate::Supervisor::create_loop) and
/// [`wrap_loop`](crate::Supervisor::wrap_loop). A clone is another handle of the same loop. Dropping handles changes
/// nothing; a loop lives until it or its supervisor is stopped.
///
/// A future of the loop that blocks its thread holds up all others there: blocking work belongs on the thread pool.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::Supervisor;
/// let supervisor = Supervisor::builder().start()?;
/// let devices = supervisor.create_loop("devices")?;
/// let name = devices.run(async { std::thread::current().name().map(str::to_owned) })??;
/// assert_eq!(name.as_deref(), Some("devices"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AsyncLoop(Arc<Inner>);

struct Inner {
    name: String,
    owner: Weak<Shared>,
    runtime: Handle,
    /// The thread that runs it, if it has one of its own.
    own: Option<ThreadId>,
    state: Mutex<State>,
    /// It has ended, or those who wait for that are to give up.
    changed: Condvar,
    jobs: Jobs,
    /// Its own thread, until somebody joins it.
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    phase: Phase,
    seats: usize,
    /// That of its own thread.
    waker: Option<Waker>,
    /// When what was cancelled is not waited for any more.
    given_up: GiveUp,
}

impl AsyncLoop {
    /// A loop with a thread and a runtime of its own.
    pub(crate) fn start(name: &str, owner: Weak<Shared>) -> Result<Self, LoopError> {
        let failed = |error: std::io::Error| LoopError::NotStarted {
            name: name.to_owned(),
            reason: error.to_string(),
        };
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let own_name = name.to_owned();
        // The runtime is made, and dropped, by its thread: not every thread may drop one.
        let body = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let here = Some(std::thread::current().id());
                let aloop = Self::new(&own_name, owner, runtime.handle().clone(), here);
                if tell.send(Ok(aloop.clone())).is_ok() {
                    aloop.work(runtime);
                }
            }
            Err(error) => _ = tell.send(Err(error)),
        };
        // A name with a zero byte is none for a thread.
        let thread = std::thread::Builder::new().name(name.replace('\0', ""));
        let thread = thread.spawn(body).map_err(failed)?;
        // If the thread has said nothing, it has panicked: tokio does for want of a descriptor.
        let unmade = || std::io::Error::other("the runtime panicked while it was made");
        let aloop = told.recv().unwrap_or_else(|_| Err(unmade())).map_err(failed)?;
        *aloop.0.thread.lock() = Some(thread);
        Ok(aloop)
    }

    /// A loop on a runtime that somebody else looks after.
    pub(crate) fn wrap(name: &str, owner: Weak<Shared>, runtime: Handle) -> Self {
        Self::new(name, owner, runtime, None)
    }

    fn new(name: &str, owner: Weak<Shared>, runtime: Handle, own: Option<ThreadId>) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            owner,
            runtime,
            own,
            state: Mutex::new(State {
                phase: Phase::Open,
                seats: 0,
                waker: None,
                given_up: GiveUp::default(),
            }),
            changed: Condvar::new(),
            jobs: Jobs::default(),
            thread: Mutex::new(None),
        }))
    }

    /// The loop's name, which is also that of its thread.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it takes tasks: it has not been stopped, nor has its supervisor.
    pub fn is_active(&self) -> bool {
        self.0.state.lock().phase == Phase::Open
    }

    /// Run a future on this loop, as a task of the supervisor. For options, submit a [`Call::future`] with
    /// [`on_loop`](Call::on_loop).
    ///
    /// # Errors
    /// As [`Supervisor::submit`](crate::Supervisor::submit); also if the loop has been stopped.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let devices = supervisor.create_loop("devices")?;
    /// let reading = devices.spawn(async { 6 * 7 })?;
    /// assert_eq!(reading.wait()?, 42);
    /// # Ok(()) }
    /// ```
    pub fn spawn<F>(&self, future: F) -> Result<TaskHandle<F::Output>, SubmitError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let owner = self.0.owner.upgrade().ok_or(SubmitError::Stopped)?;
        owner.submit(Call::future(future).on_loop(self))
    }

    /// Run a future on this loop, and block this thread until it has ended.
    ///
    /// # Errors
    /// The outer one as of [`spawn`](Self::spawn); also, as [`LoopError::WaitsForItself`], on the loop's own thread,
    /// and within the runtime that it wraps if that has one thread: there use `spawn` and `.await`.
    /// The inner one if the task gave no value.
    pub fn run<F>(&self, future: F) -> Result<Result<F::Output, TaskError>, SubmitError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        if self.would_wait_for_itself() {
            return Err(LoopError::WaitsForItself(self.0.name.clone()).into());
        }
        Ok(self.spawn(future)?.wait())
    }

    /// Have a job run on this loop again and again: `job` is called each time, and the future that it gives is run.
    ///
    /// Thousands of jobs on one loop are fine. They end when they are cancelled, after the number of runs that the
    /// schedule says, or with the loop.
    ///
    /// A schedule that has no time to come, as a cron expression for 30 February, is no error: its job is
    /// [inactive](AsyncJob::is_active) from the beginning. So is one on a runtime that has been shut down.
    ///
    /// # Errors
    /// A loop that has been stopped, or one that wraps a runtime without a timer.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::Schedule;
    /// use std::time::Duration;
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let devices = supervisor.create_loop("devices")?;
    /// let schedule = Schedule::every(Duration::from_secs(60)).first_after(Duration::ZERO);
    /// let job = devices.schedule(schedule, || async { println!("another minute") })?;
    /// # drop(job);
    /// # Ok(()) }
    /// ```
    pub fn schedule<M, F>(&self, schedule: Schedule, job: M) -> Result<AsyncJob, LoopError>
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        if sys::fork::is_forked_child() {
            return Err(LoopError::Forked);
        }
        let core = Arc::new(JobCore::new(job));
        let handle = AsyncJob { core: Arc::clone(&core), aloop: self.clone() };
        let Some((timetable, due)) = schedule.begin(tokio::time::Instant::now()) else {
            core.end();
            return Ok(handle);
        };
        match self.0.jobs.add(Entry { due, job: Box::new(Job { core, timetable }) }) {
            Added::Told => Ok(handle),
            Added::First => self.start_jobs().map(|()| handle),
            Added::Closed => Err(LoopError::Stopped(self.0.name.clone())),
        }
    }

    /// Stop the loop, and wait for it. It takes no more tasks from now on; what becomes of those that it has is said
    /// by `how`. Its name is free again.
    ///
    /// A loop's own thread ends, and with it everything else that was spawned in its runtime. A runtime that was
    /// wrapped goes on, without the tasks and jobs of this loop. May be called again with a harder
    /// [`LoopStop`] while another thread waits in a softer one. Within the loop itself it only begins the stop and
    /// returns at once.
    pub fn stop(&self, how: LoopStop) {
        if sys::fork::is_forked_child() {
            return;
        }
        let cancels = how == LoopStop::Cancel;
        self.close(if cancels { Phase::Cancelling } else { Phase::Closing });
        if self.would_wait_for_itself() {
            if let LoopStop::WaitFor(patience) = how {
                self.cancel_after(patience);
            }
            return;
        }
        match how {
            LoopStop::Wait => _ = self.wait_ended(None),
            LoopStop::WaitFor(patience) => {
                if !self.wait_ended(Some(patience)) {
                    self.close(Phase::Cancelling);
                    self.wait_ended(Some(PATIENCE));
                }
            }
            LoopStop::Cancel => _ = self.wait_ended(Some(PATIENCE)),
        }
    }

    /// Cancel what there is then, which nobody waits for.
    fn cancel_after(&self, patience: Duration) {
        let it = self.clone();
        let thread =
            std::thread::Builder::new().name(format!("{}-stop", self.0.name.replace('\0', "")));
        let spawned = thread.spawn(move || {
            if !it.wait_ended(Some(patience)) {
                it.close(Phase::Cancelling);
            }
        });
        if let Err(error) = spawned {
            say!(error, target: "atasker::loops", %error, "no thread to cancel what does not end");
        }
    }

    /// Begin to end.
    pub(crate) fn close(&self, phase: Phase) {
        let mut state = self.0.state.lock();
        if state.phase >= phase {
            return;
        }
        state.phase = phase;
        if phase == Phase::Cancelling {
            state.given_up.after(PATIENCE);
            self.0.changed.notify_all();
        }
        self.end_if_empty(state);
        say!(debug, target: "atasker::loops", name = self.0.name, ?phase, "stopping");
        self.0.jobs.close();
        if let Some(owner) = self.0.owner.upgrade() {
            owner.on_loop_closing(self);
            if phase == Phase::Cancelling {
                owner.cancel_tasks_on(self);
            }
        }
    }

    /// Wait until nothing runs on it any more, at most so long, and no longer than is waited for what was cancelled.
    pub(crate) fn wait_ended(&self, timeout: Option<Duration>) -> bool {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.0.state.lock();
        while state.phase != Phase::Ended {
            let left = state.given_up.left(deadline);
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            state = wait_on(&self.0.changed, state, left);
        }
        drop(state);
        let thread = self.0.thread.lock().take();
        // It has nothing left to do but to return.
        thread.is_none_or(|thread| thread.join().is_ok())
    }

    /// Whether to wait here for something on this loop would be to wait for ever.
    pub(crate) fn would_wait_for_itself(&self) -> bool {
        let inside = || Handle::try_current().is_ok_and(|it| it.id() == self.0.runtime.id());
        // In a task of it, that one at least.
        let in_a_task = || {
            let here = context::place_of(self.0.owner.as_ptr().addr());
            here == Some(Place::Task(PoolId::Loops))
        };
        self.0.own == Some(std::thread::current().id())
            || (inside() && (self.0.runtime.metrics().num_workers() == 1 || in_a_task()))
    }

    /// Whether nothing runs on it any more, and nothing will.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.state.lock().phase == Phase::Ended
    }

    pub(crate) fn is_of(&self, owner: &Shared) -> bool {
        std::ptr::eq(self.0.owner.as_ptr(), owner)
    }

    /// Whether the tasks on it are being cancelled.
    pub(crate) fn is_cancelling(&self) -> bool {
        self.0.state.lock().phase >= Phase::Cancelling
    }

    /// A place for a task that is about to be submitted.
    pub(crate) fn take_seat(&self) -> Result<Arc<Seat>, LoopError> {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Open {
            return Err(LoopError::Stopped(self.0.name.clone()));
        }
        state.seats += 1;
        drop(state);
        Ok(Seat::new(self.clone()))
    }

    pub(super) fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    fn start_jobs(&self) -> Result<(), LoopError> {
        let driver = self.take_seat().and_then(|seat| {
            // In a runtime without a timer this panics.
            let timer = panics::catch(|| {
                let _within = self.0.runtime.enter();
                Box::pin(tokio::time::sleep(Duration::ZERO))
            });
            let timer = timer.map_err(|_| LoopError::NoTimer(self.0.name.clone()))?;
            Ok(Driver::new(seat, timer))
        });
        match driver {
            Ok(driver) => _ = self.0.runtime.spawn(driver),
            Err(error) => {
                self.0.jobs.on_no_driver();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Of what runs on it.
    pub(super) fn context(&self) -> context::Context {
        let owner = self.0.owner.as_ptr().addr();
        context::Context { owner, place: Place::Task(PoolId::Loops), task: None }
    }

    pub(super) fn on_seat_left(&self) {
        let mut state = self.0.state.lock();
        state.seats -= 1;
        self.end_if_empty(state);
    }

    pub(super) fn spawn_attempt(&self, seat: &Seat, ticket: Ticket, attempt: Attempt) {
        let handle = self.0.runtime.spawn(attempt).abort_handle();
        seat.on_spawned(ticket.attempt, handle);
    }

    fn end_if_empty(&self, mut state: std::sync::MutexGuard<'_, State>) {
        if state.phase == Phase::Open || state.seats > 0 {
            return;
        }
        if self.0.own.is_some() {
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        } else {
            state.phase = Phase::Ended;
            drop(state);
            self.0.changed.notify_all();
        }
    }

    /// The body of the loop's own thread.
    fn work(self, runtime: Runtime) {
        // Whatever happens, nobody waits for this thread in vain.
        struct Ends(AsyncLoop);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.0.state.lock().phase = Phase::Ended;
                self.0.0.changed.notify_all();
            }
        }
        let ends = Ends(self);
        runtime.block_on(poll_fn(|context| ends.0.poll_end(context)));
        // What else was spawned here is dropped by this; what blocks in threads of the runtime is not waited for.
        runtime.shutdown_background();
    }

    fn poll_end(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        if state.phase >= Phase::Closing && state.seats == 0 {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Two handles are equal if they are of the same loop.
impl PartialEq for AsyncLoop {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AsyncLoop {}

impl fmt::Debug for AsyncLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncLoop")
            .field("name", &self.0.name)
            .field("active", &self.is_active())
            .finish_non_exhaustive()
    }
}
