//! What is known about the end of a worker.

use std::time::Duration;

use super::error::WorkerStartError;
use crate::core::SignalReason;
use crate::sys::process::Status;
use crate::task::cause::ExitCause;
use crate::task::id::WorkerId;

/// Everything known about why a worker is gone.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    pub(crate) worker: WorkerId,
    /// `None` if no process was started.
    pub(crate) pid: Option<u32>,
    pub(crate) status: ExitCause,
    /// It had been ready for calls.
    pub(crate) started: bool,
    /// Why it never was. Also `None` if the supervisor itself has ended it before.
    pub(crate) start_error: Option<WorkerStartError>,
    /// The end of what it wrote to its standard error.
    pub(crate) stderr: String,
    /// The first reason for which it was sent SIGKILL. It may have been dying already.
    pub(crate) signalled: Option<SignalReason>,
    pub(crate) lived: Duration,
}

impl From<Status> for ExitCause {
    fn from(status: Status) -> Self {
        match status {
            Status::Code(code) => Self::Code(code),
            Status::Signal(signal) => Self::Signal(signal),
            Status::Unknown => Self::Unknown,
        }
    }
}
