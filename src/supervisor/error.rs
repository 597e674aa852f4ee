//! Why a supervisor could not start.

use std::time::Duration;

use crate::process::WorkerStartError;

/// Why a supervisor, or its process pool, could not start. No process is left behind.
///
/// ```
/// use atasker::{Limits, StartError, Supervisor};
/// let error = Supervisor::builder().processes(Limits::new(0)).start().unwrap_err();
/// assert!(matches!(error, StartError::Config(_)));
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting that can't work.
    #[error("{0}")]
    Config(String),
    /// A worker process could not be started.
    #[error(transparent)]
    Worker(#[from] WorkerStartError),
    /// No worker was ready in time.
    #[error("no worker process was ready after {waited:.1?}")]
    NoWorker {
        /// How long was waited.
        waited: Duration,
    },
    /// This process is itself a worker.
    #[error(
        "this is a worker process, which can't have a supervisor: tasks can't submit tasks. If this came \
         from code in main, put `atasker::worker::run_if_spawned()` before it"
    )]
    InsideWorker,
    /// This process is a fork of one that has started a supervisor.
    #[error(
        "this process was forked from one with a supervisor; start the program anew, or fork before the \
         first supervisor is started"
    )]
    Forked,
    /// The system gave no thread.
    #[error("can't start a thread: {0}")]
    Thread(String),
}

/// The message: `unwrap` and a `main` that returns it print this form.
impl std::fmt::Debug for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
