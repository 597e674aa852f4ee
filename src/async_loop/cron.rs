//! Cron expressions. The only place that knows the crates for them.

use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta};
use croner::parser::{CronParser, Seconds};
use tokio::time::Instant;

use super::schedule::Step;

/// How often the wall clock is looked at. It may be set, and it goes on while the computer sleeps, when the clock by
/// which threads wait does not.
const LOOK: Duration = Duration::from_secs(60);
/// As in cron(8): by more than this no clock is merely put right.
const SET_BACK_MAX: TimeDelta = TimeDelta::hours(3);

/// A text that is no cron expression.
///
/// ```
/// # #[cfg(feature = "cron")] {
/// let error = atasker::Schedule::cron("every day").unwrap_err();
/// assert!(error.to_string().contains("`every day`"));
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}` is no cron expression: {reason}")]
pub struct CronError {
    expression: String,
    reason: String,
}

/// The message: `unwrap` and a `main` that returns it print this form.
impl std::fmt::Debug for CronError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The times of an expression.
#[derive(Clone, Debug)]
pub(super) struct Cron {
    expression: Box<croner::Cron>,
    /// The time that is next, once they are followed.
    next: Option<DateTime<Local>>,
    /// What the clock showed last.
    seen: Option<DateTime<Local>>,
}

impl Cron {
    pub(super) fn parse(expression: &str) -> Result<Self, CronError> {
        let parsed = CronParser::builder().seconds(Seconds::Optional).build().parse(expression);
        let parsed = parsed.map_err(|error| CronError {
            expression: expression.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { expression: Box::new(parsed), next: None, seen: None })
    }

    /// When to look first. `None`: there is no such time.
    pub(super) fn begin(&mut self, now: Instant, delay: Duration) -> Option<Instant> {
        let wall = Local::now();
        let from = wall.checked_add_signed(TimeDelta::from_std(delay).ok()?)?;
        self.next = self.after(&from);
        self.look_again(now, &wall)
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        self.step_at(now, &Local::now())
    }

    fn step_at(&mut self, now: Instant, wall: &DateTime<Local>) -> Step {
        let runs = self.next.as_ref().is_some_and(|next| next <= wall);
        // A clock that was set back a little does not make anything run again; one that was set back by more shows
        // another time altogether.
        let is_another = self.seen.as_ref().is_some_and(|seen| *seen - *wall > SET_BACK_MAX);
        if runs || is_another {
            self.next = self.after(wall);
        }
        self.seen = Some(*wall);
        Step { runs, next: self.look_again(now, wall) }
    }

    fn after(&self, wall: &DateTime<Local>) -> Option<DateTime<Local>> {
        self.expression.find_next_occurrence(wall, false).ok()
    }

    fn look_again(&self, now: Instant, wall: &DateTime<Local>) -> Option<Instant> {
        let left = (*self.next.as_ref()? - *wall).to_std().unwrap_or_default();
        now.checked_add(left.min(LOOK))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn at(hour: u32, minute: u32, second: u32) -> DateTime<Local> {
        Local
            .with_ymd_and_hms(2030, 1, 15, hour, minute, second)
            .single()
            .expect("no clock is changed")
    }

    fn followed(expression: &str, from: &DateTime<Local>) -> Cron {
        let mut cron = Cron::parse(expression).expect("it is one");
        cron.next = cron.after(from);
        cron
    }

    #[test]
    fn it_runs_at_its_times_and_looks_at_the_clock_in_between() {
        let mut cron = followed("0 */5 * * * *", &at(12, 1, 0));
        let now = Instant::now();
        let early = cron.step_at(now, &at(12, 2, 0));
        assert_eq!(early, Step { runs: false, next: Some(now + LOOK) });
        let just_before = cron.step_at(now, &(at(12, 5, 0) - TimeDelta::milliseconds(2)));
        assert_eq!(just_before, Step { runs: false, next: Some(now + Duration::from_millis(2)) });
        assert!(cron.step_at(now, &at(12, 5, 0)).runs);
        assert!(!cron.step_at(now, &at(12, 5, 0)).runs, "once at each time");
    }

    #[test]
    fn what_was_missed_is_made_up_for_once() {
        let mut cron = followed("*/10 * * * *", &at(12, 1, 0));
        let now = Instant::now();
        assert!(cron.step_at(now, &at(14, 3, 0)).runs);
        assert!(!cron.step_at(now, &at(14, 3, 0)).runs);
        assert!(cron.step_at(now, &at(14, 10, 0)).runs);
    }

    #[test]
    fn a_clock_that_is_set_back_lets_it_wait() {
        let mut cron = followed("0 13 * * *", &at(12, 0, 0));
        let now = Instant::now();
        assert!(!cron.step_at(now, &at(11, 0, 0)).runs);
        assert!(cron.step_at(now, &at(13, 0, 0)).runs);
    }

    #[test]
    fn a_clock_that_shows_another_day_is_followed() {
        let mut cron = followed("*/5 * * * *", &at(12, 1, 0));
        let now = Instant::now();
        assert!(!cron.step_at(now, &at(12, 2, 0)).runs);
        let day_before = |minute| at(12, minute, 0) - TimeDelta::days(1);
        assert!(!cron.step_at(now, &day_before(2)).runs);
        assert!(cron.step_at(now, &day_before(5)).runs);
    }

    #[test]
    fn what_never_comes_has_no_run() {
        let mut cron = Cron::parse("0 0 30 2 *").expect("it is one");
        assert_eq!(cron.begin(Instant::now(), Duration::ZERO), None);
    }

    #[test]
    fn mistakes_are_named() {
        for wrong in ["", "every day", "61 * * * *", "* * * * * * * *"] {
            let error = Cron::parse(wrong).expect_err("it is none");
            assert!(error.to_string().starts_with(&format!("`{wrong}` is no cron expression: ")));
        }
    }
}
