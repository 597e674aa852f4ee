//! Why a task gave no value: [`TaskError`], and why it was not accepted: [`SubmitError`].

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::cell::Name;
use super::crash::{Crash, CrashReport, flat};
use super::id::TaskId;
use super::info::{Pool, TaskStatus};
use super::options::TimeLimit;
use super::quarantine::Quarantine;
use crate::blackbox::{Frame, Stack};

/// Why a task ended without the function's value.
///
/// One readable sentence by `Display`; [`kind`](Self::kind) for programs. The one question that a caller
/// with side effects has is answered by [`may_have_run`](Self::may_have_run).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{Supervisor, TaskErrorKind, TaskStatus};
/// let supervisor = Supervisor::builder().start()?;
/// let error = supervisor.spawn_blocking(|| panic!("out of cheese"))?.wait().unwrap_err();
/// assert_eq!(error.status(), TaskStatus::Panicked);
/// assert!(matches!(error.kind(), TaskErrorKind::Panicked(report) if report.message == "out of cheese"));
/// assert!(error.may_have_run());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TaskError(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    id: Option<TaskId>,
    name: Name,
    attempts: u32,
    kind: TaskErrorKind,
}

/// What happened to a task that gave no value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// The function panicked. The pool goes on.
    Panicked(PanicReport),
    /// The worker process died while the task ran.
    Crashed(Crash),
    /// It has killed its worker process as often as its [crash limit](crate::Call::crash_limit) allows, and is not
    /// tried again.
    Quarantined(Quarantine),
    /// The task ran longer than its timeout, or used more CPU time than it may.
    TimedOut {
        /// Where it ran. A thread can't be killed: there it goes on, holding its place until it returns. On a loop
        /// its future is dropped at its next await.
        pool: Pool,
        /// The worker process it ran in, which was killed. `None`: it ran in none.
        pid: Option<u32>,
        /// How long it had run.
        ran: Duration,
        /// Which of its limits it has exceeded.
        limit: TimeLimit,
        /// Where its thread was at its soft timeout, if it had one and ran in a worker process.
        stack: Option<Stack>,
    },
    /// It was cancelled by its handle, its loop was stopped, or what was to end it elsewhere was dropped.
    Cancelled,
    /// Its supervisor stopped.
    Stopped,
    /// It had not begun when its queue timeout passed.
    Expired {
        /// How long it had waited.
        waited: Duration,
    },
    /// It was never accepted, or refused by the worker before it began.
    Rejected {
        /// What was wrong, and what to do.
        reason: String,
    },
    /// The process pool has given up starting workers. It never ran, or not again: see [`attempts`](TaskError::attempts).
    NoWorkers {
        /// Why no worker starts.
        reason: String,
    },
    /// This process is a fork of the one that submitted the task, which alone can wait for it.
    Forked,
    /// It ran to its end, but its value could not be brought back.
    Undeliverable {
        /// What could not be encoded or decoded.
        reason: String,
    },
}

/// A panic of the function.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PanicReport {
    /// What it panicked with.
    pub message: String,
    /// `file:line:column`, where known: in worker processes.
    pub location: Option<String>,
    /// The worker process, if it was one.
    pub pid: Option<u32>,
}

impl TaskErrorKind {
    pub(crate) fn status(&self) -> TaskStatus {
        match self {
            Self::Panicked(_) => TaskStatus::Panicked,
            Self::Crashed(_) => TaskStatus::Crashed,
            Self::Quarantined(_) => TaskStatus::Quarantined,
            Self::TimedOut { .. } => TaskStatus::TimedOut,
            Self::Cancelled | Self::Stopped | Self::Forked => TaskStatus::Cancelled,
            Self::Expired { .. } => TaskStatus::Expired,
            Self::Rejected { .. } | Self::NoWorkers { .. } => TaskStatus::Rejected,
            Self::Undeliverable { .. } => TaskStatus::Completed,
        }
    }
}

impl TaskError {
    pub(crate) fn new(id: Option<TaskId>, name: Name, attempts: u32, kind: TaskErrorKind) -> Self {
        Self(Box::new(Inner { id, name, attempts, kind }))
    }

    /// What happened.
    pub fn kind(&self) -> &TaskErrorKind {
        &self.0.kind
    }

