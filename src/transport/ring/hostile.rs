//! A coordinator's end against a worker that writes anything anywhere, played from bytes: by proptest in
//! the unit tests, by a fuzzer in `fuzz/`. Both ends live in one process and one thread, the worker's writes
//! come between the coordinator's steps.
//!
//! Checked is what no worker may bring about: a panic, an outcome of what is not outstanding, two of one
//! call, a call taken back of which an outcome was delivered. See [`Outstanding`].

use std::os::fd::{AsFd, OwnedFd};

use super::collector::Collector;
use super::copying::Helper;
use super::layout::{
    ANSWERING, AREA_BYTES, ARGUMENTS_INLINE, COMMITTED, ENTRIES, Entry, SEGMENT_BYTES, Short, Slot,
};
use super::link::{CorruptRing, RingLink};
use super::outcomes::EXTENDED;
use super::word::{self, Begin};
use crate::codec::CodecId;
use crate::shm::Segment;
use crate::sys::descriptors::{self, IfNotReady};
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::transport::{CallFrame, Delivery, Kill, Link, Outcomes, PackOutcomes, Revoke};

/// Play a game. Panics if the worker wins.
pub(crate) fn play(bytes: &[u8]) {
    let here = Segment::create(SEGMENT_BYTES, COMMITTED).expect("memory for a segment");
    let descriptor = here.descriptor().try_clone_to_owned().expect("a descriptor to spare");
    let there = Segment::open(descriptor, SEGMENT_BYTES).expect("the memory is mapped twice");
    let (parcels, socket) = descriptors::packet_sockets().expect("two sockets");
    let link =
        RingLink::new(WorkerId(1), 1, here, parcels, Collector::new(), Helper::new(|_| false));
    let mut game = Game { link, there, socket, worker_at: 0, staged: Vec::new(), corrupt: false };
    let mut moves = Moves(bytes);
    while let Some(number) = moves.byte() {
        match number % 16 {
            0..4 => game.coordinate(number >> 4, &mut moves),
            4..6 => game.drain(number & 16 != 0),
            6..9 => game.work_honestly(number >> 4),
            9..12 => game.write_word(&mut moves),
            12 | 13 => game.write_outcomes(&mut moves),
            14 if number & 16 == 0 => game.write_header(&mut moves),
            14 => game.send(&mut moves),
            _ => game.write_anywhere(&mut moves),
        }
    }
    game.end();
}

/// What is left to play.
struct Moves<'a>(&'a [u8]);

impl Moves<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number, zero at the end.
    fn number(&mut self) -> usize {
        usize::from(self.byte().unwrap_or(0))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte().unwrap_or(0)))
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.number() % 64;
        (0..length).map_while(|_| self.byte()).collect()
    }
}

/// What the coordinator knows of what it has staged.
#[derive(Debug)]
struct Outstanding {
    ticket: Ticket,
    pack: bool,
    /// Those behind were taken back.
    kept: u32,
    delivered: u32,
    settled: bool,
}

struct Game {
    link: std::sync::Arc<RingLink>,
    there: Segment,
    /// The worker's end of what goes beside the ring.
    socket: OwnedFd,
    /// Where an honest worker would go on.
    worker_at: u64,
    staged: Vec<Outstanding>,
    corrupt: bool,
}

impl Game {
    fn coordinate(&mut self, what: u8, moves: &mut Moves<'_>) {
        match what {
            0..7 => self.stage(moves),
            7 => (0..ENTRIES / 2).for_each(|_| self.stage_call(1, false, &[0; 30])),
            8..10 => self.revoke(moves),
            10..12 => self.split(moves),
            12 => self.kill(moves),
            13 => self.link.wake(true),
            14 => self.link.retire(),
            _ => {
                let _any = (self.link.has_news(), self.link.runs_pack());
                if let Some(index) = self.pick(moves) {
                    let _any = self.link.has_begun(self.staged[index].ticket);
                }
            }
        }
    }

    fn stage(&mut self, moves: &mut Moves<'_>) {
        let length = moves.number();
        match length % 4 {
            0 => self.stage_call(1, false, &vec![1; length / 4]),
            1 => self.stage_call(1, false, &vec![2; (AREA_BYTES - 32) + length / 4]),
            _ => {
                let calls = length as u32 / 4 + 1;
                let arguments = [1, 0, 7].repeat(calls as usize);
                self.stage_call(calls, true, &arguments);
            }
        }
    }

    fn stage_call(&mut self, calls: u32, pack: bool, arguments: &[u8]) {
        // Each has a number, as those of a pack do.
        let number = self.staged.len() as u64 * 2048;
        let ticket = Ticket { task: TaskId { number, slot: 0 }, attempt: 1 };
        let frame = CallFrame {
            function: "",
            index: 0,
            calls,
            is_pack: pack,
            codec: CodecId::Postcard,
            is_measured: false,
            arguments,
            attachments: &[],
            shared: None,
        };
        self.staged.push(Outstanding { ticket, pack, kept: calls, delivered: 0, settled: false });
        let _asleep = self.link.stage(ticket, frame);
    }

