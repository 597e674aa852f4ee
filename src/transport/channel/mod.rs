//! Calls and outcomes over `ipc-channel`: one call in flight for each worker, and what was sent counts as
//! begun.
//!
//! `layout` has the bytes, `messages` sends and receives them, `reception` says who receives, `record` the decision between an
//! outcome and a kill, `link` the coordinator's end, `worker_end` the worker's.

mod layout;
mod link;
mod messages;
mod reception;
mod record;
mod worker_end;

pub(crate) use link::{ChannelLink, Receiver, open};
pub(crate) use worker_end::{Incoming, WorkerEnd, WorkerEndpoints};
