//! The threads of one process pool: counted, so that the pool can wait for their end for a limited time.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use crate::sync::{Mutex, wait_on};
use crate::sys::signals::SignalsBlocked;

#[derive(Debug, Default)]
pub(super) struct Threads {
    live: Mutex<usize>,
    one_ended: Condvar,
}

thread_local! {
    static OF_A_POOL: Cell<bool> = const { Cell::new(false) };
}

impl Threads {
    /// Run `body` in a new thread, which gets no signals.
    pub(super) fn spawn(
        self: &Arc<Self>,
        name: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        *self.live.lock() += 1;
        let counted = Counted(Arc::clone(self));
        std::thread::Builder::new().name(format!("atasker-{name}")).spawn(move || {
            // Dropped last, and if the thread could not be started.
            let _counted = counted;
            SignalsBlocked::for_good();
            OF_A_POOL.set(true);
            body();
        })?;
        Ok(())
    }

    /// Wait until all have ended, or until the time is up.
    pub(super) fn wait_for_all(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut live = self.live.lock();
        while *live > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            live = wait_on(&self.one_ended, live, Some(left));
        }
    }
}

struct Counted(Arc<Threads>);

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.live.lock() -= 1;
        self.0.one_ended.notify_all();
    }
}

/// Whether the caller is itself a thread that a pool waits for.
pub(crate) fn is_own_thread() -> bool {
    OF_A_POOL.get()
}
