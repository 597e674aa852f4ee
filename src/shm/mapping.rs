//! Shared memory as a range of addresses: mapping it, copying into it and out of it, atomics in it.
#![expect(unsafe_code, reason = "this is where shared memory is touched")]

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use bytemuck::Pod;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    ReadWrite,
    /// The same, and mapped in processes that this one forks, too.
    InForks,
    /// Of a file that is sealed against writing.
    ReadSealed,
}

/// A range of shared memory. Does not own it: whoever has one keeps what maps it.
#[derive(Debug)]
pub(super) struct Memory {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: all that is done through the pointer is done by copying or atomically, and the memory is shared with
// other processes anyway.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// # Safety
    ///
    /// From `base` on `length` bytes are mapped as long as the result lives, and they can't be cut off. `base` is
    /// the start of a page. If they are mapped for reading only, nothing that writes is called.
    pub(super) unsafe fn new(base: NonNull<u8>, length: usize) -> Self {
        Self { base, length }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.length
    }

    #[inline]
    pub(super) fn u32_at(&self, offset: usize) -> &AtomicU32 {
        let word = self.at(offset, size_of::<AtomicU32>()).cast::<AtomicU32>();
        assert!(word.is_aligned(), "a word at an odd offset");
        // SAFETY: in bounds and aligned, both asserted; mapped as long as `self` lives, by the contract of
        // `new`; any bytes are an atomic, and an atomic may change at any time.
        unsafe { word.as_ref() }
    }

    #[inline]
    pub(super) fn u64_at(&self, offset: usize) -> &AtomicU64 {
        let word = self.at(offset, size_of::<AtomicU64>()).cast::<AtomicU64>();
        assert!(word.is_aligned(), "a word at an odd offset");
        // SAFETY: as in `u32_at`.
        unsafe { word.as_ref() }
    }

    /// `N` words of half that size from this offset on.
    pub(super) fn u32s_at<const N: usize>(&self, offset: usize) -> &[AtomicU32; N] {
        let words = self.at(offset, size_of::<[AtomicU32; N]>()).cast::<[AtomicU32; N]>();
        assert!(words.is_aligned(), "words at an odd offset");
        // SAFETY: as in `u32_at`.
        unsafe { words.as_ref() }
    }

    /// `N` words from this offset on.
    #[inline]
    pub(super) fn words_at<const N: usize>(&self, offset: usize) -> &[AtomicU64; N] {
        let words = self.at(offset, size_of::<[AtomicU64; N]>()).cast::<[AtomicU64; N]>();
        assert!(words.is_aligned(), "words at an odd offset");
        // SAFETY: as in `u32_at`; an array of atomics lies in memory like so many of them.
        unsafe { words.as_ref() }
    }

    #[inline]
    pub(super) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let target = self.at(offset, bytes.len());
        // SAFETY: the target is in bounds, as `at` asserts, and mapped; `bytes` is memory of this process, which
        // a reference can't have into shared memory. Should a peer write there at the same time the bytes may
        // become any mixture, which is what its reader has to expect.
        unsafe { target.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    #[inline]
    pub(super) fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        let source = self.at(offset, bytes.len());
        let length = bytes.len();
        // SAFETY: as in `copy_in`, the other way round; any bytes are valid.
        unsafe { source.copy_to_nonoverlapping(NonNull::from(bytes).cast(), length) };
    }

    #[inline]
    pub(super) fn append_to(&self, offset: usize, length: usize, bytes: &mut Vec<u8>) {
        self.append_elements(offset, length, bytes);
    }

    /// Elements need not be aligned there.
    #[inline]
    pub(super) fn append_elements<T: Pod>(&self, offset: usize, count: usize, to: &mut Vec<T>) {
        let length = count.checked_mul(size_of::<T>()).expect("as many elements as fit");
        // Before anything is reserved on the word of a length that is not true.
        let source = self.at(offset, length);
        to.reserve(count);
        let target = NonNull::from(to.spare_capacity_mut()).cast::<u8>();
        // SAFETY: the source is in bounds and mapped; the target has room for so many elements, which were just
        // reserved, and belongs to the vector alone.
        unsafe { source.copy_to_nonoverlapping(target, length) };
        let filled = to.len() + count;
        // SAFETY: the elements up to there were initialised before or by the copy, within the capacity; any bytes
        // are an element, since it is `Pod`.
        unsafe { to.set_len(filled) };
    }

