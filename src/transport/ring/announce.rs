//! When a worker rings, and when it puts that off.
//!
//! An announcement costs a wake, for which some worker loses its core for a while. So with more to do, outcomes are announced
//! together. And whoever was woken by one worker takes what all have: what it says of that counts as if each had rung it,
//! so that many workers wake it hardly more often than one. Knows numbers only.

use std::time::Duration;

use super::layout::ENTRIES;
use super::sleep::Listener;

/// With more to do, outcomes are announced together after this time …
pub(super) const ANNOUNCED_WITHIN: Duration = Duration::from_millis(3);
/// … or after this time, if the worker has so little left that it might run dry meanwhile …
const ANNOUNCED_WITHIN_IF_LOW: Duration = Duration::from_millis(1);
/// … or this many entries, so that the coordinator can fill up the ring before it is empty.
const ANNOUNCED_TOGETHER_MAX: u32 = ENTRIES as u32 / 4;

const WITHIN_NS: u64 = ANNOUNCED_WITHIN.as_nanos() as u64;
const WITHIN_IF_LOW_NS: u64 = ANNOUNCED_WITHIN_IF_LOW.as_nanos() as u64;

/// A worker's announcements.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    /// What one kind of listener knows tells the other nothing.
    listeners: [Told; 2],
    /// Entries that were committed since.
    unannounced: u32,
    /// Somebody who listened has not been rung since the last ring.
    put_off: bool,
}

/// What a listener was told last.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// When it was rung.
    rung_ns: u64,
    /// When it had taken everything before it slept, as it says.
    taken_ns: u64,
    /// With the last ring: that commits may go unannounced.
    silent: bool,
}

/// A commit of which somebody could be told, in nanoseconds of a clock that only goes forward.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occasion {
    pub(super) now_ns: u64,
    /// When the listener had taken everything, as it says. Never later than the begin of its last limited sleep.
    pub(super) taken_ns: u64,
    /// How long the entry ran.
    pub(super) ran_ns: u64,
    /// There is nothing else to do.
    pub(super) is_dry: bool,
}

impl Announcer {
    pub(super) fn on_commit(&mut self) {
        self.unannounced = self.unannounced.saturating_add(1);
    }

    /// Whether `who` is to be rung now. `is_low`: whether hardly anything is left.
    pub(super) fn is_due(
        &mut self,
        who: Listener,
        at: Occasion,
        is_low: impl FnOnce() -> bool,
    ) -> bool {
        let told = &mut self.listeners[who as usize - 1];
        // What is yet to come is nonsense.
        if at.taken_ns > told.taken_ns && at.taken_ns <= at.now_ns {
            told.taken_ns = at.taken_ns;
            self.unannounced = self.unannounced.min(1);
            self.put_off = false;
        }
        let since = at.now_ns.saturating_sub(told.rung_ns.max(told.taken_ns));
        let puts_off = told.silent
            && !at.is_dry
            && self.unannounced < ANNOUNCED_TOGETHER_MAX
            && is_early(since, at.ran_ns, is_low);
        self.put_off |= puts_off;
        !puts_off
    }

    /// `who` is rung now. Whether that is to say that commits may go unannounced: what has come one upon the other is followed by
    /// more of the kind, mostly.
    pub(super) fn on_rung(&mut self, who: Listener, at: Occasion) -> bool {
        let told = &mut self.listeners[who as usize - 1];
        let since = at.now_ns.saturating_sub(told.rung_ns);
        told.silent = self.put_off || is_early(since, at.ran_ns, || false);
        told.rung_ns = at.now_ns;
        (self.unannounced, self.put_off) = (0, false);
        told.silent
    }
}

