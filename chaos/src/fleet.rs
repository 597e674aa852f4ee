//! The worker processes, as the library's own log tells of them, and what was done to them from outside: no worker
//! ends without a reason.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;

use crate::record::now_ns;
use crate::trace::{Happened, Trace};

/// What was done to a process that lives.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    killed: bool,
    stopped: bool,
}

/// The end of a process.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    pub(crate) pid: u32,
    /// Why the pool killed it.
    pub(crate) killed_because: Option<String>,
    /// It was sent SIGKILL from outside.
    pub(crate) killed_from_outside: bool,
    /// It was stopped from outside for a time.
    pub(crate) stopped_from_outside: bool,
    pub(crate) retired: bool,
    /// When it was told of, before anything that followed from it.
    pub(crate) at_ns: u64,
}

impl Death {
    /// What is wrong with it as such.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.killed_because.as_deref() {
            Some("Corrupt") => Err("a worker is said to have sent garbage".to_owned()),
            Some("Stuck") if !self.stopped_from_outside => {
                Err("a worker did not take up its task, though nobody had stopped it".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Whether its end needs no task as a reason.
    pub(crate) fn was_caused(&self) -> bool {
        self.killed_from_outside || self.killed_because.is_some() || self.retired
    }
}

#[derive(Debug, Default)]
struct State {
    trace: Arc<Trace>,
    living: HashMap<u32, Marks>,
    /// Numbers of workers that were told to end when they have nothing to do.
    retiring: HashSet<u64>,
    deaths: Vec<Death>,
}

/// All processes of the present life.
#[derive(Debug, Default)]
pub(crate) struct Fleet(Mutex<State>);

impl Fleet {
    fn with<R>(&self, with: impl FnOnce(&mut State) -> R) -> R {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new life begins, whose events go to `trace`.
    pub(crate) fn start_life(&self, trace: &Arc<Trace>) {
        self.with(|state| *state = State { trace: Arc::clone(trace), ..State::default() });
    }

    /// It is about to be killed from outside; to be said before.
    pub(crate) fn mark_killed(&self, pid: u32) {
        self.with(|state| state.living.entry(pid).or_default().killed = true);
    }

    /// It is about to be stopped from outside; to be said before.
    pub(crate) fn mark_stopped(&self, pid: u32) {
        self.with(|state| state.living.entry(pid).or_default().stopped = true);
    }

    /// Those that have ended since this was asked, in order.
    pub(crate) fn take_deaths(&self) -> Vec<Death> {
        self.with(|state| std::mem::take(&mut state.deaths))
    }

    fn on_event(&self, event: Told) {
        let Told { message, worker, pid, why, status, killed_because } = event;
        if message == "worker retires" {
            // It may not be known yet which process that is.
            self.with(|state| state.retiring.insert(worker));
        }
        let Some(pid) = pid else { return };
        self.with(|state| {
            let happened = match message.as_str() {
                "worker ready" => Happened::WorkerReady { pid },
                "worker killed" => Happened::WorkerSignalled { pid, why: why.unwrap_or_default() },
                "worker retires" => Happened::WorkerRetires { pid },
                "worker ended" => {
                    let marks = state.living.remove(&pid).unwrap_or_default();
                    let status = status.unwrap_or_default();
                    let because = killed_because.clone().unwrap_or_default();
                    state.deaths.push(Death {
                        pid,
                        killed_because,
                        killed_from_outside: marks.killed,
                        stopped_from_outside: marks.stopped,
                        retired: state.retiring.contains(&worker),
                        at_ns: now_ns(),
                    });
                    Happened::WorkerEnded { pid, status, why: because }
                }
                _ => return,
            };
            state.trace.note(happened);
        });
    }
}

/// The fields of an event of the library's.
#[derive(Debug, Default)]
struct Told {
    message: String,
    worker: u64,
    pid: Option<u32>,
    why: Option<String>,
    status: Option<String>,
    killed_because: Option<String>,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = || format!("{value:?}");
        match field.name() {
            "message" => self.message = text(),
            "why" => self.why = Some(text()),
            "status" => self.status = Some(text()),
            "killed_because" => self.killed_because = Some(text()),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "pid" => self.pid = u32::try_from(value).ok(),
            "worker" => self.worker = value,
            _ => {}
        }
    }
}

/// Hears what the library logs of processes, and nothing else.
#[derive(Debug)]
pub(crate) struct Listener(pub(crate) Arc<Fleet>);

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "atasker::process"
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut told = Told::default();
        event.record(&mut told);
        self.0.on_event(told);
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}
