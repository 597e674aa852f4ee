//! The host was suspended: by a signal, with its machine, or because it got no core to run on.
//!
//! Whoever is first to look at the core afterwards finds that something was due long ago. What lies in between was
//! nobody's time: neither did tasks run in it, as far as one can know, nor could their ends be seen. So it is
//! given to them again.

use std::time::Duration;

use super::machine::Core;
use super::task::State;
use super::workers::Workers;
use crate::admission::Time;

/// A timer that is so late was not late by chance.
pub(crate) const LATE: Duration = Duration::from_millis(250);

impl<P: Clone> Core<P> {
    /// Nothing was told between `seen` and `now`, though something was due: what runs, what waits for a worker to
    /// take it up, and what may wait in its queue for so long only, have their limits moved by that time. Delays
    /// and backoffs end when they would have.
    pub(crate) fn on_late(&mut self, now: Time, seen: Time) {
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(super::sabotage::Sabotage::LatenessCharged) {
            return;
        }
        let lost = now.since(seen);
        let workers = self.pools.iter_mut().filter_map(|pool| pool.workers.as_mut());
        workers.for_each(Workers::forget_all_late);
        for slot in 0..self.tasks.slots_end() {
            let record = &mut self.tasks[slot];
            match record.state {
                State::Vacant | State::Detached => {}
                _ if record.begun() => {
                    record.mark = record.mark + lost;
                    // It may turn out that it has not begun, and waited all the time since it came.
                    let waited = now.since(record.queued_from.max(seen));
                    record.queue_timeout = record.queue_timeout + waited;
                    if let Some(rare) = &mut record.rare {
                        rare.soft_due = rare.soft_due + lost;
                    }
                    self.move_alarm(slot, lost);
                }
                State::AwaitingEnd => self.move_alarm(slot, lost),
                // A retry, which waits as long as it takes.
                _ if record.attempts > 0 => {}
                State::Delayed => {
                    let late = now.since(record.queued_from.max(seen));
                    record.queue_timeout = record.queue_timeout + late;
                }
                _ => {
                    record.queue_timeout = record.queue_timeout + lost;
                    self.move_alarm(slot, lost);
                }
            }
        }
    }

    fn move_alarm(&mut self, slot: u32, by: Duration) {
        let record = &self.tasks[slot];
        if record.alarm != Time::NEVER {
            // CPU time is not moved: nobody could use any.
            let due = if record.begun() { record.limit_due() } else { record.alarm + by };
            self.set_alarm(slot, due);
        }
    }
}