/// Whether a ring can be put off that long after the last. What runs long is told at once: the next may run as long.
fn is_early(since_ns: u64, ran_ns: u64, is_low: impl FnOnce() -> bool) -> bool {
    ran_ns < WITHIN_NS && since_ns < WITHIN_NS && (since_ns < WITHIN_IF_LOW_NS || !is_low())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Listener::{Collector, Waiter};

    const MS: u64 = 1_000_000;
    const START: u64 = 1000 * MS;

    fn at(now_ns: u64) -> Occasion {
        Occasion { now_ns, taken_ns: 0, ran_ns: MS / 10, is_dry: false }
    }

    /// A commit of which `who` could be told. Whether it is, and then whether that says that others may go unannounced.
    fn commit(announcer: &mut Announcer, who: Listener, at: Occasion) -> Option<bool> {
        announcer.on_commit();
        announcer.is_due(who, at, || false).then(|| announcer.on_rung(who, at))
    }

    /// One that has said so, with its last ring at `START`.
    fn silent() -> Announcer {
        let mut announcer = Announcer::default();
        assert_eq!(commit(&mut announcer, Waiter, at(START - 1)), Some(false));
        assert_eq!(commit(&mut announcer, Waiter, at(START)), Some(true));
        announcer
    }

    #[test]
    fn nothing_is_put_off_before_that_was_said() {
        let mut announcer = silent();
        assert_eq!(commit(&mut announcer, Waiter, at(START + 2 * MS)), None);
        let mut announcer = silent();
        assert_eq!(commit(&mut announcer, Collector, at(START + 2 * MS)), Some(false), "the other");
    }

    #[test]
    fn a_ring_is_put_off_for_no_longer_than_said() {
        let mut announcer = silent();
        for now_ns in [START, START + MS, START + 3 * MS - 1] {
            assert_eq!(commit(&mut announcer, Waiter, at(now_ns)), None);
        }
        assert_eq!(commit(&mut announcer, Waiter, at(START + 3 * MS)), Some(true));
        assert_eq!(commit(&mut announcer, Waiter, at(START + 9 * MS)), Some(false), "none before");
    }

    #[test]
    fn low_dry_and_many_are_announced_earlier() {
        let mut announcer = silent();
        announcer.on_commit();
        assert!(!announcer.is_due(Waiter, at(START + MS - 1), || true));
        assert!(announcer.is_due(Waiter, at(START + MS), || true), "it runs low");
        let dry = Occasion { is_dry: true, ..at(START + 1) };
        assert!(announcer.is_due(Waiter, dry, || false));
        let mut announcer = silent();
        for _ in 1..ANNOUNCED_TOGETHER_MAX {
            assert_eq!(commit(&mut announcer, Waiter, at(START + 1)), None);
        }
        assert_eq!(commit(&mut announcer, Waiter, at(START + 1)), Some(true), "together enough");
    }

    #[test]
    fn what_a_listener_has_taken_it_need_not_be_rung_for() {
        let mut announcer = silent();
        let taken = |now_ns, taken_ns| Occasion { taken_ns, ..at(now_ns) };
        let second = START + 2 * MS;
        for now_ns in [START + 3 * MS, START + 5 * MS - 1] {
            assert_eq!(commit(&mut announcer, Waiter, taken(now_ns, second)), None);
        }
        assert_eq!(commit(&mut announcer, Waiter, taken(second + 3 * MS, second)), Some(true));
        // Another clock, or scribbled over.
        let mut announcer = silent();
        assert_eq!(commit(&mut announcer, Waiter, taken(START + 3 * MS, u64::MAX)), Some(false));
        let mut announcer = silent();
        for now_ns in START..START + 2 * u64::from(ANNOUNCED_TOGETHER_MAX) {
            assert_eq!(commit(&mut announcer, Waiter, taken(now_ns, now_ns)), None);
        }
    }

    /// Else whoever waits would have to look after such a task, for it may be followed by one as long.
    #[test]
    fn what_runs_long_is_announced_at_once_whatever_others_do() {
        let mut announcer = silent();
        let mut now_ns = START;
        for silent in [false; 9] {
            now_ns += 5 * MS;
            let long = Occasion { ran_ns: 5 * MS, taken_ns: now_ns - 1, ..at(now_ns) };
            assert_eq!(commit(&mut announcer, Waiter, long), Some(silent));
        }
    }
}
