//! The one word of an entry that decides what has begun, what is taken back, what is killed and what is
//! done. README.md has the states and the argument; here stand the transitions, each one compare-and-swap.
//!
//! Knows nothing of segments, calls or tasks: a word and its rules, so that a model can run them.

#[cfg(atasker_sabotage)]
use crate::sabotage::{self, Bug};
use crate::sync::atomic::{AtomicU64, Ordering};

/// How many calls an entry can hold at most.
pub(crate) const CALLS_MAX: u32 = 1024;

const BEGUN_SHIFT: u32 = 0;
const LIMIT_SHIFT: u32 = 16;
const FLAGS_SHIFT: u32 = 32;
const GENERATION_SHIFT: u32 = 36;

const COUNT_MASK: u64 = 0xffff;
const DONE: u64 = 1 << FLAGS_SHIFT;
const KILLED: u64 = 2 << FLAGS_SHIFT;
const SKIPPED: u64 = 4 << FLAGS_SHIFT;
/// Generations wrap around. One that comes again was last used 2^28 stagings of the same ring ago.
const GENERATION_MASK: u64 = (1 << (64 - GENERATION_SHIFT)) - 1;

const _: () = assert!(CALLS_MAX as u64 <= COUNT_MASK, "a count has sixteen bits");

/// A value of the word.
///
/// From the lowest bit: how many calls have begun (16 bits), the limit up to which the worker may go (16),
/// done, killed, skipped and a spare (4), generation (28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) fn staged(generation: u32, calls: u32) -> Self {
        debug_assert!(0 < calls && calls <= CALLS_MAX);
        let generation = u64::from(generation) & GENERATION_MASK;
        Self(generation << GENERATION_SHIFT | u64::from(calls) << LIMIT_SHIFT)
    }

    pub(crate) fn begun(self) -> u32 {
        (self.0 >> BEGUN_SHIFT & COUNT_MASK) as u32
    }

    pub(crate) fn limit(self) -> u32 {
        (self.0 >> LIMIT_SHIFT & COUNT_MASK) as u32
    }

    pub(crate) fn is_done(self) -> bool {
        self.0 & DONE != 0
    }

    pub(crate) fn is_killed(self) -> bool {
        self.0 & KILLED != 0
    }

    pub(crate) fn is_skipped(self) -> bool {
        self.0 & SKIPPED != 0
    }

    /// Whether the worker has something to do with it.
    pub(crate) fn is_staged(self) -> bool {
        !self.is_done() && (self.limit() > 0 || self.is_skipped())
    }

    pub(crate) fn has_generation(self, generation: u32) -> bool {
        self.generation() == u64::from(generation) & GENERATION_MASK
    }

    fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    fn with_begun(self, begun: u32) -> Self {
        Self(self.0 & !(COUNT_MASK << BEGUN_SHIFT) | u64::from(begun) << BEGUN_SHIFT)
    }

    fn with_limit(self, limit: u32) -> Self {
        Self(self.0 & !(COUNT_MASK << LIMIT_SHIFT) | u64::from(limit) << LIMIT_SHIFT)
    }

    fn with(self, flag: u64) -> Self {
        Self(self.0 | flag)
    }
}

/// Look at a word, and at all that was written before it became what it is.
#[inline]
pub(crate) fn look(word: &AtomicU64) -> Word {
    // Pairs with the release in every transition of the other side. Sequentially consistent for the looks
    // that follow a raised sleep flag, see `sleep`.
    Word(word.load(Ordering::SeqCst))
}

/// Coordinator: offer what was written into the entry. Only for an entry that the worker has no business
/// with.
#[inline]
pub(crate) fn stage(word: &AtomicU64, staged: Word) {
    // Release, for the entry's content: pairs with the acquire in `look`. And a full barrier before the
    // look at the worker's sleep flag, which pairs with the one in `sleep::Sleeper`.
    word.swap(staged.0, Ordering::SeqCst);
}

/// What came of a transition by the coordinator.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// So many calls have begun and stay; the rest is taken back and never begins. Zero: the entry is free,
    /// or will be passed over.
    Kept(u32),
    /// The worker has finished the entry, or the word says what it can't.
    TooLate(Word),
}

/// Coordinator: take back all calls from number `keep` on that have not begun.
pub(crate) fn take_back(word: &AtomicU64, generation: u32, keep: u32) -> Taken {
    let lower = |now: Word| now.with_limit(now.begun().max(keep).min(now.limit()));
    match change(word, generation, lower) {
        Ok(after) => Taken::Kept(after.limit()),
        Err(now) => Taken::TooLate(now),
    }
}

