//! Anonymous shared memory: memfds (`memfd_create(2)`) and their seals (`F_ADD_SEALS`, fcntl(2)).

use std::ffi::CStr;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;

use super::mapping::checked;
use crate::sys;

/// Nobody can change the size any more, nor add or forget a seal.
pub(super) const FIXED_SIZE: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The size is as fixed, but seals may follow.
pub(super) const SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// Nobody can ever change it.
pub(super) const IMMUTABLE: SealFlags = FIXED_SIZE.union(SealFlags::WRITE);

/// Some kernels undo what any signal interrupts, and those of a profiler come every few milliseconds: so no more than this
/// is allocated in one go.
const AT_ONCE: u64 = 1 << 20;
/// Before more than this is allocated it is asked whether there is so much. The kernel would give all there is for a part
/// of it, and end whatever else runs.
const ASKED_FROM: u64 = 64 << 20;

/// A new one of this size, full of zeros that take no memory yet. Not sealed.
pub(super) fn create(length: usize) -> io::Result<OwnedFd> {
    create_as(c"atasker", length)
}

/// The same, under another name in lists of mappings.
pub(super) fn create_as(name: &CStr, length: usize) -> io::Result<OwnedFd> {
    if length == 0 {
        return Err(invalid("shared memory of no size"));
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Where `vm.memfd_noexec` is 2 nothing else is allowed, and kernels before 6.3 do not know it.
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        created => created?,
    };
    set_size(&file, length)?;
    Ok(file)
}

/// Limits on files hold for this, too, and whoever goes beyond them is sent a signal that ends the process.
fn set_size(file: &OwnedFd, length: usize) -> io::Result<()> {
    let blocked = sys::signals::SignalsBlocked::new();
    let Err(error) = rustix::fs::ftruncate(file, length as u64) else { return Ok(()) };
    if error != Errno::FBIG {
        return Err(error.into());
    }
    blocked.swallow_sigxfsz();
    let text = format!("{length} bytes are more than a file may have (RLIMIT_FSIZE, `ulimit -f`)");
    Err(io::Error::new(io::ErrorKind::FileTooLarge, text))
}

pub(super) fn seal(file: BorrowedFd<'_>, seals: SealFlags) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(file, seals)?)
}

/// Have memory for `range` of a file of `length` bytes, so that touching it later can't end the process
/// with SIGBUS.
pub(super) fn commit(file: BorrowedFd<'_>, range: &Range<usize>, length: usize) -> io::Result<()> {
    let (offset, length) = checked(range, length)?;
    if length > ASKED_FROM && sys::memory::left_on_machine().is_some_and(|left| length > left) {
        return Err(Errno::NOMEM.into());
    }
    allocate(file, offset..offset + length)
}

/// The same, whatever there is.
pub(super) fn allocate(file: BorrowedFd<'_>, range: Range<u64>) -> io::Result<()> {
    let mut offset = range.start;
    while offset < range.end {
        let length = AT_ONCE.min(range.end - offset);
        rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(file, FallocateFlags::empty(), offset, length)
        })?;
        offset += length;
    }
    Ok(())
}

/// Whether a file that came from elsewhere is what was announced: of this size, and sealed so.
pub(super) fn check(file: &OwnedFd, length: usize, seals: SealFlags) -> io::Result<()> {
    // Before the size, which can change until then. Other kinds of files have no seals.
    let has = rustix::fs::fcntl_get_seals(file.as_fd())
        .map_err(|_| invalid("not shared memory that can be sealed"))?;
    if !has.contains(seals) {
        return Err(invalid("shared memory that is not sealed"));
    }
    let size = rustix::fs::fstat(file)?.st_size;
    if length == 0 || u64::try_from(size) != Ok(length as u64) {
        return Err(invalid("shared memory of another size than announced"));
    }
    Ok(())
}

/// Whether a file that came from elsewhere has memory for its first `committed` bytes. Touching them would
/// allocate it otherwise, in whoever touches them, and may find none.
pub(super) fn check_committed(file: BorrowedFd<'_>, committed: usize) -> io::Result<()> {
    const BLOCK: u64 = 512;
    let blocks = rustix::fs::fstat(file)?.st_blocks;
    let allocated = u64::try_from(blocks).unwrap_or(0).saturating_mul(BLOCK);
    if allocated < committed as u64 {
        return Err(invalid("shared memory with less in it than announced"));
    }
    Ok(())
}

pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
