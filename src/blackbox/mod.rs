//! The black box: what a worker leaves word of while it runs, in memory that outlives it. README.md beside this
//! file says what stands where, who writes it, and what is believed.
//!
//! [`Recorder`] is the worker's end, [`BlackBox`] the coordinator's, [`Stack`] what becomes of a picture when
//! somebody looks at it. They know tasks by number and attempt only.
//! This module must not know the supervisor, the core, or how calls travel.

#[cfg(feature = "backtrace")]
mod backtrace;
mod circle;
#[cfg(feature = "backtrace")]
mod elf;
mod layout;
mod maps;
mod painting;
mod reader;
mod recorder;
mod stack;
#[cfg(feature = "backtrace")]
mod symbols;
#[cfg(test)]
mod tests;
#[cfg(feature = "backtrace")]
mod unwind;

pub(crate) use painting::Painting;
pub(crate) use reader::{BlackBox, Remains};
pub(crate) use recorder::Running;
pub use recorder::{Recorder, recorder};
pub use stack::{Backtrace, Frame, Stack};
