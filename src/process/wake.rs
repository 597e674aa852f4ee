//! What wakes the monitor, at once or later.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::sync::Mutex;
use crate::sys::{Alarm, Bell};

#[derive(Debug)]
pub(super) struct Wake {
    bell: Bell,
    alarm: Alarm,
    /// When the alarm will ring.
    at: Mutex<Option<Instant>>,
}

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { bell: Bell::new()?, alarm: Alarm::new()?, at: Mutex::default() })
    }

    pub(super) fn now(&self) {
        self.bell.ring();
    }

    /// At the latest then; it is left alone until then.
    pub(super) fn within(&self, time: Duration) {
        if time.is_zero() {
            return self.now();
        }
        let at = Instant::now() + time;
        let mut set = self.at.lock();
        if set.is_none_or(|before| at < before) {
            *set = Some(at);
            self.alarm.set(time);
        }
    }

    /// To be called before looking for what there is to do, so that a later ring is not lost.
    pub(super) fn silence(&self) {
        self.bell.silence();
        // Locked, so that none that is set meanwhile is silenced.
        let mut set = self.at.lock();
        // It rings no earlier than it says here, but perhaps later: then not at all.
        if set.take_if(|at| *at <= Instant::now()).is_some() {
            self.alarm.silence();
        }
    }

    /// What can be read when it rings.
    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.bell.as_fd(), self.alarm.as_fd()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::descriptors::wait_readable;

    /// Whether it rings within so many milliseconds.
    fn rings(wake: &Wake, ms: u64) -> bool {
        let until = Instant::now() + Duration::from_millis(ms);
        let ready = wait_readable(&wake.fds(), Some(until)).expect("it can be polled");
        ready.contains(&true)
    }

    #[test]
    fn what_is_said_wakes_and_is_silenced() {
        let wake = Wake::new().expect("descriptors");
        assert!(!rings(&wake, 0));
        for time in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(3)] {
            wake.within(time);
            assert!(rings(&wake, 60_000), "{time:?}");
            wake.silence();
            assert!(!rings(&wake, 0), "{time:?}");
        }
    }

    /// The thread that sets it may lose its core between two looks at the clock.
    #[test]
    fn an_alarm_that_is_late_does_not_ring_for_ever() {
        let wake = Wake::new().expect("descriptors");
        wake.alarm.set(Duration::from_millis(20));
        *wake.at.lock() = Some(Instant::now());
        wake.silence();
        assert!(!rings(&wake, 60), "nobody would silence it");
    }

    #[test]
    fn the_earliest_of_several_counts() {
        let wake = Wake::new().expect("descriptors");
        wake.within(Duration::from_secs(3600));
        assert!(!rings(&wake, 10));
        // Not what is to be heard.
        wake.silence();
        wake.within(Duration::from_millis(1));
        wake.within(Duration::from_secs(3600));
        assert!(rings(&wake, 60_000));
    }
}
