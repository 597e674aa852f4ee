//! Tasks that make trouble on purpose. In a worker process each costs itself and nothing else; called as
//! plain functions, they do it to the caller.

#![expect(unsafe_code, reason = "a null write is what `segfault` is for")]

use std::hint::black_box;
use std::time::Duration;

/// Write to the null pointer, as broken native code does. The worker dies of SIGSEGV.
#[atasker::task]
pub fn segfault() {
    // Through C, because Rust's own debug assertions would catch a null pointer before the processor does.
    let nowhere = black_box(std::ptr::null_mut::<libc::c_void>());
    // SAFETY: none. Nothing can be mapped at address zero (`vm.mmap_min_addr`), so the write ends the
    // process; nothing that runs afterwards could see a broken invariant.
    unsafe { libc::memset(nowhere, 1, 1) };
}

/// End the process by `abort`, as a failed assertion in C does. The worker dies of SIGABRT.
#[atasker::task]
pub fn abort() {
    std::process::abort();
}

/// Call itself without end, until the stack is used up. The worker dies of SIGABRT, which is how Rust reports
/// that.
#[atasker::task]
pub fn stack_overflow() {
    black_box(descend(black_box(0)));
}

/// Neither the condition nor what is left to be done after the call can be foreseen, so that it stays a call.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 32]);
    if black_box(depth) == u64::MAX {
        return depth;
    }
    descend(depth + 1).wrapping_add(black_box(frame)[0])
}

/// Never return. Only a timeout or a cancellation ends it, by killing its worker.
#[atasker::task]
pub fn hang() {
    loop {
        std::thread::sleep(Duration::from_hours(1));
    }
}

/// Take and really use so many MiB of memory, then give it back; returns the number. With more than there is,
/// the worker is killed by the system, or dies of the failed allocation.
#[atasker::task]
pub fn hog_memory(mib: u64) -> u64 {
    let mut taken = Vec::new();
    for done in 1..=mib {
        // Not zero: zeroed memory is a promise that costs nothing until it is touched.
        taken.push(black_box(vec![0xA5_u8; 1 << 20]));
        atasker::progress(done, mib);
    }
    black_box(&taken).len() as u64
}

/// Panic with this message. The worker goes on.
///
/// # Panics
/// That is all it does.
#[atasker::task]
pub fn panic(message: &str) {
    panic!("{message}");
}

/// End the process with this code, as a library does that thinks it is alone. The task has crashed, even with
/// code 0: it gave no result.
#[atasker::task]
pub fn exit(code: i32) {
    std::process::exit(code);
}
