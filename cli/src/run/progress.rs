//! The live line on standard error, for as long as somebody may look at it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::screen::Screen;
use crate::text::{show_duration, show_rate, thousands};

/// How things stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) running: u64,
    /// Jobs found in the input so far.
    pub(crate) jobs_read: u64,
    pub(crate) bytes_read: u64,
    /// The size of the input, where it has one.
    pub(crate) bytes: Option<u64>,
    /// Those that run and say how far they are, the longest first.
    pub(crate) under_way: Vec<UnderWay>,
}

/// A job that runs.
#[derive(Clone, Debug)]
pub(crate) struct UnderWay {
    /// What it is called.
    pub(crate) job: String,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

impl UnderWay {
    fn show(&self) -> String {
        let Self { job, done, total } = self;
        match (u128::from(*done) * 100).checked_div((*total).into()) {
            Some(percent) => format!("{job} at {percent} %"),
            None => format!("{job} at {}", thousands(*done)),
        }
    }
}

impl Standing {
    /// How many jobs there are, or seem to be: the rest of the file will be like its beginning.
    fn jobs(&self) -> Option<u64> {
        let bytes = self.bytes?;
        if self.bytes_read >= bytes || self.bytes_read == 0 {
            return (bytes == self.bytes_read).then_some(self.jobs_read);
        }
        let jobs = self.jobs_read as f64 * bytes as f64 / self.bytes_read as f64;
        Some((jobs as u64).max(self.jobs_read))
    }
}

/// Times between two drawings.
const EVERY: Duration = Duration::from_millis(100);
/// So many of those under way are shown.
const SHOWN_MAX: usize = 3;
/// The rate is that of the last so many seconds.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// Draws the standing now and then.
#[derive(Debug)]
pub(crate) struct Progress {
    screen: Option<Arc<Screen>>,
    next: Instant,
    /// When how many were done, within [`RATE_WINDOW`].
    recent: VecDeque<(Instant, u64)>,
}

impl Progress {
    pub(crate) fn new(screen: Option<Arc<Screen>>) -> Self {
        let now = Instant::now();
        Self { screen, next: now, recent: VecDeque::from([(now, 0)]) }
    }

    /// When to draw next; `None`: nobody looks.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.screen.as_ref().map(|_| self.next)
    }

    /// Draw it if it is time to.
    pub(crate) fn tick(&mut self, standing: impl FnOnce() -> Standing) {
        let Some(screen) = &self.screen else { return };
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + EVERY;
        let standing = standing();
        self.recent.push_back((now, standing.done));
        while self.recent.len() > 2 && now - self.recent[0].0 > RATE_WINDOW {
            self.recent.pop_front();
        }
        let (since, done) = self.recent[0];
        let rate = (standing.done - done) as f64 / (now - since).as_secs_f64().max(1e-3);
        screen.show(line(&standing, rate));
    }

    /// Nothing more will be drawn.
    pub(crate) fn finish(&mut self) {
        if let Some(screen) = self.screen.take() {
            screen.clear();
        }
    }
}

fn line(standing: &Standing, rate: f64) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let jobs = standing.jobs();
    if let Some(jobs) = jobs {
        let percent = (standing.done * 100).checked_div(jobs).unwrap_or(100);
        // Writing to a String does not fail, here and below.
        let _ = write!(text, "{percent:3} %  ");
    }
    let _ = write!(text, "{} done", thousands(standing.done));
    if standing.failed > 0 {
        let _ = write!(text, " ({} failed)", thousands(standing.failed));
    }
    let _ = write!(text, ", {} running, {}/s", standing.running, show_rate(rate));
    if let Some(jobs) = jobs
        && rate > 0.0
    {
        let left = jobs.saturating_sub(standing.done) as f64 / rate;
        if let Ok(left) = Duration::try_from_secs_f64(left.ceil()) {
            let _ = match left.as_secs() {
                seconds @ ..10 => write!(text, ", ETA {seconds} s"),
                _ => write!(text, ", ETA {}", show_duration(left)),
            };
        }
    }
    let under_way = &standing.under_way;
    for one in under_way.iter().take(SHOWN_MAX) {
        text.push_str("; ");
        text.push_str(&one.show());
    }
    if under_way.len() > SHOWN_MAX {
        let _ = write!(text, "; and {} more", under_way.len() - SHOWN_MAX);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_known() {
        let stream = Standing { done: 1_234, running: 4, ..Standing::default() };
        assert_eq!(line(&stream, 812.4), "1,234 done, 4 running, 812/s");
        let file = Standing {
            done: 50,
            failed: 3,
            running: 2,
            jobs_read: 100,
            bytes_read: 1_000,
            bytes: Some(4_000),
            under_way: Vec::new(),
        };
        assert_eq!(
            line(&file, 2.5),
            " 12 %  50 done (3 failed), 2 running, 2.50/s, ETA 2 min 20 s"
        );
        let read = Standing { bytes_read: 4_000, ..file.clone() };
        assert_eq!(line(&read, 50.0), " 50 %  50 done (3 failed), 2 running, 50.0/s, ETA 1 s");
        assert_eq!(
            line(&Standing { bytes: Some(0), ..Standing::default() }, 0.0),
            "100 %  0 done, 0 running, 0.00/s"
        );
        let under_way = |job: &str, done, total| UnderWay { job: job.to_owned(), done, total };
        let mut running = Standing { running: 4, ..Standing::default() };
        running.under_way = vec![under_way("line 7", 1, 3), under_way("nine", 1_200, 0)];
        assert_eq!(line(&running, 0.0), "0 done, 4 running, 0.00/s; line 7 at 33 %; nine at 1,200");
        running.under_way.extend([under_way("a", u64::MAX, u64::MAX), under_way("b", 0, 1)]);
        assert!(line(&running, 0.0).ends_with("; nine at 1,200; a at 100 %; and 1 more"));
    }
}
