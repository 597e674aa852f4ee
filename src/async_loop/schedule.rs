//! When a scheduled job runs.

use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "cron")]
use super::cron::Cron;

/// No job runs more often.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// When a job runs: what [`AsyncLoop::schedule`](crate::AsyncLoop::schedule) takes.
///
/// ```
/// use atasker::Schedule;
/// use std::time::Duration;
/// let schedule = Schedule::every(Duration::from_secs(10)).first_after(Duration::ZERO).times(3);
/// # drop(schedule);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a schedule does nothing until a job has it"]
pub struct Schedule {
    plan: Plan,
    first_after: Option<Duration>,
    times: Option<u64>,
}

#[derive(Clone, Debug)]
enum Plan {
    Every(Duration),
    #[cfg(feature = "cron")]
    Cron(Cron),
}

impl Schedule {
    /// Once in each `interval`, from start to start; an interval below a millisecond is taken for one.
    ///
    /// Each time is the one before and the interval, so that lateness never adds up. Runs that a busy loop has missed
    /// are made up for. The first run is one interval after the job was scheduled, unless
    /// [`first_after`](Self::first_after) says otherwise.
    pub fn every(interval: Duration) -> Self {
        Self::new(Plan::Every(interval.max(INTERVAL_MIN)))
    }

    /// At the times of a cron expression, in the time zone of this computer: minute, hour, day of the month, month, day
    /// of the week, with seconds before them if there are six fields. Names of months and days, lists, ranges, steps,
    /// `L`, `W`, `#` and nicknames such as `@hourly` are understood.
    ///
    /// Times that a busy loop, or a clock that was set forward, has missed are not made up for, but for the last. A
    /// clock that was set is noticed within a minute. One that was set back by up to three hours makes nothing run twice; set
    /// back by more, it shows another time, which is followed from then on.
    ///
    /// ```
    /// use atasker::Schedule;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let each_five_minutes = Schedule::cron("0 */5 * * * *")?;
    /// let workdays_at_six = Schedule::cron("0 6 * * Mon-Fri")?.times(100);
    /// assert!(Schedule::cron("61 * * * *").is_err());
    /// # drop((each_five_minutes, workdays_at_six));
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "cron")]
    pub fn cron(expression: &str) -> Result<Self, super::cron::CronError> {
        Ok(Self::new(Plan::Cron(Cron::parse(expression)?)))
    }

    fn new(plan: Plan) -> Self {
        Self { plan, first_after: None, times: None }
    }

    /// Have the first run so long after the job is scheduled; the others follow from there. With a cron expression, the
    /// first run is at the first of its times after that.
    pub fn first_after(mut self, delay: Duration) -> Self {
        self.first_after = Some(delay);
        self
    }

    /// End after so many runs; never unless said.
    pub fn times(mut self, runs: u64) -> Self {
        self.times = Some(runs);
        self
    }

    /// Begin to follow the schedule. `None`: there is no run at all.
    pub(super) fn begin(self, now: Instant) -> Option<(Timetable, Instant)> {
        let Self { mut plan, first_after, times } = self;
        if times == Some(0) {
            return None;
        }
        let first = match &mut plan {
            Plan::Every(interval) => now.checked_add(first_after.unwrap_or(*interval))?,
            #[cfg(feature = "cron")]
            Plan::Cron(cron) => cron.begin(now, first_after.unwrap_or_default())?,
        };
        Some((Timetable { plan, left: times }, first))
    }
}

/// A schedule that is being followed.
#[derive(Debug)]
pub(super) struct Timetable {
    plan: Plan,
    /// The runs that are still to come, if there is an end.
    left: Option<u64>,
}

/// What is to be done at a time that has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// `false`: it is only looked whether it is time.
    pub(super) runs: bool,
    /// When to go on. `None`: this was the last run.
    pub(super) next: Option<Instant>,
}

impl Timetable {
    /// `due`, which it gave, has come; it is `now`.
    #[cfg_attr(
        not(feature = "cron"),
        expect(unused_variables, reason = "cron alone looks at the clock")
    )]
    pub(super) fn step(&mut self, due: Instant, now: Instant) -> Step {
        let mut step = match &mut self.plan {
            Plan::Every(interval) => Step { runs: true, next: due.checked_add(*interval) },
            #[cfg(feature = "cron")]
            Plan::Cron(cron) => cron.step(now),
        };
        if step.runs
            && let Some(left) = &mut self.left
        {
            *left -= 1;
            step.next = step.next.filter(|_| *left > 0);
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn runs(schedule: Schedule, most: usize) -> Vec<Duration> {
        let start = Instant::now();
        let Some((mut table, mut due)) = schedule.begin(start) else { return Vec::new() };
        let mut all = Vec::new();
        while all.len() < most {
            // Late, each time more.
            let step = table.step(due, due + MS * all.len() as u32);
            assert!(step.runs);
            all.push(due - start);
            match step.next {
                Some(next) => due = next,
                None => break,
            }
        }
        all
    }

    #[test]
    fn each_time_is_the_one_before_and_the_interval() {
        assert_eq!(runs(Schedule::every(10 * MS), 3), [10 * MS, 20 * MS, 30 * MS]);
        let drifts = runs(Schedule::every(7 * MS).first_after(MS), 10_000);
        assert_eq!(drifts.last(), Some(&(MS + 7 * MS * 9_999)));
    }

    #[test]
    fn first_runs_and_numbers_of_runs() {
        let schedule = Schedule::every(10 * MS).first_after(Duration::ZERO).times(2);
        assert_eq!(runs(schedule, 9), [Duration::ZERO, 10 * MS]);
        assert_eq!(runs(Schedule::every(MS).times(0), 9), []);
        assert_eq!(runs(Schedule::every(Duration::ZERO), 2), [MS, 2 * MS]);
        assert_eq!(runs(Schedule::every(Duration::MAX), 2), []);
    }
}
