//! What passes between this process and another: which buffers the other one has the use of, which of its
//! buffers are mapped here, and what each is to be told. README.md has the protocol.
//!
//! No buffer is dropped while the books are locked: dropping it may tell other peers of it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::attachment::{Attachment, Lease};
use super::books::{Books, Loan, Received};
use super::buffer::{Announced, Buffer, BufferId, Grade};
use super::memfd::invalid;
use crate::sync::Mutex;
use crate::sys;

/// At most so many buffers of a peer's are mapped here that nobody uses. Each takes a descriptor, which a peer
/// gone mad must not exhaust; one that behaves keeps no more than its pool does, and what is on its way.
const UNUSED_MAX: usize = 1024;
/// Notices about so many buffers, or so many bytes, do not wait for a message to go with.
const UNTOLD_MAX: usize = 64;
const UNTOLD_BYTES_MAX: usize = 16 << 20;

/// Whether a process may go mad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It may write anywhere at any time: a worker, as its coordinator sees it.
    MayGoMad,
    /// It writes only what it has the use of: the coordinator, as its workers see it.
    Trusted,
}

/// One life of another process.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<PeerState>);

#[derive(Debug)]
struct PeerState {
    standing: Arc<Standing>,
    books: Mutex<Books>,
    /// Whether there are notices. For looks without the lock.
    has_notices: AtomicBool,
    urge: OnceLock<Urge>,
}

/// Tells the peer at once. Called with no lock of this module's held, by whichever thread drops a buffer.
struct Urge(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Urge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Urge")
    }
}

/// Outlives the rest, so that a peer that nobody remembers is not taken for dead.
#[derive(Debug)]
struct Standing {
    trust: Trust,
    is_alive: AtomicBool,
}

/// What one process tells another about a buffer, with its next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Notice {
    /// The sender no longer uses what it was sent. One for each time.
    Released(BufferId),
    /// The sender has made it, and it is no more: the receiver can unmap it.
    Forget(BufferId),
    /// The sender could not take its descriptor, and has not got the use of it.
    Lost(BufferId),
}

impl Peer {
    pub(crate) fn new(trust: Trust) -> Self {
        let standing = Arc::new(Standing { trust, is_alive: AtomicBool::new(true) });
        Self(Arc::new(PeerState {
            standing,
            books: Mutex::default(),
            has_notices: AtomicBool::new(false),
            urge: OnceLock::new(),
        }))
    }

    /// Have `urge` called when notices become so many that the peer is better told at once.
    pub(crate) fn set_urge(&self, urge: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.urge.set(Urge(Box::new(urge)));
    }

