//! Waiting without sleeping, as long as that promises to pay.
//!
//! A sleep and its wake cost some fifty to a hundred microseconds across cores, so whoever waits looks again and
//! again for about that long: first without a pause, then giving the core away between two looks, so that the other
//! side can run even if both share a core. Where waits were long lately, looking only takes cores from
//! those who compute, and is cut to the first part, or to nothing where they could use the core. Where waits were
//! hardly longer than the looking, as when a worker has to be woken first, the next look is as long as the last
//! wait: sleeping just before the answer comes costs a second wake. Figures that led here: benches, `compare`.

use std::time::{Duration, Instant};

/// How long to look with nothing in between but a look at the clock, which takes about as long as a pause. More than what the
/// other side does between two calls that are waited for, since one yield takes as long as many looks.
const LOOKING: Duration = Duration::from_micros(3);
/// How long to look with yields in between.
const YIELDING: Duration = Duration::from_micros(50);
/// The same for who knows that another process has to be woken for the answer.
pub(crate) const YIELDING_FOR_A_WAKE: Duration = Duration::from_micros(250);
/// Of so many waits in a row one must be long. Where several workers end long tasks in turn, two of them are often done
/// at almost the same time.
const SLOW_FOR: u8 = 8;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long the next look may last. Zero: the first part only, or not even that where others could use the core.
    yielding: Duration,
    /// The most that it may become.
    max: Duration,
    /// How many waits more may be short before they no longer count as long.
    slow_for: u8,
}

impl Patience {
    /// `max`: what looking may take where waits are short.
    pub(crate) const fn up_to(max: Duration) -> Self {
        Self { yielding: YIELDING, max, slow_for: 0 }
    }

    /// For those who are not answered, but get new work.
    pub(crate) const NEW: Self = Self::up_to(YIELDING);

    /// Whether some of the last waits were so long, a fifth of a millisecond and more, that yielding did not pay.
    pub(crate) const fn is_slow(self) -> bool {
        self.slow_for > 0
    }

    /// Look until `ready`, or until it does not pay any longer: then `None`. `crowded`: others could use
    /// this core. Answers with a time just before the look that succeeded: so nobody has to ask for one when it is
    /// urgent.
    pub(crate) fn look_until(self, crowded: bool, ready: impl Fn() -> bool) -> Option<Instant> {
        let start = Instant::now();
        if crowded && self.yielding.is_zero() {
            return ready().then_some(start);
        }
        let mut now = start;
        while now.duration_since(start) < LOOKING {
            if ready() {
                return Some(now);
            }
            now = Instant::now();
        }
        if crowded || self.yielding.is_zero() {
            return ready().then_some(now);
        }
        let start = now;
        while now.duration_since(start) <= self.yielding {
            std::thread::yield_now();
            now = Instant::now();
            if ready() {
                return Some(now);
            }
        }
        None
    }

    /// A wait that ended in sleep has slept so long.
    pub(crate) fn learn(&mut self, slept: Duration) {
        let waited = self.yielding + slept;
        self.yielding = if waited <= self.max {
            waited.max(YIELDING)
        } else if slept < 4 * YIELDING {
            YIELDING
        } else {
            Duration::ZERO
        };
        if self.yielding.is_zero() {
            self.slow_for = SLOW_FOR;
        } else {
            self.found();
        }
    }

    /// A wait has ended without sleep.
    pub(crate) fn succeeded(&mut self) {
        self.yielding = self.yielding.max(YIELDING);
        self.found();
    }

    /// There was something before anybody waited.
    pub(crate) fn found(&mut self) {
        self.slow_for = self.slow_for.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn who_looks_knows_when_it_was_there() {
        let before = Instant::now();
        let seen = Patience::NEW.look_until(false, || true).expect("it is there");
        assert!(before <= seen && seen <= Instant::now());
        let mut hopeless = Patience::NEW;
        hopeless.learn(us(5000));
        for crowded in [false, true] {
            assert_eq!(hopeless.look_until(crowded, || false), None);
            assert!(hopeless.look_until(crowded, || true).is_some());
            let looks = std::cell::Cell::new(0);
            let third = || looks.replace(looks.get() + 1) == 2;
            let seen = Patience::NEW.look_until(crowded, third).expect("it comes");
            assert!(before < seen && seen <= Instant::now());
        }
    }

    #[test]
    fn long_waits_end_looking_and_short_ones_prolong_it() {
        let mut waiter = Patience::up_to(YIELDING_FOR_A_WAKE);
        waiter.learn(us(120));
        assert_eq!(waiter.yielding, us(170), "as long as the whole wait was");
        waiter.succeeded();
        assert_eq!(waiter.yielding, us(170));
        waiter.learn(us(150));
        assert_eq!(waiter.yielding, YIELDING, "too long to look for, but short");
        waiter.learn(us(5000));
        assert_eq!(waiter.yielding, Duration::ZERO);
        waiter.learn(us(10));
        assert_eq!(waiter.yielding, YIELDING, "hope again");
        let mut worker = Patience::NEW;
        worker.learn(us(20));
        assert_eq!(worker.yielding, YIELDING, "never longer than it may");
    }

    #[test]
    fn a_few_short_waits_between_long_ones_do_not_count() {
        let mut waiter = Patience::up_to(YIELDING_FOR_A_WAKE);
        assert!(!waiter.is_slow(), "nothing is known yet");
        waiter.learn(us(5000));
        for _ in 1..SLOW_FOR {
            waiter.learn(us(20));
            waiter.succeeded();
            waiter.learn(us(5000));
        }
        assert!(waiter.is_slow());
        (1..SLOW_FOR).for_each(|_| waiter.succeeded());
        assert!(waiter.is_slow());
        waiter.succeeded();
        assert!(!waiter.is_slow(), "all are short now");
    }
}
