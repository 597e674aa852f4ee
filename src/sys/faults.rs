//! What a mad worker does, for tests.
#![expect(unsafe_code, reason = "the tests need real faults")]

use std::os::fd::BorrowedFd;

/// A write to an address that nothing is mapped at.
pub(crate) fn write_to_nowhere() {
    let nowhere = std::ptr::without_provenance_mut::<u8>(std::hint::black_box(8));
    // SAFETY: none; the fault is what the caller wants.
    unsafe { nowhere.write_volatile(1) };
}

/// End the current thread, past everything that wants to know of it; the process goes on.
pub(crate) fn end_thread() -> ! {
    // SAFETY: none of what stands on the stack is dropped, which is safe, and nobody else has borrowed from it.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("it does not return");
}

/// Run `with` on every descriptor that this process may have open.
pub(crate) fn for_each_descriptor(mut with: impl FnMut(BorrowedFd<'_>)) {
    for raw in 3..64 {
        // SAFETY: used for system calls that fail on a closed descriptor, and not kept.
        with(unsafe { BorrowedFd::borrow_raw(raw) });
    }
}

/// A handler that does nothing but interrupt system calls.
pub(crate) fn handle_without_restart(signal: libc::c_int) {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    let action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a zeroed sigaction is a valid one: no flags, an empty mask, the default handler.
    let mut action = unsafe { action.assume_init() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the action is fully initialised, its handler touches nothing.
    unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
}

/// What `ask` says in a fork of this process, in which it may not allocate. `false`, too, if it says nothing for a
/// minute.
pub(crate) fn ask_fork(ask: impl FnOnce() -> bool) -> bool {
    const MINUTE: u32 = 60;
    // SAFETY: the child only calls functions that are safe after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no preconditions.
        unsafe { libc::alarm(MINUTE) };
        super::process::exit_now(i32::from(!ask()));
    }
    let mut status = -1;
    // SAFETY: the status is this frame's.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    waited == child && status == 0
}

/// A process that runs on alone, without exec and in a group of its own: it holds what its parent held. Its number.
pub(crate) fn fork_and_stay(seconds: u32) -> i32 {
    // SAFETY: the child only calls functions that are safe after a fork.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no preconditions.
        unsafe { libc::setsid() };
        // SAFETY: no preconditions.
        unsafe { libc::sleep(seconds) };
        super::process::exit_now(0);
    }
    // Until then it goes with the group.
    // SAFETY: no preconditions.
    while child > 0 && unsafe { libc::getsid(child) } != child {
        std::thread::yield_now();
    }
    child
}
