//! Memory that processes share, and the only place that touches it raw.
//!
//! A [`segment`] is the memory of one worker's queue. What stands in it is the transport's business.
//!
//! The other side of shared memory may write anything into it at any time. So nothing here gives out a Rust
//! reference into memory that a peer may write, except to atomics: bytes are copied out first and looked at then.
//!
//! Knows nothing of tasks, workers or codecs.

mod mapping;
mod memfd;
#[cfg(feature = "named-shm")]
mod named;
pub(crate) mod segment;

pub(crate) use segment::Segment;
