//! The black box: what a worker leaves word of while it runs, in memory that outlives it. README.md beside this
//! file says what stands where, who writes it, and what is believed.
//!
//! [`Recorder`] is the worker's end, [`BlackBox`] the coordinator's. Both know tasks by number and attempt only.
//! This module must not know the supervisor, the core, or how calls travel.

mod layout;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;

pub(crate) use reader::BlackBox;
pub(crate) use recorder::Running;
pub use recorder::{Recorder, recorder};
