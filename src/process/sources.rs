//! Where deliveries come from: the rings of live workers, or what a dead one has left.

use std::sync::Arc;
use std::time::Instant;

use crate::task::id::WorkerId;
use crate::transport::ring::{CorruptRing, RingLink};
use crate::transport::{Delivery, Fate};

/// Where [`Owner::collect`](super::Owner::collect) gets deliveries from.
pub(crate) trait Source {
    /// Entries that are done, which no kill can win any more.
    fn committed(&mut self, deliveries: &mut Vec<Delivery>);

    /// Parts of entries that could still be killed. To be called while nothing can be: under the lock under
    /// which that is decided.
    fn begun(&mut self, deliveries: &mut Vec<Delivery>);

    /// Whether there may be any of the latter.
    fn has_begun(&self) -> bool;

    /// When it was seen that there is something, if that is known.
    fn seen(&self) -> Option<Instant>;

    /// Free what is not needed any more, which may take long. To be called without a lock.
    fn let_go(&self);
}

/// What the rings of live workers have.
pub(super) struct Rings<'a> {
    links: &'a [Arc<RingLink>],
    /// Of packs that are not done, too.
    partly: bool,
    seen: Option<Instant>,
    corrupt: Vec<(WorkerId, String)>,
}

impl<'a> Rings<'a> {
    pub(super) fn new(links: &'a [Arc<RingLink>], partly: bool, seen: Option<Instant>) -> Self {
        Self { links, partly, seen, corrupt: Vec::new() }
    }

    /// Which workers have sent what none sends.
    pub(super) fn into_corrupt(self) -> Vec<(WorkerId, String)> {
        self.corrupt
    }

    fn drain(&mut self, link: &RingLink, partly: bool, deliveries: &mut Vec<Delivery>) {
        if let Err(CorruptRing(what)) = link.drain(partly, deliveries) {
            self.corrupt.push((link.worker(), what));
        }
    }
}

impl Source for Rings<'_> {
    fn committed(&mut self, deliveries: &mut Vec<Delivery>) {
        let links = self.links;
        for link in links.iter().filter(|link| link.has_news()) {
            self.drain(link, false, deliveries);
        }
    }

    fn begun(&mut self, deliveries: &mut Vec<Delivery>) {
        let links = if self.partly { self.links } else { &[] };
        for link in links.iter().filter(|link| link.runs_pack()) {
            self.drain(link, true, deliveries);
        }
    }

    fn has_begun(&self) -> bool {
        self.partly && self.links.iter().any(|link| link.runs_pack())
    }

    fn seen(&self) -> Option<Instant> {
        self.seen
    }

    fn let_go(&self) {
        self.links.iter().filter(|link| link.has_discards()).for_each(|link| link.let_go());
    }
}

/// Why nobody serves a ring any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RingEnd {
    /// The thread that did is gone, and its process dies.
    ThreadLost,
    /// The worker is dead for certain.
    Dead,
}

/// What is left in a ring that nobody serves any more.
pub(super) struct EndedRing<'a> {
    link: &'a RingLink,
    end: RingEnd,
    fates: Option<Vec<Fate>>,
}

impl<'a> EndedRing<'a> {
    pub(super) fn new(link: &'a RingLink, end: RingEnd) -> Self {
        Self { link, end, fates: None }
    }

    /// What was begun beside what was committed. `None`: that was said before.
    pub(super) fn into_fates(self) -> Option<Vec<Fate>> {
        self.fates
    }
}

impl Source for EndedRing<'_> {
    fn committed(&mut self, _deliveries: &mut Vec<Delivery>) {}

    fn begun(&mut self, deliveries: &mut Vec<Delivery>) {
        self.fates = match self.end {
            RingEnd::ThreadLost => self.link.close(deliveries),
            RingEnd::Dead => self.link.on_worker_died(deliveries),
        };
    }

    fn has_begun(&self) -> bool {
        true
    }

    fn seen(&self) -> Option<Instant> {
        None
    }

    fn let_go(&self) {
        self.link.let_go();
    }
}
