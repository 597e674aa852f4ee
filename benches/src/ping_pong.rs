//! The limits: two processes that pass a number back and forth through shared memory, with nothing else around
//! it. Either both spin, or both sleep in a futex.
//!
//! The child sleeps unless it is told to play, so that it disturbs nobody while others are measured: the mode
//! is a futex of its own.

use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::futex;

use crate::shared::{Direction, SharedWords, Words};

/// Set in the child.
pub(crate) const ROLE: &str = "ATASKER_BENCH_PING_PONG";

/// How a side waits for the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Looking at the memory all the time.
    Spin,
    /// Asleep, at once.
    Futex,
}

const ASLEEP: u32 = 0;
const SPIN: u32 = 1;
const FUTEX: u32 = 2;
/// Sent in place of a number: go back to sleep.
const ENOUGH: u64 = u64::MAX;

/// The child, and the memory shared with it.
#[derive(Debug)]
pub struct PingPong {
    shared: SharedWords,
    child: Child,
}

impl PingPong {
    /// Start the child.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Self {
        let shared = SharedWords::new().expect("memory to share");
        let memory = shared.memory().expect("a second descriptor");
        let child = Command::new(std::env::current_exe().expect("this program has a path"))
            .env(ROLE, "1")
            .stdin(Stdio::from(memory))
            .spawn()
            .expect("the child starts");
        let it = Self { shared, child };
        // Once there and back, so that it is known to be there.
        it.play(Wait::Futex, |round_trip| assert_eq!(round_trip(1), 2));
        it
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Run `game` with a function that sends a number and returns the child's answer, which is one more.
    pub fn play<R>(&self, wait: Wait, game: impl FnOnce(&dyn Fn(u64) -> u64) -> R) -> R {
        let words = self.shared.words();
        let mode = match wait {
            Wait::Spin => SPIN,
            Wait::Futex => FUTEX,
        };
        words.mode.count.store(mode, Ordering::Release); // Pairs with the acquire in `sleep_while`.
        wake(&words.mode.count);
        let result = game(&|number| {
            let seen = words.reply.count.load(Ordering::Relaxed);
            send(&words.request, number, wait);
            receive(&words.reply, seen, wait)
        });
        // The mode first: when the child sees the end, it goes back to look at the mode. It sees it then,
        // since `send` releases this store too.
        words.mode.count.store(ASLEEP, Ordering::Relaxed);
        let seen = words.reply.count.load(Ordering::Relaxed);
        send(&words.request, ENOUGH, wait);
        // It is asleep, or about to be, once it has answered.
        receive(&words.reply, seen, wait);
        result
    }
}

impl Drop for PingPong {
    fn drop(&mut self) {
        // It may be dead already, and there is nobody to tell.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the child does: its standard input is the memory.
///
/// # Panics
/// If it was not started by [`PingPong`].
pub(crate) fn serve() {
    // Not to outlive a parent that is killed: there is no channel here whose end would tell.
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal).expect("a signal can be chosen");
    let memory = std::io::stdin().as_fd().try_clone_to_owned().expect("the parent gives memory");
    let shared = SharedWords::map(memory).expect("the memory can be mapped");
    let words = shared.words();
    let mut seen = 0;
    loop {
        let wait = match sleep_while(&words.mode.count, ASLEEP) {
            SPIN => Wait::Spin,
            _ => Wait::Futex,
        };
        seen = answer_until_enough(words, seen, wait);
    }
}

/// Returns how many requests have been answered since the beginning.
fn answer_until_enough(words: &Words, mut seen: u32, wait: Wait) -> u32 {
    loop {
        let number = receive(&words.request, seen, wait);
        seen = seen.wrapping_add(1);
        send(&words.reply, number.wrapping_add(1), wait);
        if number == ENOUGH {
            return seen;
        }
    }
}

fn send(direction: &Direction, value: u64, wait: Wait) {
    direction.value.store(value, Ordering::Relaxed);
    direction.count.fetch_add(1, Ordering::Release); // Pairs with the acquire in `receive`.
    if wait == Wait::Futex {
        wake(&direction.count);
    }
}

/// The value after the one that was the `seen`th.
fn receive(direction: &Direction, seen: u32, wait: Wait) -> u64 {
    match wait {
        Wait::Spin => {
            // Pairs with the release in `send`.
            while direction.count.load(Ordering::Acquire) == seen {
                std::hint::spin_loop();
            }
        }
        Wait::Futex => {
            sleep_while(&direction.count, seen);
        }
    }
    direction.value.load(Ordering::Relaxed)
}

/// Sleep for as long as the word is `old`. Its new value. The wake surely comes: whoever changes a word
/// wakes its waiters after that, and the kernel compares the word before it lets anybody sleep.
fn sleep_while(word: &AtomicU32, old: u32) -> u32 {
    loop {
        // Pairs with the releases in `send` and `play`.
        let value = word.load(Ordering::Acquire);
        if value != old {
            return value;
        }
        // Woken, changed before it slept, or a signal: the loop looks again in any case.
        let _woken_or_not = futex::wait(word, futex::Flags::empty(), old, None);
    }
}

fn wake(word: &AtomicU32) {
    // No FUTEX_PRIVATE: the waiter is another process.
    futex::wake(word, futex::Flags::empty(), 1).expect("the word is mapped");
}