    /// Copy into other memory.
    #[inline]
    pub(super) fn copy_to(&self, offset: usize, length: usize, target: &Self) {
        let source = self.at(offset, length);
        let target = target.at(0, length);
        // SAFETY: both are in bounds and mapped; they may be the same memory only if they are two mappings of
        // it, and then do not overlap in addresses. What a peer does meanwhile is as in `copy_in`.
        unsafe { source.copy_to_nonoverlapping(target, length) };
    }

    #[inline]
    pub(super) fn fill_with_zeros(&self, range: Range<usize>) {
        let length = range.end.saturating_sub(range.start);
        let target = self.at(range.start, length);
        // SAFETY: as in `copy_in`.
        unsafe { target.write_bytes(0, length) };
    }

    /// The address of `length` bytes from `offset` on, all of which are there.
    #[inline]
    pub(super) fn at(&self, offset: usize, length: usize) -> NonNull<u8> {
        assert!(
            offset <= self.length && length <= self.length - offset,
            "beyond the end of shared memory"
        );
        // SAFETY: not beyond the end of the mapping, as was just asserted.
        unsafe { self.base.add(offset) }
    }
}

/// A mapping that this process made, and unmaps at the end.
#[derive(Debug)]
pub(super) struct Mapping {
    memory: Memory,
    /// Unless it is mapped in forks, too.
    only_in: Option<Process>,
}

impl Mapping {
    /// Map the first `length` bytes of a file of at least that size, which nobody can shrink.
    pub(super) fn new(file: BorrowedFd<'_>, length: usize, access: Access) -> io::Result<Self> {
        let (protection, flags) = match access {
            Access::ReadWrite | Access::InForks => {
                (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
            }
            // Kernels before 6.7 refuse a shared one here, since it might be made writable later. Nobody writes,
            // so this one shares the pages all the same.
            Access::ReadSealed => (ProtFlags::READ, MapFlags::PRIVATE),
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let address =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, protection, flags, file, 0) }?;
        let base = NonNull::new(address.cast())
            .ok_or_else(|| io::Error::other("mapped at the address zero"))?;
        // SAFETY: mapped above, unmapped by `drop` only; the start of a mapping is that of a page.
        let memory = unsafe { Memory::new(base, length) };
        let mut mapping = Self { memory, only_in: None };
        if access == Access::ReadWrite {
            mapping.only_in = Some(not_in_forks(&mapping.memory)?);
        }
        Ok(mapping)
    }

    #[inline]
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.only_in.is_some_and(|process| !process.is_this()) {
            // Whatever stands at these addresses here is another's.
            return;
        }
        let Memory { base, length } = self.memory;
        // SAFETY: mapped by `new` and not unmapped yet; nobody has a reference into it, since those live
        // no longer than `self`. It can't fail for a whole mapping.
        let _ = unsafe { rustix::mm::munmap(base.as_ptr().cast::<c_void>(), length) };
    }
}

/// The process in which something is mapped, and not in those that it forks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(u32);

impl Process {
    pub(super) fn is_this(self) -> bool {
        self.0 == std::process::id()
    }
}

/// A process that a task forks must not become a second consumer (`MADV_DONTFORK`, madvise(2)).
pub(super) fn not_in_forks(memory: &Memory) -> io::Result<Process> {
    let Memory { base, length } = *memory;
    // SAFETY: the range is mapped, by the contract of `Memory`; this process sees no change in it.
    unsafe { rustix::mm::madvise(base.as_ptr().cast::<c_void>(), length, Advice::LinuxDontFork) }?;
    Ok(Process(std::process::id()))
}

/// `range` as offset and length, if it lies within `length` bytes.
pub(super) fn checked(range: &Range<usize>, length: usize) -> io::Result<(u64, u64)> {
    if range.start > range.end || range.end > length {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of shared memory"));
    }
    Ok((range.start as u64, (range.end - range.start) as u64))
}
