//! What can be told about a background worker.

use std::fmt;
use std::time::Instant;

use super::machine::Kind;
use crate::task::options::Priority;

/// How a background worker stands at one moment.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::background::BackgroundKind;
/// use atasker::BackgroundWorker;
/// let supervisor = atasker::Supervisor::builder().start()?;
/// let worker = BackgroundWorker::on_event().name("door").run(|_| ()).start(&supervisor)?;
/// let info = &supervisor.info().background_workers[0];
/// assert_eq!((info.name.as_str(), info.kind), ("door", BackgroundKind::Event));
/// worker.stop();
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackgroundWorkerInfo {
    /// Its name.
    pub name: String,
    /// What makes it run.
    pub kind: BackgroundKind,
    /// Where it stands.
    pub status: BackgroundStatus,
    /// The class of its runs.
    pub priority: Priority,
    /// Runs that have begun, since the worker was made.
    pub runs: u64,
    /// Those of them that failed: panicked, crashed, returned an error.
    pub errors: u64,
    /// Runs that should have been and were not: ticks that were left out, and runs whose task was cancelled
    /// before it began.
    pub skipped: u64,
    /// Items in its queue.
    pub waiting: usize,
    /// When its last run began.
    pub last_run: Option<Instant>,
}

/// What makes a background worker run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackgroundKind {
    /// One run after another.
    Loop,
    /// Each item of a queue.
    Queue,
    /// Triggers.
    Event,
    /// Time.
    Interval,
}

/// Where a background worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackgroundStatus {
    /// It does not run: not yet, or no longer.
    Stopped,
    /// It waits: for the time, a trigger, an item, or for a place in the pool.
    Waiting,
    /// A run goes on.
    Running,
    /// It will stop as soon as its run has ended and its hooks have been called.
    Stopping,
}

impl BackgroundStatus {
    /// The name in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for BackgroundStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Kind> for BackgroundKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Loop => Self::Loop,
            Kind::Queue => Self::Queue,
            Kind::Event => Self::Event,
            Kind::Interval(_) => Self::Interval,
        }
    }
}
