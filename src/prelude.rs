//! The names that almost every program with tasks needs.
//!
//! ```
//! use atasker::prelude::*;
//!
//! #[task(io)]
//! fn greet(name: String) -> String {
//!     format!("hello, {name}")
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let supervisor = Supervisor::builder().threads(Limits::new(4)).start()?;
//! let call = greet::call("Ada".to_owned()).priority(Priority::High);
//! assert_eq!(supervisor.submit(call)?.wait()?, "hello, Ada");
//! supervisor.stop(Stop::Drain);
//! # Ok(()) }
//! ```

#[cfg(feature = "macros")]
pub use atasker_macros::task;

pub use crate::{
    Call, Limits, Priority, Stop, Supervisor, TaskError, TaskErrorKind, TaskHandle, TaskResult,
};
