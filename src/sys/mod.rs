//! What this crate asks of the operating system, behind safe functions: signals, processes, descriptors,
//! futexes, the environment. The only place outside `shm` that may contain `unsafe`.
//!
//! Knows nothing of workers or tasks. What `rustix` offers safely is used from where it is needed; here
//! stands what takes several steps, or what only `libc` has.

pub(crate) mod clock;
pub(crate) mod crash;
pub(crate) mod death_mark;
pub(crate) mod descriptors;
pub(crate) mod environment;
#[cfg(test)]
pub(crate) mod faults;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod signals;
pub(crate) mod snapshot;

pub(crate) use descriptors::{Alarm, Bell};
