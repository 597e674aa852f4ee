//! What the supervisor asks of a ring: to stage, to take back, to kill. None of it waits for the worker.

use std::sync::atomic::Ordering;

use super::layout::{ASLEEP, Entry, RETIRED};
use super::link::{Ring, RingLink};
use super::outcomes::PackOutcomes;
use super::parcels::Inbox;
use super::pending;
use super::records::{Record, State};
use super::sleep;
use super::word::{self, Taken};
#[cfg(atasker_sabotage)]
use crate::sabotage::{self, Bug};
use crate::sys::futex;
use crate::task::id::Ticket;
use crate::transport::frame::CallFrame;
use crate::transport::{Kill, Link, Outcomes, Revoke, Staged};

impl Link for RingLink {
    fn stage(&self, ticket: Ticket, call: CallFrame<'_>) -> Staged {
        let mut state = self.lock();
        if state.is_ended() {
            state.unheard.push(ticket);
            return Staged::Quietly;
        }
        let asleep = self.put_or_keep(&mut state, ticket, call);
        self.publish(&state);
        drop(state);
        self.collector().on_staged(self, asleep);
        if asleep || self.is_unfinished() { Staged::Asleep } else { Staged::Quietly }
    }

    fn wake(&self, patient: bool) {
        if self.is_unfinished() {
            self.tell();
            self.make_parcels(patient);
        }
        self.wake_sleeper();
    }

    fn revoke(&self, ticket: Ticket) -> Revoke {
        let mut state = self.lock();
        let revoked = self.take_back(&mut state, ticket);
        let refilled = self.refill(&mut state);
        self.publish(&state);
        drop(state);
        self.on_refilled(refilled);
        revoked
    }

    fn split(&self, ticket: Ticket, keep: u32) -> Option<u32> {
        let keep = keep.max(1);
        let mut state = self.lock();
        if let Some(call) = pending::find(&mut state.pending, ticket) {
            return call.split(keep);
        }
        let (position, record) =
            state.records.find(ticket).filter(|(_, record)| record.state == State::Staged)?;
        let word = self.segment().u64_at(Entry::at(position).word());
        let staged = record.calls;
        match word::take_back(word, record.generation, keep) {
            Taken::Kept(kept) if (record.begun_min()..staged).contains(&kept) => {
                record.calls = kept;
                Some(kept)
            }
            Taken::Kept(_) | Taken::TooLate(_) => None,
        }
    }

    fn is_preparing(&self, ticket: Ticket) -> bool {
        pending::is_preparing(&self.lock().pending, ticket)
    }

    fn begun(&self, ticket: Ticket) -> u32 {
        let mut state = self.lock();
        state.records.find(ticket).map_or(0, |(position, _)| {
            word::look(self.segment().u64_at(Entry::at(position).word())).begun()
        })
    }

    fn try_kill(&self, ticket: Ticket) -> Kill {
        let mut state = self.lock();
        if self.take_back(&mut state, ticket) == Revoke::Revoked {
            let refilled = self.refill(&mut state);
            self.publish(&state);
            drop(state);
            self.on_refilled(refilled);
            return Kill::NotBegun;
        }
        // What is not there any more has been delivered, or is being delivered.
        let Ring { records, inbox, .. } = &mut *state;
        let Some((position, record)) = records.find(ticket) else { return Kill::Lost };
        if record.state == State::Killed {
            // Whatever its word says by now.
            return Kill::Won { begun: record.calls, finished: None };
        }
        let entry = Entry::at(position);
        let killed = word::kill(self.segment().u64_at(entry.word()), record.generation);
        let possible = record.begun_min()..=record.calls;
        match killed {
            word::Kill::Lost(word) if word.is_done() && word.has_generation(record.generation) => {
                Kill::Lost
            }
            word::Kill::Won { begun } if possible.contains(&begun) => {
                record.state = State::Killed;
                let finished = self.finished_of_killed(entry, record, inbox, begun);
                Kill::Won { begun, finished }
            }
            // What had begun is not undone, and no entry becomes another's: the worker is mad. If nobody won
            // here, nobody would ever be told. Any of it may have begun.
            word::Kill::Won { .. } | word::Kill::NotBegun | word::Kill::Lost(_) => {
                record.state = State::Killed;
                Kill::Won { begun: record.calls, finished: None }
            }
        }
    }

    fn retire(&self) {
        self.segment().u32_at(RETIRED).store(1, Ordering::SeqCst);
        self.wake(false);
    }

    fn has_discards(&self) -> bool {
        self.has_discards()
    }

    fn let_go(&self) {
        self.let_go();
    }
}

impl RingLink {
    /// Wake the worker if it sleeps.
    pub(super) fn wake_sleeper(&self) {
        let flag = self.segment().u32_at(ASLEEP);
        if sleep::lower(flag) {
            #[cfg(atasker_sabotage)]
            if sabotage::strikes(Bug::WakeUpDropped, 100) {
                return;
            }
            futex::wake_one(flag);
        }
    }

    /// Take the whole entry back if nothing of it has begun.
    fn take_back(&self, state: &mut Ring, ticket: Ticket) -> Revoke {
        if let Some(call) = state.take_pending(ticket) {
            self.discard_calls(&mut state.discards, [call]);
            return Revoke::Revoked;
        }
        if state.take_unheard(ticket) {
            return Revoke::Revoked;
        }
        let tail = state.records.tail();
        let Some((position, record)) = state.records.find(ticket) else { return Revoke::Begun };
        let word = self.segment().u64_at(Entry::at(position).word());
        let has_begun = record.delivered > 0 || word::look(word).begun() > 0;
        if record.state == State::Killed || has_begun {
            return Revoke::Begun;
        }
        if position + 1 < tail {
            // Others stand behind it, and the worker comes to every position in turn.
            return match word::skip(word, record.generation) {
                Taken::Kept(_) => {
                    record.state = State::Skipped;
                    self.take_back_lent(state, position);
                    Revoke::Revoked
                }
                Taken::TooLate(_) => Revoke::Begun,
            };
        }
        match word::take_back(word, record.generation, 0) {
            Taken::Kept(0) => {
                state.records.pop_back();
                self.take_back_lent(state, position);
                self.rewind(state);
                Revoke::Revoked
            }
            // It has begun just now; the rest of a pack is taken back all the same.
            Taken::Kept(kept) if kept < record.calls => {
                record.calls = kept;
                Revoke::Split { kept }
            }
            Taken::Kept(_) | Taken::TooLate(_) => Revoke::Begun,
        }
    }

    /// Positions at the tail that the worker has not come to and will not come to are used again.
    fn rewind(&self, state: &mut Ring) {
        while let Some(back) = state.records.back()
            && back.state == State::Skipped
        {
            let entry = Entry::at(state.records.tail() - 1);
            if !word::unskip(self.segment().u64_at(entry.word()), back.generation) {
                return;
            }
            state.records.pop_back();
        }
    }

    /// What a killed pack had finished. If that can't be read it is lost, like the worker.
    fn finished_of_killed(
        &self,
        entry: Entry,
        record: &mut Record,
        inbox: &mut Inbox,
        begun: u32,
    ) -> Option<PackOutcomes> {
        let finished = begun.saturating_sub(1);
        if finished <= record.delivered {
            return None;
        }
        match self.deliver(entry, record, inbox, finished, false).ok()?.outcomes {
            Outcomes::OfPack(outcomes) => Some(outcomes),
            Outcomes::OfCall(_) => None,
        }
    }
}
