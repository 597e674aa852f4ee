//! Worker processes, seen from the coordinator: how they are started, how they and this process get to
//! know each other, what is known when one of them ends. README.md beside this file has the protocol.
//!
//! Knows workers by number and calls by ticket. It must not know tasks, priorities or the core's state; it
//! borrows from the core only the word for why a worker is signalled.
//!
//! In reading order: `config` and `spawn` start a process, `protocol` and `control` shake hands with it,
//! `incarnation` keeps what is known of one, `monitor` sees it die, `end_markers` end its channels then, `output` and `worker_log` take what it
//! writes, `processes` is all of it for the supervisor, `sources` where it gets outcomes from, `black_boxes` what it asks of living workers, `exit` and `error` what the supervisor is told, `memory_kills` a part of that.

mod black_boxes;
mod config;
mod control;
mod end_markers;
mod error;
mod exit;
mod incarnation;
mod life;
mod looks;
pub(crate) mod memory_kills;
mod monitor;
mod output;
mod processes;
pub(crate) mod protocol;
mod roster;
mod sources;
mod spawn;
mod start_failure;
mod threads;
mod wake;
mod worker_log;

pub use config::{Output, OutputLine, OutputStream, Transport};
pub(crate) use config::{ProcessConfig, Program};
pub use error::WorkerStartError;
pub(crate) use exit::{Death, Exit};
pub(crate) use memory_kills::MemoryKill;
pub(crate) use processes::{Owner, Processes};
pub(crate) use protocol::ProcessLimits;
pub(crate) use sources::Source;
pub(crate) use threads::is_own_thread;
pub(crate) use worker_log::number_of as log_level_number;

#[cfg(test)]
mod tests;
