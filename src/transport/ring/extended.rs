//! The coordinator's part in extended calls and outcomes. PARCELS.md has the protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::layout::{ANSWERING, CALLING, Form};
use super::link::{Lent, Ring, RingLink};
use super::parcels::{Fault, HEADER_BYTES_USUAL, Header, Inbox, Taken, is_crowded, is_gone};
use super::pending::{Need, OwnedCall, take_wish};
use super::records::Records;
use crate::codec::Bytes;
use crate::codec::encoded::{Encoded, fetch};
use crate::shm::attachment::{Attachment, Parcel};
use crate::sys::descriptors::IfNotReady;
use crate::task::id::Ticket;
use crate::transport::frame::{CallFrame, Outcome};
use crate::transport::{Staged, outcome};

/// A longer result stays in its parcel until somebody reads it, since copying it takes a while.
const FETCHED_AT_ONCE_MAX: usize = 1 << 20;
/// Longer arguments take milliseconds to copy.
const COPIED_HERE_MAX: usize = 4 << 20;

/// Whether a call could be put into the ring.
enum Put {
    /// Whether the worker must be woken for it.
    Done(bool),
    Refused(String),
    /// Not now. It stays where it is.
    Later,
}

impl RingLink {
    /// Have it put into the ring when it is ready and there is a place. Whether the worker must be woken.
    #[cold]
    pub(super) fn keep(&self, state: &mut Ring, ticket: Ticket, call: CallFrame<'_>) -> bool {
        let call = OwnedCall::new(ticket, call);
        if !call.is_ready() {
            self.set_wanting();
        }
        state.pending.push_back(call);
        self.flush(state) == Some(Staged::Asleep)
    }

    /// Put what can be put into the ring.
    #[cold]
    pub(super) fn flush(&self, state: &mut Ring) -> Option<Staged> {
        let mut flushed = None;
        while !state.records.is_full()
            && let Some(call) = state.pending.pop_front()
        {
            let put = if call.is_ready() { self.put_owned(state, &call) } else { Put::Later };
            match put {
                Put::Done(true) => flushed = Some(Staged::Asleep),
                Put::Done(false) => _ = flushed.get_or_insert(Staged::Quietly),
                Put::Refused(message) => {
                    self.refuse(state, call.ticket, message);
                    self.discard_calls(&mut state.discards, [call]);
                }
                Put::Later => {
                    state.pending.push_front(call);
                    break;
                }
            }
        }
        flushed
    }

    fn put_owned(&self, state: &mut Ring, call: &OwnedCall) -> Put {
        let ticket = call.ticket;
        if !call.is_extended() {
            let form = call.form();
            return Put::Done(self.put(state, ticket, call.frame(call.argument_bytes()), form));
        }
        let parcel = match &call.parcel {
            Need::Made(parcel) => Some(parcel),
            _ => None,
        };
        let sent = call.attachments.iter().chain(parcel);
        let mut announced = match self.parcels().lend(sent.clone(), IfNotReady::Fail) {
            Ok(announced) => announced,
            Err(error) if is_crowded(&error) => {
                self.on_crowded(state);
                return Put::Later;
            }
            // Its exit tells, and frees what is here.
            Err(error) if is_gone(&error) => return Put::Later,
            Err(error) => return Put::Refused(format!("its buffers can't be sent: {error}")),
        };
        let parcel = parcel.and_then(|_| announced.pop());
        let arguments = call.argument_bytes();
        let parcel = parcel.map(|announced| (announced, arguments.len() as u64));
        let behind = if parcel.is_some() { &[] } else { arguments };
        let header = Header { attachments: announced, parcel, notices: Vec::new() };
        let mut bytes = Vec::with_capacity(HEADER_BYTES_USUAL + behind.len());
        if let Err(message) = header.append_to(&mut bytes) {
            self.parcels().take_back(sent);
            return Put::Refused(message);
        }
        bytes.extend_from_slice(behind);
        let position = state.records.tail();
        let asleep = self.put(state, ticket, call.frame(&bytes), Form::Extended);
        if state.records.tail() > position {
            state.lent.insert(position, sent.cloned().collect());
        } else {
            // It was refused for lack of memory.
            self.parcels().take_back(sent);
        }
        Put::Done(asleep)
    }

    /// The socket is full. If the worker has nothing else to do, it is asked to read it.
    fn on_crowded(&self, state: &Ring) {
        self.segment().u32_at(CALLING).store(1, Ordering::SeqCst);
        if state.records.is_empty() {
            // Nothing else makes anybody try again.
            self.set_busy();
            self.wake_sleeper();
        }
    }

    /// What was lent with the entry at this position has not been begun and won't be.
    #[inline]
    pub(super) fn take_back_lent(&self, state: &mut Ring, position: u64) {
        if let Some(lent) = state.lent.remove(&position) {
            self.parcels().take_back(&lent);
            self.discard_lent(&mut state.discards, lent);
        }
    }

    /// Fill the parcels that calls wait for, without a lock. That takes as long as copying does: if this thread is not
    /// `patient`, another one does it where there are long ones among them.
    #[cold]
    pub(super) fn make_parcels(&self, patient: bool) {
        if !patient && self.wants_long() && self.copying.start() {
            return;
        }
        loop {
            let wish = {
                let mut state = self.lock();
                let wish = take_wish(&mut state.pending);
                if wish.is_none() {
                    self.is_wanting.store(false, Ordering::SeqCst);
                }
                wish
            };
            let Some((ticket, arguments)) = wish else { return };
            self.make_parcel(ticket, arguments);
        }
    }

