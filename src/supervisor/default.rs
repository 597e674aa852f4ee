//! The supervisor that every program has without asking.

use std::sync::{Condvar, OnceLock};
use std::thread::ThreadId;

use super::Supervisor;
use super::builder::SupervisorBuilder;
use super::error::StartError;
use super::stop::Stop;
use crate::process::is_own_thread;
use crate::sync::{Mutex, wait_on};
use crate::sys::fork::is_forked_child;

static DEFAULT: OnceLock<Supervisor> = OnceLock::new();
static START: Mutex<Start> = Mutex::new(Start { settings: None, by: None });
static STARTED: Condvar = Condvar::new();

/// The start of the default supervisor. It logs, and so runs code of the user's: not under the lock.
struct Start {
    settings: Option<SupervisorBuilder>,
    /// Who is just starting it.
    by: Option<ThreadId>,
}

/// A thread starts it. It is done with that, whichever way, when this is dropped.
struct Starting;

impl Drop for Starting {
    fn drop(&mut self) {
        let mut start = START.lock();
        start.by = None;
        if DEFAULT.get().is_some() {
            start.settings = None;
        }
        STARTED.notify_all();
    }
}

/// The default supervisor, started by the first call.
///
/// `#[atasker::main]` stops it when `main` returns; a program without it stops it itself.
///
/// # Errors
/// As [`SupervisorBuilder::start`]. A later call tries again, as [`configure`]d. [`StartError::Config`] from a subscriber
/// to what its start logs, and, while it starts, from threads on which another supervisor's process pool runs handlers.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let task = atasker::supervisor()?.spawn_blocking(|| 1 + 1)?;
/// assert_eq!(task.wait()?, 2);
/// # Ok(()) }
/// ```
pub fn supervisor() -> Result<&'static Supervisor, StartError> {
    if let Some(supervisor) = DEFAULT.get() {
        return Ok(supervisor);
    }
    let me = std::thread::current().id();
    let mut start = START.lock();
    while let Some(by) = start.by {
        if is_forked_child() {
            return Err(StartError::Forked);
        }
        // Its start would wait for the answer.
        if by == me || is_own_thread() {
            let text =
                "the default supervisor is just starting, and what it logs meanwhile can't use it";
            return Err(StartError::Config(text.to_owned()));
        }
        start = wait_on(&STARTED, start, None);
    }
    if let Some(supervisor) = DEFAULT.get() {
        return Ok(supervisor);
    }
    start.by = Some(me);
    let settings = start.settings.clone().unwrap_or_default();
    drop(start);
    let _starting = Starting;
    let supervisor = settings.start()?;
    Ok(DEFAULT.get_or_init(|| supervisor))
}

/// Set how the default supervisor will be started.
///
/// # Errors
/// [`StartError::Config`] if it has been started already, or is just starting.
///
/// ```
/// use atasker::{Limits, Supervisor};
/// # fn main() -> Result<(), atasker::StartError> {
/// atasker::configure(Supervisor::builder().threads(Limits::new(2)))?;
/// assert_eq!(atasker::supervisor()?.info().threads.limits.places(), 2);
/// # Ok(()) }
/// ```
pub fn configure(settings: SupervisorBuilder) -> Result<(), StartError> {
    let mut start = START.lock();
    if start.by.is_some() || DEFAULT.get().is_some() {
        let text = "the default supervisor has been started; configure it before its first use";
        return Err(StartError::Config(text.to_owned()));
    }
    start.settings = Some(settings);
    Ok(())
}

/// For `#[atasker::main]`: drain and stop the default supervisor if it was started.
pub fn stop_default_supervisor() {
    if let Some(supervisor) = DEFAULT.get() {
        supervisor.stop(Stop::Drain);
    }
}
