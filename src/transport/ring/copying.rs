//! A thread that copies long arguments into parcels, where the thread that has staged them is waited for by others: one
//! for each ring at most, and only as long as there is something to copy.

use std::fmt;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

use super::link::RingLink;

/// Starts a thread of the pool with this body. `false`: there is none to be had.
pub(crate) struct Helper(Box<Start>);

type Start = dyn Fn(Box<dyn FnOnce() + Send>) -> bool + Send + Sync;

impl Helper {
    pub(crate) fn new(
        start: impl Fn(Box<dyn FnOnce() + Send>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(start))
    }
}

impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Helper")
    }
}

#[derive(Debug)]
pub(super) struct Copying {
    link: Weak<RingLink>,
    helper: Helper,
    is_running: AtomicBool,
}

impl Copying {
    pub(super) fn new(link: Weak<RingLink>, helper: Helper) -> Self {
        Self { link, helper, is_running: AtomicBool::new(false) }
    }

    /// Have another thread make what is wanted. `false`: there is none to be had.
    pub(super) fn start(&self) -> bool {
        // What is wanted was set before. Pairs with the store below: either that thread sees it, or this one sees that it
        // has ended.
        if self.is_running.swap(true, Ordering::SeqCst) {
            return true;
        }
        let link = self.link.upgrade();
        let started = link.is_some_and(|link| (self.helper.0)(Box::new(move || run(&link))));
        if !started {
            self.is_running.store(false, Ordering::SeqCst);
        }
        started
    }
}

fn run(link: &RingLink) {
    let is_running = &link.copying.is_running;
    loop {
        link.make_parcels(true);
        is_running.store(false, Ordering::SeqCst);
        let more = link.is_wanting.load(Ordering::SeqCst);
        if !more || is_running.swap(true, Ordering::SeqCst) {
            return;
        }
    }
}
