//! A process pool that costs what a thread pool costs, and never loses or hangs a task.
//!
//! CPU-bound **tasks** run in **worker processes**: a task that segfaults, aborts, overflows its stack, exits
//! or hangs costs that task and nothing else, and the caller is told exactly what happened. Blocking,
//! I/O-ish tasks run on an elastic **thread pool**, futures on named **async loops**, and **background workers** make
//! tasks at intervals, from queues and on events. One **supervisor** admits all of them by **priority**, with
//! reserve places, so that a flood of unimportant work never keeps an urgent task waiting.
//!
//! ```no_run
//! use std::path::Path;
//! use atasker::{Limits, Priority, Supervisor, TaskResult, task};
//!
//! /// Runs in a worker process: a crash costs one task.
//! #[task(timeout = "30s", retries = 2, retry_on(crash, timeout))]
//! fn line_count(path: &Path) -> TaskResult<usize> {
//!     Ok(std::fs::read_to_string(path)?.lines().count())
//! }
//!
//! #[atasker::main]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let here = line_count(Path::new("Cargo.toml"))?;            // still a plain function
//!     let supervisor = Supervisor::builder()
//!         .processes(Limits::new(4).reserve_high(1))              // five worker processes
//!         .start()?;
//!     let call = line_count::call(Path::new("Cargo.toml")).priority(Priority::High);
//!     match supervisor.submit(call)?.wait() {                     // or `.await`
//!         Ok(lines) => assert_eq!(lines?, here),                  // the function's own value
//!         Err(error) => eprintln!("{error}"),                     // what died of what
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Where does it run?
//!
//! | the work | write | runs |
//! |---|---|---|
//! | burns CPU, or calls native code that may crash or hang | `#[task]` | in a worker process |
//! | blocks on files, sockets, devices | `#[task(io)]` or [`Supervisor::spawn_blocking`] | on the thread pool |
//! | awaits them | `#[task]` on an `async fn`, or [`Supervisor::spawn`] | on a loop: a named thread with a tokio runtime, or your own runtime |
//! | is to be done again and again, in little time | [`AsyncLoop::schedule`] | on a loop, beside thousands of others |
//! | is started here and ends elsewhere | [`Supervisor::external_task`] | wherever you say |
//! | is named by data: a batch file, a request | [`Call::by_name`] | in a worker process |
//! | comes again and again: by time, by a queue, on events | `#[background_worker]` or [`BackgroundWorker`], see [`background`] | in any of these places |
//!
//! **Thread, loop or process?** A process for what burns CPU, may die, or must be stoppable whatever it does: a
//! timeout kills it, and a crash costs nothing else. A thread for what blocks, and for what can't be sent: closures,
//! sockets, values without serde; nothing can end it from outside. A loop for thousands that wait: a future ends at
//! its next await. To compare the two, put `.rayon(limits)` (feature `rayon`) in the place of `.processes(limits)`; for
//! unit tests and debuggers, `.inline()` runs process tasks in the caller.
//!
//! # What a call costs
//!
//! Calls reach worker processes through queues in shared memory. What that costs depends on how they are made:
//!
//! - **One at a time**, each waited for: what handing work to another thread and back costs. Most of it is
//!   waking: the more so, the longer both sides had nothing to do. A worker that was busy a moment ago is still
//!   awake, and the pool prefers it.
//! - **Many submitted, then waited for**: less, because workers have the next task before they are done with the
//!   one before, and results come in together.
//! - **[`map`](Supervisor::map)** over small calls: a fraction of that, because those of one function travel in
//!   packs. Calls with options of their own (a timeout, retries, a delay, a label or id), or a bounded queue,
//!   keep them apart; a priority does not.
//! - **Large arguments and results** cost their copies on top. [`SharedSlice`], [`SealedSlice`] and their
//!   relatives are handed over instead.
//! - [`Transport::Channel`] sends a message for each call and each result, which costs a multiple.
//!
//! Where even a pack costs more than the work, run it in place. `atasker bench` shows what each costs here, by
//! the size of the task.
//!
//! # What takes too long, or kills its worker
//!
//! | option of a call or attribute | counts | and then |
//! |---|---|---|
//! | [`timeout`](Call::timeout) | from the begin of each attempt | it is ended: its worker killed, its future dropped; a thread is given up and asked to end |
//! | [`soft_timeout`](Call::soft_timeout) | the same | it is asked to end: [`current`]`().`[`is_cancelled`](Current::is_cancelled)`()`, and in a worker process a look is taken at where it is |
//! | [`cpu_limit`](Call::cpu_limit) | CPU time of its worker process, from there | its worker is killed |
//! | [`memory_limit`](Call::memory_limit) | bytes that its worker process gets from there on | its worker is killed, and it has crashed |
//! | [`queue_timeout`](Call::queue_timeout) | from the submission, or the end of its delay | it expires, if it has not begun |
//! | [`retries`](Call::retries) | attempts that failed as [`retry_on`](Call::retry_on) says | it fails |
//! | [`crash_limit`](Call::crash_limit) | workers that died of it | it is [`Quarantine`]d, with all that is needed to see it happen again |
//!
//! Time in which this program was suspended counts for none of them.
//!
//! # What must be in place
//!
//! Worker processes are this program again, unless the builder names [another](
//! SupervisorBuilder::worker_program). So `main` must begin with [`worker::run_if_spawned`], which
//! `#[atasker::main]` puts there; without it, starting the pool is an error before anything is spawned. In
//! tests, put [`test_worker!`] once into each test binary. What a worker does **not** share with the program
//! that started it stands in [`boundary`].
//!
//! # Features
//!
//! | feature | by default | what it brings |
//! |---|---|---|
//! | `macros` | yes | the attributes `#[task]`, `#[main]`, `#[worker_init]` and `#[background_worker]` |
//! | `async` | yes | async loops, on tokio |
//! | `json` | yes | calls by name with JSON arguments |
//! | `backtrace` | yes | functions, files and lines in reports of crashes |
//! | `rayon` | | process tasks on a rayon pool of this process |
//! | `cron` | | cron expressions for scheduled jobs |
//! | `anyhow` | | `?` from a task's failure to `anyhow::Error` |
//! | `bincode` | | bincode 2 as a second codec |
//! | `extras` | | collections of functions and tasks, thread-local values by name, a lock with a deadline |
//! | `named-shm` | | the transport `NamedRing` |
//!
//! # Watching it work
//!
//! [`Supervisor::info`] and [`Supervisor::tasks`] say how things stand. What happens is told by `tracing`: with
//! `RUST_LOG=atasker=debug`, a line for each step of a task (target `atasker::task`), of a worker process
//! (`atasker::process`), of a loop (`atasker::loops`), of a background worker (`atasker::background`) and of a supervisor
//! (`atasker::supervisor`). Lines about one task
//! have its number in the field `task`, and so have those that the task itself writes: on a thread or a loop by a
//! span around it, in a worker process by a field. Disabled, none of it costs more than a look at a flag.
//!
//! Those who know the Python library of the same name find its names in [`coming_from_python`].
//!
//! # How to read the source
//!
//! `task` (calls, handles, errors), `supervisor` (the public face and the shell), `core` and
//! `admission` (the pure state machine), `threads`, `async_loop`, `process` (spawning and watching workers), `transport`
//! (how calls reach them), `shm` (the memory that they share), `worker` (what runs inside them), `blackbox` (what they leave
//! word of for the case of their death), `registry`, `codec`, `background` (what submits tasks by itself), `extras`, `sys`.

