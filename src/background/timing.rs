//! When an interval worker runs: its pauses, and what happens to ticks that it misses. Pure.

use std::time::Duration;

use crate::admission::Time;

/// No interval is shorter; a shorter one is taken for this.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_micros(1);

/// What happens to the ticks of an interval that could not begin before the next one was due, or at which the
/// run before still went on.
///
/// ```text
/// ticks   |1      |2      |3      |4      |5      |6
/// Burst   |1 takes long          ||2||3||4 |5     |6
/// Skip    |1 takes long          |2|4      |5     |6
/// Delay   |1 takes long          |2      |3      |4
/// ```
///
/// The first tick that was missed always runs at once; they differ in what comes behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissedTicks {
    /// The others run as well, one right after another, until the worker is on time again. So there are as
    /// many runs as ticks.
    Burst,
    /// The others are left out; the next runs when it always would have. What a background worker does unless
    /// said.
    #[default]
    Skip,
    /// The others are left out, and the interval counts anew from the start of the late one.
    Delay,
}

/// What lies between two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// From one planned start to the next.
    Interval(Duration),
    /// From the end of one run to the start of the next.
    Delay(Duration),
}

/// When a background worker runs that runs by time. Runs of one worker never overlap.
///
/// ```
/// use atasker::BackgroundWorker;
/// use atasker::background::{MissedTicks, Timing};
/// use std::time::Duration;
/// let timing = Timing::every(Duration::from_secs(10))
///     .first_after(Duration::from_secs(1))
///     .missed(MissedTicks::Burst);
/// let description = BackgroundWorker::timed(timing);
/// # drop(description);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    pub(crate) pause: Pause,
    pub(crate) first_after: Duration,
    pub(crate) missed: MissedTicks,
}

impl Timing {
    /// From the start of one run to the start of the next. Each is planned by the one before, so however late
    /// single runs begin, nothing adds up. At least a microsecond; a shorter interval is taken for that.
    pub const fn every(interval: Duration) -> Self {
        Self::new(Pause::Interval(interval))
    }

    /// From the end of one run to the start of the next.
    pub const fn spaced(delay: Duration) -> Self {
        Self::new(Pause::Delay(delay))
    }

    /// How long to wait before the first run; not at all unless said.
    #[must_use]
    pub const fn first_after(mut self, wait: Duration) -> Self {
        self.first_after = wait;
        self
    }

    /// What happens to ticks that could not be kept; [`MissedTicks::Skip`] unless said. Without meaning for
    /// [`spaced`](Self::spaced), which misses none.
    #[must_use]
    pub const fn missed(mut self, missed: MissedTicks) -> Self {
        self.missed = missed;
        self
    }

    const fn new(pause: Pause) -> Self {
        Self { pause, first_after: Duration::ZERO, missed: MissedTicks::Skip }
    }
}

/// The ticks of a worker that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    timing: Timing,
    next: Time,
    /// The next tick was due while a run still went on.
    is_late: bool,
}

impl Ticks {
    /// Ticks that count from `now`.
    pub(crate) fn start(timing: Timing, now: Time) -> Self {
        Self { timing, next: now + timing.first_after, is_late: false }
    }

    /// When the next tick is due.
    pub(crate) fn next(&self) -> Time {
        self.next
    }

    /// The run of the next tick begins, or is given up. How many ticks are left out behind it.
    pub(crate) fn on_begun(&mut self, now: Time) -> u64 {
        let Pause::Interval(interval) = self.timing.pause else {
            return 0;
        };
        let interval = nanoseconds(interval);
        let planned = self.next.0;
        let missed = now.0.saturating_sub(planned) / interval;
        let is_late = std::mem::take(&mut self.is_late) || missed > 0;
        let (next, left_out) = match self.timing.missed {
            MissedTicks::Skip => {
                (planned.saturating_add(interval.saturating_mul(missed + 1)), missed)
            }
            MissedTicks::Delay if is_late => (now.0.saturating_add(interval), missed),
            MissedTicks::Burst | MissedTicks::Delay => (planned.saturating_add(interval), 0),
        };
        self.next = Time(next);
        left_out
    }

    /// A run, by a tick or by hand, has ended.
    pub(crate) fn on_ended(&mut self, now: Time) {
        match self.timing.pause {
            Pause::Interval(_) => self.is_late = self.next <= now,
            Pause::Delay(delay) => self.next = now + delay,
        }
    }
}