    /// Let the peer have the use of `attachment`, and say what to announce it as.
    ///
    /// If the peer has not got its descriptor yet, it is passed to `send` first. If that fails the peer has
    /// not got the use of it either.
    pub(crate) fn lend(
        &self,
        attachment: &Attachment,
        send: impl FnOnce(Announced, BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<Announced> {
        let announced = attachment.announced();
        if attachment.buffer().is_held() {
            return Err(io::Error::other("a shared buffer that is in use here"));
        }
        if attachment.buffer().is_lent() {
            return Err(io::Error::other("a lent buffer that an earlier attempt has kept"));
        }
        if attachment.is_back() {
            return Err(io::Error::other("a shared buffer that its maker has back"));
        }
        if let Some(lease) = attachment.lease_of(self) {
            // It has the descriptor of what it has made.
            if announced.grade == Grade::Lent {
                lease.give_back();
            }
            return Ok(announced);
        }
        let exposures = attachment.buffer().exposures();
        if exposures.expose_to(self) == Descriptor::Missing {
            send(announced, attachment.buffer().descriptor())?;
            exposures.on_descriptor_sent(self);
        }
        let mut books = self.0.books.lock();
        // Otherwise nothing would ever take it off the books again.
        if self.is_alive() {
            if announced.grade == Grade::Lent {
                attachment.buffer().on_lent();
            }
            let new = || Loan::of(attachment.clone());
            books.lent.entry(announced.id).or_insert_with(new).count += 1;
        }
        Ok(announced)
    }

    /// The peer has not got the use of it after all: what announced it was never begun.
    pub(crate) fn take_back(&self, attachment: &Attachment) {
        match attachment.lease_of(self) {
            Some(lease) => lease.take_back(),
            None => drop(self.end_loan(attachment.id())),
        }
    }

    /// Map what the peer has made and sent, if it is what it is said to be.
    ///
    /// An error of the kind [`InvalidData`](io::ErrorKind::InvalidData) is a lie; others are this process's.
    pub(crate) fn adopt(&self, announced: Announced, descriptor: OwnedFd) -> io::Result<()> {
        {
            let books = self.0.books.lock();
            if let Some(known) = books.received.get(&announced.id) {
                // Two calls that carried it crossed.
                return is_same(known.buffer.announced(), announced);
            }
            if books.lent.contains_key(&announced.id) {
                return Err(invalid("a buffer that is not the sender's"));
            }
            if self.0.standing.trust == Trust::MayGoMad {
                let unused = books.received.values().filter(|received| received.leases == 0);
                let (count, length) = unused.fold((0, announced.length), |(count, length), one| {
                    (count + 1, length.saturating_add(one.buffer.announced().length))
                });
                // Their addresses are this process's, whether there is memory behind them or not.
                if count >= UNUSED_MAX || !sys::memory::is_in_total(length / 2) {
                    return Err(invalid("too many buffers"));
                }
            }
        }
        let received =
            Received { buffer: Arc::new(Buffer::open(announced, descriptor, self)?), leases: 0 };
        let mut books = self.0.books.lock();
        let dropped = if self.is_alive() {
            books.received.insert(announced.id, received)
        } else {
            Some(received)
        };
        drop(books);
        drop(dropped);
        Ok(())
    }

    /// Whether the peer's announcement of this can be [received](Self::receive) already.
    pub(crate) fn has_sent(&self, id: BufferId) -> bool {
        let books = self.0.books.lock();
        books.received.contains_key(&id) || books.lent.contains_key(&id)
    }

    /// What the peer lets this process have the use of: its own buffer, or one that comes back.
    ///
    /// An error of the kind [`InvalidData`](io::ErrorKind::InvalidData) is a lie. So is one that is not found:
    /// its descriptor was to come first.
    pub(crate) fn receive(&self, announced: Announced) -> io::Result<Attachment> {
        let mut books = self.0.books.lock();
        if let Some(loan) = books.lent.get(&announced.id) {
            let attachment = loan.attachment.clone();
            is_same(attachment.announced(), announced)?;
            let ended = match announced.grade {
                Grade::Lent => books.lent.remove(&announced.id),
                // The peer may have others of it; it tells when it has no use of it any more.
                Grade::Sealed => None,
            };
            drop(books);
            drop(ended);
            return Ok(attachment);
        }
        let received = books.received.get_mut(&announced.id);
        let received = received.ok_or_else(|| invalid("a buffer that was not sent"))?;
        is_same(received.buffer.announced(), announced)?;
        if announced.grade == Grade::Lent && received.leases > 0 {
            return Err(invalid("a lent buffer that is here already"));
        }
        received.buffer.note_committed(announced.committed)?;
        received.leases += 1;
        let buffer = Arc::clone(&received.buffer);
        drop(books);
        Ok(Attachment::leased(buffer, Lease::new(self.clone(), announced.id)))
    }

    /// What came with an announcement could not be taken; the peer is told to send it again some time.
    pub(crate) fn on_lost(&self, id: BufferId) {
        self.add_notice(&mut self.0.books.lock(), Notice::Lost(id), 0);
    }

    /// What to tell the peer with the next message, at most so much. To be asked after [`lend`](Self::lend) of
    /// what that message carries.
    pub(crate) fn take_notices(&self, max: usize) -> Vec<Notice> {
        let mut books = self.0.books.lock();
        let taken = books.notices.len().min(max);
        let rest = books.notices.split_off(taken);
        if rest.is_empty() {
            books.untold_bytes = 0;
            self.0.has_notices.store(false, Ordering::Relaxed);
        }
        std::mem::replace(&mut books.notices, rest)
    }

    /// They could not be told.
    pub(crate) fn put_notices_back(&self, notices: Vec<Notice>) {
        let mut books = self.0.books.lock();
        books.notices.extend(notices);
        self.0.has_notices.store(true, Ordering::Relaxed);
    }

    /// Whether there is something to tell. It need not be told at once; but what it is about takes memory.
    #[inline]
    pub(crate) fn has_notices(&self) -> bool {
        self.0.has_notices.load(Ordering::Relaxed)
    }

    /// Whether so many of the peer's buffers are here that results had better be copied out of them.
    pub(crate) fn has_many_here(&self) -> bool {
        self.0.books.lock().received.len() > UNTOLD_MAX
    }

    /// Add a notice. Whether the peer is better told at once, by [`urge`](Self::urge) without the lock.
    fn add_notice(&self, books: &mut Books, notice: Notice, bytes: usize) -> bool {
        books.notices.push(notice);
        books.untold_bytes = books.untold_bytes.saturating_add(bytes);
        self.0.has_notices.store(true, Ordering::Relaxed);
        books.notices.len() >= UNTOLD_MAX || books.untold_bytes >= UNTOLD_BYTES_MAX
    }

    fn urge(&self) {
        if let Some(Urge(urge)) = self.0.urge.get() {
            urge();
        }
    }

    /// The peer tells. To be called after [`receive`](Self::receive) of what the same message carries. What has ended by
    /// that; to drop it may take long, and add notices for other peers.
    pub(crate) fn on_notice(&self, notice: Notice) -> Option<Books> {
        let mut ended = Books::default();
        match notice {
            Notice::Released(id) => ended.lent.extend(self.end_loan(id).map(|loan| (id, loan))),
            Notice::Forget(id) => {
                let received = self.0.books.lock().received.remove(&id);
                ended.received.extend(received.map(|received| (id, received)));
            }
            Notice::Lost(id) => {
                let books = self.0.books.lock();
                if let Some(loan) = books.lent.get(&id) {
                    loan.attachment.buffer().exposures().on_descriptor_lost(self);
                }
                drop(books);
                ended.lent.extend(self.end_loan(id).map(|loan| (id, loan)));
            }
        }
        ended.end_loans();
        (!ended.is_empty()).then_some(ended)
    }

    /// The peer is dead for certain: it writes nothing any more, and has the use of nothing. To drop what it had may take long.
    pub(crate) fn on_died(&self) -> Books {
        // Pairs with the load in `is_alive`: whoever sees that the peer is dead sees what was known before.
        self.0.standing.is_alive.store(false, Ordering::Release);
        let mut books = std::mem::take(&mut *self.0.books.lock());
        self.0.has_notices.store(false, Ordering::Relaxed);
        books.end_loans();
        books
    }

    fn end_loan(&self, id: BufferId) -> Option<Loan> {
        let mut books = self.0.books.lock();
        let loan = books.lent.get_mut(&id)?;
        loan.count -= 1;
        if loan.count == 0 { books.lent.remove(&id) } else { None }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.0.standing.is_alive()
    }

    fn is(&self, other: &Weak<PeerState>) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.0), other.as_ptr())
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A lease has ended, and the peer does not know.
    pub(super) fn on_lease_ended(&self, id: BufferId) {
        let mut books = self.0.books.lock();
        let Some(received) = books.received.get_mut(&id) else { return };
        received.leases = received.leases.saturating_sub(1);
        let bytes = received.buffer.committed();
        let urgent = self.add_notice(&mut books, Notice::Released(id), bytes);
        drop(books);
        if urgent {
            self.urge();
        }
    }

