//! Races that are decided by a hair: a task's time is up, or it is cancelled, just when it ends and the next one in its
//! worker begins.
//!
//! Each lane has a worker of its own, and hands in pairs: the racer, and a task that stands behind it in the same
//! ring. When the racer ends follows the outcomes, so that most races are lost by the kill, because a kill
//! costs a process. The racer has exactly one outcome, and the one behind it always its value.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use atasker::{Limits, Output, Stop, Supervisor, TaskError, TaskErrorKind};

use crate::dice::{Dice, mix};
use crate::oracle::Ran;
use crate::record::Record;
use crate::tasks;

/// What the racer runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    Timeout,
    Cancel,
}

const LANES: u64 = 2;
/// What ran is compared with what was told so often.
const CHECKED_AFTER: u64 = 1_000;
const TIMEOUT: Duration = Duration::from_micros(300);
/// How long a racer runs that is to be cancelled.
const RUNS_NS: u64 = 60_000;
/// For each race that the kill wins, about so many that it loses.
const LOST_FOR_WON: u64 = 60;
const STEP_NS: u64 = 100;
/// Of the number of the task behind a racer.
const BEHIND: u64 = 1 << 60;

#[derive(Debug, Default)]
struct Sums {
    completed: AtomicU64,
    /// Completed though their time was up before the outcome was looked at.
    by_a_hair: AtomicU64,
    ended: AtomicU64,
}

/// Have so many races. What is wrong, if anything.
pub(crate) fn race(against: Against, count: u64, seed: u64) -> Result<(), String> {
    let (start, sums) = (Instant::now(), Sums::default());
    std::thread::scope(|scope| {
        let lanes = (0..LANES).map(|lane| {
            let share = count / LANES + u64::from(lane < count % LANES);
            let sums = &sums;
            scope.spawn(move || Lane::new(against, lane, seed, sums).run(share))
        });
        let lanes: Vec<_> = lanes.collect();
        lanes.into_iter().try_for_each(|lane| lane.join().expect("lanes do not panic"))
    })?;
    let load = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
    let (completed, ended) = (load(&sums.completed), load(&sums.ended));
    println!(
        "{count} races against {against:?} in {:.1} s: {completed} completed, {} of them although it was time, \
         {ended} ended by it; one outcome each, and every task behind them ran once",
        start.elapsed().as_secs_f64(),
        load(&sums.by_a_hair),
    );
    Ok(())
}

struct Lane<'a> {
    against: Against,
    ordinal: u64,
    dice: Dice,
    sums: &'a Sums,
    record: Record,
    supervisor: Supervisor,
    /// How long the racer runs, or when it is cancelled.
    nanos: u64,
    /// The racers since the last check, and whether each has its value.
    racers: Vec<(u64, bool)>,
}

impl<'a> Lane<'a> {
    fn new(against: Against, lane: u64, seed: u64, sums: &'a Sums) -> Self {
        let record = Record::create().expect("there is room for the record");
        let supervisor = Supervisor::builder()
            .processes(Limits::new(1))
            .spares(1)
            .worker_output(Output::Silent)
            .worker_data(&record.folder().to_owned())
            .start()
            .expect("a worker starts");
        let nanos = match against {
            Against::Timeout => TIMEOUT.as_nanos() as u64 / 3,
            Against::Cancel => RUNS_NS * 2,
        };
        let (dice, racers) = (Dice::of(seed, lane), Vec::new());
        Self { against, ordinal: lane, dice, sums, record, supervisor, nanos, racers }
    }

    fn run(mut self, count: u64) -> Result<(), String> {
        for index in 0..count {
            let number = self.ordinal << 40 | index;
            let has_value = self.one(number)?;
            self.adapt(has_value);
            self.racers.push((number, has_value));
            if self.racers.len() as u64 == CHECKED_AFTER {
                self.check()?;
            }
        }
        self.check()?;
        self.supervisor.stop(Stop::Drain);
        Ok(())
    }

    /// One race. Whether the racer has its value.
    fn one(&mut self, number: u64) -> Result<bool, String> {
        let accept = |error| format!("task {number} was refused: {error}");
        // So that the begin of the one behind does not always meet the same moment.
        let noise = self.dice.below(2_000);
        let runs = if self.against == Against::Timeout { self.nanos + noise } else { RUNS_NS };
        let mut call = tasks::spin_for::call(number, runs);
        if self.against == Against::Timeout {
            call = call.timeout(TIMEOUT);
        }
        let start = Instant::now();
        let racer = self.supervisor.submit(call).map_err(accept)?;
        let call = tasks::spin_for::call(number | BEHIND, self.dice.below(3_000));
        let behind = self.supervisor.submit(call).map_err(accept)?;
        let mut cancelled = None;
        if self.against == Against::Cancel {
            while (start.elapsed().as_nanos() as u64) < self.nanos + noise {
                std::hint::spin_loop();
            }
            cancelled = Some(racer.cancel());
        }
        match behind.wait() {
            Ok(value) if value == mix(number | BEHIND) => {}
            other => return Err(format!("the task behind {number} came to {other:?}")),
        }
        if self.against == Against::Timeout && racer.info().ran >= TIMEOUT {
            self.sums.by_a_hair.fetch_add(1, Ordering::Relaxed);
        }
        self.judge(number, racer.wait(), cancelled)
    }

    fn judge(
        &self,
        number: u64,
        outcome: Result<u64, TaskError>,
        cancelled: Option<bool>,
    ) -> Result<bool, String> {
        let (has_value, may) = match &outcome {
            Ok(value) => (true, *value == mix(number) && cancelled != Some(true)),
            Err(error) => match error.kind() {
                TaskErrorKind::TimedOut { .. } => (false, self.against == Against::Timeout),
                TaskErrorKind::Cancelled => (false, cancelled == Some(true)),
                _ => (false, false),
            },
        };
        let sum = if has_value { &self.sums.completed } else { &self.sums.ended };
        sum.fetch_add(1, Ordering::Relaxed);
        if may {
            Ok(has_value)
        } else {
            Err(format!("task {number} came to {outcome:?}, `cancel` said {cancelled:?}"))
        }
    }

    /// Have the next race be closer.
    fn adapt(&mut self, has_value: bool) {
        let longer = match self.against {
            Against::Timeout => has_value,
            Against::Cancel => !has_value,
        };
        let step = if has_value { STEP_NS } else { STEP_NS * LOST_FOR_WON };
        let nanos = if longer { self.nanos + step } else { self.nanos.saturating_sub(step) };
        self.nanos = nanos.clamp(1_000, 5_000_000);
    }

    /// What ran must be what was told.
    fn check(&mut self) -> Result<(), String> {
        let lines = self.record.read().expect("the record can be read");
        let ran = Ran::of(&lines);
        for (number, has_value) in self.racers.drain(..) {
            let racer = ran.attempts(number);
            let left = racer.iter().filter(|attempt| attempt.ended.is_some()).count();
            if racer.len() > 1 || (has_value && left != 1) {
                return Err(format!("task {number} with a value: {has_value}, but {racer:?} ran"));
            }
            let behind = ran.attempts(number | BEHIND);
            if behind.len() != 1 || behind[0].ended.is_none() {
                return Err(format!("the task behind {number} ran as {behind:?}"));
            }
        }
        self.record.clear().expect("the record can be cleared");
        Ok(())
    }
}
