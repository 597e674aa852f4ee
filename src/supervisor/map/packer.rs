//! How large packs are to be, and how many calls are to be on their way.
//!
//! A pack is never predicted to run longer than [`PACK_RUNS_NS`], so that what it delays is delayed by no more;
//! and enough packs are on their way that no worker runs dry while this thread has to wait for a core.

use crate::task::pack::PackBuilder;
use crate::transport::PackOutcomes;

/// How long a pack may run, as far as can be predicted.
const PACK_RUNS_NS: u64 = 1_000_000;
/// How much predicted work is on its way for each place.
const AHEAD_NS: u64 = 20_000_000;
/// However quick the calls are, no more than this many are on their way for each place.
const AHEAD_CALLS_MAX: usize = 12 * PackOutcomes::CALLS_MAX as usize;
/// Larger packs save nothing more, and would leave less to share among workers.
const CALLS_MAX: u32 = PackOutcomes::CALLS_MAX / 2;

/// Learns how long the calls take.
#[derive(Debug)]
pub(super) struct Packer {
    /// How many calls are on their way at least.
    least: usize,
    /// How many worker processes there may be.
    places: usize,
    /// Said by the user: how many calls may be on their way.
    fixed: Option<usize>,
    /// Nanoseconds per call in the last packs.
    paces_ns: [u64; 3],
    learned: usize,
    /// How many calls the next pack is to have.
    calls: u32,
    /// The pack that is being filled.
    pub(super) filling: Option<PackBuilder>,
}

impl Packer {
    /// `window`: for calls that are not quick. `places`: of the pool that packs go to.
    pub(super) fn new(window: usize, places: usize) -> Self {
        let places = places.max(1);
        Self {
            least: window,
            places,
            fixed: None,
            paces_ns: [0; 3],
            learned: 0,
            calls: 1,
            filling: None,
        }
    }

    /// Calls of the same function took so long each the last time.
    pub(super) fn expect(&mut self, pace_ns: u64) {
        self.paces_ns = [pace_ns; 3];
        self.learned = self.paces_ns.len();
        self.calls = self.wanted();
    }

    /// The pool that packs go to has so many places now.
    pub(super) fn resize(&mut self, places: usize) {
        self.places = places.max(1);
    }

    pub(super) fn fix_window(&mut self, calls: usize) {
        self.fixed = Some(calls);
    }

    /// How many calls may be on their way or unread.
    pub(super) fn window(&self) -> usize {
        if let Some(calls) = self.fixed {
            return calls;
        }
        let ahead = self.pace_ns().map_or(1, |pace| AHEAD_NS / pace) as usize;
        // Packs that were sent before their pace was known are small, and so are windows then.
        let ahead = ahead.min(AHEAD_CALLS_MAX).min(self.calls as usize * 256);
        self.least.max(self.places * ahead)
    }

    /// How many calls to make room for.
    pub(super) fn calls_hint(&self) -> usize {
        self.target() as usize
    }

    /// Whether the pack that is being filled has as many calls as it should.
    pub(super) fn is_filled(&self) -> bool {
        self.filling.as_ref().is_some_and(|pack| pack.calls() >= self.target())
    }

    fn target(&self) -> u32 {
        match self.fixed {
            // Several for each place, or one slow call would hold up many.
            Some(window) => {
                let share = window / (self.places * super::source::PER_PLACE);
                self.calls.min(u32::try_from(share).unwrap_or(u32::MAX)).max(1)
            }
            None => self.calls,
        }
    }

    /// The calls of a pack have taken so long each.
    pub(super) fn learn(&mut self, pace_ns: u64) {
        self.paces_ns[self.learned % self.paces_ns.len()] = pace_ns;
        self.learned += 1;
        // Not all at once: the first calls need not be like the others.
        self.calls = self.wanted().min(self.calls * 8);
    }

    fn wanted(&self) -> u32 {
        let wanted = self.pace_ns().map_or(1, |pace| PACK_RUNS_NS / pace);
        u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, CALLS_MAX)
    }

    /// What the next calls are likely to take: the median, because a pack during which its worker had to wait
    /// for a core says nothing of the calls.
    pub(super) fn pace_ns(&self) -> Option<u64> {
        let known = self.learned.min(self.paces_ns.len());
        let mut paces = self.paces_ns;
        let known = &mut paces[..known];
        known.sort_unstable();
        known.get(known.len() / 2).map(|&pace| pace.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_grow_with_quick_calls_and_shrink_with_slow_ones() {
        let mut packer = Packer::new(16, 2);
        assert_eq!(packer.target(), 1);
        (0..8).for_each(|_| packer.learn(50));
        assert_eq!(packer.target(), CALLS_MAX);
        assert!(packer.window() >= 2 * 4 * CALLS_MAX as usize);
        let window = packer.window();
        packer.resize(4);
        assert_eq!(packer.window(), 2 * window);
        packer.learn(5_000_000);
        assert_eq!(packer.target(), CALLS_MAX, "one may have waited for a core");
        packer.learn(5_000_000);
        assert_eq!(packer.target(), 1);
        assert_eq!(packer.window(), 16);
    }

    #[test]
    fn a_window_that_was_said_is_kept() {
        let mut packer = Packer::new(16, 2);
        packer.fix_window(16);
        (0..8).for_each(|_| packer.learn(50));
        assert_eq!((packer.window(), packer.target()), (16, 2));
        packer.fix_window(1);
        assert_eq!((packer.window(), packer.target()), (1, 1));
    }
}
