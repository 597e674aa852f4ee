//! The coordinator's end of a ring: staging, taking back, killing, and reading what the worker has
//! committed. Every value that the worker can write is checked against [`Records`]; a lie makes the ring
//! *corrupt*, which ends this worker and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, Weak};

use super::bell;
use super::collector::Collector;
use super::copying::{Copying, Helper};
use super::discards::Discards;
use super::ending::Loss;
use super::layout::{self, AREA_BYTES, ARGUMENTS_INLINE, ASLEEP, Entry, Form, Head, LISTENING};
use super::parcels::{Inbox, Parcels};
use super::pending::OwnedCall;
use super::records::Records;
use super::sleep::{self, Listener};
use super::word::{self, Word};
use crate::shm::Segment;
use crate::shm::attachment::Attachment;
use crate::shm::peer::Trust;
use crate::sync::Mutex;
use crate::sys::futex;
use crate::task::id::{Ticket, WorkerId};
use crate::transport::frame::{CallFrame, Outcome, OutcomeFrame};
use crate::transport::{Delivery, Outcomes, Staged};

/// The coordinator's end of one worker's ring.
#[derive(Debug)]
pub(crate) struct RingLink {
    pub(super) copying: Copying,
    worker: WorkerId,
    pid: u32,
    segment: Segment,
    collector: Arc<Collector>,
    parcels: Parcels,
    state: Mutex<Ring>,
    /// Entries that are outstanding. For looks without the lock.
    pub(super) outstanding: AtomicUsize,
    /// Where the word of the oldest of them stands.
    head_word: AtomicUsize,
    head_is_pack: AtomicBool,
    /// Something is to be done at the next drain that is in no entry.
    pub(super) is_busy: AtomicBool,
    /// Nothing is read from the worker any more.
    pub(super) is_deaf: AtomicBool,
    /// A call waits for a parcel that nobody makes yet.
    pub(super) is_wanting: AtomicBool,
    /// Something can be freed.
    pub(super) has_discards: AtomicBool,
    pub(super) loss: Loss,
}

#[derive(Debug)]
pub(super) struct Ring {
    pub(super) records: Records,
    /// Staged while the ring was full, which only entries make it that were taken back from between others and
    /// not passed over yet; calls that want a parcel; and what is behind them.
    pub(super) pending: VecDeque<OwnedCall>,
    /// What went with each extended call that has not ended.
    pub(super) lent: Lent,
    pub(super) inbox: Inbox,
    /// Calls that could not be staged.
    refused: Vec<Delivery>,
    pub(super) corrupt: bool,
    /// Its worker is dead.
    pub(super) over: bool,
    /// Given to it too late for the worker to hear of: certainly never begun.
    pub(super) unheard: Vec<Ticket>,
    pub(super) discards: Discards,
}

/// By position.
pub(super) type Lent = BTreeMap<u64, Vec<Attachment>>;

/// The worker has written what no worker writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CorruptRing(pub(crate) String);

impl RingLink {
    pub(crate) fn new(
        worker: WorkerId,
        pid: u32,
        segment: Segment,
        parcels: OwnedFd,
        collector: Arc<Collector>,
        helper: Helper,
    ) -> Arc<Self> {
        let parcels = Parcels::new(parcels, Trust::MayGoMad);
        let link = Arc::new_cyclic(|this| Self {
            copying: Copying::new(Weak::clone(this), helper),
            worker,
            pid,
            segment,
            collector,
            parcels,
            state: Mutex::new(Ring {
                records: Records::new(),
                pending: VecDeque::new(),
                lent: Lent::new(),
                inbox: Inbox::default(),
                refused: Vec::new(),
                corrupt: false,
                over: false,
                unheard: Vec::new(),
                discards: Discards::default(),
            }),
            outstanding: AtomicUsize::new(0),
            head_word: AtomicUsize::new(Entry::at(0).word()),
            head_is_pack: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            is_deaf: AtomicBool::new(false),
            is_wanting: AtomicBool::new(false),
            has_discards: AtomicBool::new(false),
            loss: Loss::default(),
        });
        let weak = Arc::downgrade(&link);
        link.parcels.peer().set_urge(move || {
            if let Some(link) = weak.upgrade() {
                link.tell();
            }
        });
        link
    }

    pub(crate) fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Whether anything is with the worker. A hint, like everything that is asked without the lock.
    pub(crate) fn is_outstanding(&self) -> bool {
        self.has_entries() || self.has_more()
    }

    fn has_entries(&self) -> bool {
        // Pairs with the stores in `publish` and `put`.
        self.outstanding.load(Ordering::Acquire) != 0
    }

