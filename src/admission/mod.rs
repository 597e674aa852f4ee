//! Which waiting task may start now: classes, limits, reserves, aging, and whose long wait is due to be
//! reported. One [`Admission`] per pool; the places of all waiting tasks in their lines are kept in one
//! [`Nodes`], indexed by the slot in which the core keeps the task.
//!
//! Pure: it must not know what a task is, nor workers, timeouts or the shell; it reads no clock, starts
//! no thread and does no I/O. Every operation costs the same whatever the length of the queues.
//!
//! Reading order: `time`, `line` (one queue), `gate` (the rules).

mod gate;
mod line;
mod time;

#[cfg(test)]
mod model;

pub(crate) use gate::{Admission, AdmissionConfig, ZeroPoolSize};
pub(crate) use line::{Node, Nodes, WARN_LEVELS};
pub(crate) use time::{Span, Time};
