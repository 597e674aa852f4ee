//! What a ring does not need any more: memory of a size that users choose, which may take long to free. That is not done under
//! its lock, nor under those that are held around it.

use std::sync::atomic::Ordering;

use super::link::{Ring, RingLink};
use super::pending::OwnedCall;
use crate::shm::Books;
use crate::shm::attachment::Attachment;

#[derive(Debug, Default)]
pub(super) struct Discards {
    lent: Vec<Vec<Attachment>>,
    calls: Vec<OwnedCall>,
    /// What the worker has the use of no more.
    ended: Vec<Books>,
}

impl RingLink {
    /// Whether there is something for [`let_go`](Self::let_go). A hint.
    #[inline]
    pub(crate) fn has_discards(&self) -> bool {
        self.has_discards.load(Ordering::Relaxed)
    }

    /// Free what is not needed any more. To be called without a lock.
    #[cold]
    pub(crate) fn let_go(&self) {
        let discards = {
            let mut state = self.lock();
            self.has_discards.store(false, Ordering::Relaxed);
            let ended = std::mem::take(&mut state.inbox.ended);
            state.discards.ended.extend(ended);
            std::mem::take(&mut state.discards)
        };
        drop(discards);
    }

    pub(super) fn discard_lent(&self, discards: &mut Discards, lent: Vec<Attachment>) {
        discards.lent.push(lent);
        self.note_discards();
    }

    pub(super) fn discard_all_lent(&self, state: &mut Ring) {
        let lent = std::mem::take(&mut state.lent);
        state.discards.lent.extend(lent.into_values());
        self.note_discards();
    }

    pub(super) fn discard_calls(
        &self,
        discards: &mut Discards,
        calls: impl IntoIterator<Item = OwnedCall>,
    ) {
        discards.calls.extend(calls);
        self.note_discards();
    }

    pub(super) fn discard_books(&self, state: &mut Ring, books: Books) {
        state.discards.ended.push(books);
        self.note_discards();
    }

    pub(super) fn note_discards(&self) {
        self.has_discards.store(true, Ordering::Relaxed);
    }
}
