//! The supervisor that every program has without asking.

use std::sync::OnceLock;

use super::Supervisor;
use super::builder::SupervisorBuilder;
use super::error::StartError;
use super::stop::Stop;
use crate::sync::Mutex;

static DEFAULT: OnceLock<Supervisor> = OnceLock::new();
/// Set until the default supervisor starts; also the lock under which it does.
static SETTINGS: Mutex<Option<SupervisorBuilder>> = Mutex::new(None);

/// The default supervisor, started by the first call.
///
/// `#[atasker::main]` stops it when `main` returns; a program without it stops it itself.
///
/// # Errors
/// As [`SupervisorBuilder::start`]. A later call tries again, as [`configure`]d.
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
    let mut settings = SETTINGS.lock();
    if let Some(supervisor) = DEFAULT.get() {
        return Ok(supervisor);
    }
    let supervisor = settings.clone().unwrap_or_default().start()?;
    *settings = None;
    Ok(DEFAULT.get_or_init(|| supervisor))
}

/// Set how the default supervisor will be started.
///
/// # Errors
/// [`StartError::Config`] if it has been started already.
///
/// ```
/// use atasker::{Limits, Supervisor};
/// # fn main() -> Result<(), atasker::StartError> {
/// atasker::configure(Supervisor::builder().threads(Limits::new(2)))?;
/// assert_eq!(atasker::supervisor()?.info().threads.limits.places(), 2);
/// # Ok(()) }
/// ```
pub fn configure(settings: SupervisorBuilder) -> Result<(), StartError> {
    let mut slot = SETTINGS.lock();
    if DEFAULT.get().is_some() {
        let text = "the default supervisor already runs; configure it before its first use";
        return Err(StartError::Config(text.to_owned()));
    }
    *slot = Some(settings);
    Ok(())
}

/// For `#[atasker::main]`: drain and stop the default supervisor if it was started.
pub fn stop_default_supervisor() {
    if let Some(supervisor) = DEFAULT.get() {
        supervisor.stop(Stop::Drain);
    }
}
