//! The thread that wakes when a deadline of the core is due. It sleeps without a limit while there is none.

use std::sync::Condvar;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::core::Time;
use crate::sync::{Mutex, wait_on};
use crate::sys::clock::monotonic_ns;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// Where deadlines are told to the timer's thread.
pub(crate) struct Timer {
    epoch: Instant,
    /// The same, or a moment later, in nanoseconds of the monotonic clock, which is what an `Instant` shows.
    epoch_ns: u64,
    /// When the thread wakes next, in nanoseconds since the epoch. Only ever lowered from outside, under
    /// the lock, so that a submitter sees without locking that nothing is to be done.
    armed: AtomicU64,
    state: Mutex<bool>,
    changed: Condvar,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            epoch_ns: monotonic_ns(),
            armed: AtomicU64::new(NEVER),
            state: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    /// The moment from which its times count.
    pub(crate) fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Nanoseconds since the supervisor was made.
    #[inline]
    pub(crate) fn now(&self) -> Time {
        Time(monotonic_ns().saturating_sub(self.epoch_ns))
    }

    /// That moment in the same way.
    #[inline]
    pub(crate) fn at(&self, moment: Instant) -> Time {
        Time::ZERO + moment.saturating_duration_since(self.epoch)
    }

    /// Have the thread look at the core at `deadline` or earlier.
    pub(crate) fn arm(&self, deadline: Option<Time>) {
        let Some(deadline) = deadline.map(|deadline| deadline.0) else {
            return;
        };
        // A stale value only costs a lock that was not needed: it is checked again under the lock.
        if deadline >= self.armed.load(Ordering::Relaxed) {
            return;
        }
        let _state = self.state.lock();
        if deadline < self.armed.load(Ordering::Relaxed) {
            self.armed.store(deadline, Ordering::Relaxed);
            self.changed.notify_one();
        }
    }

    /// The body of the thread: call `fire` whenever a deadline is due. `fire` arms the next one.
    pub(crate) fn run(&self, fire: impl Fn()) {
        let mut stopping = self.state.lock();
        while !*stopping {
            let armed = self.armed.load(Ordering::Relaxed);
            let now = self.now().0;
            if armed <= now {
                self.armed.store(NEVER, Ordering::Relaxed);
                drop(stopping);
                fire();
                stopping = self.state.lock();
                continue;
            }
            let patience = (armed != NEVER).then(|| Duration::from_nanos(armed - now));
            stopping = wait_on(&self.changed, stopping, patience);
        }
    }

    /// End the thread's loop.
    pub(crate) fn stop(&self) {
        *self.state.lock() = true;
        self.changed.notify_all();
    }
}