    fn pick(&self, moves: &mut Moves<'_>) -> Option<usize> {
        let number = moves.number();
        if number.is_multiple_of(2) {
            // The one that its worker is at.
            return self.staged.iter().position(|call| !call.settled);
        }
        let back = number / 2 % self.staged.len().clamp(1, 8);
        self.staged.len().checked_sub(1 + back)
    }

    fn revoke(&mut self, moves: &mut Moves<'_>) {
        let Some(index) = self.pick(moves) else { return };
        let call = &mut self.staged[index];
        match self.link.revoke(call.ticket) {
            Revoke::Revoked => call.take_back(),
            Revoke::Split { kept } => call.keep(kept),
            Revoke::Begun => {}
        }
    }

    fn split(&mut self, moves: &mut Moves<'_>) {
        let Some(index) = self.pick(moves) else { return };
        let call = &mut self.staged[index];
        if let Some(kept) = self.link.split(call.ticket, moves.number() as u32) {
            call.keep(kept);
        }
    }

    fn kill(&mut self, moves: &mut Moves<'_>) {
        let Some(index) = self.pick(moves) else { return };
        let call = &mut self.staged[index];
        match self.link.try_kill(call.ticket) {
            Kill::Won { begun, finished } => {
                // A second kill of the same call is won like the first.
                if call.settled {
                    assert!(finished.is_none());
                    return;
                }
                if let Some(outcomes) = finished {
                    call.take(&outcomes);
                }
                assert!(call.delivered < begun && begun <= call.kept, "{begun} of {call:?}");
                call.settled = true;
            }
            Kill::NotBegun => call.take_back(),
            Kill::Lost => {}
        }
    }

    fn drain(&mut self, partly: bool) {
        let mut deliveries = Vec::new();
        let drained = self.link.drain(partly, &mut deliveries);
        assert!(!self.corrupt || deliveries.is_empty(), "after a lie nothing is believed");
        self.on_deliveries(deliveries);
        if let Err(CorruptRing(what)) = drained {
            assert!(!self.corrupt, "it is told once: {what}");
            self.corrupt = true;
        }
    }

    fn on_deliveries(&mut self, deliveries: Vec<Delivery>) {
        for Delivery { ticket, outcomes, begun, .. } in deliveries {
            let call = self.staged.iter_mut().find(|call| call.ticket == ticket);
            let call = call.expect("only what was staged is delivered");
            assert!(!call.settled, "what is settled is delivered: {call:?}");
            match outcomes {
                // Of a pack only if it was refused.
                Outcomes::OfCall(_) => {
                    assert_eq!((call.delivered, begun), (0, Some(1)));
                    call.settled = true;
                }
                Outcomes::OfPack(outcomes) => {
                    assert!(call.pack);
                    call.take(&outcomes);
                    assert!(begun.is_none_or(|begun| begun == call.delivered));
                    call.settled = begun.is_some();
                }
            }
        }
    }

    /// Begin, finish and commit what is next, as far as it can be understood.
    fn work_honestly(&mut self, how: u8) {
        let entry = Entry::at(self.worker_at);
        let at = self.there.u64_at(entry.word());
        let mut now = word::look(at);
        let begins = if how < 8 { u32::MAX } else { u32::from(how) - 7 };
        for _ in 0..begins.min(now.limit()) {
            match word::begin(at, now) {
                Begin::Begun(next) => now = next,
                Begin::End(end) => now = end,
                Begin::Killed => return,
            }
        }
        if begins < u32::MAX && now.begun() < now.limit() {
            return;
        }
        // Outcomes without a body: they returned nothing, or what is nowhere to be found.
        let extended = how == 1;
        let variant = if extended { EXTENDED } else { crate::transport::outcome::RETURNED };
        let header = [crate::transport::outcome::RETURNED, 3, 0, 0, 0, 0];
        let body = if extended { &header[..] } else { &[] };
        let outcome = [&super::outcomes::head(variant, body.len())[..], body].concat();
        let bytes = outcome.repeat(now.begun() as usize);
        let fits = bytes.len() <= super::layout::OUTCOMES_INLINE;
        let head = self.there.u64_at(entry.head_more());
        let slot = head.load(std::sync::atomic::Ordering::Relaxed) >> 32;
        let slot = Slot(slot as u16 % ENTRIES as u16);
        let place = if fits { entry.outcomes() } else { slot.outcomes() };
        self.there.copy_in(place, &bytes[..bytes.len().min(AREA_BYTES)]);
        let length = (bytes.len() as u32).to_le_bytes();
        self.there.copy_in(entry.outcomes_length(), &length);
        self.there.copy_in(entry.outcomes_in_slot(), &u32::from(!fits).to_le_bytes());
        let is_short = how.is_multiple_of(2) && bytes.len() <= ARGUMENTS_INLINE;
        let short = if is_short { Short::new(bytes.len(), 1) } else { Short::NONE };
        self.there.copy_in(entry.short(), &short.0.to_le_bytes());
        if is_short {
            self.there.copy_in(entry.arguments(), &bytes);
        }
        if word::commit(at, now) == word::Commit::Done {
            self.worker_at += 1;
        }
    }

