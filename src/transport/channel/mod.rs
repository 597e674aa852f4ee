//! Calls and outcomes over `ipc-channel`: one call in flight for each worker, and what was sent counts as
//! begun.
//!
//! `layout` has the bytes, `waiting` the wait for the next message, `reception` who waits, `record` the decision between an
//! outcome and a kill, `link` the coordinator's end, `worker_end` the worker's.

mod layout;
mod link;
mod reception;
mod record;
mod waiting;
mod worker_end;

pub(crate) use link::{ChannelLink, Receiver, open};
pub(crate) use worker_end::{Incoming, WorkerEnd, WorkerEndpoints};
