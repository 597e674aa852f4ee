//! What is known about the end of a worker.

use std::fmt;
use std::time::Duration;

use super::error::WorkerStartError;
use crate::core::effect::SignalReason;
use crate::sys::process::Status;
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

/// How a process ended.
///
/// ```
/// use atasker::process::ExitCause;
/// assert_eq!(ExitCause::Signal(11).to_string(), "was killed by signal 11 (SIGSEGV)");
/// assert_eq!(ExitCause::Code(3).to_string(), "exited with code 3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitCause {
    /// A signal killed it.
    Signal(i32),
    /// It exited with a code.
    Code(i32),
    /// Nobody can tell: something else in this process has waited for all children.
    Unknown,
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

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was killed by signal {signal} ({name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Unknown => f.write_str("ended for an unknown cause"),
        }
    }
}

/// The usual name of a signal.
pub(crate) fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}
