//! Worker processes in earnest: the test binary starts itself.

mod functions;

mod calls;
mod deaths;
mod logs;
mod starts;

use std::sync::{Arc, Condvar, Weak};
use std::time::{Duration, Instant};

use super::*;
use crate::codec::CodecId;
use crate::core::SignalReason;
use crate::registry::FunctionInfo;
use crate::sync::{Mutex, wait_on};
use crate::task::cause::ExitCause;
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::transport::frame::Outcome;
use crate::transport::{CallFrame, OutcomeFrame};

crate::test_worker!();

/// Longer than anything here takes, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(50);

/// Ends the process if a test hangs.
pub(super) struct Watchdog {
    /// Its end tells that the test has ended.
    _alive: std::sync::mpsc::Sender<()>,
}

impl Watchdog {
    #[track_caller]
    pub(super) fn new() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let place = std::panic::Location::caller();
        std::thread::spawn(move || {
            if receiver.recv_timeout(Duration::from_mins(1))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                eprintln!("the test at {place} hangs");
                std::process::abort();
            }
        });
        Self { _alive: sender }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Told {
    Ready { pid: u32 },
    Outcome(Ticket, OutcomeFrame),
    Corrupt(#[expect(dead_code, reason = "shown when an assertion fails")] String),
    Exited(Arc<Exit>),
}

/// An owner that remembers what it was told.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    told: Mutex<Vec<(WorkerId, Told)>>,
    more: Condvar,
}

impl Recorder {
    fn tell(&self, worker: WorkerId, told: Told) {
        self.told.lock().push((worker, told));
        self.more.notify_all();
    }

    /// Wait until something that was told answers `find`, and take it out.
    #[track_caller]
    pub(super) fn wait_for<T>(&self, what: &str, find: impl Fn(WorkerId, &Told) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut told = self.told.lock();
        loop {
            let found = told
                .iter()
                .enumerate()
                .find_map(|(at, (worker, told))| Some((at, find(*worker, told)?)));
            if let Some((at, found)) = found {
                told.remove(at);
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} in {:?}", *told);
            told = wait_on(&self.more, told, Some(left));
        }
    }

    pub(super) fn rest(&self) -> Vec<(WorkerId, Told)> {
        self.told.lock().clone()
    }
}

impl Owner for Recorder {
    fn on_outcome(&self, worker: WorkerId, ticket: Ticket, outcome: OutcomeFrame) {
        self.tell(worker, Told::Outcome(ticket, outcome));
    }

    fn on_ready(&self, worker: WorkerId, pid: u32, _: Option<Vec<FunctionInfo>>) {
        self.tell(worker, Told::Ready { pid });
    }

    fn on_corrupt(&self, worker: WorkerId, what: String) {
        self.tell(worker, Told::Corrupt(what));
    }

    fn on_exited(&self, worker: WorkerId, exit: Arc<Exit>) {
        self.tell(worker, Told::Exited(exit));
    }
}

pub(super) fn config() -> ProcessConfig {
    ProcessConfig {
        program: Program::Current,
        output: Output::Silent,
        worker_data: None,
        start_timeout: Duration::from_secs(30),
        places: 2,
    }
}

/// A pool and the owner that it reports to.
pub(super) struct Pool {
    pub(super) processes: Processes,
    pub(super) recorder: Arc<Recorder>,
    workers: std::cell::Cell<u64>,
    tasks: std::cell::Cell<u64>,
}

impl Pool {
    pub(super) fn new(config: ProcessConfig) -> Self {
        let recorder = Arc::new(Recorder::default());
        let weak = Arc::downgrade(&recorder);
        let owner: Weak<dyn Owner> = weak;
        let processes = Processes::start(config, owner).expect("the pool starts");
        Self { processes, recorder, workers: 0.into(), tasks: 0.into() }
    }

    pub(super) fn spawn(&self) -> WorkerId {
        self.workers.set(self.workers.get() + 1);
        let worker = WorkerId(self.workers.get());
        self.processes.spawn(worker, Duration::ZERO);
        worker
    }

    #[track_caller]
    pub(super) fn spawn_ready(&self) -> (WorkerId, u32) {
        let worker = self.spawn();
        let ready = |of: WorkerId, told: &Told| match told {
            Told::Ready { pid, .. } if of == worker => Some(Ok(*pid)),
            Told::Exited(exit) if of == worker => Some(Err(Arc::clone(exit))),
            _ => None,
        };
        match self.recorder.wait_for("ready worker", ready) {
            Ok(pid) => (worker, pid),
            Err(exit) => panic!("it did not start: {exit:?}"),
        }
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.tasks.set(self.tasks.get() + 1);
        Ticket { task: TaskId { number: self.tasks.get(), slot: 7 }, attempt: 1 }
    }

    pub(super) fn stage(&self, worker: WorkerId, name: &str, arguments: &[u8]) -> Ticket {
        let ticket = self.ticket();
        let function = &format!("process::tests::functions::{name}");
        self.processes.stage(
            worker,
            ticket,
            CallFrame { function, codec: CodecId::Postcard, arguments },
        );
        ticket
    }

    #[track_caller]
    pub(super) fn outcome(&self, ticket: Ticket) -> Outcome {
        let frame = self.recorder.wait_for("outcome", |_, told| match told {
            Told::Outcome(of, frame) if *of == ticket => Some(frame.clone()),
            _ => None,
        });
        frame.outcome
    }

    #[track_caller]
    pub(super) fn call(&self, worker: WorkerId, function: &str, arguments: &[u8]) -> Vec<u8> {
        let ticket = self.stage(worker, function, arguments);
        match self.outcome(ticket) {
            Outcome::Returned { value, error: None } => value,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn call_text(&self, worker: WorkerId, function: &str, arguments: &str) -> String {
        String::from_utf8(self.call(worker, function, arguments.as_bytes())).expect("text")
    }

    #[track_caller]
    pub(super) fn exit(&self, worker: WorkerId) -> Arc<Exit> {
        self.recorder.wait_for("exit", |of, told| match told {
            Told::Exited(exit) if of == worker => Some(Arc::clone(exit)),
            _ => None,
        })
    }

    pub(super) fn kill(&self, worker: WorkerId) {
        self.processes.signal(worker, SignalReason::Cancelled);
    }
}

/// Wait for something that nobody tells of.
#[track_caller]
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process is there, and not just waiting to be reaped.
pub(super) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}
