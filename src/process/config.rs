//! What workers are started from: the program, its environment, where its output goes.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::control::look_up_once;
use super::error::WorkerStartError;
use super::protocol::{MARKER_VARIABLE, ProcessLimits};
use crate::shm::Handout;
use crate::worker;

/// How worker processes are made.
#[derive(Clone, Debug)]
pub(crate) struct ProcessConfig {
    pub(crate) program: Program,
    pub(crate) transport: Transport,
    pub(crate) output: Output,
    /// Name of the type, and the value encoded.
    pub(crate) worker_data: Option<(String, Vec<u8>)>,
    /// From the start of the process until it is ready, initialisers included.
    pub(crate) start_timeout: Duration,
    /// How many workers share this machine's cores.
    pub(crate) places: u32,
    pub(crate) limits: ProcessLimits,
}

impl ProcessConfig {
    pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(10);
}

/// How calls reach the worker processes.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{Supervisor, Transport};
/// let supervisor = Supervisor::builder().transport(Transport::Channel).start()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// Queues in shared memory: a call costs what it costs on a thread.
    #[default]
    Ring,
    /// Messages of `ipc-channel`, one call at a time for each worker: no call in shared memory, but a multiple of the
    /// cost for small tasks. What was sent counts as begun: a call that was sent to a worker which was just dying has
    /// crashed, and [may have run](crate::TaskError::may_have_run).
    Channel,
    /// Queues as of [`Ring`](Self::Ring), in memory that has a name (`shm_overview(7)`, through the crate `shared_memory`)
    /// instead of in a memfd. A step towards platforms without memfd, which the rest of a worker still needs; on Linux it is
    /// worse, and here to be tested: all 32 MiB of a queue are allocated when its worker starts, and a worker gone mad can shrink it, which ends
    /// *this* process by SIGBUS. The name begins with `/atasker-` and the number of this process, and is gone as soon
    /// as the worker has opened it, or its start has failed; if both are killed before that, it stays. A worker program
    /// of its own needs the feature `named-shm`, too.
    #[cfg(feature = "named-shm")]
    NamedRing,
}

impl Transport {
    /// Whether calls wait in shared memory.
    pub(crate) fn is_ring(self) -> bool {
        self != Self::Channel
    }
}

/// What a worker process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The executable of this process, started again.
    Current,
    /// Another one. A name without a slash is looked for in `PATH`.
    Separate { path: PathBuf, arguments: Vec<OsString> },
}

impl Program {
    /// Whether it may have other functions than this program.
    pub(crate) fn is_separate(&self) -> bool {
        matches!(self, Self::Separate { .. })
    }
}

/// Where goes what workers write to their standard output and standard error.
#[derive(Clone, Default)]
pub enum Output {
    /// Both to the standard error of this process, so that a task's `println!` does not get into what this
    /// program prints.
    #[default]
    Inherit,
    /// Nowhere. The end of standard error still stands in reports of crashes.
    Silent,
    /// To a function, line by line. It is called in one thread of the pool; while it runs, workers that
    /// write much have to wait.
    Captured(Arc<dyn Fn(OutputLine<'_>) + Send + Sync>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inherit => "Inherit",
            Self::Silent => "Silent",
            Self::Captured(_) => "Captured",
        })
    }
}

/// A line that a worker wrote.
///
/// ```
/// use atasker::{Output, OutputLine, OutputStream};
/// use std::sync::Arc;
/// let output = Output::Captured(Arc::new(|line: OutputLine<'_>| {
///     if line.stream == OutputStream::Stderr {
///         eprintln!("[{}] {}", line.pid, line.text);
///     }
/// }));
/// # drop(output);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OutputLine<'a> {
    /// The worker's process id.
    pub pid: u32,
    /// Which of the two it wrote to.
    pub stream: OutputStream,
    /// The line, without its end. What is not UTF-8 is replaced by `U+FFFD`.
    pub text: &'a str,
}

