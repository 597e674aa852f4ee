//! Waiting without sleeping, as long as that promises to pay.
//!
//! A sleep and its wake cost some fifty microseconds across cores, so whoever waits looks again and again
//! for about that long: first with pauses, then giving the core away between two looks, so that the other
//! side can run even if both share a core. Where waits were long lately, looking only takes cores from
//! those who compute, and is cut to the pauses. Figures that led here: benches, `compare`.

use std::time::{Duration, Instant};

/// Looks with a pause in between, before the first look at the clock.
const PAUSES: u32 = 64;
/// How long to look with yields in between.
const YIELDING: Duration = Duration::from_micros(50);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The last wait was short.
    hopeful: bool,
}

impl Patience {
    pub(crate) const NEW: Self = Self { hopeful: true };

    /// Look until `ready`, or until it does not pay any longer: then `false`. `crowded`: others could use
    /// this core.
    pub(crate) fn look_until(self, crowded: bool, ready: impl Fn() -> bool) -> bool {
        for _ in 0..PAUSES {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if crowded || !self.hopeful {
            return ready();
        }
        let start = Instant::now();
        loop {
            std::thread::yield_now();
            if ready() {
                return true;
            }
            if start.elapsed() > YIELDING {
                return false;
            }
        }
    }

    /// A wait that ended in sleep has taken so long.
    pub(crate) fn learn(&mut self, slept: Duration) {
        self.hopeful = slept < 4 * YIELDING;
    }

    /// A wait has ended without sleep.
    pub(crate) fn succeeded(&mut self) {
        self.hopeful = true;
    }
}