fn nanoseconds(interval: Duration) -> u64 {
    u64::try_from(interval.max(INTERVAL_MIN).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn ticks(missed: MissedTicks) -> Ticks {
        let pause = Pause::Interval(Duration::from_millis(10));
        Ticks::start(Timing { pause, first_after: Duration::ZERO, missed }, Time(0))
    }

    /// Runs of these lengths, each begun as soon as it can be. The starts, in milliseconds, and what was left
    /// out.
    fn starts(missed: MissedTicks, lengths_ms: &[u64]) -> (Vec<u64>, u64) {
        let mut ticks = ticks(missed);
        let (mut now, mut left_out) = (Time(0), 0);
        let mut starts = Vec::new();
        for length in lengths_ms {
            now = now.max(ticks.next());
            left_out += ticks.on_begun(now);
            starts.push(now.0 / MS);
            now = Time(now.0 + length * MS);
            ticks.on_ended(now);
        }
        (starts, left_out)
    }

    #[test]
    fn what_is_missed_is_treated_by_the_policy() {
        let lengths = [32, 1, 1, 1, 1, 1];
        assert_eq!(starts(MissedTicks::Burst, &lengths), (vec![0, 32, 33, 34, 40, 50], 0));
        assert_eq!(starts(MissedTicks::Skip, &lengths), (vec![0, 32, 40, 50, 60, 70], 2));
        assert_eq!(starts(MissedTicks::Delay, &lengths), (vec![0, 32, 42, 52, 62, 72], 2));
    }

    #[test]
    fn a_run_just_longer_than_the_interval_shifts_only_delayed_ticks() {
        let lengths = [15, 1, 1];
        assert_eq!(starts(MissedTicks::Burst, &lengths), (vec![0, 15, 20], 0));
        assert_eq!(starts(MissedTicks::Skip, &lengths), (vec![0, 15, 20], 0));
        assert_eq!(starts(MissedTicks::Delay, &lengths), (vec![0, 15, 25], 0));
    }

    #[test]
    fn a_delay_counts_from_the_end() {
        let pause = Pause::Delay(Duration::from_millis(10));
        let first_after = Duration::from_millis(3);
        let timing = Timing { pause, first_after, missed: MissedTicks::Skip };
        let mut ticks = Ticks::start(timing, Time(0));
        assert_eq!(ticks.next(), Time(3 * MS));
        assert_eq!(ticks.on_begun(Time(3 * MS)), 0);
        ticks.on_ended(Time(50 * MS));
        assert_eq!(ticks.next(), Time(60 * MS));
    }

    #[test]
    fn the_end_of_time_is_no_overflow() {
        for missed in [MissedTicks::Burst, MissedTicks::Skip, MissedTicks::Delay] {
            for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
                let pause = Pause::Interval(interval);
                let timing = Timing { pause, first_after: Duration::ZERO, missed };
                let mut ticks = Ticks::start(timing, Time(0));
                ticks.on_begun(Time::NEVER);
                ticks.on_ended(Time::NEVER);
                ticks.on_begun(Time::NEVER);
            }
        }
    }

    proptest! {
        /// However late each of 10,000 ticks begins, as long as the next is not due by then, the last is where
        /// the first plus 9,999 intervals is, to the nanosecond.
        #[test]
        fn ten_thousand_ticks_do_not_drift(
            lateness in prop::collection::vec(0..10 * MS / 2, 64),
            length in prop::collection::vec(0..10 * MS / 2, 64),
            policy in 0..3_usize,
        ) {
            let policies = [MissedTicks::Burst, MissedTicks::Skip, MissedTicks::Delay];
            let mut ticks = ticks(policies[policy]);
            for n in 0..10_000 {
                prop_assert_eq!(ticks.next(), Time(n * 10 * MS));
                let begun = Time(ticks.next().0 + lateness[n as usize % 64]);
                prop_assert_eq!(ticks.on_begun(begun), 0);
                ticks.on_ended(Time(begun.0 + length[n as usize * 7 % 64]));
            }
        }

        /// Whatever happens: a burst loses no tick, a skip stays on the grid and accounts for each, a delay
        /// counts anew from what was late.
        #[test]
        fn policies_keep_their_promise(
            moves in prop::collection::vec((0..40 * MS, 0..40 * MS), 1..200),
        ) {
            for policy in [MissedTicks::Burst, MissedTicks::Skip, MissedTicks::Delay] {
                let mut ticks = ticks(policy);
                let (mut now, mut left_out) = (Time(0), 0);
                for (n, (lateness, length)) in (0..).zip(&moves) {
                    let planned = ticks.next();
                    let is_late = planned <= now && n > 0 || *lateness >= 10 * MS;
                    now = Time(now.max(planned).0 + lateness);
                    left_out += ticks.on_begun(now);
                    match policy {
                        MissedTicks::Burst => prop_assert_eq!(planned, Time(n * 10 * MS)),
                        MissedTicks::Skip => {
                            prop_assert_eq!(ticks.next(), Time((n + 1 + left_out) * 10 * MS));
                            prop_assert!(ticks.next() > now);
                        }
                        MissedTicks::Delay if is_late => {
                            prop_assert_eq!(ticks.next(), now + Duration::from_millis(10));
                        }
                        MissedTicks::Delay => {
                            prop_assert_eq!(ticks.next(), planned + Duration::from_millis(10));
                        }
                    }
                    now = Time(now.0 + length);
                    ticks.on_ended(now);
                }
            }
        }
    }
}
