//! What the coordinator itself knows about a ring: which call stands at which position, which slots are in
//! use. Whatever the worker writes is checked against this.

use std::collections::VecDeque;

use super::layout::{ENTRIES, Slot};
use crate::task::id::Ticket;
use crate::transport::Fate;

/// One position between head and tail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) ticket: Ticket,
    pub(super) generation: u32,
    /// How many calls were staged; lowered when some are taken back.
    pub(super) calls: u32,
    /// Whether its outcomes may be delivered one by one.
    pub(super) pack: bool,
    pub(super) slot: Slot,
    pub(super) state: State,
    /// How many outcomes of a pack have been delivered, and the bytes that they took.
    pub(super) delivered: u32,
    pub(super) consumed: u32,
}

impl Record {
    /// So many calls of it have begun at least, whatever the worker says, if any have: before an outcome is
    /// delivered early, the call behind it has begun.
    pub(super) fn begun_min(&self) -> u32 {
        self.delivered + 1
    }

    /// Any of its calls may have begun.
    pub(super) fn in_doubt(&self) -> Fate {
        Fate { ticket: self.ticket, begun: self.calls }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Staged,
    /// Taken back from between others; the worker passes over it.
    Skipped,
    /// Its kill was won.
    Killed,
}

/// The positions from the oldest that is outstanding to the next that is free.
#[derive(Debug)]
pub(super) struct Records {
    all: VecDeque<Record>,
    /// The position of the first record.
    head: u64,
    generation: u32,
    free: Vec<Slot>,
    /// The slots whose half for arguments has memory.
    allocated: [bool; ENTRIES],
}

impl Records {
    pub(super) fn new() -> Self {
        Self {
            all: VecDeque::with_capacity(ENTRIES),
            head: 0,
            generation: 0,
            // The lowest at the end: it is used first, and again and again, so that it stays warm.
            free: (0..ENTRIES as u16).rev().map(Slot).collect(),
            allocated: [false; ENTRIES],
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.all.len() == ENTRIES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Where the next call goes.
    pub(super) fn tail(&self) -> u64 {
        self.head + self.all.len() as u64
    }

    /// The slot for it, and whether its memory must be allocated first. There is one for each entry.
    pub(super) fn next_slot(&self) -> (Slot, bool) {
        let slot = *self.free.last().expect("a ring that is not full has a free slot");
        (slot, !self.allocated[usize::from(slot.0)])
    }

    pub(super) fn on_allocated(&mut self, slot: Slot) {
        self.allocated[usize::from(slot.0)] = true;
    }

    /// Take the tail for `calls` calls.
    pub(super) fn push(&mut self, ticket: Ticket, calls: u32, pack: bool) -> Record {
        self.generation = self.generation.wrapping_add(1);
        let record = Record {
            ticket,
            generation: self.generation,
            calls,
            pack,
            slot: self.free.pop().expect("a ring that is not full has a free slot"),
            state: State::Staged,
            delivered: 0,
            consumed: 0,
        };
        self.all.push_back(record);
        record
    }

    pub(super) fn front(&self) -> Option<&Record> {
        self.all.front()
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Record> {
        self.all.front_mut()
    }

    pub(super) fn back(&self) -> Option<&Record> {
        self.all.back()
    }

    /// As if so many calls had been staged before.
    #[cfg(test)]
    pub(super) fn set_generation(&mut self, generation: u32) {
        self.generation = generation;
    }

    /// The worker is through with the oldest.
    pub(super) fn pop_front(&mut self) {
        let record = self.all.pop_front().expect("only what is there is done");
        self.head += 1;
        self.free.push(record.slot);
    }

    /// The worker will never come to the newest.
    pub(super) fn pop_back(&mut self) {
        let record = self.all.pop_back().expect("only what is there is taken back");
        self.free.push(record.slot);
    }

    /// Where the call of `ticket` stands, if it still does.
    pub(super) fn find(&mut self, ticket: Ticket) -> Option<(u64, &mut Record)> {
        let wanted = |record: &Record| record.ticket == ticket && record.state != State::Skipped;
        // What is taken back stands at the back mostly, what is killed in front.
        let front = self.all.front().is_some_and(wanted).then_some(0);
        let index = front.or_else(|| self.all.iter().rposition(wanted))?;
        Some((self.head + index as u64, &mut self.all[index]))
    }

    /// All that is outstanding, oldest first, with its position.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Record)> + Clone {
        (self.head..).zip(&self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::id::TaskId;

    fn ticket(number: u64) -> Ticket {
        Ticket { task: TaskId { number, slot: 0 }, attempt: 1 }
    }

    /// Short arguments take a slot that they do not use.
    #[test]
    fn a_slot_has_memory_only_if_it_was_allocated_itself() {
        let mut records = Records::new();
        let (short, fresh) = records.next_slot();
        assert!(fresh);
        records.push(ticket(1), 1, false);
        let (long, _fresh) = records.next_slot();
        records.on_allocated(long);
        records.push(ticket(2), 1, false);
        records.pop_front();
        assert_eq!(records.next_slot(), (short, true), "it has no memory yet");
        records.push(ticket(3), 1, false);
        records.pop_front();
        assert_eq!(records.next_slot(), (long, false));
    }
}
