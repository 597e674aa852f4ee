//! One entry: who gets a call, whose outcome counts, and that what stands beside the word is never read while it
//! is written.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;

use crate::threads::spawn;
use crate::word::{self, Begin, Commit, Kill, Taken, Word};

/// What loom watches for accesses that race.
#[derive(Default)]
struct Cell(UnsafeCell<u32>);

impl Cell {
    fn write(&self, value: u32) {
        self.0.with_mut(|cell| write(cell, value));
    }

    fn read(&self) -> u32 {
        self.0.with(read)
    }
}

#[expect(unsafe_code, reason = "loom's cells give out pointers")]
fn write(cell: *mut u32, value: u32) {
    // SAFETY: valid, as loom says; if somebody else accesses it now loom panics before.
    unsafe { cell.write(value) };
}

#[expect(unsafe_code, reason = "loom's cells give out pointers")]
fn read(cell: *const u32) -> u32 {
    // SAFETY: as in `write`.
    unsafe { cell.read() }
}

// SAFETY: loom checks each access, which is what the models are for.
#[expect(unsafe_code, reason = "loom's cells are not shared otherwise")]
unsafe impl Sync for Cell {}

struct Entry {
    word: AtomicU64,
    arguments: Cell,
    outcomes: [Cell; 3],
}

impl Entry {
    /// Staged as generation 1.
    fn staged(calls: u32) -> Arc<Self> {
        let entry = Self {
            word: AtomicU64::new(0),
            arguments: Cell::default(),
            outcomes: Default::default(),
        };
        entry.stage(1, calls);
        Arc::new(entry)
    }

    fn stage(&self, generation: u32, calls: u32) {
        self.arguments.write(generation * 10);
        word::stage(&self.word, Word::staged(generation, calls));
    }

    /// What the worker does with it, once. What it ran, and whether it has committed that.
    fn serve(&self) -> (Vec<u32>, bool) {
        let mut ran = Vec::new();
        let seen = word::look(&self.word);
        if !seen.is_staged() {
            return (ran, false);
        }
        let mut now = seen;
        loop {
            match word::begin(&self.word, now) {
                Begin::Begun(next) => now = next,
                Begin::End(end) => {
                    now = end;
                    break;
                }
                Begin::Killed => return (ran, false),
            }
            let argument = self.arguments.read();
            self.outcomes[now.begun() as usize - 1].write(argument + now.begun());
            ran.push(argument + now.begun());
        }
        if ran.is_empty() {
            return (ran, false);
        }
        let committed = word::commit(&self.word, now) == Commit::Done;
        (ran, committed)
    }
}

/// A call is with the worker or with the coordinator, and what is staged in its place is another.
#[test]
fn what_is_taken_back_never_begins_and_its_place_is_used_again() {
    loom::model(|| {
        let entry = Entry::staged(1);
        let worker = spawn(&entry, |entry| entry.serve().0);
        let taken = word::take_back(&entry.word, 1, 0);
        if taken == Taken::Kept(0) {
            entry.stage(2, 1);
        }
        let ran = worker.join().expect("it does not panic");
        match taken {
            Taken::Kept(0) => assert!(ran.is_empty() || ran == [21], "{ran:?}"),
            Taken::Kept(_) | Taken::TooLate(_) => assert_eq!(ran, [11]),
        }
    });
}

/// An outcome counts or a kill does.
#[test]
fn of_a_commit_and_a_kill_exactly_one_wins() {
    loom::model(|| {
        let entry = Entry::staged(1);
        let worker = spawn(&entry, Entry::serve);
        let killed = word::kill(&entry.word, 1);
        if let Kill::Lost(now) = killed {
            assert!(now.is_done());
            assert_eq!(entry.outcomes[0].read(), 11);
        }
        let (ran, committed) = worker.join().expect("it does not panic");
        match killed {
            Kill::Won { begun: 1 } => assert!(!committed && ran == [11]),
            Kill::Won { .. } => panic!("it has one call"),
            Kill::NotBegun => assert!(!committed && ran.is_empty()),
            Kill::Lost(_) => assert!(committed),
        }
        assert_eq!(word::look(&entry.word).is_done(), committed);
    });
}

/// The outcomes of calls before the one that runs may be read while it runs.
#[test]
fn what_a_pack_has_finished_can_be_read_while_it_runs() {
    loom::model(|| {
        let entry = Entry::staged(3);
        // In this order: loom does not try a load anew that another load has followed.
        let coordinator = spawn(&entry, |entry| {
            let now = word::look(&entry.word);
            let begun = now.begun();
            let finished = if now.is_done() { begun } else { begun.saturating_sub(1) };
            for (outcome, expected) in entry.outcomes[..finished as usize].iter().zip(11..) {
                assert_eq!(outcome.read(), expected);
            }
        });
        assert_eq!(entry.serve(), (vec![11, 12, 13], true));
        coordinator.join().expect("it reads what is written");
    });
}

/// What is split off is run by nobody here, and all else by the worker.
#[test]
fn a_pack_runs_up_to_where_it_was_split() {
    loom::model(|| {
        let entry = Entry::staged(3);
        let worker = spawn(&entry, Entry::serve);
        let split = word::take_back(&entry.word, 1, 1);
        let (ran, committed) = worker.join().expect("it does not panic");
        assert!(committed);
        match split {
            Taken::Kept(kept) => assert!((1..=3).contains(&kept) && ran.len() == kept as usize),
            Taken::TooLate(_) => assert_eq!(ran.len(), 3),
        }
        assert_eq!(word::look(&entry.word).begun() as usize, ran.len());
    });
}

/// Killed in the middle of a pack: what was finished can be read at once.
#[test]
fn what_a_killed_pack_had_finished_can_be_read() {
    loom::model(|| {
        let entry = Entry::staged(2);
        let worker = spawn(&entry, Entry::serve);
        if let Kill::Won { begun } = word::kill(&entry.word, 1) {
            for (outcome, expected) in entry.outcomes[..begun as usize - 1].iter().zip(11..) {
                assert_eq!(outcome.read(), expected);
            }
            let (ran, committed) = worker.join().expect("it does not panic");
            assert!(!committed && ran.len() == begun as usize);
        } else {
            worker.join().expect("it does not panic");
        }
    });
}
