//! The builder's lines about worker processes.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::builder::SupervisorBuilder;
use crate::core::WorkersConfig;
use crate::process::{Output, ProcessConfig, ProcessLimits, Program, Transport};
use crate::task::options::{Backoff, Limits};
use crate::transport::ring::layout::ENTRIES;

/// How many entries of a ring are used: some are left for those that were taken back from between others.
const ENTRIES_MAX: usize = ENTRIES * 3 / 4;
/// How much work is staged ahead for a worker. With all cores busy, the thread that is to fill up the rings
/// may have to wait some milliseconds for one; until then no worker should run dry. What is staged can be
/// taken back, so this delays nothing that is more urgent.
const PREFETCH: Duration = Duration::from_millis(20);
/// What waking a worker across cores costs, both sides together.
const WORTH_A_WAKE: Duration = Duration::from_micros(30);
/// How long a worker may take to end.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a worker may leave a call untouched that is next.
const CLAIM_DEADLINE: Duration = Duration::from_secs(10);

/// What is said about worker processes, apart from how many there are.
#[derive(Clone)]
pub(super) struct WorkerSettings {
    pub(super) burst: Option<u32>,
    pub(super) spares: u32,
    pub(super) program: Program,
    pub(super) transport: Transport,
    pub(super) claim_deadline: Duration,
    pub(super) output: Output,
    pub(super) worker_data: Result<Option<(String, Vec<u8>)>, String>,
    pub(super) start_timeout: Duration,
    pub(super) exit_timeout: Duration,
    pub(super) restart_limit: u32,
    pub(super) recycle_on_panic: bool,
    pub(super) recycle_after_tasks: Option<u32>,
    pub(super) recycle_after: Option<Duration>,
    pub(super) memory_soft_limit: Option<u64>,
    pub(super) memory_hard_limit: Option<u64>,
    pub(super) min_available_memory: Option<u64>,
    pub(super) process_limits: ProcessLimits,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            burst: None,
            spares: 0,
            program: Program::Current,
            transport: Transport::default(),
            claim_deadline: CLAIM_DEADLINE,
            output: Output::default(),
            worker_data: Ok(None),
            start_timeout: ProcessConfig::START_TIMEOUT,
            exit_timeout: EXIT_TIMEOUT,
            restart_limit: 5,
            recycle_on_panic: false,
            recycle_after_tasks: None,
            recycle_after: None,
            memory_soft_limit: None,
            memory_hard_limit: None,
            min_available_memory: None,
            process_limits: ProcessLimits::default(),
        }
    }
}

/// More processes than any machine has places for.
const WORKERS_MAX: u32 = 1 << 16;

/// Whether there may be so many.
pub(super) fn check_workers(workers: u32) -> Result<(), String> {
    if workers > WORKERS_MAX {
        return Err(format!("{workers} worker processes are too many: {WORKERS_MAX} at the most"));
    }
    Ok(())
}

impl WorkerSettings {
    /// What can't work, in words.
    pub(super) fn check(&self, limits: Option<Limits>) -> Result<(), String> {
        let places = limits.map_or(0, |limits| limits.places());
        check_workers(places.saturating_add(self.spares))?;
        if self.recycle_after_tasks == Some(0) {
            return Err("a worker can't be replaced after no task at all".to_owned());
        }
        self.worker_data.as_ref().map(drop).map_err(Clone::clone)
    }

    /// Whether each worker is to run a single task.
    fn single_use(&self) -> bool {
        self.recycle_after_tasks == Some(1)
    }

    /// Whether several calls can be on the way to a worker as one.
    pub(super) fn packs(&self) -> bool {
        self.transport.is_ring() && !self.single_use() && !self.recycle_on_panic
    }

    pub(super) fn core_config(&self) -> WorkersConfig {
        let rings = self.transport.is_ring();
        WorkersConfig {
            burst: self.burst,
            spares: self.spares,
            entries_per_worker: if rings && !self.single_use() { ENTRIES_MAX } else { 1 },
            prefetch: PREFETCH,
            waits_behind: PREFETCH,
            worth_a_wake: if rings { WORTH_A_WAKE } else { Duration::ZERO },
            claim_deadline: rings.then_some(self.claim_deadline.max(Duration::from_millis(1))),
            exit_timeout: self.exit_timeout.max(Duration::from_millis(1)),
            cores: crate::sys::process::cores_max(),
            staged_is_begun: !rings,
            restart_limit: self.restart_limit,
            restart_backoff: Backoff::exponential(
                Duration::from_millis(50),
                Duration::from_secs(2),
            ),
            recycle_on_panic: self.recycle_on_panic,
            recycle_after_tasks: self.recycle_after_tasks,
            recycle_after: self.recycle_after,
            memory_soft_limit: self.memory_soft_limit,
            memory_hard_limit: self.memory_hard_limit,
            holds_back: self.min_available_memory.is_some(),
            lazily_started: false,
        }
    }

