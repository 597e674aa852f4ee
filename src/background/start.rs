//! What a start may say.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::shell::State;
use crate::task::options::Priority;

/// What is to hold from a start of a background worker on. What is not said stays as it was.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::background::Start;
/// use atasker::{BackgroundWorker, Priority, Supervisor};
/// use std::time::Duration;
/// let supervisor = Supervisor::builder().start()?;
/// let (send, receive) = std::sync::mpsc::channel();
/// let worker = BackgroundWorker::every(Duration::from_secs(1))
///     .arguments(1_u32)
///     .run(move |run| send.send(run.arguments::<u32>().copied()).is_ok().then_some(()).ok_or("closed"))
///     .start(&supervisor)?;
/// assert_eq!(receive.recv()?, Some(1));
/// worker.stop();
/// worker.start_with(Start::new().arguments(2_u32).name("second").priority(Priority::High))?;
/// assert_eq!(receive.recv()?, Some(2));
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Start {
    pub(super) name: Option<Arc<str>>,
    pub(super) priority: Option<Priority>,
    pub(super) arguments: Option<Arc<dyn Any + Send + Sync>>,
}

impl Start {
    /// As it was.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(Arc::from(name.into()));
        self
    }

    /// Another class for its runs.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// A value that every run [sees](super::Run::arguments).
    pub fn arguments<T: Any + Send + Sync>(mut self, arguments: T) -> Self {
        self.arguments = Some(Arc::new(arguments));
        self
    }

    /// What was there before, to be dropped without the worker's lock.
    #[must_use]
    pub(super) fn apply<I>(self, state: &mut State<I>) -> Option<Arc<dyn Any + Send + Sync>> {
        if let Some(name) = self.name {
            state.name = name;
        }
        if let Some(priority) = self.priority {
            state.priority = priority;
        }
        self.arguments.and_then(|arguments| state.arguments.replace(arguments))
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("name", &self.name)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}
