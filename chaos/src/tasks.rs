//! What runs in the workers: functions that note their begin and end, do their deed, and return what follows
//! from their arguments.

#![expect(
    unsafe_code,
    reason = "a null write, and a signal to itself, are what some of them are for"
)]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use atasker::{SealedSlice, SharedSlice, task, worker_init};
use serde::{Deserialize, Serialize};

use crate::dice::mix;
use crate::record::{self, Attempt};

/// What a task does before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Deed {
    Return,
    SleepMicros(u64),
    SpinMicros(u64),
    /// Take so much memory, use it and give it back.
    HogMib(u64),
    /// The function returns an `Err`, if it can.
    Fail,
    Panic,
    Abort,
    NullWrite,
    StackOverflow,
    Exit(i32),
    KillItself,
    /// Never return, with so much memory that the end of the process takes its time.
    HangWithMib(u64),
    /// Never return, and use CPU time.
    Burn,
    /// Return when asked to end.
    Heed,
    /// Return, and have the process hang when it is to end.
    HangAtExit,
}

impl Deed {
    /// Whether the worker dies of it.
    pub(crate) fn is_deadly(self) -> bool {
        use Deed::{Abort, Exit, KillItself, NullWrite, StackOverflow};
        matches!(self, Abort | NullWrite | StackOverflow | Exit(_) | KillItself)
    }

    /// Whether the function comes to its end by itself, with a value.
    pub(crate) fn returns(self) -> bool {
        use Deed::{Fail, HangAtExit, Heed, HogMib, Return, SleepMicros, SpinMicros};
        let waits = matches!(self, SleepMicros(_) | SpinMicros(_) | HogMib(_));
        waits || matches!(self, Return | Fail | Heed | HangAtExit)
    }
}

/// How a task behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conduct {
    pub(crate) deed: Deed,
    /// For a task that may be repeated: in how many attempts, from the first, it does the deed. Later ones just
    /// return.
    pub(crate) bad_attempts: Option<u64>,
}

impl Conduct {
    /// The deed of attempt number `count`.
    pub(crate) fn in_attempt(self, count: u64) -> Deed {
        if self.bad_attempts.is_some_and(|bad| count > bad) { Deed::Return } else { self.deed }
    }
}

/// Data for the workers: where the record is.
#[worker_init]
fn open_record(folder: PathBuf) -> std::io::Result<()> {
    record::open(folder)
}

#[task]
pub(crate) fn value(number: u64, conduct: Conduct) -> u64 {
    let attempt = Attempt::begin(number, conduct.bad_attempts.is_some());
    do_deed(conduct.in_attempt(attempt.count), number);
    mix(number)
}

#[task]
pub(crate) fn fallible(number: u64, conduct: Conduct) -> Result<u64, String> {
    let attempt = Attempt::begin(number, conduct.bad_attempts.is_some());
    match conduct.in_attempt(attempt.count) {
        Deed::Fail => Err(failure(number)),
        deed => {
            do_deed(deed, number);
            Ok(mix(number))
        }
    }
}

#[task]
pub(crate) fn bytes(number: u64, conduct: Conduct, sent: &[u8]) -> Vec<u8> {
    let attempt = Attempt::begin(number, conduct.bad_attempts.is_some());
    if sent != payload(number, sent.len()) {
        attempt.complain();
    }
    do_deed(conduct.in_attempt(attempt.count), number);
    payload(!number, sent.len())
}

#[task]
pub(crate) fn lent(number: u64, conduct: Conduct, mut slice: SharedSlice<u64>) -> SharedSlice<u64> {
    let attempt = Attempt::begin(number, conduct.bad_attempts.is_some());
    do_deed(conduct.in_attempt(attempt.count), number);
    let words = slice.as_mut_slice().expect("a worker may write what it was lent");
    if words.iter().any(|word| *word != mix(number)) {
        attempt.complain();
    }
    words.fill(mix(!number));
    slice
}

#[task]
pub(crate) fn sealed(number: u64, conduct: Conduct, slice: SealedSlice<u64>) -> u64 {
    let attempt = Attempt::begin(number, conduct.bad_attempts.is_some());
    do_deed(conduct.in_attempt(attempt.count), number);
    if slice.iter().any(|word| *word != mix(number)) {
        attempt.complain();
    }
    mix(number)
}

/// Runs until the moment (of the clock of the record), or for no time if that has passed.
#[task]
pub(crate) fn spin_for(number: u64, nanos: u64) -> u64 {
    let start = Instant::now();
    let _attempt = Attempt::begin(number, false);
    while (start.elapsed().as_nanos() as u64) < nanos {
        std::hint::spin_loop();
    }
    mix(number)
}

/// The error of [`fallible`].
pub(crate) fn failure(number: u64) -> String {
    format!("task {number} fails as it was told")
}

/// What [`bytes`] is sent; and, of the inverted number, what it returns.
pub(crate) fn payload(number: u64, length: usize) -> Vec<u8> {
    let pattern = mix(number).to_le_bytes();
    pattern.iter().copied().cycle().take(length).collect()
}

/// Whether this process is in the middle of a deed, so that it ends by that if it does now.
static IS_AT_IT: AtomicBool = AtomicBool::new(false);

fn do_deed(deed: Deed, number: u64) {
    IS_AT_IT.store(true, Ordering::Relaxed);
    do_it(deed, number);
    IS_AT_IT.store(false, Ordering::Relaxed);
}

/// A process that ends because it is told to never does.
extern "C" fn hang_unless_at_it() {
    while !IS_AT_IT.load(Ordering::Relaxed) {
        std::thread::park();
    }
}

fn do_it(deed: Deed, number: u64) {
    match deed {
        Deed::Return | Deed::Fail => {}
        Deed::SleepMicros(micros) => std::thread::sleep(Duration::from_micros(micros)),
        Deed::SpinMicros(micros) => {
            let until = Instant::now() + Duration::from_micros(micros);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
        Deed::HogMib(mib) => drop(hog(mib)),
        Deed::Panic => panic!("task {number} panics as it was told"),
        Deed::Abort => std::process::abort(),
        Deed::NullWrite => null_write(),
        Deed::StackOverflow => _ = black_box(descend(black_box(0))),
        Deed::Exit(code) => std::process::exit(code),
        Deed::KillItself => raise(libc::SIGKILL),
        Deed::HangWithMib(mib) => {
            let _held = hog(mib);
            loop {
                std::thread::park();
            }
        }
        Deed::Burn => loop {
            black_box(number);
        },
        Deed::Heed => {
            while !atasker::current().is_cancelled() {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        // SAFETY: the function is there as long as the process.
        Deed::HangAtExit => _ = unsafe { libc::atexit(hang_unless_at_it) },
    }
}

fn hog(mib: u64) -> Vec<Vec<u8>> {
    (0..mib).map(|_| black_box(vec![0xA5_u8; 1 << 20])).collect()
}

fn null_write() {
    // Through C, because debug assertions would catch a null pointer before the processor does.
    let nowhere = black_box(std::ptr::null_mut::<libc::c_void>());
    // SAFETY: none; nothing is ever mapped at address zero, so the write ends the process.
    unsafe { libc::memset(nowhere, 1, 1) };
}

fn raise(signal: i32) {
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(signal) };
}

/// Neither the condition nor what is left to be done after the call can be foreseen, so that it stays a call.
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if black_box(depth) == u64::MAX {
        return depth;
    }
    descend(depth + 1).wrapping_add(black_box(frame)[0])
}