    fn wants_long(&self) -> bool {
        let state = self.lock();
        let is_long = |call: &OwnedCall| call.argument_bytes().len() > COPIED_HERE_MAX;
        state.pending.iter().any(|call| matches!(call.parcel, Need::Wanted) && is_long(call))
    }

    fn make_parcel(&self, ticket: Ticket, arguments: Arc<Bytes>) {
        let made = Parcel::from_bytes(&arguments, self.parcels().peer());
        drop(arguments);
        let mut state = self.lock();
        // It may have been taken back meanwhile.
        if let Some(at) = state.pending.iter().position(|call| call.ticket == ticket) {
            match made {
                Ok(parcel) => state.pending[at].parcel = Need::Made(parcel),
                Err(error) => {
                    let call = state.pending.remove(at);
                    self.discard_calls(&mut state.discards, call);
                    self.refuse(&mut state, ticket, format!("its arguments: {error}"));
                }
            }
        }
        let refilled = self.refill(&mut state);
        self.publish(&state);
        drop(state);
        self.on_refilled(refilled);
    }

    /// Tell the worker what it is to know of buffers, be it idle.
    #[cold]
    pub(super) fn tell(&self) {
        if self.parcels().tell() {
            self.segment().u32_at(CALLING).store(1, Ordering::SeqCst);
            self.wake_sleeper();
        }
    }

    /// There is something to do at the next drain that is in no entry.
    pub(super) fn set_busy(&self) {
        self.is_busy.store(true, Ordering::Relaxed);
    }

    fn set_wanting(&self) {
        // Pairs with the look at it in `copying`.
        self.is_wanting.store(true, Ordering::SeqCst);
    }

    /// Whether more is to be done than may be done under a lock.
    #[inline]
    pub(super) fn is_unfinished(&self) -> bool {
        self.is_wanting.load(Ordering::Relaxed) || self.parcels().peer().has_notices()
    }

    /// Whether the worker has said something beside its outcomes.
    #[inline]
    pub(super) fn is_answering(&self) -> bool {
        self.segment().u32_at(ANSWERING).load(Ordering::Relaxed) != 0
    }

    /// Read what the worker has said beside its outcomes. To be [applied](super::parcels::Parcels::apply) when
    /// all outcomes that were committed before have been read. An error is a lie.
    #[cold]
    pub(super) fn read_answers(&self, inbox: &mut Inbox) -> Result<(), String> {
        // Pairs with the store in `worker_parcels`: what was sent before is found.
        self.segment().u32_at(ANSWERING).swap(0, Ordering::SeqCst);
        self.parcels().read(inbox)
    }

    /// An extended outcome. An error is a lie.
    #[cold]
    pub(super) fn unpack(&self, inbox: &mut Inbox, body: &[u8]) -> Result<Outcome, String> {
        let (&variant, rest) =
            body.split_first().ok_or_else(|| "an outcome without a kind".to_owned())?;
        let (header, rest) = Header::split(rest)?;
        self.parcels().read_for(inbox, &header)?;
        let outcome = match self.parcels().receive(inbox, &header) {
            Ok(taken) => self.assemble(variant, taken, rest)?,
            Err(Fault::Lie(what)) => return Err(what),
            Err(Fault::Lack(what)) => {
                Outcome::Undeliverable { message: format!("the buffers that came with it: {what}") }
            }
        };
        if !header.notices.is_empty() {
            inbox.ended.extend(self.parcels().apply(header.notices));
            self.note_discards();
        }
        Ok(outcome)
    }

    fn assemble(
        &self,
        variant: u8,
        Taken { attachments, parcel }: Taken,
        behind: &[u8],
    ) -> Result<Outcome, String> {
        let returned = |value| Outcome::Returned { value, error: None };
        let outcome = match parcel {
            None => outcome::decode(variant, behind),
            Some((parcel, length))
                if variant == outcome::RETURNED
                    && length > FETCHED_AT_ONCE_MAX
                    && !self.parcels().peer().has_many_here() =>
            {
                return Ok(returned(Encoded::in_parcel(parcel, length, attachments)));
            }
            Some((parcel, length)) => match fetch(&parcel, length) {
                Ok(bytes) if variant == outcome::RETURNED => {
                    return Ok(returned(Encoded::new(Bytes::from(bytes), attachments)));
                }
                Ok(bytes) => outcome::decode(variant, &bytes),
                Err(error) => return Ok(Outcome::Undeliverable { message: error.to_string() }),
            },
        };
        match outcome.map_err(|error| error.to_string())? {
            Outcome::Returned { value, error } => {
                let (bytes, _) = value.into_parts();
                Ok(Outcome::Returned { value: Encoded::new(bytes, attachments), error })
            }
            outcome => Ok(outcome),
        }
    }
}

/// What was lent with the oldest entry.
#[inline]
pub(super) fn take_front(records: &Records, lent: &mut Lent) -> Option<Vec<Attachment>> {
    if lent.is_empty() { None } else { lent.remove(&records.head()) }
}
