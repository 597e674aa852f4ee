//! Whether this process is a fork of the one that started a supervisor.
#![expect(unsafe_code, reason = "a page that a fork empties can only be had from mmap")]

use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// A page that the kernel fills with zeros in every child that this process forks (`MADV_WIPEONFORK`,
/// madvise(2)). To look at it costs a load, where `getpid` costs a system call.
#[derive(Debug)]
struct Witness(NonNull<AtomicU8>);

// SAFETY: all that is done to the page after it was made is to load and store an atomic.
unsafe impl Send for Witness {}
// SAFETY: as above.
unsafe impl Sync for Witness {}

const PRESENT: u8 = 1;
const LENGTH: usize = 4096;

/// `None` where the kernel gave no such page: then forks go unnoticed.
static WITNESS: OnceLock<Option<Witness>> = OnceLock::new();

/// From now on a forked child can tell that it is one.
pub(crate) fn watch() {
    WITNESS.get_or_init(make);
}

/// Whether this process was forked from one that had called [`watch`].
pub(crate) fn is_forked_child() -> bool {
    let Some(Some(Witness(byte))) = WITNESS.get() else { return false };
    // SAFETY: the page was mapped by `make` and is never unmapped.
    let byte = unsafe { byte.as_ref() };
    byte.load(Ordering::Relaxed) != PRESENT
}

fn make() -> Option<Witness> {
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            LENGTH,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the page is this function's own.
    let advised = unsafe { libc::madvise(page, LENGTH, libc::MADV_WIPEONFORK) };
    if advised != 0 {
        // SAFETY: nobody knows the page yet.
        unsafe { libc::munmap(page, LENGTH) };
        return None;
    }
    let byte = NonNull::new(page.cast::<AtomicU8>())?;
    // SAFETY: the mapping is readable, writable, aligned and zeroed, which is a valid atomic.
    unsafe { byte.as_ref() }.store(PRESENT, Ordering::Relaxed);
    Some(Witness(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_knows() {
        watch();
        assert!(!is_forked_child());
        // SAFETY: the child calls nothing but an atomic load and `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let code = i32::from(is_forked_child());
            // SAFETY: it ends the child at once.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: the child is this process's own, and the status this frame's.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, libc::WEXITSTATUS(status)), (child, 1));
    }
}
