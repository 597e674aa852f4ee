//! Loops on which futures run: named threads, each with a single-threaded tokio runtime, or runtimes that the user
//! has already.
//!
//! Whether a future may start is decided by the core, like everything else (`PoolId::Loops`). What is here is where
//! it runs then. Read `aloop` (a loop and its end), `seat` (what ties a task to its loop), `work` (what is to be run)
//! and `attempt` (the future around the user's). Scheduled jobs are no tasks, and the core does not know of them:
//! `schedule`, `job`, and `jobs`, which runs them. `supervisor/loops.rs` keeps the loops of a supervisor.
//!
//! **The end of a loop.** Each task that is submitted to a loop has a *seat* there until its future has been dropped.
//! A loop that is stopped gives no more seats, and ends when the last one is left. So no future outlives the runtime
//! that it runs on, and none is dropped by another thread.

mod aloop;
mod attempt;
#[cfg(feature = "cron")]
mod cron;
mod error;
mod job;
mod jobs;
mod schedule;
mod seat;
mod work;

pub(crate) use aloop::Phase;
pub use aloop::{AsyncLoop, LoopStop};
#[cfg(feature = "cron")]
pub use cron::CronError;
pub use error::LoopError;
pub use job::AsyncJob;
pub use schedule::Schedule;
pub(crate) use work::{BoxFuture, FutureWork};