#![cfg_attr(
    not(all(
        feature = "async",
        feature = "cron",
        feature = "json",
        feature = "rayon",
        feature = "bincode",
        feature = "named-shm"
    )),
    allow(
        dead_code,
        clippy::unnecessary_wraps,
        clippy::unused_self,
        clippy::match_wildcard_for_single_variants,
        reason = "what a feature that is off would have used"
    )
)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "atasker runs on Linux only so far: worker processes need pidfds, parent-death signals and \
     close_range, which live in src/sys; a port starts there"
);

// The attributes name this crate from outside, and its own unit tests use them.
#[cfg(test)]
extern crate self as atasker;

mod admission;
#[cfg(feature = "async")]
mod async_loop;
pub mod background;
mod blackbox;
pub mod boundary;
mod codec;
pub mod coming_from_python;
mod core;
#[cfg(test)]
mod dice;
#[cfg(feature = "extras")]
pub mod extras;
pub mod prelude;
mod probe;
mod process;
mod registry;
#[cfg(atasker_sabotage)]
mod sabotage;
mod say;
mod shm;
mod supervisor;
mod sync;
mod sys;
mod task;
mod threads;
mod transport;
pub mod worker;

#[cfg(feature = "macros")]
pub use atasker_macros::{background_worker, main, task, worker_init};

