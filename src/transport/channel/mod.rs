//! Calls and outcomes over `ipc-channel`: one call in flight for each worker, and what was sent counts as
//! begun.
//!
//! `layout` has the bytes, `waiting` the way in which both ends wait, `record` the decision between an
//! outcome and a kill, `link` the coordinator's end, `worker_end` the worker's.

mod layout;
mod link;
mod record;
mod waiting;
mod worker_end;

pub(crate) use link::{ChannelLink, Receiver, open};
pub(crate) use worker_end::{Incoming, WorkerEnd, WorkerEndpoints};
