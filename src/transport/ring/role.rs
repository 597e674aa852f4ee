//! Who looks after the rings of a pool: the flags by which that is decided, and the steps over them. README.md
//! has the argument.
//!
//! Knows flags only: no futex, no lock, no time, so that a model can run it. What follows from a step beside the
//! flags is its caller's to do: [`Remains`].

use std::sync::Arc;

use super::sleep::{self, Listener};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering, full_barrier};

/// A ring, as far as this is about it.
pub(crate) trait Watched {
    /// Whether anything is with its worker. Counted before it is staged.
    fn is_outstanding(&self) -> bool;

    /// Whether anything can be delivered.
    fn has_news(&self) -> bool;

    /// Whether its worker is at a pack, of which it rings nobody before the last call.
    fn runs_pack(&self) -> bool;

    /// Whom its worker is to ring.
    fn listening(&self) -> &AtomicU32;
}

/// The flags. They are changed by threads that have the role, and by those that come by.
#[derive(Debug, Default)]
pub(crate) struct Role {
    /// A waiter has it. For looks without the lock.
    held: AtomicBool,
    /// The collector will look within a tick.
    ticking: AtomicBool,
    /// Somebody has come by since the last tick.
    visited: AtomicBool,
    /// Somebody waits otherwise than by looking after the rings, and for what is outstanding.
    relied_on: AtomicBool,
    /// Some of the last waits were long. A hint: a bell is cheaper than ticks then.
    slow: AtomicBool,
}

/// What is still to be done, so that what is committed is seen by somebody.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    Nothing,
    /// The collector is to tick, and may sleep without a limit: it must be woken.
    WakeCollector,
    /// The collector will be rung, but has not been for what was committed before: look once more.
    Look,
}

/// What the collector has to do at the moment.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// It is to deliver what there is, and is rung for what will be.
    pub(crate) delivers: bool,
    /// It must look again after a tick.
    pub(crate) ticks: bool,
}

impl Role {
    /// A hint.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// A waiter has the lock of the role.
    #[inline]
    pub(crate) fn take(&self) {
        // Relaxed: a hint to others, who else only ask for bells and ticks that nobody needs.
        self.held.store(true, Ordering::Relaxed);
    }

    /// The waiter leaves. It still has the lock, looks which rings there are, and comes to
    /// [`arrange`](Self::arrange).
    #[inline]
    pub(crate) fn give_up(&self) {
        // Full barrier before the looks in `arrange`; pairs with those before the loads in `on_staged`, `attend`
        // and `on_missed`.
        self.held.swap(false, Ordering::SeqCst);
        full_barrier();
    }