/// Coordinator: take the whole entry back and have the worker pass over it, because others are staged
/// behind it. `TooLate` also if it has begun.
pub(crate) fn skip(word: &AtomicU64, generation: u32) -> Taken {
    let unbegun = |now: Word| match now.begun() {
        0 => now.with_limit(0).with(SKIPPED),
        _ => now,
    };
    match change(word, generation, unbegun) {
        Ok(after) if after.is_skipped() => Taken::Kept(0),
        Ok(now) | Err(now) => Taken::TooLate(now),
    }
}

/// Coordinator: forget an entry that was skipped and that the worker has not passed yet, because nothing
/// is staged behind it any more.
pub(crate) fn unskip(word: &AtomicU64, generation: u32) -> bool {
    change(word, generation, |now| Word(now.0 & !SKIPPED)).is_ok()
}

/// What came of a kill.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// The call of number `begun - 1` runs, and nothing more of the entry will be committed.
    Won { begun: u32 },
    /// Nothing of it had begun: it is taken back.
    NotBegun,
    /// The worker has finished the entry, or the word says what it can't.
    Lost(Word),
}

/// Coordinator: win the entry against its completion.
pub(crate) fn kill(word: &AtomicU64, generation: u32) -> Kill {
    let kill = |now: Word| match now.begun() {
        0 => now.with_limit(0),
        _ => now.with(KILLED),
    };
    match change(word, generation, kill) {
        Ok(after) if after.is_killed() => Kill::Won { begun: after.begun() },
        Ok(_) => Kill::NotBegun,
        Err(now) => Kill::Lost(now),
    }
}

/// Change a word of the coordinator's that is not done. `Err`: it is, or it is not of this generation.
fn change(word: &AtomicU64, generation: u32, change: impl Fn(Word) -> Word) -> Result<Word, Word> {
    let mut now = look(word);
    loop {
        if now.is_done() || !now.has_generation(generation) {
            return Err(now);
        }
        let next = change(now);
        // Acquire pairs with the release of `begin` and `commit`; release orders nothing of the entry's.
        match word.compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(next),
            Err(other) => now = Word(other),
        }
    }
}

/// What the worker is to do with an entry.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The next call has begun; it is number `begun - 1` of the word, which is what it is now.
    Begun(Word),
    /// Nothing more of it may begin. If anything has, it is to be committed.
    End(Word),
    /// Its worker is being killed.
    Killed,
}

/// Worker: begin the next call of the entry. `seen`: the word as it was last seen. Also publishes what was
/// written about the call before.
#[inline]
pub(crate) fn begin(word: &AtomicU64, seen: Word) -> Begin {
    let mut now = seen;
    loop {
        if now.is_killed() {
            return Begin::Killed;
        }
        if now.is_done() || now.begun() >= now.limit() {
            return Begin::End(now);
        }
        let next = now.with_begun(now.begun() + 1);
        #[cfg(atasker_sabotage)]
        if sabotage::is_planted(Bug::BeginUnchecked) {
            word.store(next.0, Ordering::SeqCst);
            return Begin::Begun(next);
        }
        // Release: the outcome of the call before; pairs with the acquire in `look` and `change`.
        // Acquire: what was staged, if this is a newer staging than the one that was seen.
        match word.compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Begin::Begun(next),
            Err(other) => now = Word(other),
        }
    }
}

/// What came of a commit.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    Done,
    /// Its worker is being killed; what it wrote is not looked at.
    Killed,
    /// It was taken back as a whole before it was passed over. Look again.
    Gone,
}

/// Worker: all calls that have begun are finished and their outcomes written.
#[inline]
pub(crate) fn commit(word: &AtomicU64, seen: Word) -> Commit {
    let mut now = seen;
    loop {
        if now.is_killed() {
            return Commit::Killed;
        }
        // A newer staging is another call's, which has not begun.
        if !now.is_staged() || now.generation() != seen.generation() {
            return Commit::Gone;
        }
        // Release: the outcomes; pairs with the acquire in `look`. And a full barrier before the look at
        // the coordinator's sleep flag, which pairs with the one in `sleep::listen`.
        let done = now.with(DONE);
        match word.compare_exchange_weak(now.0, done.0, Ordering::SeqCst, Ordering::Acquire) {
            Ok(_) => return Commit::Done,
            Err(other) => now = Word(other),
        }
    }
}