/// One of the two standard streams for output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What every worker of a pool is started with, settled when the pool starts.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// For titles and messages.
    pub(super) name: String,
    /// libtest runs in the worker, and its chatter must not be seen.
    pub(super) test_entry: bool,
    /// The program may have other functions than this one.
    pub(super) separate: bool,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) working_directory: PathBuf,
    pub(super) transport: Transport,
    pub(super) output: Output,
    /// The name of its type, and the bytes.
    pub(super) worker_data: Option<(String, Handout)>,
    pub(super) start_timeout: Duration,
    pub(super) limits: ProcessLimits,
}

/// Whether `program` would become a worker. Starts nothing.
///
/// A forgotten line must not become a process that starts itself without end.
pub(crate) fn check_program(program: &Program) -> Result<(), WorkerStartError> {
    if worker::is_worker() || std::env::var_os(MARKER_VARIABLE).is_some() {
        return Err(WorkerStartError::InsideWorker);
    }
    match program {
        Program::Current if worker::test_entry::path().is_none() && !worker::entry_was_called() => {
            Err(WorkerStartError::NoEntry)
        }
        Program::Current | Program::Separate { .. } => Ok(()),
    }
}

impl Launch {
    pub(super) fn new(config: ProcessConfig) -> Result<Self, WorkerStartError> {
        check_program(&config.program)?;
        let (path, arguments, test_entry) = match &config.program {
            Program::Current => current_program(),
            Program::Separate { path, arguments } => {
                (find_program(path)?, arguments.clone(), false)
            }
        };
        let lacking = |source| WorkerStartError::Resources { source: Arc::new(source) };
        look_up_once().map_err(lacking)?;
        let working_directory = std::env::current_dir().map_err(|error| {
            let text = format!(
                "this process's current directory can't be found (is it deleted?): {error}"
            );
            lacking(io::Error::other(text))
        })?;
        let worker_data = match config.worker_data {
            Some((type_name, bytes)) => Some((type_name, Handout::new(&bytes).map_err(lacking)?)),
            None => None,
        };
        Ok(Self {
            name: display_name(&config.program),
            path,
            arguments,
            test_entry,
            separate: config.program != Program::Current,
            environment: environment(config.places),
            working_directory,
            transport: config.transport,
            output: config.output,
            worker_data,
            start_timeout: config.start_timeout,
            limits: config.limits,
        })
    }
}

/// This executable, even if its file was replaced meanwhile.
fn current_program() -> (PathBuf, Vec<OsString>, bool) {
    let path = PathBuf::from("/proc/self/exe");
    // A test binary is never started without a test selected: it would run them all.
    match worker::test_entry::path() {
        Some(test) => {
            let arguments =
                [&*test, "--exact", "--nocapture", "--test-threads=1"].map(OsString::from);
            (path, arguments.into(), true)
        }
        None => (path, Vec::new(), false),
    }
}

/// Made absolute here, because the working directory may change later, and because a search in `PATH` at
/// each start would have to fork this process.
fn find_program(path: &Path) -> Result<PathBuf, WorkerStartError> {
    let not_started = |source| WorkerStartError::Spawn {
        program: path.display().to_string(),
        source: Arc::new(source),
    };
    if path.components().count() > 1 || path.is_absolute() {
        let found = std::path::absolute(path).map_err(not_started)?;
        return std::fs::metadata(&found).map(|_| found).map_err(not_started);
    }
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|directory| directory.join(path))
        .find(|candidate| candidate.is_file())
        .and_then(|found| std::path::absolute(found).ok())
        .ok_or_else(|| not_started(io::ErrorKind::NotFound.into()))
}

fn display_name(program: &Program) -> String {
    let path = match program {
        Program::Current => std::env::current_exe().ok(),
        Program::Separate { path, .. } => Some(path.clone()),
    };
    let name =
        path.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "worker".to_owned())
}

/// Each limits the threads of one library. Without them, workers on every core would start as many
/// threads as there are cores, each.
const INNER_THREADS: [&str; 7] = [
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
];

fn environment(places: u32) -> Vec<(OsString, OsString)> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = (cores / usize::try_from(places).unwrap_or(usize::MAX).max(1)).max(1);
    let mut variables: Vec<_> = std::env::vars_os().collect();
    for name in INNER_THREADS {
        if !variables.iter().any(|(set, _)| set == name) {
            variables.push((name.into(), share.to_string().into()));
        }
    }
    variables
}
