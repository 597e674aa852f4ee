//! Which rings a pool has, and what whoever looks after them sleeps on.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::bell;
use super::link::RingLink;
use super::sleep::{self, Listener};
use crate::sys::{clock, futex};
use crate::task::id::WorkerId;

/// The rings of a pool.
#[derive(Debug, Default)]
pub(super) struct Rings {
    links: RwLock<Vec<Arc<RingLink>>>,
    /// Changed with the links, and for whoever is to look once more: a futex of this process.
    version: AtomicU32,
}

/// The links, as they were when somebody looked.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) links: Vec<Arc<RingLink>>,
    version: Option<u32>,
}

/// What to sleep on.
pub(super) struct Heard<'a> {
    pub(super) words: Vec<(&'a AtomicU32, u32)>,
    /// Whether that covers every link.
    covers: bool,
    /// The sum of the bells, which changes with every ring.
    rings: u32,
    /// Whether more may happen than the words tell: a worker may commit without ringing, or has left no mark yet.
    misses: bool,
}

/// What a listener takes care of between two sleeps.
pub(super) struct Caution {
    /// The next sleep is limited if more may happen than it hears of: somebody may have rung since the last tick began.
    pub(super) limited: bool,
    /// The sum of the bells before the last sleep.
    rings: Option<u32>,
}

impl Rings {
    pub(super) fn add(&self, link: Arc<RingLink>) {
        self.links.write().unwrap_or_else(PoisonError::into_inner).push(link);
        self.on_changed();
    }

    pub(super) fn remove(&self, worker: WorkerId) {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.worker() != worker);
        drop(links);
        self.on_changed();
    }

    pub(super) fn all(&self) -> Vec<Arc<RingLink>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Have whoever sleeps over them look once more.
    pub(super) fn on_changed(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&self.version);
    }
}

impl Caution {
    /// For who does not know what was rung before.
    pub(super) const LIMITED: Self = Self { limited: true, rings: None };

    /// Whether a sleep on this is to end after a tick. Who can't hear every bell may be rung at any time, whoever asked for
    /// that.
    pub(super) fn must_tick(&mut self, heard: &Heard<'_>) -> bool {
        // Whoever has rung since may be silent for a while.
        let before = self.rings.replace(heard.rings);
        self.limited |= before.is_some_and(|before| before != heard.rings);
        !heard.covers || (self.limited && heard.misses)
    }
}

impl View {
    /// Whether they have changed, so that the sum of their bells tells nothing.
    pub(super) fn refresh(&mut self, rings: &Rings) -> bool {
        let version = rings.version.load(Ordering::Acquire);
        let has_changed = self.version != Some(version);
        if has_changed {
            let links = rings.links.read().unwrap_or_else(PoisonError::into_inner);
            self.links.clone_from(&links);
            self.version = Some(version);
        }
        has_changed
    }

    pub(super) fn has_news(&self) -> bool {
        self.links.iter().any(|link| link.has_news())
    }

    pub(super) fn is_outstanding(&self) -> bool {
        self.links.iter().any(|link| link.is_outstanding())
    }

    pub(super) fn has_losses(&self) -> bool {
        self.links.iter().any(|link| link.has_loss())
    }

    pub(super) fn runs_packs(&self) -> bool {
        self.links.iter().any(|link| link.runs_pack())
    }

    /// See [`RingLink::say_taken`].
    pub(super) fn say_taken(&self, who: Listener) {
        let now_ns = clock::monotonic_ns();
        self.links.iter().for_each(|link| link.say_taken(who, now_ns));
    }

    pub(super) fn listen(&self, who: Listener) {
        self.links.iter().for_each(|link| sleep::listen(link.listening(), who));
    }

    pub(super) fn stop_listening(&self) {
        self.links.iter().for_each(|link| sleep::stop_listening(link.listening()));
    }

    /// `None`: the links have changed.
    pub(super) fn bells<'a>(&'a self, who: Listener, rings: &'a Rings) -> Option<Heard<'a>> {
        let seen = self.version?;
        if rings.version.load(Ordering::SeqCst) != seen {
            return None;
        }
        // Two places for the words that are neither bells nor marks.
        let places = futex::WAIT_ANY_MAX - 2;
        let bells = self.links.iter().take(places).map(|link| link.bell(who));
        // A death that is not heard of in this way is seen by the monitor, if later.
        let marks = self.links.iter().filter_map(|link| link.mark(who));
        let heard = bells.chain(marks).take(places);
        // Acquire: pairs with the release of the ringing.
        let mut words: Vec<_> = heard.map(|word| (word, word.load(Ordering::Acquire))).collect();
        let bells = words.iter().take(self.links.len()).map(|&(_, heard)| heard);
        let is_silent = bells.clone().any(bell::is_silent);
        let sum = bells.fold(0, u32::wrapping_add);
        words.push((&rings.version, seen));
        Some(Heard {
            words,
            covers: self.links.len() <= places,
            rings: sum,
            misses: is_silent || self.links.iter().any(|link| link.mark(who).is_none()),
        })
    }
}
