//! Where submitters wait for a place in a bounded queue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar};
use std::task::Waker;

use crate::registry::panics;
use crate::sync::{Mutex, wait_on};
use crate::sys::fork::is_forked_child;

/// Where submitters wait for a place in a bounded queue.
#[derive(Default)]
pub(crate) struct Space {
    /// Who might wait: threads, and wakers in the state. Raised before a submitter looks at the queue, so that whoever frees
    /// a place after that look sees it: both sides take the core's lock in between.
    waiting: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts the times that a place may have become free.
    generation: u64,
    /// In the order in which their futures came.
    wakers: BTreeMap<u64, Waker>,
    last_key: u64,
}

impl Space {
    /// Call `attempt` until it gives a value, waiting for a place to become free in between.
    pub(crate) fn wait<R>(&self, mut attempt: impl FnMut() -> Option<R>) -> R {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut seen = self.state.lock().generation;
        let answer = loop {
            if let Some(answer) = attempt() {
                break answer;
            }
            let mut state = self.state.lock();
            while state.generation == seen {
                state = wait_on(&self.changed, state, None);
            }
            seen = state.generation;
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    /// A place may have become free.
    pub(crate) fn freed(&self) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut state = self.state.lock();
        state.generation += 1;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.waiting.fetch_sub(wakers.len(), Ordering::SeqCst);
        self.changed.notify_all();
        wakers.into_values().for_each(panics::wake);
    }
}

/// A future that waits for a place. It has one waker registered at most, however often it is polled, and none when it is
/// dropped.
pub(crate) struct Waiting {
    space: Arc<Space>,
    /// Its turn, and of its waker, which [`Space::freed`] may have taken since.
    key: Option<u64>,
}

impl Waiting {
    pub(crate) fn new(space: &Arc<Space>) -> Self {
        Self { space: Arc::clone(space), key: None }
    }

    /// Try it. `None`: `waker` will be woken when it is worth another attempt.
    pub(crate) fn poll<R>(
        &mut self,
        waker: &Waker,
        attempt: impl FnOnce() -> Option<R>,
    ) -> Option<R> {
        // Before the look, so that no place that becomes free after it is missed.
        self.register(waker);
        let answer = attempt();
        if answer.is_some() {
            self.leave();
        }
        answer
    }

    fn register(&mut self, waker: &Waker) {
        // There the attempt says so, and the lock may be held by a thread that is not.
        if is_forked_child() {
            return;
        }
        // Wakers are foreign code: cloned before the lock is taken, and dropped after.
        let waker = waker.clone();
        let mut state = self.space.state.lock();
        let key = *self.key.get_or_insert_with(|| {
            state.last_key += 1;
            state.last_key
        });
        let former = state.wakers.insert(key, waker);
        if former.is_none() {
            self.space.waiting.fetch_add(1, Ordering::SeqCst);
        }
        drop(state);
        drop(former);
    }

    /// It does not wait any more.
    pub(crate) fn leave(&mut self) {
        let Some(key) = self.key.take() else { return };
        if is_forked_child() {
            return;
        }
        let left = self.space.state.lock().wakers.remove(&key);
        if left.is_some() {
            self.space.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Flag {
        fn take(&self) -> bool {
            self.0.swap(false, Ordering::SeqCst)
        }
    }

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    struct Calls<F>(F);

    impl<F: Fn() + Send + Sync + 'static> Wake for Calls<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }

    fn waker_fn(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
        Waker::from(Arc::new(Calls(on_wake)))
    }

    fn flag() -> (Arc<Flag>, Waker) {
        let flag = Arc::new(Flag::default());
        (Arc::clone(&flag), Waker::from(flag))
    }

    fn registered(space: &Space) -> (usize, usize) {
        (space.waiting.load(Ordering::SeqCst), space.state.lock().wakers.len())
    }

    #[test]
    fn whoever_is_polled_again_and_again_is_registered_once_and_the_last_waker_is_woken() {
        let space = Arc::new(Space::default());
        let mut waiting = Waiting::new(&space);
        let (first, former) = flag();
        let (second, waker) = flag();
        for _ in 0..1000 {
            assert_eq!(waiting.poll(&former, || None::<()>), None);
        }
        assert_eq!(waiting.poll(&waker, || None::<()>), None);
        assert_eq!(registered(&space), (1, 1));
        space.freed();
        assert!(second.take() && !first.take());
        assert_eq!(registered(&space), (0, 0));
        assert_eq!(waiting.poll(&waker, || None::<()>), None, "it registers anew");
        space.freed();
        assert!(second.take());
        assert_eq!(waiting.poll(&waker, || Some(7)), Some(7));
        assert_eq!(registered(&space), (0, 0));
    }

    #[test]
    fn futures_that_share_a_waker_do_not_take_each_others_place() {
        let space = Arc::new(Space::default());
        let (flag, waker) = flag();
        let (mut one, mut other) = (Waiting::new(&space), Waiting::new(&space));
        assert_eq!(one.poll(&waker, || None::<()>), None);
        assert_eq!(other.poll(&waker, || None::<()>), None);
        assert_eq!(one.poll(&waker, || Some(1)), Some(1));
        space.freed();
        assert!(flag.take(), "the other one still waits");
    }

    #[test]
    fn whoever_came_first_is_woken_first_also_when_there_was_no_place_for_it() {
        let space = Arc::new(Space::default());
        let mut waiting: Vec<_> = (0..20).map(|_| Waiting::new(&space)).collect();
        let log = Arc::new(Mutex::new(Vec::new()));
        for round in 0..3 {
            // Whoever is polled in which order.
            for at in (0..20).map(|at| if round == 0 { at } else { (at * 7) % 20 }) {
                let log = Arc::clone(&log);
                let waker = waker_fn(move || log.lock().push(at));
                assert_eq!(waiting[at].poll(&waker, || None::<()>), None);
            }
            space.freed();
            assert_eq!(std::mem::take(&mut *log.lock()), (0..20).collect::<Vec<_>>());
        }
    }

    #[test]
    fn whoever_gives_up_leaves_nothing() {
        let space = Arc::new(Space::default());
        let (flag, waker) = flag();
        let mut waiting = Waiting::new(&space);
        assert_eq!(waiting.poll(&waker, || None::<()>), None);
        drop(waiting);
        assert_eq!(registered(&space), (0, 0));
        space.freed();
        assert!(!flag.take());
        assert_eq!(Arc::strong_count(&flag), 2, "that one and `waker`");
    }

    #[test]
    fn a_place_that_is_freed_during_the_attempt_wakes() {
        let space = Arc::new(Space::default());
        let (flag, waker) = flag();
        let mut waiting = Waiting::new(&space);
        let answer = waiting.poll(&waker, || {
            space.freed();
            None::<()>
        });
        assert!(answer.is_none() && flag.take());
    }
}
