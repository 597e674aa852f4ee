//! Locks as this crate uses them: a panic while one is held must not take the pool down with it, so
//! poisoning is ignored. Nothing behind these locks is left half-changed by a panic, because no user
//! code runs under them.

/// The atomics of the ring's protocols. The models in `models/` put loom's in their place.
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

    /// What loom needs beside sequentially consistent accesses, which it does not model. Here those
    /// accesses are the barrier.
    #[inline]
    pub(crate) fn full_barrier() {}
}

use std::sync::{Condvar, Mutex as StdMutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// A mutex whose lock is never poisoned.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T: ?Sized>(StdMutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(StdMutex::new(value))
    }

    /// By whoever is the only one that has it.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// `None`: somebody has it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a waiting thread waits for.
pub(crate) struct Wish<'a> {
    pub(crate) is_done: &'a dyn Fn() -> bool,
    /// Have the waker woken when it is done. `false`: it is.
    pub(crate) wake_when_done: &'a dyn Fn(&Waker) -> bool,
    pub(crate) until: Option<Instant>,
}

/// Wait on `condvar` until it is notified or `timeout` has passed (`None`: for ever).
pub(crate) fn wait_on<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Option<Duration>,
) -> MutexGuard<'a, T> {
    match timeout {
        None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(timeout) => {
            condvar.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
        }
    }
}

/// When all who wait for something give up, however long they would have waited themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GiveUp(Option<Instant>);

impl GiveUp {
    /// Nobody is to wait for longer than this from now on, which those who wait already have to be notified of.
    pub(crate) fn after(&mut self, timeout: Duration) {
        let until = Instant::now().checked_add(timeout);
        self.0 = self.0.into_iter().chain(until).min();
    }

    /// For how long one is to wait on who has time until `own`. `None`: for ever. Zero: no more.
    pub(crate) fn left(self, own: Option<Instant>) -> Option<Duration> {
        let until = self.0.into_iter().chain(own).min();
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

/// No wait counts for more than this.
const LOOKS_APART: Duration = Duration::from_millis(250);

/// The same, for a part of `patience` at a time, which is less by it then. While this process is suspended, time passes
/// and nothing can happen: then only what it asked for counts.
pub(crate) fn wait_awake<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    patience: &mut Duration,
) -> MutexGuard<'a, T> {
    let asked = (*patience).min(LOOKS_APART);
    let since = Instant::now();
    let guard = wait_on(condvar, guard, Some(asked));
    *patience -= since.elapsed().min(asked);
    guard
}
