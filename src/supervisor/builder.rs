//! The settings of a supervisor, and its start.

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Supervisor;
use super::callbacks::Callbacks;
use super::driven::Driven;
use super::error::StartError;
use super::executor::{Executor, Workers};
use super::gather::Gathering;
use super::info::Counters;
#[cfg(feature = "async")]
use super::loops::Loops;
use super::paces::Paces;
use super::schedulers::Schedulers;
use super::shared::{Drained, Shared};
use super::timer::Timer;
use super::worker_settings::WorkerSettings;
use crate::background::registry::Registry;
use crate::core::{Core, CoreConfig, PoolConfig, PoolKind};
use crate::say::say;
use crate::sync::Mutex;
use crate::sys;
use crate::task::info::TaskInfo;
use crate::task::options::Limits;
use crate::threads::ThreadPool;

/// Called on the callback thread with a task that waits too long.
pub(crate) type WaitHandler = Arc<dyn Fn(&TaskInfo) + Send + Sync>;

/// What stays of the builder once the supervisor runs.
pub(crate) struct Settings {
    pub(crate) name: String,
    /// Whether small calls may travel together.
    pub(crate) packs: bool,
    /// For tasks that say nothing else.
    pub(crate) crash_limit: Option<u32>,
    /// In bytes; zero where nothing is held back.
    pub(crate) min_available_memory: u64,
    pub(crate) on_warning: Option<WaitHandler>,
    pub(crate) on_critical: Option<WaitHandler>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunIn {
    Workers,
    #[cfg(feature = "rayon")]
    Rayon,
    Inline,
}

/// Settings for a [`Supervisor`]; [`start`](Self::start) makes it.
///
/// Everything has a default: threads for five tasks per core with reserves of five and five, and as many
/// worker processes as there are cores, started by the first process task.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{Limits, Stop, Supervisor};
/// use std::time::Duration;
/// let supervisor = Supervisor::builder()
///     .name("images")
///     .threads(Limits::new(20).reserve_normal(5).reserve_high(5))
///     .timeout_warning(Duration::from_secs(2))
///     .on_warning(|task| eprintln!("{} still waits", task.name))
///     .start()?;
/// supervisor.stop(Stop::Drain);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct SupervisorBuilder {
    name: String,
    threads: Limits,
    min_threads: u32,
    max_threads: Option<u32>,
    loops: Limits,
    processes: Option<Limits>,
    run_in: RunIn,
    pub(super) workers: WorkerSettings,
    pub(super) crash_limit: Option<u32>,
    queue_bound: Option<usize>,
    aging: Option<Duration>,
    timeout_warning: Option<Duration>,
    timeout_critical: Option<Duration>,
    on_warning: Option<WaitHandler>,
    on_critical: Option<WaitHandler>,
}