    /// The terminal state that the task reached.
    pub fn status(&self) -> TaskStatus {
        self.0.kind.status()
    }

    /// The task's number. `None` if it was never accepted.
    pub fn task_id(&self) -> Option<TaskId> {
        self.0.id
    }

    /// The function's full path, or the type of the closure.
    pub fn task_name(&self) -> &str {
        &self.0.name.function
    }

    /// The label given by the caller.
    pub fn label(&self) -> Option<&str> {
        self.0.name.given.as_ref()?.label.as_deref()
    }

    /// The id chosen by the caller.
    pub fn chosen_id(&self) -> Option<&str> {
        self.0.name.given.as_ref()?.id.as_deref()
    }

    /// How many attempts began.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether any part of the function may have run: what a caller with side effects must know before it
    /// submits the task again. `false` is certain, `true` may be a doubt.
    pub fn may_have_run(&self) -> bool {
        self.0.attempts > 0
    }

    /// The crash report, if the task crashed; if it is quarantined, that of its last crash. Waits until the worker is
    /// gone for certain, which takes the kernel some tenths of a millisecond from the crash on, or milliseconds if the
    /// worker had much memory; at most five seconds, see [`Crash`](crate::Crash). So does `Display`.
    pub fn crash(&self) -> Option<&CrashReport> {
        match &self.0.kind {
            TaskErrorKind::Crashed(report) => Some(report),
            TaskErrorKind::Quarantined(quarantine) => quarantine.crashes().last(),
            _ => None,
        }
    }

    /// What `Display` says, for logs: threads of the pool write them, which must not read debug information to find
    /// the place of a crash, nor wait for its report.
    pub(crate) fn for_log(&self) -> impl fmt::Display {
        fmt::from_fn(|f| match &self.0.kind {
            TaskErrorKind::Crashed(crash) => match crash.written() {
                Some(report) => self.write(f, &report.without_place()),
                None => self.write(f, &"crashed"),
            },
            TaskErrorKind::Quarantined(_) => self.write(f, &"is quarantined"),
            kind => self.write(f, &fmt::from_fn(|f| kind.write(f, None))),
        })
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, kind: &dyn fmt::Display) -> fmt::Result {
        write!(f, "task")?;
        if let Some(id) = self.0.id {
            write!(f, " {id}")?;
        }
        write!(f, " `{}`", self.0.name.function)?;
        if let Some(given) = &self.0.name.given {
            match (&given.id, &given.label) {
                (Some(id), Some(label)) => write!(f, " (id {id}, {label})")?,
                (Some(id), None) => write!(f, " (id {id})")?,
                (None, Some(label)) => write!(f, " ({label})")?,
                (None, None) => {}
            }
        }
        write!(f, " {kind}")?;
        if self.0.attempts > 1 {
            write!(f, " (attempt {})", self.0.attempts)?;
        }
        Ok(())
    }

    /// What happened, without saying to which task.
    pub fn reason(&self) -> String {
        self.0.kind.to_string()
    }
}

impl TaskErrorKind {
    /// Where it was at its soft timeout, if it has timed out. Reads debug information.
    fn place(&self) -> Option<&Frame> {
        match self {
            Self::TimedOut { stack: Some(stack), .. } => stack.backtrace().culprit(),
            _ => None,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, place: Option<&Frame>) -> fmt::Result {
        let place = fmt::from_fn(|f| match place {
            Some(place) => write!(f, ", at its soft timeout in {place}"),
            None => Ok(()),
        });
        match self {
            Self::Panicked(report) => {
                f.write_str("panicked: ")?;
                flat(&report.message).try_for_each(|character| f.write_char(character))?;
                match &report.location {
                    Some(location) => write!(f, " (at {location})"),
                    None => Ok(()),
                }
            }
            Self::Crashed(report) => fmt::Display::fmt(&**report, f),
            Self::Quarantined(quarantine) => fmt::Display::fmt(quarantine, f),
            Self::TimedOut { pid: Some(pid), ran, limit: TimeLimit::Cpu, .. } => write!(
                f,
                "used up its CPU time within {ran:.1?}{place}; its worker process {pid} was killed"
            ),
            Self::TimedOut { pid: Some(pid), ran, .. } => {
                write!(f, "timed out after {ran:.1?}{place}; its worker process {pid} was killed")
            }
            Self::TimedOut { pool: Pool::Loops, ran, .. } => {
                write!(f, "timed out after {ran:.1?}; its future is dropped at its next await")
            }
            Self::TimedOut { pid: None, ran, .. } => write!(
                f,
                "timed out after {ran:.1?}; it goes on in its thread, which can't be killed, and holds its \
                 place until it returns"
            ),
            Self::Cancelled => write!(f, "was cancelled"),
            Self::Forked => {
                write!(
                    f,
                    "belongs to the process that this one was forked from, which alone can wait for it"
                )
            }
            Self::Stopped => write!(f, "was cancelled because its supervisor stopped"),
            Self::Expired { waited } => {
                write!(f, "expired: it had not begun after {waited:.1?} in the queue")
            }
            Self::Rejected { reason } | Self::NoWorkers { reason } => {
                write!(f, "was rejected: {reason}")
            }
            Self::Undeliverable { reason } => {
                write!(f, "completed, but its value could not be delivered: {reason}")
            }
        }
    }
}

/// Of what timed out with a soft timeout, it says where it was.
impl fmt::Display for TaskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, self.place())
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &self.0.kind)
    }
}

