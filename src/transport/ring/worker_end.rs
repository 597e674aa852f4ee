//! The worker's end of a ring: begins what is staged, writes outcomes into the entry's own place, commits,
//! and announces.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::announce::{Announcer, Occasion};
use super::bell;
use super::layout::{
    self, AREA_BYTES, ARGUMENTS_INLINE, ASLEEP, CALLING, COLLECTOR_MARK, ENTRIES, Entry, Form,
    Head, LISTENING, OUTCOMES_INLINE, RETIRED, Short, Slot, WAITER_MARK,
};
use super::outcomes::{HEAD_BYTES, head};
use super::parcels::{Inbox, Parcels};
use super::patience::Patience;
use super::sleep;
use super::word::{self, Begin, Commit, Word};
use crate::codec::Bytes;
use crate::codec::small::FEW;
#[cfg(atasker_sabotage)]
use crate::sabotage::{self, Bug};
use crate::shm::Segment;
use crate::shm::attachment::Attachment;
use crate::shm::peer::Trust;
use crate::sys::clock;
use crate::sys::death_mark::DeathMark;
use crate::sys::futex;
use crate::transport::frame::{Outcome, Ran};
use crate::transport::outcome;

/// So much room is enough for most outcomes, those with some buffers in them included.
const ROOM_MIN: usize = 1024;
/// No more memory than this is kept for arguments and results to come.
const KEPT_MAX: usize = 64 << 20;
/// A worker that is to be killed waits so long for that.
const KILLED_WITHIN: Duration = Duration::from_secs(2);
/// What is said where there is no room for more.
pub(super) const NO_MEMORY: &str = "no memory for the outcome";

/// A value of few bytes as an outcome.
const FEW_BYTES: usize = HEAD_BYTES + FEW;

const _: () = assert!(FEW_BYTES <= ARGUMENTS_INLINE);
const _: () = assert!(HEAD_BYTES + 4 + NO_MEMORY.len() <= OUTCOMES_INLINE);

/// The worker's end in use.
#[derive(Debug)]
pub(crate) struct RingEnd {
    unkilled: fn(),
    pub(super) segment: Arc<Segment>,
    pub(super) parcels: Parcels,
    pub(super) inbox: Inbox,
    position: u64,
    patience: Patience,
    /// Private copy of the arguments of the present entry.
    pub(super) arguments: Vec<u8>,
    /// What was encoded last; kept for its memory.
    body: Bytes,
    /// Slots whose half for outcomes has memory.
    allocated: [bool; ENTRIES],
    announcer: Announcer,
    /// How long the last entry ran.
    ran_ns: u64,
    /// When the next entry begins, if that is known: with the end of the last, or just before the look that saw it.
    begins: Option<Instant>,
}

/// A call that has begun.
#[derive(Debug)]
pub(crate) struct RingCall<'a> {
    pub(crate) number: u64,
    pub(crate) attempt: u32,
    /// Where the registry has it.
    pub(crate) function: u32,
    pub(crate) codec: u8,
    pub(crate) arguments: &'a [u8],
    /// The buffers in them. To be taken.
    pub(crate) attachments: &'a mut Vec<Attachment>,
}

/// Where the outcomes of the present entry go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    offset: usize,
    room: usize,
    used: usize,
    /// With less room than this for further outcomes, no further call of a pack is begun.
    pub(super) room_min: usize,
    in_slot: bool,
    /// Whether it is that of a single call, which may be short.
    is_single: bool,
    /// How long the outcome is, if it is short.
    short: usize,
}

impl RingEnd {
    /// `unkilled`: ends this process, which is said to be killed and is not.
    pub(crate) fn new(segment: Segment, parcels: OwnedFd, unkilled: fn()) -> Self {
        Self {
            unkilled,
            segment: Arc::new(segment),
            parcels: Parcels::new(parcels, Trust::Trusted),
            inbox: Inbox::default(),
            position: 0,
            patience: Patience::NEW,
            arguments: Vec::new(),
            body: Bytes::new(),
            allocated: [false; ENTRIES],
            announcer: Announcer::default(),
            ran_ns: 0,
            begins: None,
        }
    }

