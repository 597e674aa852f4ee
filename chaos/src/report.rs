//! What is printed of a violation, so that it can be understood and sought again.

use std::fmt;

use atasker::Transport;

use crate::life::Shared;
use crate::oracle::Attempt;
use crate::plan::LifePlan;

/// The promise was broken.
pub(crate) const EXIT_VIOLATED: i32 = 1;
/// Nothing happened any more.
pub(crate) const EXIT_HUNG: i32 = 3;

/// Something that may not be.
#[derive(Debug)]
pub(crate) struct Violation {
    what: String,
    details: Vec<String>,
    command: String,
}

impl Violation {
    /// `number`: the task that it is about. Zero: none.
    pub(crate) fn new(shared: &Shared, number: u64, attempts: &[Attempt], what: String) -> Self {
        let mut details = vec![format!("life: {:?}", shared.plan)];
        if number != 0 || !attempts.is_empty() {
            details.push(format!("task {number}: {:?}", shared.plan.task(number)));
        }
        for attempt in attempts {
            let began = shared.trace.since_start(attempt.began_ns);
            let ended = attempt.ended.map(|(at, _)| shared.trace.since_start(at).to_string());
            let pid = attempt.pid;
            details.push(format!("{began} began in {pid}, ended {ended:?}: {attempt:?}"));
        }
        let pids: Vec<u32> = attempts.iter().map(|attempt| attempt.pid).collect();
        details.extend(shared.trace.about(number, &pids));
        if number == 0 {
            details.extend(shared.trace.last(40));
        }
        let command = shared.plan.command();
        Self { what: format!("task {number}: {what}"), details, command }
    }

    /// About no task.
    pub(crate) fn of_life(shared: &Shared, what: String) -> Self {
        Self::new(shared, 0, &[], what)
    }

    pub(crate) fn with(mut self, more: Vec<String>) -> Self {
        self.details.extend(more);
        self
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "VIOLATED: {}", self.what)?;
        for line in &self.details {
            writeln!(f, "  {line}")?;
        }
        write!(f, "{}", self.command)
    }
}

impl LifePlan {
    /// How to have this life again.
    pub(crate) fn command(&self) -> String {
        let Self { seed, life, tasks_per_kill, chapters, tasks, .. } = self;
        let transport = if self.transport == Transport::Channel { "channel" } else { "ring" };
        format!(
            "to try it again: cargo run --release -p atasker-chaos -- --seed {seed} --life {life} \
             --transport {transport} --tasks-per-kill {tasks_per_kill} --chapters {chapters} --chapter-tasks {tasks} --for 5m"
        )
    }
}
