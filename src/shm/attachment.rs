//! A buffer on its way: what a call or an outcome carries beside its bytes.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::buffer::{Announced, Buffer, BufferId, Grade};
use super::error::BufferError;
use super::memfd::invalid;
use super::peer::Peer;
use super::pool::{self, Wanted};

/// The use of a buffer. If it is a peer's, that is told when the last of these is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    buffer: Arc<Buffer>,
    lease: Option<Arc<Lease>>,
}

impl Attachment {
    /// Of a buffer of this process's.
    pub(super) fn own(buffer: Buffer) -> Self {
        Self { buffer: Arc::new(buffer), lease: None }
    }

    /// Of a peer's.
    pub(super) fn leased(buffer: Arc<Buffer>, lease: Lease) -> Self {
        Self { buffer, lease: Some(Arc::new(lease)) }
    }

    pub(crate) fn id(&self) -> BufferId {
        self.buffer.id()
    }

    pub(crate) fn grade(&self) -> Grade {
        self.buffer.grade()
    }

    pub(crate) fn announced(&self) -> Announced {
        self.buffer.announced()
    }

    /// Append these bytes to `bytes`. They may be anything by the time of the copy if a peer can write them.
    pub(crate) fn copy_out(&self, range: Range<usize>, bytes: &mut Vec<u8>) -> io::Result<()> {
        if range.start > range.end || range.end > self.buffer.committed() {
            return Err(invalid("more bytes than there are in a parcel"));
        }
        self.buffer.memory().append_to(range.start, range.end - range.start, bytes);
        Ok(())
    }

    pub(super) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The buffer, if nobody else has the use of it.
    pub(super) fn into_buffer(self) -> Result<Buffer, Self> {
        let Self { buffer, lease } = self;
        if lease.is_some() {
            return Err(Self { buffer, lease });
        }
        Arc::try_unwrap(buffer).map_err(|buffer| Self { buffer, lease })
    }

    /// Whether it was sent back to the peer that made it, which may use the memory for something else by now.
    pub(super) fn is_back(&self) -> bool {
        self.lease.as_deref().is_some_and(Lease::is_back)
    }

    /// A copy in memory of this process's, if it is lent by a peer, which would have it back when it is sent there.
    pub(crate) fn copy_of_leased(&self) -> Result<Option<Self>, BufferError> {
        const PIECE: usize = 1 << 20;
        if self.lease.is_none() || self.grade() != Grade::Lent {
            return Ok(None);
        }
        let length = self.buffer.committed();
        let (copy, _) = pool::take(length, Wanted::Any)?;
        let mut piece = Vec::new();
        for start in (0..length).step_by(PIECE) {
            piece.clear();
            self.buffer.memory().append_to(start, PIECE.min(length - start), &mut piece);
            copy.writable().copy_in(start, &piece);
        }
        Ok(Some(Self::own(copy)))
    }

    /// If it is `peer`'s.
    pub(super) fn lease_of(&self, peer: &Peer) -> Option<&Lease> {
        self.lease.as_deref().filter(|lease| lease.peer.is_same(peer))
    }
}

impl PartialEq for Attachment {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Attachment {}

/// Encoded bytes that are too many to travel with the call: a lent buffer without a type.
#[derive(Debug)]
pub(crate) struct Parcel;

impl Parcel {
    /// A copy of `bytes`, in memory that no live process has mapped but perhaps the peer that it is for.
    pub(crate) fn from_bytes(bytes: &[u8], peer: &Peer) -> Result<Attachment, BufferError> {
        let (buffer, _) = pool::take(bytes.len(), Wanted::For(peer))?;
        buffer.writable().copy_in(0, bytes);
        Ok(Attachment::own(buffer))
    }
}

/// The use of a buffer that a peer has made.
#[derive(Debug)]
pub(super) struct Lease {
    peer: Peer,
    id: BufferId,
    /// It was sent back, which tells the peer.
    given_back: AtomicBool,
}

impl Lease {
    pub(super) fn new(peer: Peer, id: BufferId) -> Self {
        Self { peer, id, given_back: AtomicBool::new(false) }
    }

    pub(super) fn give_back(&self) {
        if !self.given_back.swap(true, Ordering::Relaxed) {
            self.peer.on_lease_given_back(self.id);
        }
    }

    fn is_back(&self) -> bool {
        self.given_back.load(Ordering::Relaxed) && self.peer.is_alive()
    }

    pub(super) fn take_back(&self) {
        if self.given_back.swap(false, Ordering::Relaxed) {
            self.peer.on_lease_taken_back(self.id);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !*self.given_back.get_mut() {
            self.peer.on_lease_ended(self.id);
        }
    }
}
