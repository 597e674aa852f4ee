//! How much work is staged ahead of a worker: as much as is predicted to run for the time of prefetch.

use std::time::Duration;

/// How long the next entry of a pool will run, and what follows from that.
#[derive(Debug)]
pub(super) struct Prediction {
    prefetch: u64,
    most: usize,
    /// In nanoseconds; zero until the first entry has finished.
    estimate: u64,
    /// The estimate from which `held_max` was calculated. It is calculated again when they are an eighth
    /// apart: a division and a look at every worker are not for each task.
    basis: u64,
    /// How many entries a worker may hold: one that runs and, if the transport takes more than one, one
    /// ahead at least.
    pub(super) held_max: usize,
}

impl Prediction {
    pub(super) fn new(prefetch: Duration, most: usize) -> Self {
        Self { prefetch: nanoseconds(prefetch), most, estimate: 0, basis: 0, held_max: most.min(2) }
    }

    /// How long an entry runs, as far as known.
    pub(super) fn estimate(&self) -> Option<Duration> {
        (self.estimate > 0).then(|| Duration::from_nanos(self.estimate))
    }

    /// An entry has run so long. The estimate rises at once, because what is staged behind a long task
    /// waits, and falls slowly. Whether `held_max` has changed.
    pub(super) fn learn(&mut self, ran: Duration) -> bool {
        if self.most == 1 {
            return false;
        }
        let ran = nanoseconds(ran).max(1);
        let blended = self.estimate - self.estimate / 8 + ran / 8;
        self.estimate = ran.max(blended);
        if self.estimate.abs_diff(self.basis) <= self.basis / 8 {
            return false;
        }
        self.basis = self.estimate;
        let ahead = usize::try_from(self.prefetch / self.estimate).unwrap_or(usize::MAX);
        let held_max = 1 + ahead.clamp(1, self.most - 1);
        std::mem::replace(&mut self.held_max, held_max) != held_max
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_staged_as_runs_for_the_time_of_prefetch() {
        let mut prediction = Prediction::new(Duration::from_micros(58), 256);
        let mut after = |ran: u64, times: usize| {
            (0..times).for_each(|_| _ = prediction.learn(Duration::from_nanos(ran)));
            prediction.held_max
        };
        assert_eq!(after(10_000, 1), 6, "one that runs and 58 µs ahead");
        assert_eq!(after(25_000, 1), 3, "it rises at once");
        assert_eq!(after(10_000, 1), 3, "it falls slowly");
        assert_eq!(after(10_000, 100), 6, "but it falls");
        assert_eq!(after(10, 100), 256, "no more than the ring takes");
        assert_eq!(after(1_000_000_000, 1), 2, "one is always ahead");
        assert_eq!(after(0, 1000), 256, "no time is too short");
    }

    #[test]
    fn nothing_is_staged_ahead_where_the_transport_takes_one() {
        let mut prediction = Prediction::new(Duration::MAX, 1);
        assert!(!prediction.learn(Duration::from_nanos(1)));
        assert_eq!(prediction.held_max, 1);
        assert_eq!(Prediction::new(Duration::MAX, 256).held_max, 2, "nothing is known yet");
    }
}
