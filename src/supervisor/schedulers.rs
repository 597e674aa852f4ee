//! Schedulers of the user's own, which a supervisor starts and stops with itself.

use std::sync::{Arc, Condvar};
use std::time::Duration;

use super::context::{self, Context, Place};
use super::shared::Shared;
use super::stop::Stop;
use crate::registry::panics;
use crate::say::say;
use crate::sync::{GiveUp, Mutex, wait_on};
use crate::task::failure::{TaskFailure, TaskResult};

/// Something of your own that makes tasks, by a clock or on whatever occasion, and that is to begin and end with a
/// supervisor. See [`Supervisor::register_scheduler`](crate::Supervisor::register_scheduler).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{Scheduler, Stop, Supervisor, TaskResult};
/// use std::sync::{Arc, Mutex, Weak, mpsc};
/// use std::thread::JoinHandle;
///
/// /// Submits a task for each line that it is sent.
/// struct Lines {
///     supervisor: Weak<Supervisor>,
///     lines: Mutex<Option<mpsc::Receiver<String>>>,
///     thread: Mutex<Option<JoinHandle<()>>>,
/// }
///
/// impl Scheduler for Lines {
///     fn start(&self) -> TaskResult<()> {
///         let lines = self.lines.lock().unwrap().take().ok_or("it has run before")?;
///         let supervisor = self.supervisor.upgrade().ok_or("no supervisor")?;
///         *self.thread.lock().unwrap() = Some(std::thread::spawn(move || {
///             for line in lines {
///                 let _detached = supervisor.spawn_blocking(move || println!("{line}"));
///             }
///         }));
///         Ok(())
///     }
///
///     fn stop(&self, _how: Stop) -> TaskResult<()> {
///         let thread = self.thread.lock().unwrap().take();
///         thread.map_or(Ok(()), |thread| thread.join()).map_err(|_| "the thread panicked".into())
///     }
/// }
///
/// let supervisor = Arc::new(Supervisor::builder().start()?);
/// let (send, lines) = mpsc::channel();
/// supervisor.register_scheduler("lines", Lines {
///     supervisor: Arc::downgrade(&supervisor),
///     lines: Mutex::new(Some(lines)),
///     thread: Mutex::default(),
/// })?;
/// assert_eq!(supervisor.info().schedulers, ["lines"]);
/// send.send("hello".to_owned())?;
/// drop(send);
/// supervisor.stop(Stop::Drain);                    // the scheduler first, then what it submitted
/// # Ok(()) }
/// ```
pub trait Scheduler: Send + Sync {
    /// Begin, and return: what goes on runs on threads of its own. Called once, in the thread that registers it.
    ///
    /// # Errors
    /// An error, and a panic too, refuses the registration.
    fn start(&self) -> TaskResult<()>;

    /// End. Called at most once, when the supervisor stops, before it refuses calls: what is submitted until this
    /// returns belongs to what the stop drains, cancels or kills.
    ///
    /// `how` says how the supervisor stops. With [`Stop::Drain`] and [`Stop::CancelQueued`] it waits for this to
    /// return; with [`Stop::DrainFor`] for that long, with [`Stop::KillNow`] and when the supervisor is dropped
    /// for a second. Then it goes on without. Errors and panics are logged.
    fn stop(&self, how: Stop) -> TaskResult<()>;
}

impl<S: Scheduler + ?Sized> Scheduler for Arc<S> {
    fn start(&self) -> TaskResult<()> {
        (**self).start()
    }

    fn stop(&self, how: Stop) -> TaskResult<()> {
        (**self).stop(how)
    }
}

/// Why a scheduler was not registered.
///
/// ```
/// use atasker::{Scheduler, SchedulerError, Stop, Supervisor, TaskResult};
/// struct Broken;
/// impl Scheduler for Broken {
///     fn start(&self) -> TaskResult<()> { Err("no clock")? }
///     fn stop(&self, _how: Stop) -> TaskResult<()> { Ok(()) }
/// }
/// let supervisor = Supervisor::builder().start().unwrap();
/// let error = supervisor.register_scheduler("nightly", Broken).unwrap_err();
/// assert_eq!(error.to_string(), "the scheduler `nightly` did not start: no clock");
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// There is one of that name already.
    #[error("there is a scheduler `{0}` already")]
    DuplicateName(String),
    /// Its start failed or panicked.
    #[error("the scheduler `{name}` did not start: {failure:#}")]
    NotStarted {
        /// Its name.
        name: String,
        /// What its start returned, or what it panicked with.
        failure: TaskFailure,
    },
    /// The supervisor is stopping, or has stopped.
    #[error("the supervisor is stopping or has stopped")]
    Stopped,
}

/// The schedulers of one supervisor, in the order of their registration.
#[derive(Default)]
pub(crate) struct Schedulers {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    registered: Vec<Registered>,
    /// How the supervisor stops, once it does.
    stopping: Option<Stop>,
    /// How many are being stopped.
    ending: usize,
    /// When nobody waits for these any more.
    given_up: GiveUp,
}

struct Registered {
    name: String,
    /// Absent while it starts.
    scheduler: Option<Arc<dyn Scheduler>>,
}

impl Schedulers {
    /// Whether any would have to be stopped, or is being stopped.
    pub(crate) fn are_any(&self) -> bool {
        let state = self.state.lock();
        !state.registered.is_empty() || state.ending > 0
    }

