//! Where everything stands in a ring's segment. Both sides are the same version of this crate, which the
//! handshake has made sure of.
//!
//! ```text
//! 0       header: one cache line for each side that writes into it
//! 4096    entries, 128 bytes each
//! …       slots, 32 KiB each: half for the arguments, half for the outcomes of one entry
//! ```
//!
//! An entry is two cache lines: the coordinator's, with the word and small arguments, and the worker's,
//! with small outcomes. A short outcome takes the place of the arguments, which have been read by then, so that it comes
//! with the word and the second line does not move at all. What does not fit stands in the slot that the entry names. A
//! slot's memory is allocated when it is first used.

use super::sleep::Listener;
use crate::sys::death_mark;

/// How many entries a ring has.
pub(crate) const ENTRIES: usize = 1024;

const HEADER_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 128;
/// A slot's half.
pub(crate) const AREA_BYTES: usize = 16 << 10;

const SLOTS_OFFSET: usize = (HEADER_BYTES + ENTRIES * ENTRY_BYTES).next_multiple_of(4096);
/// What must be there before anything works.
pub(crate) const COMMITTED: usize = SLOTS_OFFSET;
/// The whole segment.
pub(crate) const SEGMENT_BYTES: usize = SLOTS_OFFSET + ENTRIES * 2 * AREA_BYTES;

/// Set while the worker sleeps, or is about to: `u32`, a futex.
pub(super) const ASLEEP: usize = 64;
/// Who is to be rung at the next outcome: `u32`.
pub(super) const LISTENING: usize = 128;
/// The futexes that are rung.
const COLLECTOR_BELL: usize = 132;
const WAITER_BELL: usize = 136;
/// When who sleeps on them had taken everything, in nanoseconds: `u64`.
const COLLECTOR_TAKEN: usize = 144;
const WAITER_TAKEN: usize = 152;
/// No more calls will come: `u32`.
pub(super) const RETIRED: usize = 192;
/// There is something for the worker to read from the parcels' socket: `u32`.
pub(super) const CALLING: usize = 196;
/// There is something for the coordinator to read from there: `u32`.
pub(super) const ANSWERING: usize = 256;
/// Marked by the kernel when the worker's serving thread ends: see [`sys::death_mark`](crate::sys::death_mark). One for
/// each kind of [listener](super::sleep::Listener), because the kernel wakes only one of those who sleep on a mark.
pub(super) const COLLECTOR_MARK: usize = 320;
pub(super) const WAITER_MARK: usize = COLLECTOR_MARK + death_mark::WORDS * 4;

/// Arguments up to this length stand in the entry.
pub(super) const ARGUMENTS_INLINE: usize = 24;
/// Outcomes up to this length stand in the entry.
pub(super) const OUTCOMES_INLINE: usize = 48;

/// The bell of a listener.
pub(super) const fn bell(who: Listener) -> usize {
    match who {
        Listener::Collector => COLLECTOR_BELL,
        Listener::Waiter => WAITER_BELL,
    }
}

/// When a listener had taken everything.
pub(super) const fn taken(who: Listener) -> usize {
    match who {
        Listener::Collector => COLLECTOR_TAKEN,
        Listener::Waiter => WAITER_TAKEN,
    }
}

/// Where the parts of entry `position` stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry(usize);

impl Entry {
    pub(super) fn at(position: u64) -> Self {
        Self(HEADER_BYTES + position as usize % ENTRIES * ENTRY_BYTES)
    }

    /// The one whose word stands there.
    pub(super) fn of_word(offset: usize) -> Self {
        Self(offset)
    }

    /// `u64`, see [`super::word`].
    pub(super) fn word(self) -> usize {
        self.0
    }

    /// `u64`: the number of the first call's task.
    pub(super) fn number(self) -> usize {
        self.0 + 8
    }

    /// `u64`: see [`Head`].
    pub(super) fn head(self) -> usize {
        self.0 + 16
    }

    /// `u64`: see [`Head`].
    pub(super) fn head_more(self) -> usize {
        self.0 + 24
    }

    /// `u64`: see [`Short`].
    pub(super) fn short(self) -> usize {
        self.0 + 32
    }

    /// [`ARGUMENTS_INLINE`] bytes, in which a short outcome stands afterwards.
    pub(super) fn arguments(self) -> usize {
        self.0 + 40
    }

    /// `u64`: nanoseconds that all its calls took together.
    pub(super) fn ran_ns(self) -> usize {
        self.0 + 64
    }

    /// `u32`: how many bytes its outcomes have so far.
    pub(super) fn outcomes_length(self) -> usize {
        self.0 + 72
    }

