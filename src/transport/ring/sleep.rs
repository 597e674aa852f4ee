//! Going to sleep and being woken, so that no wake-up is lost and nobody is woken who is not asleep.
//!
//! Both directions are the same game: a sleeper raises a flag and then looks once more at what it waits
//! for; the other side changes that and then looks at the flag. With a full barrier between the two steps
//! on either side, at least one of them sees the other. Knows flags only, so that a model can run it.

use crate::sync::atomic::{AtomicU32, Ordering, full_barrier};

/// Between raising a flag and looking again.
const RAISED: u32 = 1;

/// Worker: sleep until `ready`. `wait` returns when `flag` is no longer what it is given, or at any time.
pub(crate) fn sleep_until(flag: &AtomicU32, ready: impl Fn() -> bool, wait: impl Fn(u32)) {
    loop {
        // Full barrier before `ready` looks; pairs with the swap in `word::stage`.
        flag.swap(RAISED, Ordering::SeqCst);
        full_barrier();
        if ready() {
            break;
        }
        wait(RAISED);
    }
    flag.store(0, Ordering::Relaxed);
}

/// Coordinator: whether the worker is asleep or about to be, asked after something was staged.
#[inline]
pub(crate) fn is_asleep(flag: &AtomicU32) -> bool {
    full_barrier();
    // Pairs with the swap in `sleep_until`; `word::stage` was the barrier before.
    flag.load(Ordering::SeqCst) != 0
}

/// Coordinator: lower the flag. Whether the worker has to be woken.
pub(crate) fn lower(flag: &AtomicU32) -> bool {
    flag.swap(0, Ordering::SeqCst) != 0
}

/// Who in the coordinator is to be rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Listener {
    /// The pool's own thread.
    Collector = 1,
    /// A thread that waits for a task and looks after the rings meanwhile.
    Waiter = 2,
}

/// Coordinator: be rung at the next outcome that is announced. To be followed by a look at the entries. A
/// waiter, who has the role, goes before the collector, which may not know yet that somebody has it.
pub(crate) fn listen(listening: &AtomicU32, who: Listener) {
    // Full barrier before the look; pairs with the compare-and-swap in `word::commit`.
    match who {
        Listener::Waiter => _ = listening.swap(who as u32, Ordering::SeqCst),
        Listener::Collector => {
            // Anything else than a waiter: what a mad worker has written there must not keep its own calls
            // from being noticed.
            let (set, seen) = (Ordering::SeqCst, Ordering::SeqCst);
            let replace = |now| (now != Listener::Waiter as u32).then_some(who as u32);
            let _waiter = listening.fetch_update(set, seen, replace);
        }
    }
    full_barrier();
}

/// Coordinator: somebody looks all the time, so nobody need ring.
pub(crate) fn stop_listening(listening: &AtomicU32) {
    if listening.load(Ordering::Relaxed) != 0 {
        listening.store(0, Ordering::Relaxed);
    }
}

/// Worker: who is to be rung at the moment, if anybody, asked after an outcome was committed.
#[inline]
pub(crate) fn who_listens(listening: &AtomicU32) -> Option<Listener> {
    full_barrier();
    // Pairs with the swap in `listen`; `word::commit` was the barrier before.
    listener(listening.load(Ordering::SeqCst))
}

fn listener(number: u32) -> Option<Listener> {
    match number {
        1 => Some(Listener::Collector),
        2 => Some(Listener::Waiter),
        _ => None,
    }
}

/// Worker: whom to ring, asked after an outcome was committed. Asking answers it: nobody rings twice.
pub(crate) fn answer(listening: &AtomicU32) -> Option<Listener> {
    full_barrier();
    // Pairs with the swap in `listen`; `word::commit` was the barrier before.
    if listening.load(Ordering::SeqCst) == 0 {
        return None;
    }
    listener(listening.swap(0, Ordering::SeqCst))
}