#[cfg(feature = "cron")]
pub use async_loop::CronError;
#[cfg(feature = "async")]
pub use async_loop::{AsyncJob, AsyncLoop, LoopError, LoopStop, Schedule};
pub use background::BackgroundWorker;
pub use blackbox::{Backtrace, Frame, Stack};
pub use probe::{Facility, probe};
pub use process::{Output, OutputLine, OutputStream, Transport, WorkerStartError};
pub use registry::{FunctionInfo, ParameterInfo};
pub use shm::{Blob, BufferError, Reading, SealedBlob, SealedSlice, SharedSlice};
pub use supervisor::Supervisor;
pub use supervisor::builder::SupervisorBuilder;
pub use supervisor::default::{configure, supervisor};
pub use supervisor::error::StartError;
pub use supervisor::external::Completer;
pub use supervisor::info::{Functions, PoolInfo, SupervisorInfo, TaskKey, Totals, WorkerInfo};
pub use supervisor::map::{Map, MapStream, MapUnordered};
pub use supervisor::schedulers::{Scheduler, SchedulerError};
pub use supervisor::stop::Stop;
pub use task::call::Call;
pub use task::cause::ExitCause;
pub use task::crash::{ArgumentsInfo, Crash, CrashReport, Fault, MemoryExcess};
pub use task::current::{Current, current, progress};
pub use task::error::{PanicReport, SubmitError, TaskError, TaskErrorKind, TrySubmitError};
pub use task::failure::{FailureError, TaskFailure, TaskResult};
pub use task::handle::TaskHandle;
pub use task::id::TaskId;
pub use task::info::{Pool, Progress, TaskInfo, TaskStatus};
pub use task::options::{Backoff, Limits, Priority, RetryOn, TimeLimit, UnknownPriority};
pub use task::quarantine::{Quarantine, QuarantineError};
pub use task::wait::{AsCompleted, Completion, StillRunning, as_completed, wait_all};

/// Leave a breadcrumb: a short text, formatted as by [`format!`], that stands in the report if the task crashes.
///
/// The last 32 of a task are kept, 230 bytes of each. They go to memory that the worker shares with the program that
/// has the supervisor, so they are there after any death of the worker, and cost tens of nanoseconds (`--bin said` in
/// `benches/`). Outside of a worker process, and between tasks, nothing happens and nothing is formatted.
///
/// ```
/// fn convert(pages: &[&str]) {
///     for page in pages {
///         atasker::breadcrumb!("converting page {page}");
///     }
/// }
/// convert(&["one", "two"]); // still a plain function
/// ```
#[macro_export]
macro_rules! breadcrumb {
    ($($text:tt)+) => {
        if let Some(recorder) = $crate::__private::recorder() {
            recorder.breadcrumb(format_args!($($text)+));
        }
    };
}

/// What the attributes expand to. Not for use by hand, and not covered by any promise.
#[doc(hidden)]
pub mod __private {
    pub use inventory;

    pub use crate::background::each_run;
    pub use crate::blackbox::{Recorder, recorder};
    pub use crate::codec::arguments::{
        Argument, Arguments, ArgumentsDecoder, ArgumentsEncoder, BadArguments, BorrowedParameter,
        CrossesToWorker, ErrorCrossesToWorker, Held, OwnedParameter, Parameter, ParameterOps, lend,
        lend_option, parameter_ops,
    };
    pub use crate::codec::lent::{AsBytes, AsDeclared, LendsInWorker};
    pub use crate::codec::{Bytes, CodecId, Encoded, UnknownCodec};
    pub use crate::registry::entry::{RegisteredTask, TaskEntry, check_clashes, find};
    pub use crate::registry::init::{RunInit, WorkerInit, init_data, run_init};
    pub use crate::registry::io::{
        GivenAgain, GoesToThread, IoBorrowed, IoTask, Owned, given_again, goes_to_thread,
        lend_owned, own, own_option,
    };
    pub use crate::registry::returned::{
        AsDisplay, AsError, AsFailure, AsSilent, Describe, PlainKind, ResultKind, ReturnOps,
        Returned, ReturnsToCaller, Speaks, ViaDisplay, ViaError, ViaFailure, ViaPlain, ViaSilent,
    };
    pub use crate::registry::run::{ProcessTask, Progress, run};
    pub use crate::registry::shape::{Shapes, digest};
    pub use crate::supervisor::default::stop_default_supervisor;
    pub use crate::task::options::Declared;
    pub use crate::transport::frame::{Outcome, Ran};
}

/// For the targets in `fuzz/`. Not there in an ordinary build.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    /// See `transport::ring::hostile`.
    pub fn ring(moves: &[u8]) {
        crate::transport::ring::hostile::play(moves);
    }
}

/// For the bench of admission. Not covered by any promise.
#[doc(hidden)]
pub use crate::core::bench as __bench;