    /// Run calls until no more will come. `run` gets an empty buffer, in which it may leave a plain value.
    pub(crate) fn serve(mut self, mut run: impl FnMut(RingCall<'_>, &mut Bytes) -> Ran) {
        let segment = Arc::clone(&self.segment);
        // Without them the coordinator learns of the death of this thread when that of the process is over.
        let _marks =
            [COLLECTOR_MARK, WAITER_MARK].map(|mark| DeathMark::leave(segment.u32s_at(mark)));
        while let Some(word) = self.next() {
            self.serve_entry(word, &mut run);
        }
    }

    /// Wait for something at the present position. `None`: retired, and dry.
    fn next(&mut self) -> Option<Word> {
        loop {
            if self.is_called() {
                self.hear();
                self.begins = None;
            }
            let entry = Entry::at(self.position);
            // Before the look at the entry: nothing is staged after this is set.
            let retired = self.is_retired();
            let now = word::look(self.word(entry));
            if now.is_staged() {
                return Some(now);
            }
            self.announce(true);
            if retired {
                return None;
            }
            // What is staged then may be taken back before the look at it above.
            self.begins = self.await_news(entry);
        }
    }

    /// Whether there is something to [`hear`](Self::hear).
    #[inline]
    fn is_called(&self) -> bool {
        // Sequentially consistent for the looks that follow a raised sleep flag, see `sleep`.
        self.segment.u32_at(CALLING).load(Ordering::SeqCst) != 0
    }

    /// Wait until something was staged or said, or no more will come. When that was seen, if it did not take long.
    fn await_news(&mut self, entry: Entry) -> Option<Instant> {
        let word = self.segment.u64_at(entry.word());
        let ready = || word::look(word).is_staged() || self.is_retired() || self.is_called();
        self.fetch_outcome_line(entry);
        let seen = self.patience.look_until(false, ready);
        if seen.is_some() {
            self.patience.succeeded();
        } else {
            if self.parcels.peer().has_notices() {
                self.tell_before_sleep();
            }
            let start = Instant::now();
            let flag = self.segment.u32_at(ASLEEP);
            // The wake surely comes: whoever stages or retires looks at the flag afterwards.
            sleep::sleep_until(flag, ready, |raised| _ = futex::wait(flag, raised, None));
            self.patience.learn(start.elapsed());
        }
        seen
    }

    /// Have the line that the next outcome goes to if it is not short, which the coordinator's core has read last, while there is
    /// nothing else to do. What stands in it stays.
    fn fetch_outcome_line(&self, entry: Entry) {
        let flag = self.segment.u32_at(entry.outcomes_in_slot());
        let seen = flag.load(Ordering::Relaxed);
        let _ = flag.compare_exchange(seen, seen, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn is_retired(&self) -> bool {
        // Pairs with the store in `RingLink::retire`.
        self.segment.u32_at(RETIRED).load(Ordering::SeqCst) != 0
    }

    fn serve_entry(&mut self, seen: Word, run: &mut impl FnMut(RingCall<'_>, &mut Bytes) -> Ran) {
        let entry = Entry::at(self.position);
        let begun = match word::begin(self.word(entry), seen) {
            Begin::Begun(word) => self.run_calls(entry, word, run),
            Begin::End(word) if word.is_skipped() => word,
            // Taken back between the two looks.
            Begin::End(_) => return,
            Begin::Killed => wait_to_be_killed(self.unkilled),
        };
        match word::commit(self.word(entry), begun) {
            Commit::Done => {
                self.position += 1;
                self.announcer.on_commit();
                self.announce(false);
            }
            Commit::Gone => {}
            Commit::Killed => wait_to_be_killed(self.unkilled),
        }
    }

    /// Run the first call of an entry, which has begun, and all that may begin behind it.
    fn run_calls(
        &mut self,
        entry: Entry,
        mut word: Word,
        run: &mut impl FnMut(RingCall<'_>, &mut Bytes) -> Ran,
    ) -> Word {
        let started = self.begins.take().unwrap_or_else(Instant::now);
        let head = self.copy_arguments(entry);
        let (mut attachments, mut refused) = (Vec::new(), None);
        if head.form == Form::Extended {
            match self.unpack_arguments() {
                Ok(unpacked) => attachments = unpacked,
                Err(message) => refused = Some(Outcome::BadArguments { message }),
            }
        }
        let number = self.segment.u64_at(entry.number()).load(Ordering::Relaxed);
        let arguments = std::mem::take(&mut self.arguments);
        let mut body = std::mem::take(&mut self.body);
        let mut place = self.place(entry, head);
        let mut rest = &arguments[..];
        loop {
            let call = RingCall {
                number: number + u64::from(word.begun() - 1),
                attempt: head.attempt,
                function: head.function,
                codec: head.codec,
                arguments: match head.form {
                    Form::Single | Form::Extended => rest,
                    Form::Pack => take_one(&mut rest),
                },
                attachments: &mut attachments,
            };
            body.clear();
            let ran = match refused.take() {
                None => run(call, &mut body),
                Some(refused) => refused.into(),
            };
            match ran {
                Ran::Plain => self.write_value(entry, &mut place, head.slot, &body),
                Ran::Otherwise(outcome) => self.write(entry, &mut place, head.slot, *outcome),
            }
            if head.form != Form::Pack || place.room - place.used < place.room_min {
                break;
            }
            match word::begin(self.word(entry), word) {
                Begin::Begun(next) => word = next,
                Begin::End(end) => {
                    word = end;
                    break;
                }
                Begin::Killed => wait_to_be_killed(self.unkilled),
            }
        }
        if arguments.capacity() <= KEPT_MAX {
            self.arguments = arguments;
        }
        if body.capacity() <= KEPT_MAX {
            self.body = body;
        }
        let finished = Instant::now();
        let ran = finished.duration_since(started);
        let ran_ns = u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX);
        self.tell_length(entry, place, ran_ns);
        self.ran_ns = ran_ns;
        self.begins = Some(finished);
        word
    }

    /// How long all calls of the entry took, and whether its outcome is short.
    #[inline]
    fn tell_length(&self, entry: Entry, place: Place, ran_ns: u64) {
        // Relaxed: published by the commit.
        let short = self.segment.u64_at(entry.short());
        if place.short > 0 {
            short.store(Short::new(place.short, ran_ns).0, Ordering::Relaxed);
        } else {
            short.store(Short::NONE.0, Ordering::Relaxed);
            self.segment.u64_at(entry.ran_ns()).store(ran_ns, Ordering::Relaxed);
        }
    }

    fn copy_arguments(&mut self, entry: Entry) -> Head {
        // Relaxed: the acquire of the word came before.
        let load = |offset| self.segment.u64_at(offset).load(Ordering::Relaxed);
        let head = Head::from_words([load(entry.head()), load(entry.head_more())]);
        let length = head.arguments_length as usize;
        let place =
            if length > ARGUMENTS_INLINE { head.slot.arguments() } else { entry.arguments() };
        self.arguments.clear();
        self.segment.append_to(place, length, &mut self.arguments);
        head
    }

    /// Where the outcomes go: those of a pack into the slot, that of a single call if it must.
    fn place(&mut self, entry: Entry, head: Head) -> Place {
        let is_pack = head.form == Form::Pack;
        let in_slot = is_pack && self.allocate(head.slot);
        let (offset, room) = if in_slot {
            (head.slot.outcomes(), AREA_BYTES)
        } else {
            (entry.outcomes(), OUTCOMES_INLINE)
        };
        let (is_single, room_min) = (!is_pack, ROOM_MIN);
        Place { offset, room, used: 0, room_min, in_slot, is_single, short: 0 }
    }

    fn allocate(&mut self, slot: Slot) -> bool {
        let allocated = &mut self.allocated[usize::from(slot.0)];
        if !*allocated {
            *allocated = self.segment.commit(slot.outcomes()..slot.outcomes() + AREA_BYTES).is_ok();
        }
        *allocated
    }

    /// Append a plain value to the outcomes of the entry.
    #[inline]
    fn write_value(&mut self, entry: Entry, place: &mut Place, slot: Slot, body: &Bytes) {
        if !self.parcels.peer().has_notices() && self.has_room(place, slot, HEAD_BYTES + body.len())
        {
            self.append_value(entry, place, body);
        } else {
            self.write_extended(entry, place, slot, outcome::RETURNED, body, &[]);
        }
    }

    /// Append any outcome to those of the entry.
    #[cold]
    fn write(&mut self, entry: Entry, place: &mut Place, slot: Slot, outcome: Outcome) {
        let (variant, body, attachments) = match outcome {
            Outcome::Returned { value, error: None } => {
                let (body, attachments) = value.into_parts();
                (outcome::RETURNED, body, attachments)
            }
            outcome => {
                let mut body = Vec::new();
                let variant = outcome::encode(&outcome, &mut body);
                (variant, Bytes::from(body), outcome.into_attachments())
            }
        };
        let is_plain = attachments.is_empty() && !self.parcels.peer().has_notices();
        if is_plain && self.has_room(place, slot, HEAD_BYTES + body.len()) {
            self.append(entry, place, variant, &[&body]);
        } else {
            self.write_extended(entry, place, slot, variant, &body, &attachments);
        }
    }

    /// Whether so many bytes can be appended, in the slot if they must.
    #[inline]
    pub(super) fn has_room(&mut self, place: &mut Place, slot: Slot, needed: usize) -> bool {
        if place.used + needed > place.room
            && place.used == 0
            && needed <= AREA_BYTES
            && self.allocate(slot)
        {
            (place.offset, place.room, place.in_slot) = (slot.outcomes(), AREA_BYTES, true);
        }
        place.used + needed <= place.room
    }

    /// Append a plain value, for which there is room.
    #[inline]
    fn append_value(&self, entry: Entry, place: &mut Place, value: &Bytes) {
        match value.few() {
            // Copying as many as there may be costs less than finding out how to copy as many as there are.
            Some((few, count)) if place.is_single || place.room - place.used >= FEW_BYTES => {
                let mut one = [0; FEW_BYTES];
                one[..HEAD_BYTES].copy_from_slice(&head(outcome::RETURNED, count));
                one[HEAD_BYTES..].copy_from_slice(few);
                if place.is_single {
                    self.segment.copy_in(entry.arguments(), &one);
                    place.short = HEAD_BYTES + count;
                    return;
                }
                self.segment.copy_in(place.offset + place.used, &one);
                self.add_used(entry, place, HEAD_BYTES + count);
            }
            _ => self.append(entry, place, outcome::RETURNED, &[value]),
        }
    }

    /// Append an outcome whose body consists of these parts, for which there is room.
    #[inline]
    pub(super) fn append(&self, entry: Entry, place: &mut Place, variant: u8, body: &[&[u8]]) {
        let length = body.iter().map(|part| part.len()).sum();
        let mut offset = place.offset + place.used;
        self.segment.copy_in(offset, &head(variant, length));
        offset += HEAD_BYTES;
        for part in body {
            self.segment.copy_in(offset, part);
            offset += part.len();
        }
        self.add_used(entry, place, HEAD_BYTES + length);
    }

    #[inline]
    fn add_used(&self, entry: Entry, place: &mut Place, length: usize) {
        // Relaxed: published by the begin of the next call, or by the commit.
        if place.used == 0 {
            let in_slot = self.segment.u32_at(entry.outcomes_in_slot());
            in_slot.store(u32::from(place.in_slot), Ordering::Relaxed);
        }
        place.used += length;
        let length = self.segment.u32_at(entry.outcomes_length());
        length.store(place.used as u32, Ordering::Relaxed);
    }

    /// Ring whoever listens, if it is time. To be called after a commit. `dry`: there is nothing else to do.
    #[inline]
    pub(super) fn announce(&mut self, dry: bool) {
        let listening = self.segment.u32_at(LISTENING);
        let Some(expected) = sleep::who_listens(listening) else { return };
        let at = Occasion {
            // Taken before the bell rings: who sleeps again after it counts its patience from a later time.
            now_ns: clock::monotonic_ns(),
            // Relaxed: late only makes a ring early.
            taken_ns: self.segment.u64_at(layout::taken(expected)).load(Ordering::Relaxed),
            ran_ns: self.ran_ns,
            is_dry: dry,
        };
        let after = Entry::at(self.position + 1);
        let segment = &self.segment;
        let is_low = || !word::look(segment.u64_at(after.word())).is_staged();
        if !self.announcer.is_due(expected, at, is_low) {
            return;
        }
        let Some(listener) = sleep::answer(listening) else { return };
        #[cfg(atasker_sabotage)]
        if sabotage::strikes(Bug::BellDropped, 30) {
            return;
        }
        let bell = self.segment.u32_at(layout::bell(listener));
        bell::ring_and_say(bell, self.announcer.on_rung(listener, at));
        futex::wake_all(bell);
    }

    fn word(&self, entry: Entry) -> &AtomicU64 {
        self.segment.u64_at(entry.word())
    }
}

/// The arguments of the next call of a pack. The coordinator is trusted to have counted.
fn take_one<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, after)) = rest.split_first_chunk() else { return &[] };
    let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
    let (one, after) = after.split_at(length);
    *rest = after;
    one
}

/// Touch nothing more: what this process still has may belong to others already.
///
/// The kill comes in a moment. If it does not, nobody has asked for it and the word was overwritten: the coordinator
/// would wait for ever. `unkilled` ends the process then.
fn wait_to_be_killed(unkilled: fn()) -> ! {
    let since = Instant::now();
    while since.elapsed() < KILLED_WITHIN {
        std::thread::park_timeout(KILLED_WITHIN);
    }
    unkilled();
    loop {
        std::thread::park();
    }
}