impl Default for SupervisorBuilder {
    fn default() -> Self {
        Self {
            name: "atasker".to_owned(),
            threads: Limits::new(cores().saturating_mul(5)).reserve_normal(5).reserve_high(5),
            min_threads: 0,
            max_threads: None,
            loops: Limits::new(0),
            processes: None,
            run_in: RunIn::Workers,
            workers: WorkerSettings::default(),
            crash_limit: None,
            queue_bound: None,
            aging: None,
            timeout_warning: Some(Duration::from_secs(5)),
            timeout_critical: Some(Duration::from_secs(10)),
            on_warning: None,
            on_critical: None,
        }
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

impl SupervisorBuilder {
    /// A name for threads and logs; `atasker` unless said.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        // A name with a zero byte is none for a thread.
        self.name = name.into().replace('\0', "");
        self
    }

    /// The limits of the thread pool. A `pool_size` of zero means no limit.
    pub fn threads(mut self, limits: Limits) -> Self {
        self.threads = limits;
        self
    }

    /// How many threads are started at once and stay when they are idle; none unless said. Others retire after ten idle seconds.
    pub fn min_threads(mut self, threads: u32) -> Self {
        self.min_threads = threads;
        self
    }

    /// An upper bound on tasks that run on threads at the same time, whatever the limits say. Only critical
    /// tasks go beyond it.
    pub fn max_threads(mut self, threads: u32) -> Self {
        self.max_threads = Some(threads);
        self
    }

    /// The limits of all async loops together: how many futures are under way at the same time. A `pool_size` of
    /// zero means no limit, as it is unless said.
    #[cfg(feature = "async")]
    pub fn loops(mut self, limits: Limits) -> Self {
        self.loops = limits;
        self
    }

    /// Run process tasks in worker processes, started with the supervisor: `limits.places()` of them.
    pub fn processes(mut self, limits: Limits) -> Self {
        self.processes = Some(limits);
        self.run_in = RunIn::Workers;
        self
    }

    /// Run process tasks on an in-process rayon pool of `limits.places()` threads instead: the same tasks,
    /// without isolation. A crash takes the whole program down, and a task that times out goes on. There are no more
    /// threads than that: a critical task waits for one, too, if all of them are busy. Needs the feature `rayon`.
    ///
    /// Put this in the place of [`processes`](Self::processes) to compare the two.
    #[cfg(feature = "rayon")]
    pub fn rayon(mut self, limits: Limits) -> Self {
        self.processes = Some(limits);
        self.run_in = RunIn::Rayon;
        self
    }

    /// Run process tasks in the thread that submits them, before `submit` returns: for unit tests and
    /// debuggers. The environment variable `ATASKER_INLINE=1` does the same.
    pub fn inline(mut self) -> Self {
        self.run_in = RunIn::Inline;
        self
    }

    /// How many tasks may wait in each pool. Then [`submit`](Supervisor::submit) waits for a place; unbounded
    /// unless said. What is staged ahead for a worker still waits. With a bound, [`map`](Supervisor::map)
    /// submits small calls one by one, since a pack would take many places at once.
    pub fn queue_bound(mut self, tasks: usize) -> Self {
        self.queue_bound = Some(tasks);
        self
    }

    /// Lift a task that waits to the next higher class after each `period`, up to [`Priority::High`]. Off
    /// unless said.
    ///
    /// [`Priority::High`]: crate::Priority::High
    pub fn aging(mut self, period: Duration) -> Self {
        self.aging = Some(period);
        self
    }

    /// When a waiting task is logged as a warning and the handler of [`on_warning`](Self::on_warning)
    /// called; five seconds unless said, `None` for never.
    pub fn timeout_warning(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout_warning = timeout.into();
        self
    }

    /// When a waiting task is logged as an error and the handler of [`on_critical`](Self::on_critical)
    /// called; ten seconds unless said, `None` for never.
    pub fn timeout_critical(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout_critical = timeout.into();
        self
    }

    /// What to call, on the callback thread, for a task that has waited for `timeout_warning` and still
    /// waits.
    pub fn on_warning(mut self, handler: impl Fn(&TaskInfo) + Send + Sync + 'static) -> Self {
        self.on_warning = Some(Arc::new(handler));
        self
    }

    /// What to call, on the callback thread, for a task that has waited for `timeout_critical` and still
    /// waits.
    pub fn on_critical(mut self, handler: impl Fn(&TaskInfo) + Send + Sync + 'static) -> Self {
        self.on_critical = Some(Arc::new(handler));
        self
    }

    /// Start the supervisor, and with it the process pool if [`processes`](Self::processes) was set: then wait until the
    /// first worker is ready, at most twice the [`start_timeout`](Self::start_timeout).
    ///
    /// # Errors
    /// Settings that can't work; no first worker process, with its standard error in the message; a `main`
    /// that does not begin with [`run_if_spawned`](crate::worker::run_if_spawned), found before anything is
    /// spawned; no thread to be had; or being called in a worker process, or in a forked child.
    pub fn start(mut self) -> Result<Supervisor, StartError> {
        if crate::worker::is_worker() {
            return Err(StartError::InsideWorker);
        }
        sys::fork::watch();
        if sys::fork::is_forked_child() {
            return Err(StartError::Forked);
        }
        if std::env::var_os("ATASKER_INLINE").is_some_and(|value| value == "1") {
            self.run_in = RunIn::Inline;
        }
        self.check()?;
        if self.run_in == RunIn::Workers {
            crate::probe::warn_of_what_is_missing();
        } else {
            say!(
                info, target: "atasker::supervisor",
                "process tasks run on threads of this process: a crash ends it, and timeouts and \
                 cancellation end no task that runs"
            );
        }
        let (threads, processes) = (self.threads, self.processes);
        let eager = self.processes.is_some() && self.run_in == RunIn::Workers;
        let shared = self.build()?;
        start_timer(&shared)?;
        let supervisor = Supervisor { shared };
        if eager {
            supervisor.shared.executor.start(&supervisor.shared)?;
        }
        let name = &supervisor.shared.settings.name;
        say!(debug, target: "atasker::supervisor", supervisor = %name, ?threads, ?processes, "started");
        Ok(supervisor)
    }

    fn check(&self) -> Result<(), StartError> {
        let config = |text: &str| Err(StartError::Config(text.to_owned()));
        if self.processes.is_some_and(|limits| limits.pool_size == 0) {
            return config(
                "a process pool needs a pool size of at least 1: zero would mean no limit, and processes \
                 are not free",
            );
        }
        if self.max_threads.is_some_and(|max| max < self.min_threads.max(1)) {
            return config("max_threads is below min_threads, or zero");
        }
        if self.queue_bound == Some(0) {
            return config("a queue bound of zero would refuse every task");
        }
        if let Err(clash) = crate::registry::check_clashes() {
            return Err(StartError::Config(clash.to_string()));
        }
        let limits = self.processes.filter(|_| self.run_in == RunIn::Workers);
        self.workers.check(limits).map_err(StartError::Config)
    }

    fn core_config(&self, processes: Limits) -> CoreConfig {
        let kind = match self.run_in {
            RunIn::Workers => PoolKind::Workers(self.workers.core_config()),
            #[cfg(feature = "rayon")]
            RunIn::Rayon => PoolKind::Slots,
            RunIn::Inline => PoolKind::Slots,
        };
        let limits = if self.run_in == RunIn::Inline { Limits::new(0) } else { processes };
        let pool = |limits, kind, places_max| PoolConfig {
            limits,
            kind,
            queue_bound: self.queue_bound,
            aging: self.aging,
            places_max,
        };
        CoreConfig {
            threads: pool(self.threads, PoolKind::Slots, self.max_threads),
            processes: pool(limits, kind, None),
            loops: pool(self.loops, PoolKind::Futures, None),
            timeout_warning: self.timeout_warning,
            timeout_critical: self.timeout_critical,
        }
    }

    fn build(self) -> Result<Arc<Shared>, StartError> {
        let processes = self.processes.unwrap_or(Limits::new(cores()));
        #[cfg_attr(not(atasker_sabotage), expect(unused_mut, reason = "nothing is planted"))]
        let mut core = Core::new(self.core_config(processes));
        #[cfg(atasker_sabotage)]
        core.plant(crate::sabotage::planted());
        let packs =
            self.run_in == RunIn::Workers && self.workers.packs() && self.queue_bound.is_none();
        let min_available_memory = self.workers.min_available_memory.unwrap_or(0);
        let restart_limit = self.workers.restart_limit;
        let process_config = self.workers.process_config(processes);
        let executor = match self.run_in {
            RunIn::Inline => Executor::Inline,
            #[cfg(feature = "rayon")]
            RunIn::Rayon => Executor::Rayon(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(processes.places() as usize)
                    .thread_name(|index| format!("atasker-rayon-{index}"))
                    .build()
                    .map_err(|error| StartError::Thread(error.to_string()))?,
            ),
            RunIn::Workers => {
                Executor::Workers(Box::new(Workers::new(process_config, restart_limit)))
            }
        };
        let settings = Settings {
            packs: packs && self.crash_limit != Some(1),
            crash_limit: self.crash_limit,
            min_available_memory,
            on_warning: self.on_warning,
            on_critical: self.on_critical,
            name: self.name,
        };
        let min_threads = self.min_threads as usize;
        let counters = Arc::new(Counters::default());
        let shared = Arc::new_cyclic(|this| Shared {
            core: Mutex::new(Driven::new(core, Arc::clone(&counters))),
            desk: Mutex::default(),
            submissions: AtomicU32::new(0),
            timer: Timer::new(),
            threads: OnceLock::new(),
            executor,
            callbacks: Callbacks::new(&format!("{}-callbacks", settings.name)),
            background: Registry::default(),
            space: Arc::default(),
            drained: Drained::default(),
            chosen: Mutex::new(HashMap::new()),
            counters,
            schedulers: Schedulers::default(),
            paces: Paces::default(),
            gathering: Gathering::default(),
            #[cfg(feature = "async")]
            loops: Loops::default(),
            this: this.clone(),
            settings,
        });
        let body = super::run::thread_body(Arc::downgrade(&shared));
        let pool = ThreadPool::new(&shared.settings.name, min_threads, body);
        drop(shared.threads.set(pool));
        Ok(shared)
    }
}

fn start_timer(shared: &Arc<Shared>) -> Result<(), StartError> {
    let mine = Arc::clone(shared);
    std::thread::Builder::new()
        .name(format!("{}-timer", shared.settings.name))
        .spawn(move || mine.timer.run(|| mine.on_timer()))
        .map(drop)
        .map_err(|error| StartError::Thread(error.to_string()))
}

impl std::fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SupervisorBuilder")
            .field("name", &self.name)
            .field("threads", &self.threads)
            .field("processes", &self.processes)
            .field("run_in", &self.run_in)
            .finish_non_exhaustive()
    }
}
