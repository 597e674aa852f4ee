//! A small piece of shared memory on which one process leaves word for another, which can read it after the
//! writer's death. Unlike a segment it needs no descriptor once both have mapped it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use super::mapping::{Access, Mapping};
use super::memfd;

/// One side's mapping of a board.
#[derive(Debug)]
pub(crate) struct Board {
    mapping: Mapping,
}

impl Board {
    /// A new board full of zeros, with memory for its first `committed` bytes. The rest gets memory when it is
    /// first written. With it what the writer is to be sent.
    pub(crate) fn create(length: usize, committed: usize) -> io::Result<(Self, OwnedFd)> {
        // Another name than that of segments: whoever looks for a worker's ring in a list of mappings finds one.
        let descriptor = memfd::create_as(c"blackbox-of-atasker", length)?;
        memfd::seal(descriptor.as_fd(), memfd::FIXED_SIZE)?;
        memfd::commit(descriptor.as_fd(), &(0..committed), length)?;
        let mapping = Mapping::new(descriptor.as_fd(), length, Access::ReadWrite)?;
        Ok((Self { mapping }, descriptor))
    }

    /// The writer's end. It stays mapped in processes that the writer forks, which go on calling what writes here.
    pub(crate) fn open(descriptor: OwnedFd, length: usize) -> io::Result<Self> {
        memfd::check(&descriptor, length, memfd::FIXED_SIZE)?;
        let mapping = Mapping::new(descriptor.as_fd(), length, Access::InForks)?;
        Ok(Self { mapping })
    }

    /// The words from this offset on.
    ///
    /// # Panics
    ///
    /// This one and those below: beyond the end, and where the offset is not aligned.
    #[inline]
    pub(crate) fn words<const N: usize>(&self, offset: usize) -> &[AtomicU64; N] {
        self.mapping.memory().words_at(offset)
    }

    #[inline]
    pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        self.mapping.memory().copy_in(offset, bytes);
    }

    /// Append a copy of these bytes to `bytes`.
    pub(crate) fn append_to(&self, offset: usize, length: usize, bytes: &mut Vec<u8>) {
        self.mapping.memory().append_to(offset, length, bytes);
    }

    /// Where these bytes are, for a signal handler that has the kernel write them. Mapped as long as the board
    /// lives; never to be made a reference of.
    pub(crate) fn address(&self, offset: usize, length: usize) -> NonNull<u8> {
        self.mapping.memory().at(offset, length)
    }
}
