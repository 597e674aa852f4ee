//! What happened lately, for reports: the last events of a life.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::record::now_ns;

const KEPT_MAX: usize = 60_000;

/// Something that happened to a task, a worker, or the supervisor.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    Submitted { id: u64 },
    Mapped { calls: u64 },
    Refused { why: String },
    Cancelled { it_did: bool },
    Ended { how: String },
    Killed { pid: u32 },
    Stopped { pid: u32, micros: u64 },
    Continued { pid: u32 },
    Resized { limits: String },
    WorkerReady { pid: u32 },
    WorkerSignalled { pid: u32, why: String },
    WorkerRetires { pid: u32 },
    WorkerEnded { pid: u32, status: String, why: String },
    StopBegun { how: String },
    StopDone,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submitted { id } => write!(f, "submitted, in the supervisor {id}"),
            Self::Mapped { calls } => write!(f, "the first of a map of {calls}"),
            Self::Refused { why } => write!(f, "refused: {why}"),
            Self::Cancelled { it_did } => write!(f, "`cancel` said {it_did}"),
            Self::Ended { how } => write!(f, "ended: {how}"),
            Self::Killed { pid } => write!(f, "{pid} is killed from outside"),
            Self::Stopped { pid, micros } => write!(f, "{pid} is stopped for {micros} µs"),
            Self::Continued { pid } => write!(f, "{pid} is continued"),
            Self::Resized { limits } => write!(f, "resized to {limits}"),
            Self::WorkerReady { pid } => write!(f, "{pid} is ready"),
            Self::WorkerSignalled { pid, why } => write!(f, "{pid} is killed by the pool: {why}"),
            Self::WorkerRetires { pid } => write!(f, "{pid} retires"),
            Self::WorkerEnded { pid, status, why } => write!(f, "{pid} {status} ({why})"),
            Self::StopBegun { how } => write!(f, "the end begins: {how}"),
            Self::StopDone => write!(f, "the supervisor is gone"),
        }
    }
}

#[derive(Clone, Debug)]
struct Event {
    at_ns: u64,
    /// The number of the task that it is about. Zero: none.
    number: u64,
    what: Happened,
}

/// The last events.
#[derive(Debug)]
pub(crate) struct Trace {
    started_ns: u64,
    events: Mutex<VecDeque<Event>>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { started_ns: now_ns(), events: Mutex::default() }
    }
}

impl Trace {
    /// Of no task.
    pub(crate) fn note(&self, what: Happened) {
        self.note_of(0, what);
    }

    pub(crate) fn note_of(&self, number: u64, what: Happened) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == KEPT_MAX {
            events.pop_front();
        }
        events.push_back(Event { at_ns: now_ns(), number, what });
    }

    /// Forget what has happened so far.
    pub(crate) fn forget(&self) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = VecDeque::new();
    }

    /// Milliseconds since the begin of this life.
    pub(crate) fn since_start(&self, at_ns: u64) -> Moment {
        Moment(at_ns as f64 / 1e6 - self.started_ns as f64 / 1e6)
    }

    /// What concerns a task, or one of the processes in which it ran.
    pub(crate) fn about(&self, number: u64, pids: &[u32]) -> Vec<String> {
        self.lines(|event| match event.pid() {
            None => event.number == number && number != 0,
            Some(pid) => pids.contains(&pid),
        })
    }

    /// The last of all.
    pub(crate) fn last(&self, many: usize) -> Vec<String> {
        let mut lines = self.lines(|_| true);
        lines.split_off(lines.len().saturating_sub(many))
    }

    fn lines(&self, wanted: impl Fn(&Event) -> bool) -> Vec<String> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = events.iter().filter(|event| wanted(event));
        let line = |event: &Event| {
            let task =
                if event.number == 0 { String::new() } else { format!("task {}: ", event.number) };
            format!("{} {task}{}", self.since_start(event.at_ns), event.what)
        };
        wanted.map(line).collect()
    }
}

impl Event {
    fn pid(&self) -> Option<u32> {
        use Happened::{
            Continued, Killed, Stopped, WorkerEnded, WorkerReady, WorkerRetires, WorkerSignalled,
        };
        match self.what {
            Killed { pid }
            | Stopped { pid, .. }
            | Continued { pid }
            | WorkerReady { pid }
            | WorkerSignalled { pid, .. }
            | WorkerRetires { pid }
            | WorkerEnded { pid, .. } => Some(pid),
            _ => None,
        }
    }
}

/// For people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(f64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:10.3} ms", self.0)
    }
}
