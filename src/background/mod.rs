//! Background workers: what runs again and again for a [`Supervisor`](crate::Supervisor), each run a task of its own.
//! On this page, a *worker* is one of them, not a process.
//!
//! # Which one?
//!
//! | it runs | attribute | builder |
//! |---|---|---|
//! | one time after another | `#[background_worker]` | [`BackgroundWorker::looping`] |
//! | every second, from start to start | `#[background_worker(interval = "1s")]` | [`BackgroundWorker::every`] |
//! | a second after the run before has ended | `#[background_worker(delay = "1s")]` | [`BackgroundWorker::timed`] with [`Timing::spaced`] |
//! | for each item of a queue | `#[background_worker(queue)]` | [`BackgroundWorker::queue`], [`bounded_queue`](BackgroundWorker::bounded_queue), [`priority_queue`](BackgroundWorker::priority_queue), [`queue_of`](BackgroundWorker::queue_of) |
//! | when somebody triggers it | `#[background_worker(event)]` | [`BackgroundWorker::on_event`] |
//!
//! | each run | attribute on | builder | own type |
//! |---|---|---|---|
//! | blocks: on the thread pool | `fn` | [`run`](BackgroundWorkerBuilder::run), [`for_each`](BackgroundWorkerBuilder::for_each) | [`Background`] |
//! | awaits: on a loop | `async fn` | `run_async`, `for_each_async` | `AsyncBackground` |
//! | may crash: in a worker process | `fn` with `process_result = …` | [`run_process`](BackgroundWorkerBuilder::run_process), [`for_each_process`](BackgroundWorkerBuilder::for_each_process) | [`ProcessBackground`] |
//!
//! Types of one's own keep state and have [hooks](Hooks). Thousands of light jobs on a loop, of which nothing is to
//! be known but that they run, are better scheduled there.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use atasker::{BackgroundWorker, Supervisor};
//! use std::time::Duration;
//!
//! let supervisor = Supervisor::builder().start()?;
//! let mut sum = 0;
//! let adder = BackgroundWorker::queue()
//!     .name("adder")
//!     .for_each(move |n: u64, _| { sum += n; println!("{sum}") })
//!     .start(&supervisor)?;
//! let beat = BackgroundWorker::every(Duration::from_millis(100)).run(|_| println!("alive"));
//! let beat = beat.start(&supervisor)?;
//! adder.put(2)?;
//! adder.put(3)?;
//! beat.stop();
//! supervisor.stop(atasker::Stop::Drain);      // stops the adder, with its hooks
//! # Ok(()) }
//! ```
//!
//! # What holds for all of them
//!
//! - Runs of one worker never overlap, and each is a task: with a priority, a place in its pool, and an entry in
//!   [`tasks`](crate::Supervisor::tasks). A worker that has nothing to do has no thread and causes no wake-up.
//! - A run that panics, crashes or returns an error is counted, told to
//!   [`on_error`](BackgroundWorkerBuilder::on_error), and the worker goes on as [`OnFailure`] says.
//! - A worker stops when a run returns `Break`, by [`stop`](BackgroundWorker::stop), and with its supervisor, which
//!   stops all of them before its pools, and lists them in its [`info`](crate::Supervisor::info). While it stops, it
//!   takes no more tasks of others. What waits in queues then is not run.
//!
//! How stops, triggers and runs that end meet is described in `README.md` beside the source.

mod body;
mod builder;
mod handle;
mod info;
mod machine;
mod queue;
pub(crate) mod registry;
mod run;
mod shell;
mod start;
mod timing;
mod traits;
mod turn;

pub use builder::{BackgroundWorkerBuilder, WithCode};
pub use handle::BackgroundWorker;
pub use info::{BackgroundKind, BackgroundStatus, BackgroundWorkerInfo};
pub use machine::OnFailure;
pub use queue::{PutError, PutErrorKind, WorkQueue};
#[doc(hidden)]
pub use run::each_run;
pub use run::{Returns, Run, RunError};
pub use start::Start;
pub use timing::{MissedTicks, Timing};
#[cfg(feature = "async")]
pub use traits::AsyncBackground;
pub use traits::{Background, Hooks, ProcessBackground};
