//! An attempt has failed, and another follows: at once, later, or when what is to be known of the failed one is kept.

use std::time::Duration;

use super::effect::Effect;
use super::machine::{Core, history};
use super::task::State;
use crate::admission::{Time, WARN_LEVELS};
use crate::task::id::TaskId;
use crate::task::options::RetryOn;

/// When a delay ends of which that is not known yet. It is an alarm like any other, but never due.
pub(super) const UNKNOWN: Time = Time(Time::NEVER.0 - 1);

impl<P: Clone> Core<P> {
    /// Lets a task wait for its next attempt after one that failed by `why`.
    pub(super) fn retry(&mut self, slot: u32, why: RetryOn, now: Time, out: &mut Vec<Effect<P>>) {
        let record = &mut self.tasks[slot];
        record.mark = now;
        record.reported = [false; WARN_LEVELS];
        let (attempt, number) = (record.attempts + 1, record.number);
        let wait = record.rare.as_ref().map(|rare| rare.retry.backoff.wait_before(attempt, number));
        let wait = wait.unwrap_or_default();
        if self.ending_of_queued(self.tasks[slot].pool).is_some() {
            return self.requeue(slot, now, out);
        }
        let record = &self.tasks[slot];
        let counts = why == RetryOn::Crash
            && record.rare.as_ref().is_some_and(|rare| rare.crash_limit.is_some());
        out.push(Effect::Retry {
            task: self.tasks.id(slot),
            payload: record.payload.clone().expect("an unresolved task has its payload"),
            history: history(record, now),
            why,
            wait,
            counts,
        });
        if counts {
            self.delay(slot, UNKNOWN);
        } else {
            self.retry_after(slot, wait, now, out);
        }
    }

    /// `Effect::Retry` was performed for a crash that counts.
    pub(crate) fn on_crash_kept(
        &mut self,
        now: Time,
        task: TaskId,
        wait: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        // It may have been cancelled meanwhile.
        let waits = |&slot: &u32| {
            let record = &self.tasks[slot];
            record.state == State::Delayed && record.attempts > 0 && record.alarm == UNKNOWN
        };
        if let Some(slot) = self.tasks.locate(task).filter(waits) {
            self.leave_delayed(slot);
            self.retry_after(slot, wait, now, out);
            self.schedule(now, out);
        }
    }

    fn retry_after(&mut self, slot: u32, wait: Duration, now: Time, out: &mut Vec<Effect<P>>) {
        if wait.is_zero() {
            self.requeue(slot, now, out);
        } else {
            self.delay(slot, now + wait);
        }
    }

    /// Lets a task wait outside the lines until `due`: by an alarm in any case, since those of delayed tasks are counted.
    pub(super) fn delay(&mut self, slot: u32, due: Time) {
        self.tasks[slot].state = State::Delayed;
        let pool = self.tasks[slot].pool;
        self.pool_mut(pool).delayed += 1;
        self.set_alarm(slot, due.min(UNKNOWN));
    }
}
