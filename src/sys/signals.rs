//! Signal masks of threads.
#![expect(unsafe_code, reason = "rustix has no signal masks")]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Raised by the thread's own instruction. A blocked one ends the process without its handler, so these
/// stay open: Rust's report of a stack overflow is such a handler.
const SYNCHRONOUS: [libc::c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

/// While this lives, the thread that made it gets no signals but those of its own faults.
///
/// ipc-channel loses the rest of a large message when a handler interrupts it, and writing to a dead
/// worker must not end a host that left SIGPIPE at its default.
#[derive(Debug)]
pub(crate) struct SignalsBlocked {
    before: libc::sigset_t,
    /// A mask belongs to a thread, so this must be dropped where it was made.
    _not_send: PhantomData<*const ()>,
}

impl SignalsBlocked {
    pub(crate) fn new() -> Self {
        let all_but_synchronous = filled_without(&SYNCHRONOUS);
        let mut before = MaybeUninit::uninit();
        // SAFETY: both pointers are to live sets of this frame; the call keeps neither.
        let result = unsafe {
            libc::pthread_sigmask(
                libc::SIG_BLOCK,
                &raw const all_but_synchronous,
                before.as_mut_ptr(),
            )
        };
        assert_eq!(result, 0, "SIG_BLOCK is a valid request");
        // SAFETY: the call above succeeded and so has filled the set.
        let before = unsafe { before.assume_init() };
        Self { before, _not_send: PhantomData }
    }

    /// Block for the rest of the thread's life.
    pub(crate) fn for_good() {
        std::mem::forget(Self::new());
    }

    /// Take away the SIGPIPE that a failed write has left pending, so that unblocking does not deliver it.
    pub(crate) fn swallow_sigpipe(&self) {
        self.swallow(libc::SIGPIPE);
    }

    /// The same for the SIGXFSZ of a file that was to grow beyond what this process may.
    pub(crate) fn swallow_sigxfsz(&self) {
        self.swallow(libc::SIGXFSZ);
    }

    #[expect(clippy::unused_self, reason = "right only while signals are blocked")]
    fn swallow(&self, signal: libc::c_int) {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the pointer is to this frame's set, which the call fills.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: the set was initialised by the call above.
        unsafe { libc::sigaddset(set.as_mut_ptr(), signal) };
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the set is initialised, the information is not asked for, the time is of this frame.
        unsafe { libc::sigtimedwait(set.as_ptr(), std::ptr::null_mut(), &raw const zero) };
    }
}

/// Whether a write to nobody is only an error in this process. One system call.
pub(crate) fn is_sigpipe_ignored() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is set, and the old action goes into this frame's memory.
    let result = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call succeeded and so has filled the action; it is not looked at otherwise.
    result == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Let this thread, and those that it starts, have all signals. A mask is inherited through exec, and a
/// worker is started by a thread that has blocked them.
pub(crate) fn unblock_all() {
    let all = filled_without(&[]);
    // SAFETY: the set is initialised, and the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const all, std::ptr::null_mut()) };
}

/// Have the death of children do what it does unless somebody says otherwise. A host that ignores it has its workers
/// ignore it, too (execve(2)), and what a task starts could not be waited for.
pub(crate) fn heed_children() {
    // SAFETY: the default runs no code of this process.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by the kernel in `new`, and the old mask is not asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut())
        };
    }
}

fn filled_without(signals: &[libc::c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the pointer is to this frame's set, which the call fills.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    for &signal in signals {
        // SAFETY: the set was initialised by sigfillset.
        unsafe { libc::sigdelset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: sigfillset initialised the whole set.
    unsafe { set.assume_init() }
}