    /// Mostly the entry that is next.
    fn near(&self, number: usize) -> Entry {
        Entry::at(match number / 16 {
            0..10 => self.worker_at,
            10 => self.worker_at.wrapping_sub(1),
            further => self.worker_at + further as u64 - 10,
        })
    }

    /// One of the words that decide: something likely, or anything.
    fn write_word(&mut self, moves: &mut Moves<'_>) {
        let how = moves.number();
        let entry = self.near(how);
        let at = self.there.u64_at(entry.word());
        let now = at.load(std::sync::atomic::Ordering::Relaxed);
        let value = match how % 16 {
            bit @ 0..4 => now ^ (1 << (32 + bit)),
            4..7 => (now & !0xffff) | (moves.number() as u64 % 5),
            7..9 => (now & !0xffff_0000) | ((moves.number() as u64 % 5) << 16),
            9 => now.wrapping_add(1 << 36),
            10 => now.wrapping_sub(1 << 36),
            11..13 => now | 1 << 32,
            13 => 0,
            _ => moves.u64(),
        };
        at.store(value, std::sync::atomic::Ordering::Relaxed);
    }

    /// The other words of an entry, and what stands in its places for outcomes.
    fn write_outcomes(&mut self, moves: &mut Moves<'_>) {
        let how = moves.number();
        let entry = self.near(how);
        let bytes = moves.bytes();
        let offset = match how % 16 {
            0..2 => entry.outcomes_length(),
            2 => entry.short(),
            3 | 4 => entry.outcomes_in_slot(),
            5 => entry.arguments(),
            6..9 => entry.outcomes(),
            9..14 => Slot((how % 8) as u16).outcomes(),
            _ => entry.ran_ns(),
        };
        self.there.copy_in(offset, &bytes);
    }

    /// Through the socket, with a descriptor or without.
    fn send(&mut self, moves: &mut Moves<'_>) {
        let how = moves.number();
        let bytes = moves.bytes();
        let null = std::fs::File::open("/dev/null").expect("it is there");
        let sent = vec![null.as_fd(); how % 3];
        // Nothing is sent if there is no room.
        let socket = self.socket.as_fd();
        let _room = descriptors::send_with_descriptors(socket, &bytes, &sent, IfNotReady::Fail);
        self.there.copy_in(ANSWERING, &[u8::from(how < 200)]);
    }

    fn write_header(&mut self, moves: &mut Moves<'_>) {
        let offset = moves.number() * 16;
        let bytes = moves.bytes();
        self.there.copy_in(offset, &bytes);
    }

    fn write_anywhere(&mut self, moves: &mut Moves<'_>) {
        let wanted = moves.u64() as usize % SEGMENT_BYTES;
        let bytes = moves.bytes();
        self.there.copy_in(wanted.min(SEGMENT_BYTES - bytes.len()), &bytes);
    }

    fn end(mut self) {
        let mut deliveries = Vec::new();
        let fates = self.link.on_worker_died(&mut deliveries).expect("it is closed once");
        assert!(!self.corrupt || deliveries.is_empty(), "after a lie nothing is believed");
        self.on_deliveries(deliveries);
        for fate in fates {
            let call = self.staged.iter_mut().find(|call| call.ticket == fate.ticket);
            let call = call.expect("only what was staged has a fate");
            assert!(!call.settled, "what is settled has a fate: {call:?}");
            assert!(call.delivered < fate.begun && fate.begun <= call.kept, "{fate:?}: {call:?}");
            call.settled = true;
        }
        // Of what is not settled now, the supervisor believes that it has not begun, and runs it elsewhere.
        let again = self.staged.iter().find(|call| !call.settled && call.delivered > 0);
        assert!(again.is_none(), "an outcome of it was delivered already: {again:?}");
        let mut late = Vec::new();
        assert!(self.link.drain(true, &mut late).is_ok() && late.is_empty());
    }
}

impl Outstanding {
    fn take(&mut self, outcomes: &PackOutcomes) {
        let mut offset = 0;
        for _ in 0..outcomes.count() {
            offset = outcomes.read(offset).expect("it was checked").1;
        }
        self.delivered += outcomes.count();
        assert!(self.delivered <= self.kept, "more outcomes than calls: {self:?}");
    }

    fn take_back(&mut self) {
        assert!(!self.settled && self.delivered == 0, "too late to take it back: {self:?}");
        self.settled = true;
    }

    fn keep(&mut self, kept: u32) {
        assert!(!self.settled, "what is settled is split: {self:?}");
        assert!(self.delivered < kept && kept < self.kept, "{kept} of {self:?}");
        self.kept = kept;
    }
}
