//! What can be wrong with a shared buffer.

use std::io;

use rustix::io::Errno;

/// Why there is no shared buffer, or no access to it.
///
/// ```
/// use atasker::{Blob, BufferError};
///
/// let too_long = Blob::zeroed(usize::MAX).expect_err("nobody has so much memory");
/// assert!(matches!(too_long, BufferError::TooLong));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BufferError {
    /// There is not enough memory now.
    #[error("not enough memory for a shared buffer of {bytes} bytes")]
    OutOfMemory {
        /// So much was wanted.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
    /// More bytes than an address can count.
    #[error("a shared buffer can't be as long as that")]
    TooLong,
    /// It was sent to a task, and has not come back with this handle.
    #[error("the shared buffer was sent to a task and is no longer here")]
    Sent,
    /// A [`Reading`](crate::Reading) of it is still alive.
    #[error("the shared buffer is being read")]
    InUse,
    /// The system refused something else. The likely reason is the limit of open files: each buffer takes one.
    #[error("the system refused a shared buffer of {bytes} bytes: {source}")]
    System {
        /// So much was wanted.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
}

impl BufferError {
    pub(super) fn of_system(source: io::Error, bytes: usize) -> Self {
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOMEM | Errno::NOSPC) => Self::OutOfMemory { bytes, source },
            Some(Errno::FBIG | Errno::OVERFLOW) => Self::TooLong,
            _ => Self::System { bytes, source },
        }
    }
}