// Loom's atomics work in a model only.
#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn staged(calls: u32) -> AtomicU64 {
        let word = AtomicU64::new(0);
        stage(&word, Word::staged(7, calls));
        word
    }

    fn begin_next(word: &AtomicU64) -> Begin {
        begin(word, look(word))
    }

    #[test]
    fn a_single_call_begins_and_is_done() {
        let word = staged(1);
        let Begin::Begun(now) = begin_next(&word) else { panic!("it was staged") };
        assert_eq!((now.begun(), now.limit()), (1, 1));
        assert_eq!(begin(&word, now), Begin::End(now));
        assert_eq!(commit(&word, now), Commit::Done);
        assert!(look(&word).is_done() && !look(&word).is_staged());
        assert!(matches!(begin_next(&word), Begin::End(_)), "what is done does not begin again");
        assert!(matches!(kill(&word, 7), Kill::Lost(_)));
        assert!(matches!(take_back(&word, 7, 0), Taken::TooLate(_)));
    }

    #[test]
    fn what_is_taken_back_never_begins() {
        let word = staged(3);
        let seen = look(&word);
        assert_eq!(take_back(&word, 7, 0), Taken::Kept(0));
        assert!(matches!(begin(&word, seen), Begin::End(_)));
        assert!(!look(&word).is_staged());
    }

    #[test]
    fn the_rest_of_a_pack_is_taken_back_behind_what_has_begun() {
        let word = staged(5);
        let Begin::Begun(now) = begin_next(&word) else { panic!("it was staged") };
        assert_eq!(take_back(&word, 7, 0), Taken::Kept(1));
        let Begin::End(end) = begin(&word, now) else { panic!("the limit was lowered") };
        assert_eq!((end.begun(), end.limit()), (1, 1));
        assert_eq!(commit(&word, end), Commit::Done);
    }

    #[test]
    fn a_part_of_a_pack_may_be_kept() {
        let word = staged(5);
        assert_eq!(take_back(&word, 7, 3), Taken::Kept(3));
        assert_eq!(take_back(&word, 7, 4), Taken::Kept(3), "a limit is never raised");
    }

    #[test]
    fn the_first_of_kill_and_commit_wins() {
        let word = staged(2);
        let Begin::Begun(now) = begin_next(&word) else { panic!("it was staged") };
        assert_eq!(kill(&word, 7), Kill::Won { begun: 1 });
        assert_eq!(begin(&word, now), Begin::Killed);
        assert_eq!(commit(&word, now), Commit::Killed);
        assert_eq!(kill(&staged(2), 7), Kill::NotBegun);
    }

    #[test]
    fn a_stale_generation_changes_nothing() {
        let word = staged(1);
        let seen = look(&word);
        assert_eq!(take_back(&word, 7, 0), Taken::Kept(0));
        stage(&word, Word::staged(8, 1));
        assert!(matches!(kill(&word, 7), Kill::Lost(_)));
        assert!(matches!(take_back(&word, 7, 0), Taken::TooLate(_)));
        assert!(matches!(skip(&word, 7), Taken::TooLate(_)));
        // The worker begins what is staged now, not what it saw.
        let Begin::Begun(now) = begin(&word, seen) else { panic!("it is staged again") };
        assert!(now.has_generation(8));
    }

    #[test]
    fn what_is_skipped_is_passed_over_or_forgotten() {
        let word = staged(1);
        assert_eq!(skip(&word, 7), Taken::Kept(0));
        assert!(look(&word).is_staged(), "the worker must go past it");
        let Begin::End(end) = begin_next(&word) else { panic!("it must not begin") };
        assert_eq!(commit(&word, end), Commit::Done);

        let word = staged(1);
        assert_eq!(skip(&word, 7), Taken::Kept(0));
        let seen = look(&word);
        assert!(unskip(&word, 7));
        assert_eq!(commit(&word, seen), Commit::Gone);
        // Nor is a call committed that is staged there since, and has not begun.
        stage(&word, Word::staged(8, 1));
        assert_eq!(commit(&word, seen), Commit::Gone);
        assert!(!look(&word).is_done());
        assert!(!unskip(&AtomicU64::new(DONE), 0));
    }

    #[test]
    fn generations_wrap_around() {
        let word = AtomicU64::new(0);
        stage(&word, Word::staged(u32::MAX, 1));
        assert!(look(&word).has_generation(u32::MAX));
        assert_eq!(take_back(&word, u32::MAX, 0), Taken::Kept(0));
    }
}
