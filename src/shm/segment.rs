//! The memory that the coordinator shares with one worker: of a fixed size, in no fork, and with memory for
//! what is committed, so that a lack of it is an error there and never a SIGBUS later.
//!
//! Two backends stand behind one face: memfds, which are sealed against resizing, and with the feature
//! `named-shm` objects with a name. [`named`](super::named) says what those can't promise.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};

#[cfg(feature = "named-shm")]
use super::mapping::checked;
use super::mapping::{Access, Mapping, Memory};
use super::memfd;
#[cfg(feature = "named-shm")]
use super::named::Named;

/// One side's mapping of a segment.
#[derive(Debug)]
pub(crate) struct Segment {
    backend: Backend,
}

#[derive(Debug)]
enum Backend {
    Memfd {
        mapping: Mapping,
        descriptor: OwnedFd,
    },
    #[cfg(feature = "named-shm")]
    Named {
        /// Before what it lies in, and so dropped before it.
        memory: Memory,
        named: Named,
    },
}

impl Segment {
    /// A new segment full of zeros, with memory for its first `committed` bytes. The rest is to be
    /// [committed](Self::commit) before it is used.
    pub(crate) fn create(length: usize, committed: usize) -> io::Result<Self> {
        let descriptor = memfd::create(length)?;
        memfd::seal(descriptor.as_fd(), memfd::FIXED_SIZE)?;
        memfd::commit(descriptor.as_fd(), &(0..committed), length)?;
        Self::map(descriptor, length)
    }

    /// The segment that the other side has created, if it is as long as it is said to be and can't be resized.
    pub(crate) fn open(descriptor: OwnedFd, length: usize) -> io::Result<Self> {
        memfd::check(&descriptor, length, memfd::FIXED_SIZE)?;
        Self::map(descriptor, length)
    }

    fn map(descriptor: OwnedFd, length: usize) -> io::Result<Self> {
        let mapping = Mapping::new(descriptor.as_fd(), length, Access::ReadWrite)?;
        Ok(Self { backend: Backend::Memfd { mapping, descriptor } })
    }

    /// A new segment with a name, all of it committed.
    #[cfg(feature = "named-shm")]
    pub(crate) fn create_named(length: usize) -> io::Result<Self> {
        Named::create(length).map(Self::with_name)
    }

    /// The segment that the other side has created under this [name](Self::name), which is gone then.
    #[cfg(feature = "named-shm")]
    pub(crate) fn open_named(name: &str, length: usize) -> io::Result<Self> {
        Named::open(name, length).map(Self::with_name)
    }

    #[cfg(not(feature = "named-shm"))]
    pub(crate) fn open_named(_name: &str, _length: usize) -> io::Result<Self> {
        Err(io::Error::other("this program was built without atasker's feature `named-shm`"))
    }

    #[cfg(feature = "named-shm")]
    fn with_name(named: Named) -> Self {
        Self { backend: Backend::Named { memory: named.memory(), named } }
    }

    /// The name by which the other side can open it, if it has one. Whoever opens it takes the name away, and so does
    /// the end of this.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.backend {
            Backend::Memfd { .. } => None,
            #[cfg(feature = "named-shm")]
            Backend::Named { named, .. } => Some(named.name()),
        }
    }

    /// Have memory for these bytes. To be called before they are first used, by either side.
    pub(crate) fn commit(&self, range: Range<usize>) -> io::Result<()> {
        match &self.backend {
            Backend::Memfd { descriptor, .. } => {
                memfd::commit(descriptor.as_fd(), &range, self.len())
            }
            // All of it was committed when it was created.
            #[cfg(feature = "named-shm")]
            Backend::Named { .. } => checked(&range, self.len()).map(drop),
        }
    }

    /// What the other side is to be sent.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.backend {
            Backend::Memfd { descriptor, .. } => descriptor.as_fd(),
            #[cfg(feature = "named-shm")]
            Backend::Named { named, .. } => named.descriptor(),
        }
    }

    /// In bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.memory().len()
    }

    /// The word at this offset.
    ///
    /// # Panics
    ///
    /// This one and those below: beyond the end, and where the offset is not aligned.
    #[inline]
    pub(crate) fn u32_at(&self, offset: usize) -> &AtomicU32 {
        self.memory().u32_at(offset)
    }

    pub(crate) fn u32s_at<const N: usize>(&self, offset: usize) -> &[AtomicU32; N] {
        self.memory().u32s_at(offset)
    }

    #[inline]
    pub(crate) fn u64_at(&self, offset: usize) -> &AtomicU64 {
        self.memory().u64_at(offset)
    }

    #[inline]
    pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        self.memory().copy_in(offset, bytes);
    }

    #[inline]
    pub(crate) fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        self.memory().copy_out(offset, bytes);
    }

    #[inline]
    pub(crate) fn append_to(&self, offset: usize, length: usize, bytes: &mut Vec<u8>) {
        self.memory().append_to(offset, length, bytes);
    }

    #[inline]
    fn memory(&self) -> &Memory {
        match &self.backend {
            Backend::Memfd { mapping, .. } => mapping.memory(),
            #[cfg(feature = "named-shm")]
            Backend::Named { memory, .. } => memory,
        }
    }
}
