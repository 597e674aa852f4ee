//! Time passes: delays and backoffs end, tasks expire and time out, long waits are reported, aging lifts,
//! stuck workers and heavy ones are looked for.

use std::time::Duration;

use super::effect::{Effect, Ending, PoolId, WarnLevel};
use super::machine::{Core, Pool, Timer};
use super::retry::UNKNOWN;
use super::task::{Kill, Revoke, State};
use crate::admission::{Time, WARN_LEVELS};
use crate::task::options::{Priority, RetryOn, TimeLimit};

/// What can't be killed has at least so much time to end, and as much as its timeout if that is more, before it is not
/// retried any more.
const GRACE_MIN: Duration = Duration::from_secs(1);

const LEVELS: [WarnLevel; WARN_LEVELS] = [WarnLevel::Warning, WarnLevel::Critical];

impl<P: Clone> Core<P> {
    /// When [`on_deadline`](Self::on_deadline) is to be called next. May change with every event.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let mut due = self.timers.first().map_or(Time::NEVER, |&(time, ..)| time);
        due = due.min(self.staged_report);
        let pool = self.pool(PoolId::Processes);
        if let Some(workers) = &pool.workers {
            due = due.min(workers.claim_check).min(workers.balance_check);
            due = due.min(workers.memory_check).min(workers.exit_check);
            due = due.min(workers.overrun_check);
        }
        if let Some(shortage) = &pool.shortage {
            due = due.min(shortage.look_at);
        }
        // Most events leave no line behind, and each asks this.
        if self.watches_lines && self.pools_with_lines().next().is_some() {
            let lifts =
                self.pools_with_lines().filter_map(|pool| pool.admission.next_lift(&self.nodes));
            let reports = self.unreported().map(|(slot, level)| self.report_due(slot, level));
            due = lifts.chain(reports).fold(due, Time::min);
        }
        (due < UNKNOWN).then_some(due)
    }

    /// Whether a task has so much time and no more: it is to be noticed if nobody could use that, and so somebody must look
    /// at the clock in between. Those that are delayed have an alarm each, too, but no use for the time.
    pub(crate) fn counts_time(&self) -> bool {
        self.alarms > 0 && self.alarms > self.pools.iter().map(|pool| pool.delayed).sum()
    }

    /// Everything that is due by `now` happens.
    pub(crate) fn on_deadline(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        while self.next_deadline().is_some_and(|due| due <= now) {
            while let Some(&(due, slot, timer)) = self.timers.first()
                && due <= now
            {
                match timer {
                    Timer::Alarm => self.on_alarm(slot, now, out),
                    Timer::Warn => self.on_warn_timer(slot, now, out),
                }
            }
            self.report_waits(now, out);
            self.report_staged(now, out);
            self.lift(now);
            self.check_claims(now, out);
            self.check_exits(now, out);
            self.check_overruns(now, out);
            self.check_balance(now);
            self.check_memory(now, out);
            self.check_shortage(now);
            self.schedule(now, out);
        }
    }

    fn on_alarm(&mut self, slot: u32, now: Time, out: &mut Vec<Effect<P>>) {
        self.set_alarm(slot, Time::NEVER);
        match self.tasks[slot].state {
            State::Delayed => self.on_delay_ended(slot, now, out),
            State::Queued => {
                self.leave_line(slot);
                self.resolve(slot, Ending::Expired, now, out);
            }
            State::Staged => self.start_revoke(slot, Revoke::Expire, out),
            State::Running | State::Begun if !self.tasks[slot].is_timed_out(now) => {
                self.on_limit(slot, now, out);
            }
            State::Running if self.may_retry(slot, RetryOn::Timeout) => {
                self.give_up(slot, out);
                self.end(slot, now);
                let grace_ends = (now + self.tasks[slot].timeout).max(now + GRACE_MIN);
                self.set_alarm(slot, grace_ends);
                self.tasks[slot].state = State::AwaitingEnd;
            }
            State::Running => {
                self.give_up(slot, out);
                self.time_out_detached(slot, now, out);
            }
            // It may never end, and the task with it.
            State::AwaitingEnd => self.time_out_detached(slot, now, out),
            State::Begun => self.start_kill(slot, Kill::TimedOut(TimeLimit::Timeout), out),
            state => unreachable!("no alarm is set in {state:?}"),
        }
    }

    fn time_out_detached(&mut self, slot: u32, now: Time, out: &mut Vec<Effect<P>>) {
        let attempt = self.tasks.ticket(slot).attempt;
        let ending = Ending::TimedOut { worker: None, attempt, limit: TimeLimit::Timeout };
        self.resolve_detached(slot, ending, now, out);
    }

    fn on_delay_ended(&mut self, slot: u32, now: Time, out: &mut Vec<Effect<P>>) {
        self.leave_delayed(slot);
        let record = &mut self.tasks[slot];
        if record.issue == 0 {
            self.enqueue(now, slot);
        } else {
            record.mark = now;
            self.requeue(slot, now, out);
        }
    }

    fn on_warn_timer(&mut self, slot: u32, now: Time, out: &mut Vec<Effect<P>>) {
        self.clear_warn_timer(slot);
        self.report_due_levels(slot, now, out);
        self.set_warn_timer(slot);
    }

    fn report_due_levels(&mut self, slot: u32, now: Time, out: &mut Vec<Effect<P>>) {
        for level in 0..WARN_LEVELS {
            let due = !self.warn_after[level].is_endless() && self.report_due(slot, level) <= now;
            if due && !self.tasks[slot].reported[level] {
                self.report(slot, level, now, out);
            }
        }
    }

    /// Reports the waits of those that wait behind others in workers.
    fn report_staged(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        if self.staged_report > now {
            return;
        }
        self.staged_report = Time::NEVER;
        let workers = self.pools.iter().filter_map(|pool| pool.workers.as_ref());
        let entries = workers.flat_map(|workers| workers.iter().flat_map(|it| &it.entries));
        let waiting: Vec<u32> =
            entries.copied().filter(|&slot| self.tasks[slot].waits_staged()).collect();
        for slot in waiting {
            self.report_due_levels(slot, now, out);
            if let Some(due) = self.warn_due(slot) {
                self.staged_report = self.staged_report.min(due);
            }
        }
    }

    /// Reports the waits of those who wait in order of age.
    fn report_waits(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        loop {
            let due = |&(slot, level): &(u32, usize)| self.report_due(slot, level) <= now;
            let Some((slot, level)) = self.unreported().find(due) else {
                return;
            };
            let (pool, class) = (self.tasks[slot].pool, self.nodes.class(slot));
            self.pools[pool as usize].admission.set_reported(&self.nodes, class, level);
            self.report(slot, level, now, out);
        }
    }

    /// Pools in which tasks wait for a place.
    fn pools_with_lines(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(|pool| pool.admission.has_waiting())
    }

    /// For each pool, class and level the one whose report is due first.
    fn unreported(&self) -> impl Iterator<Item = (u32, usize)> {
        let levels = (0..WARN_LEVELS).filter(|&level| !self.warn_after[level].is_endless());
        levels.flat_map(move |level| {
            let classes =
                self.pools_with_lines().flat_map(|pool| Priority::ALL.map(|class| (pool, class)));
            classes.filter_map(move |(pool, class)| {
                Some((pool.admission.unreported(class, level)?, level))
            })
        })
    }

    fn report_due(&self, slot: u32, level: usize) -> Time {
        self.tasks[slot].waits_since() + self.warn_after[level]
    }

    fn report(&mut self, slot: u32, level: usize, now: Time, out: &mut Vec<Effect<P>>) {
        let task = self.tasks.id(slot);
        let record = &mut self.tasks[slot];
        record.reported[level] = true;
        let waited = now.since(record.waits_since());
        let payload = record.payload.clone().expect("an unresolved task has its payload");
        out.push(Effect::Warn { task, payload, level: LEVELS[level], waited });
    }

    fn lift(&mut self, now: Time) {
        for pool in &PoolId::ALL {
            while let Some(slot) =
                self.pools[*pool as usize].admission.lift_due(&mut self.nodes, now)
            {
                self.set_warn_timer(slot);
            }
        }
    }
}
