//! atasker
#![allow(dead_code, missing_docs, unreachable_pub)]
mod admission;
mod core;
mod task;
#[doc(hidden)]
pub use crate::core::bench as __bench;
