//! Calls that can't be put into a ring at once: it is full, they carry buffers, or their arguments need a parcel,
//! which is filled without any lock held.

use std::collections::VecDeque;
use std::sync::Arc;

use super::layout::{AREA_BYTES, Form};
use super::parcels::HEADER_BYTES_MAX;
use crate::codec::{Bytes, CodecId};
use crate::shm::attachment::Attachment;
use crate::task::id::Ticket;
use crate::transport::frame::CallFrame;

/// Longer arguments get a parcel if there are attachments, too.
const BESIDE_HEADER_MAX: usize = AREA_BYTES - HEADER_BYTES_MAX;

/// A call that waits for a place.
#[derive(Debug)]
pub(super) struct OwnedCall {
    pub(super) ticket: Ticket,
    index: u32,
    codec: CodecId,
    is_measured: bool,
    calls: u32,
    is_pack: bool,
    arguments: Arguments,
    pub(super) attachments: Vec<Attachment>,
    pub(super) parcel: Need,
}

#[derive(Clone, Debug)]
enum Arguments {
    Owned(Bytes),
    Shared(Arc<Bytes>),
}

impl Arguments {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Whether the arguments need a parcel.
#[derive(Debug)]
pub(super) enum Need {
    None,
    Wanted,
    /// A thread is filling it.
    BeingMade,
    Made(Attachment),
}

impl OwnedCall {
    pub(super) fn new(ticket: Ticket, call: CallFrame<'_>) -> Self {
        let CallFrame { index, codec, is_measured, calls, is_pack, .. } = call;
        let room = if call.attachments.is_empty() { AREA_BYTES } else { BESIDE_HEADER_MAX };
        let too_long = call.arguments.len() > room;
        let arguments = match call.shared {
            Some(shared) => Arguments::Shared(Arc::clone(shared)),
            None if too_long => Arguments::Shared(Arc::new(Bytes::from_slice(call.arguments))),
            None => Arguments::Owned(Bytes::from_slice(call.arguments)),
        };
        let parcel = if too_long { Need::Wanted } else { Need::None };
        let attachments = call.attachments.to_vec();
        Self { ticket, index, codec, is_measured, calls, is_pack, arguments, attachments, parcel }
    }

    pub(super) fn is_ready(&self) -> bool {
        !matches!(self.parcel, Need::Wanted | Need::BeingMade)
    }

    /// Have it be its first `keep` calls only. So many it is then, or `None`: it is no more than that anyway.
    pub(super) fn split(&mut self, keep: u32) -> Option<u32> {
        if keep >= self.calls {
            return None;
        }
        // The arguments of the others stand behind, and nobody reads them.
        self.calls = keep;
        Some(keep)
    }

    pub(super) fn is_extended(&self) -> bool {
        !matches!(self.parcel, Need::None) || !self.attachments.is_empty()
    }

    pub(super) fn form(&self) -> Form {
        if self.is_pack {
            Form::Pack
        } else if self.is_extended() {
            Form::Extended
        } else {
            Form::Single
        }
    }

    pub(super) fn argument_bytes(&self) -> &[u8] {
        self.arguments.bytes()
    }

    /// As it is written into the ring: with these in the place of the arguments.
    pub(super) fn frame<'a>(&'a self, arguments: &'a [u8]) -> CallFrame<'a> {
        CallFrame {
            function: "",
            index: self.index,
            codec: self.codec,
            is_measured: self.is_measured,
            calls: self.calls,
            is_pack: self.is_pack,
            arguments,
            shared: None,
            attachments: &[],
        }
    }
}

/// The call of `ticket`, if it waits.
pub(super) fn find(pending: &mut VecDeque<OwnedCall>, ticket: Ticket) -> Option<&mut OwnedCall> {
    pending.iter_mut().find(|call| call.ticket == ticket)
}

/// Whether the parcel of this call, or of one before it, is being filled by a thread of this process, or is to be.
pub(super) fn is_preparing(pending: &VecDeque<OwnedCall>, ticket: Ticket) -> bool {
    let Some(at) = pending.iter().position(|call| call.ticket == ticket) else { return false };
    !pending.iter().take(at + 1).all(OwnedCall::is_ready)
}

/// The next call that wants a parcel, which the caller makes.
pub(super) fn take_wish(pending: &mut VecDeque<OwnedCall>) -> Option<(Ticket, Arc<Bytes>)> {
    let call = pending.iter_mut().find(|call| matches!(call.parcel, Need::Wanted))?;
    let Arguments::Shared(bytes) = &call.arguments else { return None };
    call.parcel = Need::BeingMade;
    Some((call.ticket, Arc::clone(bytes)))
}