    /// The names of those that have started.
    pub(crate) fn names(&self) -> Vec<String> {
        let state = self.state.lock();
        let started = state.registered.iter().filter(|one| one.scheduler.is_some());
        started.map(|one| one.name.clone()).collect()
    }

    pub(crate) fn register(
        &self,
        name: String,
        scheduler: Arc<dyn Scheduler>,
    ) -> Result<(), SchedulerError> {
        {
            let mut state = self.state.lock();
            if state.stopping.is_some() {
                return Err(SchedulerError::Stopped);
            }
            if state.registered.iter().any(|one| one.name == name) {
                return Err(SchedulerError::DuplicateName(name));
            }
            state.registered.push(Registered { name: name.clone(), scheduler: None });
        }
        let started = caught(|| scheduler.start());
        let mut state = self.state.lock();
        let place = state.registered.iter().position(|one| one.name == name);
        match (started, place) {
            (Ok(()), Some(place)) => {
                state.registered[place].scheduler = Some(scheduler);
                drop(state);
                say!(debug, target: "atasker::supervisor", %name, "a scheduler has started");
                Ok(())
            }
            (Ok(()), None) => {
                // The supervisor began to stop meanwhile.
                let how = state.stopping.unwrap_or(Stop::KillNow);
                drop(state);
                stop_one(&name, &*scheduler, how);
                Err(SchedulerError::Stopped)
            }
            (Err(failure), place) => {
                if let Some(place) = place {
                    state.registered.remove(place);
                }
                Err(SchedulerError::NotStarted { name, failure })
            }
        }
    }

    pub(crate) fn unregister(&self, name: &str) -> Option<Arc<dyn Scheduler>> {
        let mut state = self.state.lock();
        let registered = &mut state.registered;
        let place =
            registered.iter().position(|one| one.name == name && one.scheduler.is_some())?;
        registered.remove(place).scheduler
    }

    /// No more are taken. Those there are, the last one first.
    fn close(&self, how: Stop) -> Vec<(String, Arc<dyn Scheduler>)> {
        let mut state = self.state.lock();
        state.stopping = Some(how);
        let registered = std::mem::take(&mut state.registered).into_iter().rev();
        let started: Vec<_> =
            registered.filter_map(|one| Some((one.name, one.scheduler?))).collect();
        state.ending += started.len();
        started
    }

    /// Stop these, one after another.
    fn stop_all(&self, schedulers: Vec<(String, Arc<dyn Scheduler>)>, how: Stop) {
        for (name, scheduler) in schedulers {
            stop_one(&name, &*scheduler, how);
            panics::let_go(scheduler);
            self.state.lock().ending -= 1;
            self.changed.notify_all();
        }
    }

    /// Wait until all have stopped, at most for `patience`. Whoever waits already waits no longer than that, either.
    fn wait(&self, patience: Option<Duration>) {
        let mut state = self.state.lock();
        if let Some(patience) = patience {
            state.given_up.after(patience);
            self.changed.notify_all();
        }
        while state.ending > 0 {
            let left = state.given_up.left(None);
            if left.is_some_and(|left| left.is_zero()) {
                let schedulers = state.ending;
                drop(state);
                say!(warn, target: "atasker::supervisor", schedulers,
                    "going on without schedulers that do not stop");
                return;
            }
            state = wait_on(&self.changed, state, left);
        }
    }
}

impl Shared {
    /// Stop the schedulers, and wait for that at most `patience`.
    pub(crate) fn stop_schedulers(&self, how: Stop, patience: Option<Duration>) {
        let schedulers = self.schedulers.close(how);
        if let Some(shared) = self.this.upgrade().filter(|_| !schedulers.is_empty()) {
            // Not here: nobody knows how long it takes.
            self.on_a_thread("schedulers", move || shared.schedulers.stop_all(schedulers, how));
        }
        self.schedulers.wait(patience);
    }

    /// Run code of the user's on a thread of its own; here if there is none to be had.
    pub(crate) fn on_a_thread(&self, what: &str, body: impl FnOnce() + Send + 'static) {
        let context = Context { owner: self.address(), place: Place::Callback, task: None };
        let body = Arc::new(Mutex::new(Some(body)));
        let mine = Arc::clone(&body);
        let run = move || {
            if let Some(body) = mine.lock().take() {
                context::within(context, body);
            }
        };
        let thread = std::thread::Builder::new().name(format!("{}-{what}", self.settings.name));
        if let Err(error) = thread.spawn(run) {
            say!(error, target: "atasker::supervisor", %error, what, "no thread");
            if let Some(body) = body.lock().take() {
                context::within(context, body);
            }
        }
    }
}

fn stop_one(name: &str, scheduler: &dyn Scheduler, how: Stop) {
    match caught(|| scheduler.stop(how)) {
        Ok(()) => say!(debug, target: "atasker::supervisor", %name, "a scheduler has stopped"),
        Err(failure) => {
            say!(error, target: "atasker::supervisor", %name, error = %format_args!("{failure:#}"),
                "a scheduler did not stop well");
        }
    }
}

fn caught(f: impl FnOnce() -> TaskResult<()>) -> TaskResult<()> {
    panics::catch(f).unwrap_or_else(|panicked| Err(format!("panicked: {}", panicked.message))?)
}