    pub(super) fn process_config(self, limits: Limits) -> ProcessConfig {
        ProcessConfig {
            program: self.program,
            transport: self.transport,
            output: self.output,
            worker_data: self.worker_data.unwrap_or_default(),
            start_timeout: self.start_timeout,
            places: limits.places(),
            limits: self.process_limits,
        }
    }
}

impl SupervisorBuilder {
    /// How calls reach worker processes; [`Transport::Ring`] unless said. What runs, and what comes of it, is the
    /// same with all of them, but for calls that are staged ahead and packed with rings only, and for shared
    /// buffers, which only rings carry.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.workers.transport = transport;
        self
    }

    /// How long a worker process may leave a task untouched that is next with it, before it is taken for stuck
    /// and killed; ten seconds unless said. It is noticed within twice that time. The task, which has not begun
    /// then, goes to another worker, and so does all that was behind it. A task that has begun is not ended by this,
    /// however little it does: that is what a [timeout](crate::Call::timeout) is for. But if its process was stopped by
    /// a signal, it is sent SIGCONT. Only with rings. Zero is taken for a millisecond.
    pub fn claim_deadline(mut self, deadline: Duration) -> Self {
        self.workers.claim_deadline = deadline;
        self
    }

    /// How many extra worker processes critical tasks may start when none is idle; as many as the pool has at
    /// the time unless said. They end when they are idle.
    pub fn burst(mut self, workers: u32) -> Self {
        self.workers.burst = Some(workers);
        self
    }

    /// How many further worker processes stand by; none unless said.
    ///
    /// A spare one is started, initialised and asleep, and takes no place: as long as all goes well it gets no
    /// task. When a worker dies, is killed because of a timeout or a cancellation, or is replaced, the next task begins
    /// on a spare one at once, instead of when a new process has come up, and another spare is started. A critical task
    /// for which there is no place takes one, too.
    ///
    /// It costs the memory of an idle worker, with all that its initialisers have loaded. Worth it where a start takes
    /// long, or where workers are lost often: one for each that may be lost at about the same time.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Limits, Supervisor};
    /// let supervisor = Supervisor::builder().processes(Limits::new(2)).spares(1).start()?;
    /// assert_eq!(supervisor.info().workers.len(), 3);
    /// # Ok(()) }
    /// ```
    pub fn spares(mut self, workers: u32) -> Self {
        self.workers.spares = workers;
        self
    }

    /// Run another program as the worker: the stock `atasker-worker`, or one of your own whose main begins
    /// with [`run_if_spawned`](crate::worker::run_if_spawned).
    pub fn worker_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.workers.program = Program::Separate { path: program.into(), arguments: Vec::new() };
        self
    }

    /// Where the workers' standard output and standard error go; to this program's standard error unless
    /// said.
    pub fn worker_output(mut self, output: Output) -> Self {
        self.workers.output = output;
        self
    }

    /// Data for the functions marked `#[worker_init]`, which every new worker runs before its first task.
    pub fn worker_data<T: Serialize + 'static>(mut self, data: &T) -> Self {
        let encoded =
            crate::codec::encode(crate::codec::CodecId::BINARY, &crate::codec::wire::WireRef(data));
        self.workers.worker_data = encoded
            .map(|bytes| Some((std::any::type_name::<T>().to_owned(), bytes.into())))
            .map_err(|error| format!("the worker data can't be encoded: {error}"));
        self
    }

    /// How long a worker process may take until it is ready; ten seconds unless said.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.workers.start_timeout = timeout;
        self
    }

    /// How long a worker process that is replaced, or no longer needed, may take to end once it has nothing left to do,
    /// with what was registered for a process's end; ten seconds unless said. It is noticed within twice that time, and
    /// the process killed with all that is in its group. No task waits for it: another worker serves in its place. When
    /// the supervisor stops, workers are not given any such time.
    pub fn exit_timeout(mut self, timeout: Duration) -> Self {
        self.workers.exit_timeout = timeout;
        self
    }

    /// How many deaths in a row, of workers that had not run anything and were ready for less than ten seconds, are borne,
    /// with growing pauses; five unless said. With one more (zero: with the first) the process pool gives up, and what waits
    /// is rejected with the cause: but not while a worker serves that is older than these deaths. Then others are tried,
    /// with pauses of two seconds, until they start again.
    pub fn restart_limit(mut self, deaths: u32) -> Self {
        self.workers.restart_limit = deaths;
        self
    }

    /// Replace a worker process in which a task has panicked. Not done unless said.
    pub fn recycle_on_panic(mut self) -> Self {
        self.workers.recycle_on_panic = true;
        self
    }
}
