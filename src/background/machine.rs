//! The life of one background worker: whether it runs, when it runs next, what a stop, a restart or a trigger
//! means at each moment. Pure: it knows neither clock nor thread nor user code; see README.md.
//!
//! Work is done in *turns*. A turn is submitted by the shell, begins somewhere, asks for one [`Step`] after
//! another, and leaves. At most one is current; whatever else still comes from earlier ones is recognised by its
//! number and changes nothing.

use std::time::Duration;

use super::info::BackgroundStatus;
use super::timing::{Ticks, Timing};
use crate::admission::Time;
use crate::task::options::Backoff;

/// What makes a worker run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One run after another.
    Loop,
    /// Each item of a queue.
    Queue,
    /// Somebody triggers it.
    Event,
    /// Time passes.
    Interval(Timing),
}

/// How long runs wait for a process pool that can't be started.
const REFUSED_BACKOFF: Backoff =
    Backoff::exponential(Duration::from_millis(10), Duration::from_secs(1));

/// What a background worker does after a run that failed: one that panicked, crashed, or returned an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// It goes on. What it does unless said. But if a call is refused because the process pool has given up for good,
    /// it stops; and if the pool only can't be started just now, it goes on after a wait, of up to a second.
    #[default]
    GoOn,
    /// It stops.
    Stop,
    /// It goes on after a wait, which grows with failures that follow one another. A trigger does not shorten
    /// it.
    Backoff(Backoff),
}

/// Names a turn of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn(u64);

/// What the shell has to do, after it has let go of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Command {
    Nothing,
    /// Withdraw what was submitted: no turn is current any more.
    Withdraw,
    /// Submit a turn, in the place of an earlier one if that has not begun.
    Submit {
        turn: Turn,
        /// Not before. `None`: at once.
        at: Option<Time>,
        /// It ends the worker, so it must not wait for a place.
        is_urgent: bool,
    },
}

/// What a turn does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Step {
    /// Call the hooks of the start.
    Greet,
    /// Run. `planned`: the tick it is for.
    Run { planned: Option<Time> },
    /// Call the hooks of the end.
    Part,
    /// The turn is over.
    Leave(Command),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// It asked for no more.
    pub(crate) breaks: bool,
    pub(crate) failed: bool,
    /// There was no process pool to run it, but there may be one later.
    pub(crate) refused: bool,
    /// More waits in the queue.
    pub(crate) more: bool,
}

/// What has happened since the worker was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) runs: u64,
    pub(crate) errors: u64,
    pub(crate) skipped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Inactive,
    /// Active, without anything to do.
    Waiting,
    /// A turn is submitted and has not begun.
    Planned {
        at: Time,
    },
    /// A turn is under way.
    Turning {
        runs: bool,
    },
}

/// One background worker.
#[derive(Debug)]
pub(crate) struct Machine {
    kind: Kind,
    on_failure: OnFailure,
    stage: Stage,
    turn: Turn,
    /// Turns in whose place others were submitted, or none, before they had begun, and of which that is not settled.
    overtaken: Vec<Turn>,
    /// The hooks of the start have been called, so those of the end are due.
    greeted: bool,
    stopping: bool,
    /// It starts again when it has stopped.
    again: bool,
    /// A trigger has come, or an item, since the last run began.
    wanted: bool,
    /// Since the start, for an interval.
    ticks: Option<Ticks>,
    failures_in_a_row: u32,
    /// Backoff.
    not_before: Time,
    counts: Counts,
    lives_ended: u64,
}

