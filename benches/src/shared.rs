//! A few words of memory that two processes share: the only unsafe code of the benchmarks.
//!
//! A memfd rather than a name in `/dev/shm`: it is gone with the last process, and goes to a child as its
//! standard input without any code between fork and exec.

#![expect(unsafe_code, reason = "shared memory is mapped here, and nowhere else in the benchmarks")]

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};

/// One direction: what is sent, and how often something was sent. On a cache line of its own, so that a
/// sender takes nothing from the other direction (128 bytes: the prefetcher of x86 takes lines in pairs).
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Direction {
    pub(crate) value: AtomicU64,
    pub(crate) count: AtomicU32,
}

/// What the two processes share. All zero is its beginning.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Words {
    pub(crate) request: Direction,
    pub(crate) reply: Direction,
    pub(crate) mode: Direction,
}

/// The words, mapped for as long as this lives.
#[derive(Debug)]
pub(crate) struct SharedWords {
    words: NonNull<Words>,
    memory: OwnedFd,
}

// SAFETY: the mapping belongs to the process, not to a thread, and it is only handed out as `&Words`, which
// consists of atomics.
unsafe impl Send for SharedWords {}

// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// New memory, all zero.
    pub(crate) fn new() -> rustix::io::Result<Self> {
        let memory = rustix::fs::memfd_create(c"atasker-benches", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&memory, size_of::<Words>() as u64)?;
        Self::map(memory)
    }

    /// The memory that another process has made.
    pub(crate) fn map(memory: OwnedFd) -> rustix::io::Result<Self> {
        let size = size_of::<Words>();
        // SAFETY: the kernel chooses an address where nothing is mapped.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                memory.as_fd(),
                0,
            )
        }?;
        let words = NonNull::new(address.cast()).expect("mmap never answers with address zero");
        Ok(Self { words, memory })
    }

    pub(crate) fn words(&self) -> &Words {
        // SAFETY: the mapping is as long as `Words`, starts at a page, lives as long as `self`, and nobody
        // makes the memory shorter. Any bytes are a valid `Words`, and since all of it is atomics, the other
        // process may write it meanwhile.
        unsafe { self.words.as_ref() }
    }

    /// The memory, for another process.
    pub(crate) fn memory(&self) -> std::io::Result<OwnedFd> {
        self.memory.try_clone()
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: it is the mapping that `map` has made, and the borrows that `words` hands out have ended.
        let unmapped =
            unsafe { rustix::mm::munmap(self.words.as_ptr().cast(), size_of::<Words>()) };
        debug_assert!(unmapped.is_ok(), "a mapping of one's own can be unmapped");
    }
}
