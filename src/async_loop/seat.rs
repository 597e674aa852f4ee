//! What ties a task to its loop, from the submission until its future has been dropped.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::aloop::AsyncLoop;
use crate::sync::Mutex;

/// A task's place on its loop, which does not end before the last one is dropped.
pub(crate) struct Seat {
    aloop: AsyncLoop,
    leash: Mutex<Leash>,
}

/// What is known of the attempts at the task, by their numbers. Whether one is spawned or aborted first is decided
/// by which thread comes first.
enum Leash {
    Free,
    Spawned(u32, AbortHandle),
    /// This attempt and those before it are not wanted.
    GivenUp(u32),
}

impl Seat {
    /// For a loop that has counted it.
    pub(super) fn new(aloop: AsyncLoop) -> Arc<Self> {
        Arc::new(Self { aloop, leash: Mutex::new(Leash::Free) })
    }

    pub(crate) fn aloop(&self) -> &AsyncLoop {
        &self.aloop
    }

    /// The attempt is under way; if it is not wanted any more, that ends it at once.
    pub(super) fn on_spawned(&self, attempt: u32, handle: AbortHandle) {
        let mut leash = self.leash.lock();
        match *leash {
            Leash::GivenUp(given_up) if given_up >= attempt => handle.abort(),
            // It is over, and its thread has only now come here.
            Leash::Spawned(later, _) if later > attempt => {}
            _ => *leash = Leash::Spawned(attempt, handle),
        }
    }

    /// Whether the attempt is not wanted any more.
    pub(super) fn is_given_up(&self, attempt: u32) -> bool {
        matches!(*self.leash.lock(), Leash::GivenUp(given_up) if given_up >= attempt)
    }

    /// Have the attempt dropped at its next await, whether it is under way or will be.
    pub(crate) fn abort(&self, attempt: u32) {
        let mut leash = self.leash.lock();
        match &*leash {
            Leash::Spawned(spawned, _) if *spawned > attempt => return,
            Leash::Spawned(spawned, handle) if *spawned == attempt => handle.abort(),
            _ => {}
        }
        // An older one may come late.
        let before = if let Leash::GivenUp(before) = *leash { before } else { 0 };
        *leash = Leash::GivenUp(attempt.max(before));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.aloop.on_seat_left();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abort_that_comes_late_undoes_no_later_one() {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let runtime = builder.build().expect("a runtime");
        let aloop = AsyncLoop::wrap("x", std::sync::Weak::new(), runtime.handle().clone());
        let seat = aloop.take_seat().expect("it is open");
        seat.on_spawned(1, runtime.spawn(async {}).abort_handle());
        // The first attempt has ended by itself while it was being given up, the second is given up while it is spawned.
        let second = runtime.spawn(std::future::pending::<()>());
        seat.abort(2);
        seat.abort(1);
        seat.on_spawned(2, second.abort_handle());
        assert!(seat.is_given_up(2));
        assert!(runtime.block_on(second).expect_err("it never ends by itself").is_cancelled());
    }
}