impl Machine {
    pub(crate) fn new(kind: Kind, on_failure: OnFailure) -> Self {
        Self {
            kind,
            on_failure,
            stage: Stage::Inactive,
            turn: Turn(0),
            overtaken: Vec::new(),
            greeted: false,
            stopping: false,
            again: false,
            wanted: false,
            ticks: None,
            failures_in_a_row: 0,
            not_before: Time::ZERO,
            counts: Counts::default(),
            lives_ended: 0,
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.stage != Stage::Inactive
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(crate) fn takes_items(&self) -> bool {
        self.is_active() && (!self.stopping || self.again)
    }

    pub(crate) fn status(&self) -> BackgroundStatus {
        match self.stage {
            Stage::Inactive => BackgroundStatus::Stopped,
            _ if self.stopping => BackgroundStatus::Stopping,
            Stage::Turning { runs: true } => BackgroundStatus::Running,
            Stage::Waiting | Stage::Planned { .. } | Stage::Turning { runs: false } => {
                BackgroundStatus::Waiting
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// How often it has been started and has stopped again.
    pub(crate) fn lives_ended(&self) -> u64 {
        self.lives_ended
    }

    /// Whether what was submitted as `turn` will never begin, since another has taken its place, or none has. Asked
    /// once: whoever is told withdraws it.
    pub(crate) fn take_overtaken(&mut self, turn: Turn) -> bool {
        let at = self.overtaken.iter().position(|&other| other == turn);
        at.map(|at| self.overtaken.swap_remove(at)).is_some()
    }

    /// Whether what was submitted as `turn` has still to begin.
    pub(crate) fn is_planned(&self, turn: Turn) -> bool {
        self.turn == turn && matches!(self.stage, Stage::Planned { .. })
    }

    /// Whether what was submitted as `turn` is still of use.
    pub(crate) fn is_current(&self, turn: Turn) -> bool {
        self.turn == turn && matches!(self.stage, Stage::Planned { .. } | Stage::Turning { .. })
    }

    /// It is to start. `None`: it runs already, and goes on.
    pub(crate) fn on_start(&mut self, now: Time) -> Option<Command> {
        match self.stage {
            Stage::Inactive => {
                // What came before is none of this start's.
                self.wanted = false;
                Some(self.start(now))
            }
            _ if self.stopping && !self.again => {
                self.again = true;
                Some(Command::Nothing)
            }
            _ => None,
        }
    }

    /// It is to stop. A run that goes on is awaited.
    pub(crate) fn on_stop(&mut self, now: Time) -> Command {
        self.again = false;
        match self.stage {
            Stage::Inactive => Command::Nothing,
            Stage::Turning { .. } => {
                self.stopping = true;
                Command::Nothing
            }
            Stage::Planned { .. } | Stage::Waiting if !self.greeted => {
                self.overtake();
                self.finish();
                Command::Withdraw
            }
            // The turn for the end is on its way.
            Stage::Planned { .. } if self.stopping => Command::Nothing,
            Stage::Planned { .. } | Stage::Waiting => {
                self.stopping = true;
                self.submit(now)
            }
        }
    }

    /// It is to stop and to start again.
    pub(crate) fn on_restart(&mut self, now: Time) -> Command {
        match self.stage {
            Stage::Inactive => {
                self.wanted = false;
                self.start(now)
            }
            // It is about to start.
            Stage::Planned { .. } if !self.greeted => Command::Nothing,
            _ => {
                let command = self.on_stop(now);
                self.again = true;
                command
            }
        }
    }

    /// Somebody asks for a run, or there is something in the queue. `even_if_it_runs`: a run that goes on does
    /// not count. Whether a run begins from now on.
    pub(crate) fn on_wanted(&mut self, now: Time, even_if_it_runs: bool) -> (bool, Command) {
        if self.kind == Kind::Loop {
            return (false, Command::Nothing);
        }
        if self.stopping {
            // Kept for when it starts again.
            self.wanted |= self.again;
            return (self.again, Command::Nothing);
        }
        match self.stage {
            Stage::Inactive => (false, Command::Nothing),
            Stage::Turning { runs: true } if !even_if_it_runs => (false, Command::Nothing),
            Stage::Turning { .. } => {
                self.wanted = true;
                (true, Command::Nothing)
            }
            Stage::Planned { at } => {
                self.wanted = true;
                let is_soon = at <= now.max(self.not_before);
                (true, if is_soon { Command::Nothing } else { self.submit(now) })
            }
            Stage::Waiting => {
                self.wanted = true;
                (true, self.submit(now))
            }
        }
    }

    /// What was submitted begins. `None`: it is no longer of use.
    pub(crate) fn on_turn_begun(&mut self, turn: Turn, now: Time) -> Option<Step> {
        if !self.is_planned(turn) {
            return None;
        }
        self.stage = Stage::Turning { runs: false };
        Some(self.next_step(now))
    }

    /// The hooks of the start have been called.
    pub(crate) fn on_greeted(&mut self, now: Time) -> Step {
        self.greeted = true;
        if let Kind::Interval(timing) = self.kind {
            self.ticks = Some(Ticks::start(timing, now));
        }
        self.next_step(now)
    }

    /// A run has ended.
    pub(crate) fn on_ended(&mut self, now: Time, ended: Ended) -> Step {
        self.note_end(now, ended);
        self.step_behind_run(now)
    }

    /// There was nothing in the queue.
    pub(crate) fn on_nothing_found(&mut self, now: Time) -> Step {
        self.counts.runs -= 1;
        self.stage = Stage::Turning { runs: false };
        self.step_behind_run(now)
    }

    /// The hooks of the end have been called.
    pub(crate) fn on_parted(&mut self, now: Time) -> Step {
        let again = self.again;
        self.finish();
        Step::Leave(if again { self.start(now) } else { Command::Nothing })
    }

    /// What was submitted as `turn` was dropped: before it began, or, where futures can be dropped, in the
    /// middle of a run.
    pub(crate) fn on_turn_lost(&mut self, turn: Turn, now: Time) -> Command {
        if !self.is_current(turn) {
            return Command::Nothing;
        }
        match self.stage {
            Stage::Turning { runs: true } => {
                self.note_end(
                    now,
                    Ended { breaks: false, failed: true, refused: false, more: true },
                );
            }
            Stage::Planned { .. } if self.greeted && !self.stopping => self.give_up_run(now),
            _ => {}
        }
        if self.stopping { self.submit(now) } else { self.plan(now) }
    }

    /// No more turns are taken where `turn` was submitted. The one in its place, which is to be begun elsewhere and
    /// only ends the worker.
    pub(crate) fn on_refused(&mut self, turn: Turn) -> Option<Turn> {
        if !self.is_planned(turn) {
            self.take_overtaken(turn);
            return None;
        }
        self.stopping = true;
        self.again = false;
        self.turn = Turn(turn.0 + 1);
        Some(self.turn)
    }

    fn start(&mut self, now: Time) -> Command {
        debug_assert!(!self.is_active(), "it has been finished");
        // Something may be there already.
        self.wanted |= self.kind == Kind::Queue;
        self.submit(now)
    }

    fn finish(&mut self) {
        self.stage = Stage::Inactive;
        self.lives_ended += 1;
        self.greeted = false;
        self.stopping = false;
        self.again = false;
        self.ticks = None;
        self.failures_in_a_row = 0;
        self.not_before = Time::ZERO;
    }

    fn note_end(&mut self, now: Time, ended: Ended) {
        self.stage = Stage::Turning { runs: false };
        self.wanted |= ended.more && self.kind == Kind::Queue;
        self.stopping |= ended.breaks;
        if let Some(ticks) = &mut self.ticks {
            ticks.on_ended(now);
        }
        if !ended.failed {
            self.failures_in_a_row = 0;
            self.not_before = Time::ZERO;
            return;
        }
        self.counts.errors += 1;
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        match self.on_failure {
            OnFailure::GoOn if ended.refused => self.back_off(now, REFUSED_BACKOFF),
            OnFailure::GoOn => {}
            OnFailure::Stop => self.stopping = true,
            OnFailure::Backoff(backoff) => self.back_off(now, backoff),
        }
    }

    fn back_off(&mut self, now: Time, backoff: Backoff) {
        let attempt = self.failures_in_a_row.saturating_add(1);
        self.not_before = now + backoff.wait_before(attempt, self.counts.runs);
    }

    /// A run that was to come does not.
    fn give_up_run(&mut self, now: Time) {
        self.counts.skipped += 1;
        match (self.kind, &mut self.ticks) {
            (Kind::Interval(_), Some(ticks)) if !self.wanted => {
                self.counts.skipped += ticks.on_begun(now.max(ticks.next()));
                ticks.on_ended(now);
            }
            // What is in a queue stays there, and a loop has no reason of its own to run.
            (Kind::Queue | Kind::Loop, _) => {}
            _ => self.wanted = false,
        }
    }

    fn next_step(&mut self, now: Time) -> Step {
        if self.stopping {
            return if self.greeted { Step::Part } else { self.on_parted(now) };
        }
        if !self.greeted {
            return Step::Greet;
        }
        match self.due() {
            Some(at) if at <= now => self.run(now),
            _ => Step::Leave(self.plan(now)),
        }
    }

    /// Each run is a task of its own, so another is never begun in the same turn.
    fn step_behind_run(&mut self, now: Time) -> Step {
        if self.stopping { Step::Part } else { Step::Leave(self.plan(now)) }
    }

    fn run(&mut self, now: Time) -> Step {
        let mut planned = None;
        // A tick that is due when a run was asked for is the same run.
        if let Some(ticks) = &mut self.ticks
            && ticks.next() <= now
        {
            planned = Some(ticks.next());
            self.counts.skipped += ticks.on_begun(now);
        }
        self.wanted = false;
        self.counts.runs += 1;
        self.stage = Stage::Turning { runs: true };
        Step::Run { planned }
    }

    /// When the next run is to begin, if that is known.
    fn due(&self) -> Option<Time> {
        let due = match (self.kind, &self.ticks) {
            _ if self.wanted => Some(Time::ZERO),
            (Kind::Loop, _) => Some(Time::ZERO),
            (_, Some(ticks)) => Some(ticks.next()),
            _ => None,
        };
        due.map(|due| due.max(self.not_before))
    }

    fn plan(&mut self, now: Time) -> Command {
        if self.greeted && self.due().is_none() {
            self.stage = Stage::Waiting;
            return Command::Nothing;
        }
        self.submit(now)
    }

    /// What is planned, if anything, won't begin.
    fn overtake(&mut self) {
        if matches!(self.stage, Stage::Planned { .. }) {
            self.overtaken.push(self.turn);
        }
    }

    /// A new turn, in the place of whatever was current.
    fn submit(&mut self, now: Time) -> Command {
        let has_hooks_to_call = !self.greeted || self.stopping;
        let due = if has_hooks_to_call { None } else { self.due().filter(|due| *due > now) };
        self.overtake();
        self.turn = Turn(self.turn.0 + 1);
        self.stage = Stage::Planned { at: due.unwrap_or(now) };
        Command::Submit { turn: self.turn, at: due, is_urgent: self.stopping }
    }
}

#[cfg(test)]
mod tests;