    /// `u32`: whether they stand in the slot.
    pub(super) fn outcomes_in_slot(self) -> usize {
        self.0 + 76
    }

    /// [`OUTCOMES_INLINE`] bytes.
    pub(super) fn outcomes(self) -> usize {
        self.0 + 80
    }
}

/// What the worker says of the outcome of a single call, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short(pub(super) u64);

impl Short {
    const LENGTH_BITS: u32 = 8;
    /// The outcome is not short: what there is to know of it stands in the second line.
    pub(super) const NONE: Self = Self(0);

    /// So many bytes, of a call that took so long.
    pub(super) fn new(length: usize, ran_ns: u64) -> Self {
        Self(ran_ns << Self::LENGTH_BITS | length as u64)
    }

    /// How many bytes of it stand where the arguments stood, if it is short. A lie is not found out here.
    pub(super) fn length(self) -> Option<usize> {
        let length = self.0 & ((1 << Self::LENGTH_BITS) - 1);
        (length != 0).then_some(length as usize)
    }

    /// Nanoseconds. Right up to two years.
    pub(super) fn ran_ns(self) -> u64 {
        self.0 >> Self::LENGTH_BITS
    }
}

const _: () = assert!(ARGUMENTS_INLINE < 1 << Short::LENGTH_BITS);
const _: () = assert!(WAITER_MARK + death_mark::WORDS * 4 <= HEADER_BYTES);
const _: () = assert!(40 + ARGUMENTS_INLINE == 64 && 80 + OUTCOMES_INLINE == ENTRY_BYTES);

/// Where the halves of a slot stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(pub(super) u16);

impl Slot {
    pub(super) fn arguments(self) -> usize {
        SLOTS_OFFSET + usize::from(self.0) * 2 * AREA_BYTES
    }

    pub(super) fn outcomes(self) -> usize {
        self.arguments() + AREA_BYTES
    }
}

/// What the coordinator says of an entry besides its arguments, in two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) function: u32,
    pub(super) attempt: u32,
    pub(super) arguments_length: u32,
    pub(super) slot: Slot,
    pub(super) codec: u8,
    pub(super) form: Form,
}

/// How the arguments stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Those of one call.
    Single,
    /// Those of several, each behind its length.
    Pack,
    /// Those of one call, behind a header, see `parcels`.
    Extended,
}

impl Head {
    pub(super) fn to_words(self) -> [u64; 2] {
        let form = match self.form {
            Form::Single => 0,
            Form::Pack => 1,
            Form::Extended => 2_u64,
        };
        [
            u64::from(self.function) | u64::from(self.attempt) << 32,
            u64::from(self.arguments_length)
                | u64::from(self.slot.0) << 32
                | u64::from(self.codec) << 48
                | form << 56,
        ]
    }

    /// For the worker, which trusts its coordinator.
    pub(super) fn from_words([first, second]: [u64; 2]) -> Self {
        Self {
            function: first as u32,
            attempt: (first >> 32) as u32,
            arguments_length: second as u32,
            slot: Slot((second >> 32) as u16 % ENTRIES as u16),
            codec: (second >> 48) as u8,
            form: match second >> 56 {
                0 => Form::Single,
                1 => Form::Pack,
                _ => Form::Extended,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_its_words() {
        for form in [Form::Single, Form::Pack, Form::Extended] {
            let head = Head {
                function: u32::MAX,
                attempt: 7,
                arguments_length: AREA_BYTES as u32,
                slot: Slot(ENTRIES as u16 - 1),
                codec: 3,
                form,
            };
            assert_eq!(Head::from_words(head.to_words()), head);
        }
    }

    #[test]
    fn a_short_outcome_is_told_from_none() {
        let short = Short::new(ARGUMENTS_INLINE, u64::from(u32::MAX));
        assert_eq!((short.length(), short.ran_ns()), (Some(24), u64::from(u32::MAX)));
        assert_eq!(Short::NONE.length(), None);
        assert_eq!(Short::new(1, 0).length(), Some(1));
    }

    #[test]
    fn nothing_overlaps() {
        assert_eq!(Entry::at(0).short() + 8, Entry::at(0).arguments());
        let last = Entry::at(ENTRIES as u64 - 1);
        assert!(last.outcomes() + OUTCOMES_INLINE <= SLOTS_OFFSET);
        assert_eq!(Entry::at(ENTRIES as u64).word(), Entry::at(0).word());
        assert_eq!(Slot(ENTRIES as u16 - 1).outcomes() + AREA_BYTES, SEGMENT_BYTES);
    }
}
