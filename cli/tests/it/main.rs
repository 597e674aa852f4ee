//! The command as its users start it.

mod batches;
mod ends;
mod many;
mod programs;
mod support;
mod terminal;
mod trouble;
