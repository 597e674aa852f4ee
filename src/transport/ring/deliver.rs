//! Reading what the worker has committed. Every value that it can write is checked against
//! [`Records`](super::records::Records); see `link`.

use std::sync::atomic::Ordering;

use super::extended;
use super::layout::{AREA_BYTES, ARGUMENTS_INLINE, Entry, OUTCOMES_INLINE, Short};
use super::link::{CorruptRing, Ring, RingLink};
use super::outcomes::{Broken, PackOutcomes, check_one};
use super::parcels::Inbox;
use super::records::{Record, State};
use super::word::{self, Word};
use crate::transport::frame::OutcomeFrame;
use crate::transport::{Delivery, Outcomes};

impl RingLink {
    pub(super) fn deliver_committed(
        &self,
        state: &mut Ring,
        partly: bool,
        deliveries: &mut Vec<Delivery>,
    ) -> Result<(), CorruptRing> {
        loop {
            let head = Entry::at(state.records.head());
            let Ring { records, inbox, lent, discards, .. } = &mut *state;
            let Some(record) = records.front_mut() else { return Ok(()) };
            let word = check_word(word::look(self.word(head.word())), record)?;
            if !word.is_done() {
                let finished = word.begun().saturating_sub(1);
                if partly && record.state == State::Staged && finished > record.delivered {
                    deliveries.push(self.deliver(head, record, inbox, finished, false)?);
                }
                return Ok(());
            }
            match record.state {
                State::Skipped => {}
                State::Staged => {
                    deliveries.push(self.deliver(head, record, inbox, word.begun(), true)?);
                }
                State::Killed => return Err(corrupt("an outcome after its kill was won", record)),
            }
            // The worker is through with it.
            if let Some(lent) = extended::take_front(records, lent) {
                self.discard_lent(discards, lent);
            }
            records.pop_front();
        }
    }

    /// The outcomes of an entry up to call number `end`.
    pub(super) fn deliver(
        &self,
        entry: Entry,
        record: &mut Record,
        inbox: &mut Inbox,
        end: u32,
        last: bool,
    ) -> Result<Delivery, CorruptRing> {
        let count = end - record.delivered;
        let (outcomes, ran_ns) = if record.pack {
            let ran_ns = if last { self.ran_ns(entry) } else { 0 };
            (self.of_pack(entry, record, inbox, end)?, ran_ns)
        } else if count == 1 {
            let frame = self.of_call(entry, record, inbox)?;
            let ran_ns = frame.ran_ns;
            (Outcomes::OfCall(frame), ran_ns)
        } else {
            return Err(corrupt("the end of a call that it has not begun", record));
        };
        let (pid, ticket) = (self.pid(), record.ticket);
        Ok(Delivery { pid, ticket, outcomes, ran_ns, begun: last.then_some(end) })
    }

    /// The next outcomes of a pack, up to call number `end`.
    fn of_pack(
        &self,
        entry: Entry,
        record: &mut Record,
        inbox: &mut Inbox,
        end: u32,
    ) -> Result<Outcomes, CorruptRing> {
        let (place, length) = self.outcome_place(entry, record)?;
        let mut bytes = Vec::with_capacity(length);
        self.segment().append_to(place, length, &mut bytes);
        let unpack = &mut |body: &[u8]| self.unpack(inbox, body);
        let outcomes = PackOutcomes::check(bytes, end - record.delivered, unpack)
            .map_err(|error| broken(&error, record))?;
        record.delivered = end;
        record.consumed += outcomes.byte_count() as u32;
        Ok(Outcomes::OfPack(outcomes))
    }

    /// The outcome of a single call.
    fn of_call(
        &self,
        entry: Entry,
        record: &Record,
        inbox: &mut Inbox,
    ) -> Result<OutcomeFrame, CorruptRing> {
        let short = self.short(entry);
        if let Some(length) = short.length() {
            let mut bytes = [0; ARGUMENTS_INLINE];
            self.segment().copy_out(entry.arguments(), &mut bytes);
            let Some(bytes) = bytes.get(..length) else { return Err(too_long(record)) };
            return self.check(bytes, short.ran_ns(), record, inbox);
        }
        let (place, length) = self.outcome_place(entry, record)?;
        let ran_ns = self.ran_ns(entry);
        if length <= OUTCOMES_INLINE {
            let mut bytes = [0; OUTCOMES_INLINE];
            self.segment().copy_out(place, &mut bytes[..length]);
            return self.check(&bytes[..length], ran_ns, record, inbox);
        }
        let mut bytes = Vec::with_capacity(length);
        self.segment().append_to(place, length, &mut bytes);
        self.check(&bytes, ran_ns, record, inbox)
    }

    #[inline]
    fn check(
        &self,
        bytes: &[u8],
        ran_ns: u64,
        record: &Record,
        inbox: &mut Inbox,
    ) -> Result<OutcomeFrame, CorruptRing> {
        check_one(bytes, ran_ns, &mut |body| self.unpack(inbox, body))
            .map_err(|error| broken(&error, record))
    }

    /// Written when the last call of the entry has ended.
    fn ran_ns(&self, entry: Entry) -> u64 {
        self.segment().u64_at(entry.ran_ns()).load(Ordering::Relaxed)
    }

    /// Where stands what has been written of an entry's outcomes and not been delivered, and how long it is.
    fn outcome_place(&self, entry: Entry, record: &Record) -> Result<(usize, usize), CorruptRing> {
        // Relaxed: the acquire of the word, which is released after these were written, came before.
        let end = self.segment().u32_at(entry.outcomes_length()).load(Ordering::Relaxed) as usize;
        let in_slot = self.segment().u32_at(entry.outcomes_in_slot()).load(Ordering::Relaxed) != 0;
        let (place, room) = if in_slot {
            (record.slot.outcomes(), AREA_BYTES)
        } else {
            (entry.outcomes(), OUTCOMES_INLINE)
        };
        let consumed = record.consumed as usize;
        if end > room || consumed > end {
            return Err(too_long(record));
        }
        Ok((place + consumed, end - consumed))
    }

    /// What the worker says of the outcome of a single call.
    #[inline]
    pub(super) fn short(&self, entry: Entry) -> Short {
        // Relaxed: the acquire of the word, which is released after it was written, came before.
        Short(self.segment().u64_at(entry.short()).load(Ordering::Relaxed))
    }
}

/// What the worker can have made of the word of an entry.
pub(super) fn check_word(word: Word, record: &Record) -> Result<Word, CorruptRing> {
    let skipped = record.state == State::Skipped;
    let limit = if skipped { 0 } else { record.calls };
    let fits = word.has_generation(record.generation)
        && word.limit() == limit
        && word.begun() <= limit
        && word.is_skipped() == skipped
        && (word.is_killed() == (record.state == State::Killed));
    let had_begun = record.delivered > 0 || (word.is_done() && !skipped);
    let undone = had_begun && word.begun() <= record.delivered;
    if fits && !undone {
        Ok(word)
    } else {
        Err(corrupt("an entry in a state that no worker puts it in", record))
    }
}

fn corrupt(what: &str, record: &Record) -> CorruptRing {
    CorruptRing(format!("{what} (at task {})", record.ticket.task))
}

fn broken(error: &Broken, record: &Record) -> CorruptRing {
    corrupt(&format!("{error} as an outcome"), record)
}

fn too_long(record: &Record) -> CorruptRing {
    corrupt("an outcome that is longer than its place", record)
}
