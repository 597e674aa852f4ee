//! Shared memory that has a name (`shm_overview(7)`), through the crate `shared_memory`, for platforms without memfd.
//!
//! The crate makes the object, with the mode 0600, and maps it. What it can't do is done
//! here: allocating all of the memory up front, keeping the mapping out of forks, taking the name away while
//! the mapping stays, and looking at whose object a name leads to. What nobody can do is seal such an object:
//! a peer that shrinks it kills whoever touches it with SIGBUS. So this backend protects against less than
//! [`memfd`](super::memfd) does.
//!
//! The name outlives processes that are killed before it is opened: whoever opens it takes it away.
#![expect(unsafe_code, reason = "the crate gives out a pointer")]

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::Mode;
use rustix::shm::OFlags;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::mapping::{Memory, Process, not_in_forks};
use super::memfd::{self, invalid};

/// One end of a named object.
pub(super) struct Named {
    /// Takes the name of what it has created away when it is dropped, if that is still there.
    shmem: ManuallyDrop<Shmem>,
    descriptor: OwnedFd,
    only_in: Process,
}

// SAFETY: the pointer within is read only, by `memory`; everything else in it is plain data.
unsafe impl Send for Named {}
// SAFETY: as above; no method of `Shmem` that takes `&self` changes anything.
unsafe impl Sync for Named {}

impl Named {
    pub(super) fn create(length: usize) -> io::Result<Self> {
        let process = std::process::id();
        // The hasher is seeded at random, which is all that a name needs.
        let name = format!("/atasker-{process}-{:016x}", RandomState::new().hash_one(length));
        let shmem = ShmemConf::new().os_id(name).size(length).create().map_err(failed)?;
        let named = Self::new(shmem)?;
        memfd::allocate(named.descriptor.as_fd(), 0..length as u64)?;
        Ok(named)
    }

    /// The name is gone then.
    pub(super) fn open(name: &str, length: usize) -> io::Result<Self> {
        let shmem = ShmemConf::new().os_id(name).open().map_err(failed)?;
        let named = Self::new(shmem)?;
        let stat = rustix::fs::fstat(&named.descriptor)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o077 != 0 {
            return Err(invalid("shared memory that others can write"));
        }
        if named.shmem.len() != length || u64::try_from(stat.st_size) != Ok(length as u64) {
            return Err(invalid("shared memory of another size than announced"));
        }
        rustix::shm::unlink(name)?;
        Ok(named)
    }

    fn new(shmem: Shmem) -> io::Result<Self> {
        let descriptor = rustix::shm::open(shmem.get_os_id(), OFlags::RDWR, Mode::empty())?;
        let only_in = not_in_forks(&memory_of(&shmem))?;
        Ok(Self { shmem: ManuallyDrop::new(shmem), descriptor, only_in })
    }

    /// To be dropped before `self`.
    pub(super) fn memory(&self) -> Memory {
        memory_of(&self.shmem)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub(super) fn name(&self) -> &str {
        self.shmem.get_os_id()
    }
}

fn memory_of(shmem: &Shmem) -> Memory {
    let base = NonNull::new(shmem.as_ptr()).expect("mmap does not answer with null");
    // SAFETY: mapped by the crate until `shmem` is dropped, and its start is that of a page. Nothing keeps its file from
    // being shrunk, as the module says; that ends the process and does nothing worse.
    unsafe { Memory::new(base, shmem.len()) }
}

impl Drop for Named {
    fn drop(&mut self) {
        // In a forked child it is not mapped, and the name is not the child's.
        if self.only_in.is_this() {
            // SAFETY: not used any more.
            unsafe { ManuallyDrop::drop(&mut self.shmem) };
        }
    }
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// The system's error, where the crate kept it.
fn failed(error: ShmemError) -> io::Error {
    match error {
        ShmemError::MapCreateFailed(code)
        | ShmemError::MapOpenFailed(code)
        | ShmemError::UnknownOsError(code) => io::Error::from_raw_os_error(code.cast_signed()),
        ShmemError::MapSizeZero => invalid("shared memory of no size"),
        other => io::Error::other(other.to_string()),
    }
}
