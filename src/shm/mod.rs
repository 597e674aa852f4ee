//! Memory that processes share, and the only place that touches it raw.
//!
//! - A [`segment`] is the memory of one worker's queue. What stands in it is the transport's business.
//! - A [`board`] is what a worker writes for the case of its death.
//! - *Buffers* hold what is too large to be copied: [`SharedSlice`] and [`SealedSlice`] for users, parcels for
//!   the transport. While a value is encoded the buffers in it are collected ([`attachments`]), and go to the
//!   other process beside the bytes ([`peer`]).
//!
//! The other side of shared memory may write anything into it at any time. So nothing here gives out a Rust
//! reference into memory that a peer may write, except to atomics: bytes are copied out first and looked at then.
//!
//! Knows nothing of tasks, workers or codecs. README.md says who owns which memory when.

pub(crate) mod attachment;
pub(crate) mod attachments;
pub(crate) mod board;
mod books;
pub(crate) mod buffer;
mod error;
mod handout;
mod in_place;
mod mapping;
mod memfd;
#[cfg(feature = "named-shm")]
mod named;
pub(crate) mod peer;
mod pool;
mod sealed_slice;
pub(crate) mod segment;
mod shared_slice;
#[cfg(test)]
mod tests;

pub(crate) use board::Board;
pub(crate) use books::Books;
pub use error::BufferError;
pub(crate) use handout::Handout;
pub use in_place::Reading;
pub use sealed_slice::{SealedBlob, SealedSlice};
pub(crate) use segment::Segment;
pub use shared_slice::{Blob, SharedSlice};