    /// The peer is being told by the return of the buffer itself.
    pub(super) fn on_lease_given_back(&self, id: BufferId) {
        if let Some(received) = self.0.books.lock().received.get_mut(&id) {
            received.leases = received.leases.saturating_sub(1);
        }
    }

    /// That did not happen after all.
    pub(super) fn on_lease_taken_back(&self, id: BufferId) {
        if let Some(received) = self.0.books.lock().received.get_mut(&id) {
            received.leases += 1;
        }
    }
}

impl Standing {
    fn is_alive(&self) -> bool {
        // Pairs with the store in `on_died`.
        self.is_alive.load(Ordering::Acquire)
    }
}

/// Whether the parts agree that can't change.
fn is_same(known: Announced, announced: Announced) -> io::Result<()> {
    if known.length == announced.length && known.grade == announced.grade {
        Ok(())
    } else {
        Err(invalid("a buffer of another size or grade than before"))
    }
}

/// Whether a peer can map a buffer already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Descriptor {
    Missing,
    Sent,
}

/// Who may have a buffer mapped beside this process, now or since it was last alone.
#[derive(Debug, Default)]
pub(super) struct Exposures(Mutex<Vec<Exposure>>);

#[derive(Debug)]
struct Exposure {
    standing: Arc<Standing>,
    /// Whom to tell when the buffer is no more. Nobody if it is the peer's own.
    peer: Weak<PeerState>,
    descriptor: Descriptor,
}

