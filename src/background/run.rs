//! What a run sees, and what comes of it.

use std::any::Any;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::shell::Face;
use crate::task::error::{PanicReport, SubmitError, TaskError};
use crate::task::failure::TaskFailure;
use crate::task::id::TaskId;

/// One run of a background worker, as its function and hooks see it. Cheap to clone.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::BackgroundWorker;
/// use std::time::Duration;
/// let supervisor = atasker::Supervisor::builder().start()?;
/// let worker = BackgroundWorker::every(Duration::from_secs(60))
///     .name("backup")
///     .run(|run| println!("{} runs for the {}. time", run.name(), run.number()))
///     .start(&supervisor)?;
/// # worker.stop();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Run(pub(super) Arc<RunData>);

pub(super) struct RunData {
    pub(super) worker: Arc<dyn Face>,
    pub(super) name: Arc<str>,
    pub(super) number: u64,
    pub(super) task: Option<TaskId>,
    pub(super) planned_at: Option<Instant>,
    pub(super) arguments: Option<Arc<dyn Any + Send + Sync>>,
}

impl Run {
    /// The worker's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Counts the worker's runs from 1. In the hooks of the start: how many there were before.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The task that this run is. `None` where it is not one: in hooks at the end of a supervisor that takes
    /// no tasks any more.
    pub fn task_id(&self) -> Option<TaskId> {
        self.0.task
    }

    /// When this run was to begin, if it is for a tick: not for one that was triggered by hand, nor for other
    /// kinds than intervals.
    pub fn planned_at(&self) -> Option<Instant> {
        self.0.planned_at
    }

    /// What the worker was [started](super::Start::arguments) with, if that is a `T`.
    pub fn arguments<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.arguments.as_deref()?.downcast_ref()
    }

    /// Whether the worker is to stop. A long run may look from time to time.
    pub fn is_stopping(&self) -> bool {
        self.0.worker.is_stopping()
    }

    /// Have the worker stop after this run, as returning [`ControlFlow::Break`] does.
    pub fn stop(&self) {
        Arc::clone(&self.0.worker).begin_stop();
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("name", &self.0.name)
            .field("number", &self.0.number)
            .field("task", &self.0.task)
            .finish_non_exhaustive()
    }
}

/// Why a run failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The function returned an error.
    Returned(TaskFailure),
    /// The function panicked, or the queue.
    Panicked(PanicReport),
    /// The worker process did not give a value: it crashed, timed out, panicked, was cancelled.
    Task(TaskError),
    /// The call was not accepted.
    Refused(SubmitError),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned(failure) => write!(f, "{failure:#}"),
            Self::Panicked(report) => write!(f, "panicked: {}", report.message),
            Self::Task(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RunError {}

/// What a function of a background worker may return: nothing, a [`ControlFlow`], of which `Break` stops the
/// worker, or a `Result` of either with any error.
#[diagnostic::on_unimplemented(
    message = "a background worker's function can't return `{Self}`: return `()` or `ControlFlow<()>`, or a \
               `Result` of one of them",
    label = "neither `()` nor `ControlFlow<()>` nor a `Result` of them"
)]
pub trait Returns {
    /// Whether to go on, and what went wrong.
    #[doc(hidden)]
    fn verdict(self) -> Verdict;
}

/// What came of a run.
#[doc(hidden)]
#[derive(Debug)]
pub struct Verdict {
    pub(super) flow: ControlFlow<()>,
    pub(super) error: Option<RunError>,
}

impl Verdict {
    pub(super) fn failed(error: RunError) -> Self {
        Self { flow: ControlFlow::Continue(()), error: Some(error) }
    }
}

impl Returns for () {
    fn verdict(self) -> Verdict {
        Verdict { flow: ControlFlow::Continue(()), error: None }
    }
}

impl Returns for ControlFlow<()> {
    fn verdict(self) -> Verdict {
        Verdict { flow: self, error: None }
    }
}

impl<T: Returns, E: Into<TaskFailure>> Returns for Result<T, E> {
    fn verdict(self) -> Verdict {
        match self {
            Ok(returned) => returned.verdict(),
            Err(error) => Verdict::failed(RunError::Returned(error.into())),
        }
    }
}

/// A type whose values can be given to each run.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be given to each run: implement `Clone` for it, or take it by reference",
    label = "not `Clone`"
)]
pub trait GivenToEachRun: Clone + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + 'static> GivenToEachRun for T {}

/// For `#[background_worker]`: an argument for one more run.
#[doc(hidden)]
pub fn each_run<T: GivenToEachRun>(argument: &T) -> T {
    argument.clone()
}
