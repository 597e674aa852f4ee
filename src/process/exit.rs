//! What is known about the end of a worker.

use std::time::{Duration, Instant};

use super::error::{WorkerStartError, tail};
use super::memory_kills::MemoryKill;
use super::output::Tail;
use crate::blackbox::Remains;
use crate::core::SignalReason;
use crate::sys::process::{Status, Usage};
use crate::task::cause::ExitCause;
use crate::task::id::WorkerId;

/// Everything known about why a worker is gone.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    pub(crate) worker: WorkerId,
    /// `None` if no process was started.
    pub(crate) pid: Option<u32>,
    /// It had been ready for calls.
    pub(crate) started: bool,
    /// Why it never was. Also `None` if the supervisor itself has ended it before.
    pub(crate) start_error: Option<WorkerStartError>,
    /// The first reason for which it was sent SIGKILL. It may have been dying already.
    pub(crate) signalled: Option<SignalReason>,
    pub(crate) lived: Duration,
    pub(crate) death: Death,
}

/// What was found when a process had died.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    pub(crate) status: ExitCause,
    /// Unless somebody else has asked first.
    pub(crate) usage: Option<Usage>,
    /// The end of what it wrote to its standard error.
    pub(crate) stderr: Tail,
    /// What it left in its black box.
    pub(crate) remains: Option<Remains>,
    /// Whether the kernel was killing for memory while it lived.
    pub(crate) memory_kill: Option<MemoryKill>,
    pub(super) at: Instant,
}

impl Death {
    /// Of a process that there never was.
    pub(super) fn of_none() -> Self {
        Self {
            status: ExitCause::Unknown,
            usage: None,
            stderr: Tail::default(),
            remains: None,
            memory_kill: None,
            at: Instant::now(),
        }
    }

    /// The most memory that it had in RAM, in bytes, if that can be told from what its parent had before.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let remains = self.remains.as_ref();
        let inherited = remains.map_or(u64::MAX, |remains| remains.peak_inherited);
        let own = self.usage.map(|usage| usage.peak_memory_kib).filter(|peak| *peak > inherited);
        let said = || remains?.crash.as_ref()?.peak_memory;
        own.and_then(|peak| peak.checked_mul(1024)).or_else(said)
    }
}

impl Exit {
    /// Of a worker that had never been started.
    #[cfg(test)]
    pub(crate) fn of_none(worker: WorkerId) -> Self {
        Self {
            worker,
            pid: None,
            started: false,
            start_error: None,
            signalled: None,
            lived: Duration::ZERO,
            death: Death::of_none(),
        }
    }

    /// Why it is gone, in words.
    pub(crate) fn cause(&self) -> String {
        if let Some(error) = &self.start_error {
            return error.to_string();
        }
        let Self { lived, death: Death { status, stderr, .. }, .. } = self;
        let tail = tail(&stderr.all);
        format!("a worker {status} {lived:.1?} after its start, while it had nothing to do{tail}")
    }
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