    /// Whether outcomes are few and far between. For whoever has the lock of the role.
    #[inline]
    pub(crate) fn set_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
    }

    /// See that somebody learns of what the waiter who has given up leaves outstanding.
    pub(crate) fn arrange<R: Watched>(&self, rings: &[Arc<R>]) -> Remains {
        if !is_outstanding(rings) {
            self.visited.store(false, Ordering::Relaxed);
            if self.relied_on.load(Ordering::Relaxed) {
                self.forget_reliance(rings);
            }
            return Remains::Nothing;
        }
        // Pairs with the swap in `attend`.
        let slow = self.slow.load(Ordering::Relaxed);
        if (self.relied_on.load(Ordering::SeqCst) || slow) && hand_over(rings) {
            return Remains::Look;
        }
        self.visited.store(true, Ordering::Relaxed);
        self.start_ticking()
    }

    #[cold]
    fn forget_reliance<R: Watched>(&self, rings: &[Arc<R>]) {
        // A swap, so that it comes either before the one in `attend` or after it and sees what was counted before
        // that: something may have been staged and be relied on just now.
        self.relied_on.swap(false, Ordering::SeqCst);
        if is_outstanding(rings) {
            self.relied_on.store(true, Ordering::Relaxed);
        }
    }

    /// Something was staged in `ring`, and counted before. `asleep`: its worker sleeps, or is about to, and is
    /// woken after this.
    #[inline]
    pub(crate) fn on_staged(&self, ring: &impl Watched, asleep: bool) -> Remains {
        // `word::stage` was the barrier between the count and these loads; pairs with the swaps in `give_up` and
        // `on_tick`.
        full_barrier();
        if self.held.load(Ordering::SeqCst) {
            return Remains::Nothing;
        }
        let unhurried = asleep || self.slow.load(Ordering::Relaxed);
        if unhurried && !self.visited.load(Ordering::Relaxed) && !ring.runs_pack() {
            // It takes long enough, to wake up or to run, for a waiter to come and take this back.
            sleep::listen(ring.listening(), Listener::Collector);
            // But it may have seen this before it slept, and be through with it.
            if !ring.has_news() {
                return Remains::Nothing;
            }
        }
        self.start_ticking()
    }

    /// Nobody will come to wait for what is outstanding: have the collector rung. `rings` is asked which there
    /// are, if it has to be.
    pub(crate) fn attend<R: Watched>(&self, rings: impl FnOnce() -> Vec<Arc<R>>) -> Remains {
        // Full barrier before the look at who has the role; pairs with the swap in `give_up`: either that one
        // hands over, or this one sees it gone.
        self.relied_on.swap(true, Ordering::SeqCst);
        full_barrier();
        // Should somebody take the role after this, that one hands over when it leaves.
        if !self.held.load(Ordering::SeqCst) && hand_over(&rings()) {
            Remains::Look
        } else {
            Remains::Nothing
        }
    }

    /// Somebody comes by, and is about to deliver what there is. Where bells are cheaper than ticks, nobody is spared any
    /// by that, unless there are ticks anyway, as for packs: to end those and start them anew costs two wakes instead of one.
    #[inline]
    pub(crate) fn visit(&self) {
        if !self.slow.load(Ordering::Relaxed) || self.ticking.load(Ordering::Relaxed) {
            self.visited.store(true, Ordering::Relaxed);
        }
    }

    /// Whoever came to deliver could not look at everything, or left something of which nobody is rung.
    #[cold]
    pub(crate) fn on_missed(&self) -> Remains {
        // Before this there was a barrier behind the count, and after it the holder looks at the count.
        if self.held.load(Ordering::SeqCst) { Remains::Nothing } else { self.start_ticking() }
    }

    #[inline]
    fn start_ticking(&self) -> Remains {
        // Pairs with the swap in `on_tick`.
        if self.ticking.load(Ordering::SeqCst) || self.ticking.swap(true, Ordering::SeqCst) {
            Remains::Nothing
        } else {
            Remains::WakeCollector
        }
    }

    /// The collector looks around. It has read before what it will sleep on.
    pub(crate) fn take_turn<R: Watched>(&self, rings: &[Arc<R>]) -> Turn {
        let visited = self.visited.load(Ordering::SeqCst);
        let delivers = !self.held.load(Ordering::SeqCst)
            && (!visited || self.relied_on.load(Ordering::SeqCst))
            && hand_over(rings);
        // Who has come by is waited for no longer than a tick.
        Turn { delivers, ticks: visited || self.ticking.load(Ordering::SeqCst) }
    }

    /// A tick has passed, at the end of which the collector looks around.
    pub(crate) fn on_tick(&self) {
        let keeps = self.visited.swap(false, Ordering::SeqCst);
        // Full barrier before the look at what is outstanding; pairs with the load in `start_ticking`, which comes
        // after that was counted.
        self.ticking.swap(keeps, Ordering::SeqCst);
        full_barrier();
    }
}

fn is_outstanding<R: Watched>(rings: &[Arc<R>]) -> bool {
    rings.iter().any(|ring| ring.is_outstanding())
}

/// Have the collector rung from now on. Whether anything is outstanding.
fn hand_over<R: Watched>(rings: &[Arc<R>]) -> bool {
    let mut outstanding = false;
    for ring in rings.iter().filter(|ring| ring.is_outstanding()) {
        sleep::listen(ring.listening(), Listener::Collector);
        outstanding = true;
    }
    outstanding
}

/// How a waiter that sleeps in the role is told that its wish is done.
#[derive(Debug, Default)]
pub(crate) struct Nudge {
    /// A futex of this process.
    count: AtomicU32,
    waiter_sleeps: AtomicBool,
}

impl Nudge {
    /// What to sleep on, read before anybody is asked for a nudge.
    pub(crate) fn word(&self) -> (&AtomicU32, u32) {
        (&self.count, self.count.load(Ordering::SeqCst))
    }

    /// Waiter: to be followed by a last look at the wish.
    pub(crate) fn on_falling_asleep(&self) {
        // Full barrier before the kernel's look at the count; pairs with the one in `give`.
        self.waiter_sleeps.swap(true, Ordering::SeqCst);
        full_barrier();
    }

    pub(crate) fn on_awake(&self) {
        self.waiter_sleeps.store(false, Ordering::Relaxed);
    }

    /// The wish is done. What to wake the waiter at, if it sleeps.
    #[must_use]
    pub(crate) fn give(&self) -> Option<&AtomicU32> {
        // Full barrier; pairs with the one in `on_falling_asleep`.
        self.count.fetch_add(1, Ordering::SeqCst);
        full_barrier();
        self.is_wanted().then_some(&self.count)
    }

    /// Whether a waiter sleeps, or is about to.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        // Pairs with the swap in `on_falling_asleep`.
        self.waiter_sleeps.load(Ordering::SeqCst)
    }
}
