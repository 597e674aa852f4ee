//! The loops of a supervisor: their names, the default one, and the tasks on them.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::Supervisor;
use super::shared::{Shared, ThreadItem};
use crate::async_loop::{AsyncLoop, LoopError, Phase};
use crate::registry::panics;
use crate::say::say;
use crate::sync::Mutex;
use crate::sys;
use crate::task::call::Call;
use crate::task::cell::{TaskCell, Work};
use crate::task::current::Here;
use crate::task::error::SubmitError;
use crate::task::handle::TaskHandle;
use crate::task::id::TaskId;
use crate::task::options::Wanted;

/// A name that no loop may have.
const RESERVED: &str = "__supervisor__";
/// That of the loop which is made when none is said to be the default.
const DEFAULT: &str = "default";

/// The loops that have not been stopped.
#[derive(Default)]
pub(crate) struct Loops(Mutex<State>);

#[derive(Default)]
struct State {
    /// In the order of their creation.
    all: Vec<AsyncLoop>,
    /// Those that have been stopped and have not ended, as far as known.
    ending: Vec<AsyncLoop>,
    default: Option<AsyncLoop>,
    /// The supervisor has stopped.
    closed: bool,
}

impl State {
    fn find(&self, name: &str) -> Option<&AsyncLoop> {
        self.all.iter().find(|aloop| aloop.name() == name)
    }

    /// Add what `make` makes under this name.
    fn add(
        &mut self,
        name: &str,
        make: impl FnOnce() -> Result<AsyncLoop, LoopError>,
    ) -> Result<AsyncLoop, LoopError> {
        if sys::fork::is_forked_child() {
            return Err(LoopError::Forked);
        }
        if self.closed {
            return Err(LoopError::SupervisorStopped);
        }
        if name == RESERVED {
            return Err(LoopError::Reserved(name.to_owned()));
        }
        if self.find(name).is_some() {
            return Err(LoopError::Duplicate(name.to_owned()));
        }
        let aloop = make()?;
        self.all.push(aloop.clone());
        Ok(aloop)
    }
}

/// Not under the lock: who hears it may ask about loops.
fn tell_started(name: &str) {
    say!(debug, target: "atasker::loops", name, "loop started");
}

impl Shared {
    fn create_loop(&self, name: &str) -> Result<AsyncLoop, LoopError> {
        let start = || AsyncLoop::start(name, self.this.clone());
        let aloop = self.loops.0.lock().add(name, start)?;
        tell_started(name);
        Ok(aloop)
    }

    pub(crate) fn default_loop(&self) -> Result<AsyncLoop, LoopError> {
        let mut loops = self.loops.0.lock();
        if let Some(aloop) = &loops.default {
            return Ok(aloop.clone());
        }
        let found = loops.find(DEFAULT).cloned();
        let is_new = found.is_none();
        let aloop = match found {
            Some(aloop) => aloop,
            None => loops.add(DEFAULT, || AsyncLoop::start(DEFAULT, self.this.clone()))?,
        };
        loops.default = Some(aloop.clone());
        drop(loops);
        if is_new {
            tell_started(DEFAULT);
        }
        Ok(aloop)
    }

    /// Its name is free from now on.
    pub(crate) fn on_loop_closing(&self, aloop: &AsyncLoop) {
        let mut loops = self.loops.0.lock();
        loops.all.retain(|other| other != aloop);
        loops.ending.retain(|other| other != aloop && !other.has_ended());
        loops.ending.push(aloop.clone());
        loops.default.take_if(|default| default == aloop);
        drop(loops);
        self.background.stop_on(aloop);
    }

    /// Give a future that is about to be submitted its place on its loop.
    pub(crate) fn take_seat(
        &self,
        name: &str,
        work: &mut Work,
        wanted: Option<&Wanted>,
    ) -> Result<(), LoopError> {
        let wanted = wanted.and_then(|wanted| wanted.on_loop.as_ref());
        let Work::Future(future) = work else {
            return match wanted {
                Some(_) => Err(LoopError::NotAFuture(name.to_owned())),
                None => Ok(()),
            };
        };
        let seat = match wanted {
            Some(aloop) if aloop.is_of(self) => aloop.take_seat()?,
            Some(aloop) => return Err(LoopError::Foreign(aloop.name().to_owned())),
            None => self.default_loop()?.take_seat()?,
        };
        future.set_seat(Some(seat));
        Ok(())
    }

    /// Begin an attempt that was admitted to a loop.
    pub(crate) fn run_on_loop(&self, item: ThreadItem) {
        match item.cell.take_work() {
            Work::Future(work) => {
                let name = &*item.cell.name.function;
                let task = item.ticket.task.number();
                // A subscriber that panics must not keep the future from being begun.
                let span = panics::catch(
                    || tracing::debug_span!(target: "atasker::task", "task", task, %name),
                );
                let span = span.unwrap_or_else(|_| tracing::Span::none());
                let ThreadItem { ticket, cell, .. } = item;
                work.start(self, Here { cell, ticket }, span);
            }
            // It was given up before it could be started.
            _ => self.on_future_ended(item.ticket, None, Duration::ZERO),
        }
    }