    /// Whether there is something to do that is in no entry.
    fn has_more(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
            || self.has_loss()
            || (self.is_answering() && !self.is_deaf.load(Ordering::Relaxed))
    }

    /// Whether there is something to [`drain`](Self::drain), or a [loss](Self::take_loss).
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        (self.has_entries() && self.is_head_done()) || self.has_more()
    }

    #[inline]
    fn is_head_done(&self) -> bool {
        // Pairs with the store in `publish`.
        let head = Entry::of_word(self.head_word.load(Ordering::Acquire));
        let done = word::look(self.word(head.word())).is_done();
        if done && self.short(head).length().is_none() {
            // Its outcome is read in a moment; the line, which the worker's core has, is on its way meanwhile.
            let _ = self.segment.u32_at(head.outcomes_length()).load(Ordering::Relaxed);
        }
        done
    }

    /// Whether the oldest entry is a pack of several calls, of which some outcomes may be there before the last. No bell
    /// is rung for those.
    pub(crate) fn runs_pack(&self) -> bool {
        self.has_entries() && self.head_is_pack.load(Ordering::Relaxed)
    }

    /// Its worker is dead, or has lied.
    pub(crate) fn is_ended(&self) -> bool {
        self.state.lock().is_ended()
    }

    pub(crate) fn listening(&self) -> &AtomicU32 {
        self.segment.u32_at(LISTENING)
    }

    pub(crate) fn bell(&self, who: Listener) -> &AtomicU32 {
        self.segment.u32_at(layout::bell(who))
    }

    /// A listener has taken everything, and sleeps now. To be said before a limited sleep only, see README.md.
    pub(crate) fn say_taken(&self, who: Listener, now_ns: u64) {
        // Relaxed: late only makes the worker ring early.
        self.segment.u64_at(layout::taken(who)).store(now_ns, Ordering::Relaxed);
    }

    /// Deliver what was committed. `partly`: of a pack that is not done yet, too.
    pub(crate) fn drain(
        &self,
        partly: bool,
        deliveries: &mut Vec<Delivery>,
    ) -> Result<(), CorruptRing> {
        let mut state = self.state.lock();
        let drained = self.drain_locked(&mut state, partly, deliveries);
        let refilled = self.refill(&mut state);
        self.publish(&state);
        drop(state);
        self.on_refilled(refilled);
        drained
    }

    pub(super) fn drain_locked(
        &self,
        state: &mut Ring,
        partly: bool,
        deliveries: &mut Vec<Delivery>,
    ) -> Result<(), CorruptRing> {
        self.is_busy.store(false, Ordering::Relaxed);
        if state.is_ended() {
            return Ok(());
        }
        if !state.refused.is_empty() {
            deliveries.append(&mut state.refused);
        }
        let delivered = if self.is_answering() || !state.inbox.heard.is_empty() {
            self.deliver_with_answers(state, partly, deliveries)
        } else {
            self.deliver_committed(state, partly, deliveries)
        };
        if delivered.is_err() {
            state.corrupt = true;
            self.is_deaf.store(true, Ordering::Relaxed);
        }
        if !state.inbox.heard.is_empty() {
            self.set_busy();
        }
        delivered
    }

    /// The same where the worker has said something beside its outcomes.
    #[cold]
    fn deliver_with_answers(
        &self,
        state: &mut Ring,
        partly: bool,
        deliveries: &mut Vec<Delivery>,
    ) -> Result<(), CorruptRing> {
        let read = self.read_answers(&mut state.inbox).map_err(CorruptRing);
        let heard = std::mem::take(&mut state.inbox.heard);
        read.and_then(|()| self.deliver_committed(state, partly, deliveries))?;
        if !heard.is_empty() {
            state.inbox.ended.extend(self.parcels.apply(heard));
            self.note_discards();
        }
        Ok(())
    }

    /// What waits for a place gets one, if there are any. To be called whenever there may be, since nobody
    /// looks into a ring in which nothing is outstanding.
    pub(super) fn refill(&self, state: &mut Ring) -> Option<Staged> {
        if state.pending.is_empty() || state.is_ended() { None } else { self.flush(state) }
    }

    /// To be called after the lock is released.
    pub(super) fn on_refilled(&self, refilled: Option<Staged>) {
        let Some(staged) = refilled else { return };
        let asleep = staged == Staged::Asleep;
        self.collector.on_staged(self, asleep);
        if asleep {
            self.wake_sleeper();
        }
    }

    /// Put a call at the tail, or keep it until there is room. Whether the worker must be woken for it.
    pub(super) fn put_or_keep(
        &self,
        state: &mut Ring,
        ticket: Ticket,
        call: CallFrame<'_>,
    ) -> bool {
        let is_plain = call.shared.is_none() && call.attachments.is_empty();
        if !is_plain || state.records.is_full() || !state.pending.is_empty() {
            return self.keep(state, ticket, call);
        }
        let form = if call.is_pack { Form::Pack } else { Form::Single };
        self.put(state, ticket, call, form)
    }

    /// Put a call at the tail. Whether the worker must be woken for it.
    pub(super) fn put(
        &self,
        state: &mut Ring,
        ticket: Ticket,
        call: CallFrame<'_>,
        form: Form,
    ) -> bool {
        let (slot, fresh) = state.records.next_slot();
        let length = call.arguments.len();
        if length > AREA_BYTES {
            let message = format!("{length} bytes of arguments, more than {AREA_BYTES}");
            self.refuse(state, ticket, message);
            return false;
        }
        if length > ARGUMENTS_INLINE && fresh {
            if let Err(error) = self.segment.commit(slot.arguments()..slot.outcomes()) {
                let message = format!("no memory for its arguments: {error}");
                self.refuse(state, ticket, message);
                return false;
            }
            state.records.on_allocated(slot);
        }
        let position = state.records.tail();
        let record = state.records.push(ticket, call.calls, call.is_pack);
        let entry = Entry::at(position);
        let place = if length > ARGUMENTS_INLINE { slot.arguments() } else { entry.arguments() };
        self.segment.copy_in(place, call.arguments);
        let head = Head {
            function: call.index,
            attempt: ticket.attempt,
            arguments_length: length as u32,
            slot,
            codec: call.codec_number(),
            form,
        };
        let [first, second] = head.to_words();
        // Relaxed: published by the word.
        self.segment.u64_at(entry.number()).store(ticket.task.number, Ordering::Relaxed);
        self.segment.u64_at(entry.head()).store(first, Ordering::Relaxed);
        self.segment.u64_at(entry.head_more()).store(second, Ordering::Relaxed);
        // Counted before it is staged: see `Collector::on_staged`.
        self.outstanding.store(state.records.len(), Ordering::Release);
        word::stage(self.word(entry.word()), Word::staged(record.generation, call.calls));
        sleep::is_asleep(self.segment.u32_at(ASLEEP))
    }

    pub(super) fn refuse(&self, state: &mut Ring, ticket: Ticket, message: String) {
        let frame = OutcomeFrame { outcome: Outcome::BadArguments { message }, ran_ns: 0 };
        let outcomes = Outcomes::OfCall(frame);
        let pid = self.pid;
        state.refused.push(Delivery { pid, ticket, outcomes, ran_ns: 0, begun: Some(1) });
        self.set_busy();
        self.publish(state);
        // No worker will ring for it.
        for who in [Listener::Collector, Listener::Waiter] {
            let bell = self.bell(who);
            bell::ring(bell);
            futex::wake_all(bell);
        }
    }

    /// For looks without the lock.
    pub(super) fn publish(&self, state: &Ring) {
        let to_deliver = state.records.len() + state.refused.len();
        let outstanding = if state.is_ended() { 0 } else { to_deliver };
        // Of one call there is nothing to be had before the end, for which a bell is rung.
        let head_is_pack =
            state.records.front().is_some_and(|record| record.pack && record.calls > 1);
        self.head_is_pack.store(head_is_pack, Ordering::Relaxed);
        // Release: pairs with the loads in `is_head_done` and `has_entries`.
        self.head_word.store(Entry::at(state.records.head()).word(), Ordering::Release);
        self.outstanding.store(outstanding, Ordering::Release);
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Ring> {
        self.state.lock()
    }

    pub(super) fn collector(&self) -> &Collector {
        &self.collector
    }

    pub(super) fn parcels(&self) -> &Parcels {
        &self.parcels
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    pub(super) fn word(&self, offset: usize) -> &AtomicU64 {
        self.segment.u64_at(offset)
    }
}

impl Ring {
    /// Nothing that is staged now would ever run.
    pub(super) fn is_ended(&self) -> bool {
        self.over || self.corrupt
    }

    pub(super) fn take_unheard(&mut self, ticket: Ticket) -> bool {
        let at = self.unheard.iter().position(|other| *other == ticket);
        at.map(|at| self.unheard.swap_remove(at)).is_some()
    }

    /// Take out a call that waits for a place.
    pub(super) fn take_pending(&mut self, ticket: Ticket) -> Option<OwnedCall> {
        let at = self.pending.iter().position(|call| call.ticket == ticket)?;
        self.pending.remove(at)
    }
}
