//! What can be told about a task while it lives and after it has ended.

use std::fmt;
use std::time::Duration;

use super::cell::Name;
use super::id::TaskId;
use super::options::Priority;
use crate::blackbox::Stack;

/// Where a task stands. The last eight are terminal: every task reaches exactly one of them, exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskStatus {
    /// Waits for a place.
    Queued,
    /// Waits for its delay, or for the backoff before its next attempt.
    Delayed,
    /// Has a place.
    Running,
    /// The function returned. A returned `Err` is the function's value, so it counts as completed.
    Completed,
    /// The function panicked.
    Panicked,
    /// The worker process died while the task ran.
    Crashed,
    /// It ran longer than its timeout, or used up its CPU time.
    TimedOut,
    /// It was cancelled, or its supervisor stopped.
    Cancelled,
    /// Its queue timeout passed before it began.
    Expired,
    /// It was refused: an unknown function, wrong arguments, a stopped supervisor; or the process pool gave up, and then an
    /// earlier attempt may have run.
    Rejected,
    /// It has killed its worker as often as its crash limit allows.
    Quarantined,
}

impl TaskStatus {
    /// Whether the task has ended.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Delayed | Self::Running)
    }

    /// The name in lower case with underscores, as the command prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delayed => "delayed",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Panicked => "panicked",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Quarantined => "quarantined",
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which pool a task belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pool {
    /// The elastic thread pool.
    Threads,
    /// The process pool, or what the builder put in its place.
    Processes,
    /// The async loops together.
    Loops,
}

/// What is known about one task at one moment.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{Supervisor, TaskStatus};
/// let supervisor = Supervisor::builder().start()?;
/// let (hold, held) = std::sync::mpsc::channel::<()>();
/// let task = supervisor.spawn_blocking(move || held.recv().is_ok())?;
/// assert!(!task.info().status.is_terminal());
/// hold.send(())?;
/// assert!(task.wait()?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The task's number in its supervisor.
    pub id: TaskId,
    /// The function's full path, or the type of the closure.
    pub name: String,
    /// The label given by the caller.
    pub label: Option<String>,
    /// The id chosen by the caller.
    pub chosen_id: Option<String>,
    /// Where it stands.
    pub status: TaskStatus,
    /// Its class. Aging may have lifted it above the one it was submitted with.
    pub priority: Priority,
    /// Where it runs.
    pub pool: Pool,
    /// Attempts that have begun.
    pub attempts: u32,
    /// From its submission, or the end of its delay, to the begin of its last attempt, or to now if none has
    /// begun. So after a retry it contains the attempts before. Of calls that travelled together, until the first of
    /// them began.
    pub queued: Duration,
    /// How long its last attempt has run, or did run. Of calls that travelled together, on the average.
    pub ran: Duration,
    /// The worker process of its last attempt.
    pub pid: Option<u32>,
    /// How far it says that it has come, while it runs: see [`progress`](crate::progress).
    pub progress: Option<Progress>,
    /// Where the task was when its worker process was last asked, while it runs: at its soft timeout.
    pub stack: Option<Stack>,
    /// Whether what it returned is an `Err`. Only for tasks that say so: those of `#[task]`, and calls by
    /// name.
    pub returned_error: Option<String>,
}

/// How far a task says that it has come.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::mpsc;
/// let supervisor = atasker::Supervisor::builder().start()?;
/// let (said, is_said) = mpsc::channel();
/// let (go_on, may_go_on) = mpsc::channel::<()>();
/// let task = supervisor.spawn_blocking(move || {
///     atasker::progress(3, 10);
///     said.send(()).ok();
///     may_go_on.recv().ok();
/// })?;
/// is_said.recv()?;
/// let progress = task.progress().ok_or("it has said something")?;
/// assert_eq!((progress.done, progress.total), (3, 10));
/// go_on.send(())?;
/// task.wait()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// So much is done, in the task's own unit.
    pub done: u64,
    /// Of so much.
    pub total: u64,
}

/// What stays known of a task that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) status: TaskStatus,
    pub(crate) priority: Priority,
    pub(crate) pool: Pool,
    pub(crate) attempts: u32,
    pub(crate) queued: Duration,
    pub(crate) ran: Duration,
    pub(crate) pid: Option<u32>,
    pub(crate) returned_error: Option<String>,
}

impl Ended {
    pub(crate) fn into_info(self, id: TaskId, name: &Name) -> TaskInfo {
        let given = name.given.as_deref();
        TaskInfo {
            id,
            name: name.function.to_string(),
            label: given.and_then(|given| given.label.as_deref()).map(str::to_owned),
            chosen_id: given.and_then(|given| given.id.as_deref()).map(str::to_owned),
            status: self.status,
            priority: self.priority,
            pool: self.pool,
            attempts: self.attempts,
            queued: self.queued,
            ran: self.ran,
            pid: self.pid,
            progress: None,
            stack: None,
            returned_error: self.returned_error,
        }
    }
}