    /// Cancel whatever has not ended there.
    pub(crate) fn cancel_tasks_on(&self, aloop: &AsyncLoop) {
        let core = self.core.lock();
        let there = core.tasks().filter(|task| task.payload.aloop().as_ref() == Some(aloop));
        let there: Vec<TaskId> = there.map(|task| task.id).collect();
        drop(core);
        for task in there {
            self.cancel_task(task);
        }
    }

    /// A task that was accepted while all tasks of its loop were being cancelled may have been missed.
    pub(crate) fn on_accepted_for_loop(&self, cell: &TaskCell, task: TaskId) {
        if cell.aloop().is_some_and(|aloop| aloop.is_cancelling()) {
            self.cancel_task(task);
        }
    }

    /// Whether to wait here for all tasks would be to wait for ever.
    pub(crate) fn is_on_a_loop(&self) -> bool {
        let loops = self.loops.0.lock();
        let all = [loops.all.clone(), loops.ending.clone()];
        drop(loops);
        all.iter().flatten().any(AsyncLoop::would_wait_for_itself)
    }

    /// End every loop, and wait for that together at most so long.
    pub(crate) fn stop_loops(&self, patience: Duration) {
        let mut loops = self.loops.0.lock();
        loops.closed = true;
        let all = loops.all.clone();
        drop(loops);
        for aloop in &all {
            aloop.close(Phase::Cancelling);
        }
        let deadline = Instant::now() + patience;
        for aloop in all.iter().filter(|aloop| !aloop.would_wait_for_itself()) {
            aloop.wait_ended(Some(deadline.saturating_duration_since(Instant::now())));
        }
    }
}

/// Async loops.
impl Supervisor {
    /// Run a future on the default loop. For options, submit a [`Call::future`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let task = supervisor.spawn(async { 6 * 7 })?;
    /// assert_eq!(task.wait()?, 42);
    /// # Ok(()) }
    /// ```
    pub fn spawn<F>(&self, future: F) -> Result<TaskHandle<F::Output>, SubmitError>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.submit(Call::future(future))
    }

    /// A new loop: a thread of this name with a single-threaded tokio runtime of its own.
    ///
    /// # Errors
    /// See [`LoopError`]: a name that is taken or reserved (`__supervisor__`), a supervisor that has stopped, a
    /// system that gives no thread.
    pub fn create_loop(&self, name: impl AsRef<str>) -> Result<AsyncLoop, LoopError> {
        self.shared.create_loop(name.as_ref())
    }

    /// A loop on a tokio runtime that you have already. It must have its timer enabled for scheduled jobs.
    ///
    /// The runtime stays yours. When the loop or the supervisor stops, only the loop's futures end. Shut the runtime
    /// down after that: a task whose runtime is gone ends as cancelled, and the loop is stopped.
    ///
    /// # Errors
    /// As of [`create_loop`](Self::create_loop).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    /// let app = supervisor.wrap_loop("app", runtime.handle().clone())?;
    /// assert_eq!(app.spawn(async { 1 + 1 })?.wait()?, 2);
    /// # Ok(()) }
    /// ```
    pub fn wrap_loop(
        &self,
        name: impl AsRef<str>,
        runtime: Handle,
    ) -> Result<AsyncLoop, LoopError> {
        let (name, owner) = (name.as_ref(), self.shared.this.clone());
        let wrap = || Ok(AsyncLoop::wrap(name, owner, runtime));
        let aloop = self.shared.loops.0.lock().add(name, wrap)?;
        tell_started(name);
        Ok(aloop)
    }

    /// The loop of this name, unless it has been stopped.
    pub fn async_loop(&self, name: impl AsRef<str>) -> Option<AsyncLoop> {
        self.shared.loops.0.lock().find(name.as_ref()).cloned()
    }

    /// All loops that have not been stopped, in the order of their creation.
    pub fn async_loops(&self) -> Vec<AsyncLoop> {
        self.shared.loops.0.lock().all.clone()
    }

    /// The loop on which futures run that name none: the one that was [set](Self::set_default_loop), or else one
    /// called `default`, made on first use.
    ///
    /// # Errors
    /// As of [`create_loop`](Self::create_loop).
    pub fn default_loop(&self) -> Result<AsyncLoop, LoopError> {
        self.shared.default_loop()
    }

    /// Have futures that name no loop run on this one from now on.
    ///
    /// # Errors
    /// A loop that has been stopped, or is another supervisor's.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let supervisor = atasker::Supervisor::builder().start()?;
    /// let devices = supervisor.create_loop("devices")?;
    /// supervisor.set_default_loop(&devices)?;
    /// let name = supervisor.spawn(async { std::thread::current().name().map(str::to_owned) })?.wait()?;
    /// assert_eq!(name.as_deref(), Some("devices"));
    /// # Ok(()) }
    /// ```
    pub fn set_default_loop(&self, aloop: &AsyncLoop) -> Result<(), LoopError> {
        let mut loops = self.shared.loops.0.lock();
        if !aloop.is_of(&self.shared) {
            return Err(LoopError::Foreign(aloop.name().to_owned()));
        }
        if !loops.all.contains(aloop) {
            return Err(LoopError::Stopped(aloop.name().to_owned()));
        }
        loops.default = Some(aloop.clone());
        Ok(())
    }
}
