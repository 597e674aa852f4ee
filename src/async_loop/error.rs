//! What can't be done with a loop.

/// Why a loop could not be created or used. Nothing has run.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{LoopError, Supervisor};
/// let supervisor = Supervisor::builder().start()?;
/// let devices = supervisor.create_loop("devices")?;
/// assert!(matches!(supervisor.create_loop("devices"), Err(LoopError::Duplicate(_))));
/// # drop(devices);
/// # Ok(()) }
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoopError {
    /// The name is kept for the supervisor itself.
    #[error("a loop can't be called `{0}`: that name is the supervisor's own")]
    Reserved(String),
    /// The supervisor has a loop of this name, which has not been stopped.
    #[error("there is a loop `{0}` already; stop it first, or take another name")]
    Duplicate(String),
    /// The system gave no thread or no runtime.
    #[error("can't start the loop `{name}`: {reason}")]
    NotStarted {
        /// The name that it was to have.
        name: String,
        /// What the system said.
        reason: String,
    },
    /// The loop has been stopped.
    #[error("the loop `{0}` has been stopped")]
    Stopped(String),
    /// The supervisor is stopping or has stopped.
    #[error("the supervisor has stopped, and its loops with it")]
    SupervisorStopped,
    /// The loop is another supervisor's.
    #[error("the loop `{0}` belongs to another supervisor")]
    Foreign(String),
    /// The caller runs on this very loop, which could not go on while it waits.
    #[error(
        "this runs on the loop `{0}`, which can't go on while it is waited for here; `spawn` and `.await`"
    )]
    WaitsForItself(String),
    /// The runtime that the loop wraps has no timer, which scheduled jobs need.
    #[error(
        "the runtime of the loop `{0}` has no timer; build it with `enable_time` or `enable_all`"
    )]
    NoTimer(String),
    /// A loop was named for a call that is no future.
    #[error("`{0}` is no future, so it can't run on a loop; leave out `on_loop`")]
    NotAFuture(String),
    /// This process is a fork of the one that started the supervisor.
    #[error("this process was forked from the one with the loops, whose threads it does not have")]
    Forked,
}

/// The message: `unwrap` and a `main` that returns it print this form.
impl std::fmt::Debug for LoopError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
