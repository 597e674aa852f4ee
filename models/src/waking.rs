//! Sleeping and being woken, both ways. A wake-up that is lost leaves a thread asleep for ever, which loom
//! reports as a deadlock.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use crate::bell;
use crate::futex::Futex;
use crate::sleep::{self, Listener};
use crate::threads::spawn;
use crate::word::{self, Begin, Commit, Word};

#[derive(Default)]
struct Memory {
    word: AtomicU64,
    asleep: AtomicU32,
    retired: AtomicU32,
    listening: AtomicU32,
    bell: AtomicU32,
}

struct Sides {
    memory: Memory,
    worker: Futex,
    coordinator: Futex,
}

impl Sides {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            memory: Memory::default(),
            worker: Futex::new(),
            coordinator: Futex::new(),
        })
    }

    fn stage(&self) {
        word::stage(&self.memory.word, Word::staged(1, 1));
        if sleep::is_asleep(&self.memory.asleep) {
            self.wake();
        }
    }

    fn wake(&self) {
        if sleep::lower(&self.memory.asleep) {
            self.worker.wake();
        }
    }

    fn retire(&self) {
        self.memory.retired.store(1, Ordering::SeqCst);
        self.wake();
    }

    /// Sleep until there is something to do.
    fn sleep(&self) {
        let Memory { word, asleep, retired, .. } = &self.memory;
        let ready = || word::look(word).is_staged() || retired.load(Ordering::SeqCst) != 0;
        sleep::sleep_until(asleep, ready, |raised| self.worker.wait(&[(asleep, raised)]));
    }

    fn run(&self) {
        let word = &self.memory.word;
        let Begin::Begun(now) = word::begin(word, word::look(word)) else { panic!("it is staged") };
        assert_eq!(word::commit(word, now), Commit::Done);
        self.announce();
    }

    fn announce(&self) {
        let Memory { listening, bell, .. } = &self.memory;
        if sleep::who_listens(listening).is_none() || sleep::answer(listening).is_none() {
            return;
        }
        bell::ring(bell);
        self.coordinator.wake();
    }

    /// Sleep until the outcome is there.
    fn await_outcome(&self, listener: Listener) {
        let Memory { word, listening, bell, .. } = &self.memory;
        loop {
            let heard = bell.load(Ordering::Acquire);
            sleep::listen(listening, listener);
            if word::look(word).is_done() {
                return;
            }
            self.coordinator.wait(&[(bell, heard)]);
        }
    }
}

/// A worker that commits several entries, and rings for some.
struct Silent {
    words: [AtomicU64; 2],
    listening: AtomicU32,
    bell: AtomicU32,
    coordinator: Futex,
}

impl Silent {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            listening: AtomicU32::new(0),
            bell: AtomicU32::new(0),
            coordinator: Futex::new(),
        })
    }

    /// As `RingEnd::announce`, where all commits come early.
    fn run(&self) {
        let mut silent = false;
        for word in &self.words {
            let Begin::Begun(now) = word::begin(word, word::look(word)) else {
                panic!("it is staged")
            };
            assert_eq!(word::commit(word, now), Commit::Done);
            if silent || sleep::answer(&self.listening).is_none() {
                continue;
            }
            bell::ring_and_say(&self.bell, true);
            self.coordinator.wake();
            silent = true;
        }
    }

    /// Sleep, as a listener does, until all outcomes are there.
    fn await_outcomes(&self) {
        let mut seen = 0;
        while seen < self.words.len() {
            let heard = self.bell.load(Ordering::Acquire);
            sleep::listen(&self.listening, Listener::Waiter);
            if word::look(&self.words[seen]).is_done() {
                seen += 1;
            } else if bell::is_silent(heard) {
                // A tick.
                thread::yield_now();
            } else {
                self.coordinator.wait(&[(&self.bell, heard)]);
            }
        }
    }
}

#[test]
fn who_was_not_told_of_silence_is_rung() {
    loom::model(|| {
        let sides = Silent::new();
        sides.words.iter().for_each(|word| word::stage(word, Word::staged(1, 1)));
        let worker = spawn(&sides, Silent::run);
        sides.await_outcomes();
        worker.join().expect("it does not panic");
    });
}

#[test]
fn a_sleeping_worker_is_woken_for_what_is_staged() {
    loom::model(|| {
        let sides = Sides::new();
        let worker = spawn(&sides, Sides::sleep);
        sides.stage();
        worker.join().expect("it wakes up");
        assert!(word::look(&sides.memory.word).is_staged());
    });
}

#[test]
fn a_sleeping_worker_is_woken_to_retire() {
    loom::model(|| {
        let sides = Sides::new();
        let worker = spawn(&sides, Sides::sleep);
        sides.retire();
        worker.join().expect("it wakes up");
    });
}

/// Two threads that stage and retire: whoever lowers the flag wakes.
#[test]
fn two_that_wake_do_not_rely_on_each_other() {
    loom::model(|| {
        let sides = Sides::new();
        let worker = spawn(&sides, Sides::sleep);
        let other = spawn(&sides, Sides::retire);
        sides.stage();
        worker.join().expect("it wakes up");
        other.join().expect("it does not panic");
    });
}

#[test]
fn a_sleeping_listener_is_rung_for_an_outcome() {
    loom::model(|| {
        let sides = Sides::new();
        word::stage(&sides.memory.word, Word::staged(1, 1));
        let worker = spawn(&sides, Sides::run);
        sides.await_outcome(Listener::Waiter);
        worker.join().expect("it does not panic");
    });
}

/// A whole round trip: both sides sleep.
#[test]
fn a_round_trip_of_two_that_sleep() {
    loom::model(|| {
        let sides = Sides::new();
        let worker = spawn(&sides, |sides| {
            sides.sleep();
            sides.run();
        });
        sides.stage();
        sides.await_outcome(Listener::Collector);
        worker.join().expect("it does not panic");
    });
}
