//! The end of a supervisor, in four degrees.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::context;
use super::shared::Shared;
use crate::core::StopMode;
use crate::say::say;
use crate::sys;

/// How long a hard stop waits for what it can't kill: threads and callbacks; and any stop for loops that have
/// nothing left to do.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a stop does with the tasks that have not ended.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{Stop, Supervisor};
/// use std::time::Duration;
/// let supervisor = Supervisor::builder().start()?;
/// supervisor.stop(Stop::DrainFor(Duration::from_secs(30)));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Every task that was accepted runs to its end, delayed ones and retries too.
    Drain,
    /// The same, for at most this long; then like [`KillNow`](Self::KillNow).
    DrainFor(Duration),
    /// What runs goes on to its end; what waits is cancelled.
    CancelQueued,
    /// What waits is cancelled, what runs in worker processes is killed, and futures are dropped at their next
    /// await. Closures on threads can't be killed: their handles are resolved, and the stop waits for all of them together only
    /// for a second, as for a future that does not come to its next await; and for schedulers for another.
    KillNow,
}

impl Stop {
    fn mode(self) -> StopMode {
        match self {
            Self::Drain | Self::DrainFor(_) => StopMode::Drain,
            Self::CancelQueued => StopMode::CancelQueued,
            Self::KillNow => StopMode::KillNow,
        }
    }

    /// Whether it ends what it can, at once or in the end, and gives up on the rest.
    fn is_hard(self) -> bool {
        matches!(self, Self::KillNow | Self::DrainFor(_))
    }

    /// When it is to become a hard one.
    fn until(self) -> Option<Instant> {
        match self {
            Self::DrainFor(patience) => Instant::now().checked_add(patience),
            _ => None,
        }
    }

    /// How long to wait for code of the user's that can't be killed.
    fn patience(self) -> Option<Duration> {
        match self {
            Self::Drain | Self::CancelQueued => None,
            Self::DrainFor(patience) => Some(patience),
            Self::KillNow => Some(PATIENCE),
        }
    }
}

impl Shared {
    pub(crate) fn stop(&self, how: Stop) {
        if sys::fork::is_forked_child() {
            return;
        }
        let until = how.until();
        let left = || until.map(|until| until.saturating_duration_since(Instant::now()));
        if self.is_within() {
            return self.stop_from_within(how);
        }
        self.stop_schedulers(how, how.patience());
        self.close();
        if how.mode() == StopMode::Drain {
            // Their last runs and hooks are tasks, which a draining core would refuse.
            self.background.wait(left());
        }
        self.begin_stop(how.mode());
        self.harden(how, until);
        self.drained.wait(None);
        let until = how.is_hard().then(|| Instant::now() + PATIENCE);
        if how.is_hard() {
            self.give_up_on_users_code();
        }
        // Where the core was stopped first, what ends them goes past it.
        self.background.wait(None);
        self.finish_stop(until);
    }

    /// What can't be killed is not waited for much longer, also not by those whose stop is a softer one.
    fn give_up_on_users_code(&self) {
        self.background.give_up_after(PATIENCE);
        if let Some(threads) = self.threads.get() {
            threads.give_up_after(PATIENCE);
        }
        self.callbacks.give_up_after(PATIENCE);
    }

    /// Wait until a stop that has begun is to become a hard one, or everything has ended.
    fn harden(&self, how: Stop, until: Option<Instant>) {
        let left = || until.map(|until| until.saturating_duration_since(Instant::now()));
        if matches!(how, Stop::DrainFor(_)) && !self.drained.wait(left()) {
            self.begin_stop(StopMode::KillNow);
        }
    }

    /// Whether this thread works for the supervisor, so that it must not wait for its end.
    fn is_within(&self) -> bool {
        #[cfg(feature = "async")]
        if self.is_on_a_loop() {
            return true;
        }
        context::place_of(self.address()).is_some()
    }

    /// Begin to stop, without waiting for what may be waiting for the caller.
    fn stop_from_within(&self, how: Stop) {
        let until = how.until();
        let has_schedulers = self.schedulers.are_any();
        if !has_schedulers {
            self.close();
            self.begin_stop(how.mode());
        }
        let takes_time = has_schedulers || how.is_hard();
        if let Some(shared) = self.this.upgrade().filter(|_| takes_time) {
            self.on_a_thread("stop", move || {
                shared.stop_schedulers(how, how.patience());
                shared.close();
                shared.begin_stop(how.mode());
                shared.harden(how, until);
                if how.is_hard() {
                    shared.drained.wait(None);
                    shared.give_up_on_users_code();
                }
            });
        }
    }

    /// From now on tasks are taken of background workers only, which begin to end.
    fn close(&self) {
        self.drained.stopping.store(true, Ordering::SeqCst);
        self.background.close();
    }

    fn begin_stop(&self, mode: StopMode) {
        say!(
            debug, target: "atasker::supervisor", supervisor = %self.settings.name, ?mode, "stopping"
        );
        self.drive(|core, now, effects| core.on_stopping(now, mode, effects));
        // Submitters that wait for a place learn that there will be none.
        self.space.freed();
    }

    /// Nothing is outstanding: end the processes and the threads.
    /// `until`: how long the user's code is waited for, where it can't be ended.
    fn finish_stop(&self, until: Option<Instant>) {
        let left = || until.map(|until| until.saturating_duration_since(Instant::now()));
        self.executor.shut_down();
        #[cfg(feature = "async")]
        self.stop_loops(left().unwrap_or(PATIENCE));
        if let Some(threads) = self.threads.get() {
            threads.stop(left());
        }
        self.callbacks.stop(left());
        self.timer.stop();
        say!(debug, target: "atasker::supervisor", supervisor = %self.settings.name, "stopped");
    }

    pub(crate) fn join(&self) {
        if !sys::fork::is_forked_child() {
            self.drained.wait(None);
        }
    }

    pub(crate) fn on_supervisor_dropped(&self) {
        self.close();
        if !self.drained.wait(Some(Duration::ZERO)) {
            self.stop_schedulers(Stop::KillNow, Stop::KillNow.patience());
            self.begin_stop(StopMode::KillNow);
        }
        let until = Instant::now() + PATIENCE;
        self.executor.shut_down();
        #[cfg(feature = "async")]
        self.stop_loops(PATIENCE);
        if let Some(threads) = self.threads.get() {
            threads.stop(Some(Duration::ZERO));
        }
        let left = until.saturating_duration_since(Instant::now());
        self.callbacks.stop(Some(if context::is_callback() { Duration::ZERO } else { left }));
        self.timer.stop();
    }
}
