//! atasker
#![allow(dead_code, missing_docs)]
mod sync;
mod task;
mod core;
mod admission;