impl Exposures {
    /// Of a buffer that `peer` has made.
    pub(super) fn of_origin(peer: &Peer) -> Self {
        let standing = Arc::clone(&peer.0.standing);
        let exposure = Exposure { standing, peer: Weak::new(), descriptor: Descriptor::Sent };
        Self(Mutex::new(vec![exposure]))
    }

    /// Whether nobody can write it but this process, and perhaps one that is trusted not to.
    pub(super) fn is_private(&self) -> bool {
        self.all(|exposure| exposure.standing.trust == Trust::Trusted)
    }

    /// Whether nobody has it mapped.
    pub(super) fn is_unmapped(&self) -> bool {
        self.all(|_| false)
    }

    /// Whether nobody has it mapped but perhaps `peer`.
    pub(super) fn is_private_to(&self, peer: &Peer) -> bool {
        self.all(|exposure| peer.is(&exposure.peer))
    }

    fn all(&self, suits: impl Fn(&Exposure) -> bool) -> bool {
        let mut exposures = self.0.lock();
        exposures.retain(|exposure| exposure.standing.is_alive());
        exposures.iter().all(suits)
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.0.lock().len()
    }

    fn expose_to(&self, peer: &Peer) -> Descriptor {
        let mut exposures = self.0.lock();
        if let Some(known) = exposures.iter().find(|exposure| peer.is(&exposure.peer)) {
            return known.descriptor;
        }
        exposures.retain(|exposure| exposure.standing.is_alive());
        exposures.push(Exposure {
            standing: Arc::clone(&peer.0.standing),
            peer: Arc::downgrade(&peer.0),
            descriptor: Descriptor::Missing,
        });
        Descriptor::Missing
    }

    fn on_descriptor_sent(&self, peer: &Peer) {
        self.set_descriptor(peer, Descriptor::Sent);
    }

    fn on_descriptor_lost(&self, peer: &Peer) {
        self.set_descriptor(peer, Descriptor::Missing);
    }

    fn set_descriptor(&self, peer: &Peer, descriptor: Descriptor) {
        let mut exposures = self.0.lock();
        for exposure in exposures.iter_mut().filter(|exposure| peer.is(&exposure.peer)) {
            exposure.descriptor = descriptor;
        }
    }

    /// The buffer is no more.
    pub(super) fn forget_everywhere(&mut self, id: BufferId, bytes: usize) {
        if sys::fork::is_forked_child() {
            // The parent has it still, and whoever got it from there.
            return;
        }
        let exposures = std::mem::take(&mut *self.0.lock());
        for exposure in exposures.into_iter().filter(|one| one.descriptor == Descriptor::Sent) {
            if let Some(peer) = exposure.peer.upgrade().map(Peer)
                && exposure.standing.is_alive()
            {
                let notice = Notice::Forget(id);
                let urgent = peer.add_notice(&mut peer.0.books.lock(), notice, bytes);
                if urgent {
                    peer.urge();
                }
            }
        }
    }
}
