//! The life of every task and every worker, as one state machine. Events go in (`on_…`), effects come out,
//! and the shell performs them in their order: those that only change a ring while it still holds the lock
//! that guards the [`Core`], all others after it has released it. What a caller waits for alone is an answer instead,
//! which comes before them (`at_once`).
//!
//! Pure: it must not know clocks, threads, processes, transports, bytes or user code. A task's payload is
//! opaque, is cloned into the effects that need it, and is moved out by the last one, so that nothing of
//! the user's is ever dropped in here. Effects of several threads may be performed interleaved, so events
//! may arrive late or twice: one that names a ticket or worker that is no longer current changes nothing.
//!
//! Reading order: `effect`, `event` (what comes in), `task` (the record and its states), `workers` (the
//! bookkeeping of worker processes) with `prediction` and `failures`, `machine` (the core itself and the primitives), then
//! one file per group of events: `submit` and `at_once`, `attempt`, `retry`, `pack`, `growth`, `process`, `claim`, `deadline`, `limits`, `late`,
//! `memory`, `shortage`, `stop`. All of them end with `schedule`, `recycle` and `fleet`. `info` answers questions,
//! `invariants` says what must always hold.

mod at_once;
mod attempt;
mod balance;
#[doc(hidden)]
pub mod bench;
mod claim;
mod deadline;
mod effect;
mod event;
mod failures;
mod fleet;
mod growth;
mod info;
#[cfg(test)]
mod invariants;
mod late;
mod limits;
mod machine;
mod memory;
mod pack;
mod prediction;
mod process;
mod recycle;
mod retry;
mod schedule;
mod shortage;
mod stop;
mod submit;
mod task;
mod workers;

#[cfg(any(test, atasker_sabotage))]
mod sabotage;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(crate) use crate::admission::Time;
pub(crate) use effect::{
    Ask, CancelReason, Effect, Ending, Finish, History, MemoryExcess, MemoryLimit, PoolId,
    SignalReason, WarnLevel,
};
pub(crate) use event::{
    Cancel, CoreConfig, Finished, HoldBack, Killed, PoolConfig, PoolKind, RefuseReason, Refused,
    StopMode, Submission, WorkersConfig,
};
pub(crate) use info::{TaskInfo, TaskState};
pub(crate) use late::LATE;
pub(crate) use machine::Core;
pub(crate) use memory::Weighed;