impl std::error::Error for TaskError {}

/// Why a supervisor did not accept a call. Nothing of it has run.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{Stop, SubmitError, Supervisor};
/// let supervisor = Supervisor::builder().start()?;
/// supervisor.stop(Stop::Drain);
/// assert!(matches!(supervisor.spawn_blocking(|| ()), Err(SubmitError::Stopped)));
/// # Ok(()) }
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The pool's queue is full, and waiting for a place in it could wait for ever: the caller is itself a
    /// task of this pool, a callback, or a future on a loop, where it may await
    /// [`submit_async`](crate::Supervisor::submit_async).
    #[error(
        "the queue is full, and a task of the same pool, a callback or a future must not block until there is a \
         place in it"
    )]
    QueueFull,
    /// The supervisor is stopping or has stopped.
    #[error("the supervisor has stopped")]
    Stopped,
    /// A call by name meant no function, or more than one.
    #[error("{0}")]
    UnknownFunction(String),
    /// The worker program's function has another signature than this program's of the same name.
    #[error(
        "`{function}` has another signature in the worker program than here; build both from the same \
         sources. There: {there}. Here: {here}"
    )]
    SignatureMismatch {
        /// The function's full path.
        function: String,
        /// Its signature in this program.
        here: String,
        /// Its signature in the worker program.
        there: String,
    },
    /// The arguments could not be encoded.
    #[error("the arguments of `{function}` can't be encoded: {reason}")]
    Unencodable {
        /// The function's full path.
        function: String,
        /// What the codec said.
        reason: String,
    },
    /// Another task that has not ended yet has the same chosen id.
    #[error("a task with the id `{0}` is still outstanding")]
    DuplicateId(String),
    /// Retries were asked for a closure or future that can run only once.
    #[error(
        "`{0}` can't be retried: its arguments are moved into it; declare `retries` on its attribute, as in \
         `#[task(io, retries = 2)]`, so that they are cloned for each attempt"
    )]
    NotRepeatable(String),
    /// The process pool could not be started, or has given up.
    #[error("the process pool can't run tasks: {0}")]
    NoWorkers(std::sync::Arc<crate::StartError>),
    /// The loop that it was to run on can't take it.
    #[cfg(feature = "async")]
    #[error(transparent)]
    Loop(#[from] crate::LoopError),
    /// This process is a fork of the one that started the supervisor.
    #[error(
        "this process was forked from the one with the supervisor, whose threads it does not have"
    )]
    Forked,
    /// This process is itself a worker.
    #[error(
        "this is a worker process: tasks can't submit tasks; return what should be run next instead"
    )]
    InsideWorker,
}

/// Why [`try_submit`](crate::Supervisor::try_submit) did not accept a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrySubmitError<T> {
    /// The pool's queue is full. Here is the call back.
    #[error("the queue is full")]
    QueueFull(crate::Call<T>),
    /// It was refused for another reason.
    #[error(transparent)]
    Refused(SubmitError),
}

/// The message: `unwrap` and a `main` that returns it print this form.
impl fmt::Debug for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The message: `unwrap` and a `main` that returns it print this form.
impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
