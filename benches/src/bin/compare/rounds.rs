//! Contenders take turns: one sample each in every round, another one first each time, all others asleep.

use std::time::{Duration, Instant};

use crate::report::{Bar, Row, Unit};
use crate::run::Run;

/// More tasks at once would measure the memory for their answers.
const TASKS_MAX: u64 = 1 << 20;

/// Somebody who is measured.
pub(crate) struct Contender<'a> {
    name: String,
    /// Does it so many times, and returns the seconds for one.
    run: Box<dyn FnMut(u64) -> f64 + 'a>,
    tasks_min: u64,
    tasks_max: u64,
    tasks: u64,
    samples: Vec<f64>,
}

impl<'a> Contender<'a> {
    /// `run` does something so many times, and returns the seconds for one.
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut(u64) -> f64 + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
            tasks_min: 1,
            tasks_max: TASKS_MAX,
            tasks: 1,
            samples: Vec::new(),
        }
    }

    /// A sample of fewer than so many would not be fair to it.
    pub(crate) fn at_least(mut self, tasks: u64) -> Self {
        self.tasks_min = tasks;
        self
    }

    /// It can't have more than so many on their way.
    pub(crate) fn at_most(mut self, tasks: u64) -> Self {
        self.tasks_max = tasks;
        self
    }

    /// Find out how many tasks take about `duration`. Warms up on the way.
    #[expect(clippy::cast_sign_loss, reason = "times are positive")]
    fn fill(&mut self, duration: Duration) {
        let wanted = duration.as_secs_f64();
        let mut tasks = self.tasks_min;
        loop {
            let each = (self.run)(tasks);
            if each * tasks as f64 >= wanted / 4.0 || tasks >= self.tasks_max {
                self.tasks = ((wanted / each) as u64).clamp(self.tasks_min, self.tasks_max);
                return;
            }
            tasks = (tasks * 4).min(self.tasks_max);
        }
    }
}

/// How many times a contender does it for one sample.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Times(u64),
    /// As often as fits into about this.
    Fill(Duration),
}

/// A comparison: the first contender is ours.
pub(crate) struct Table<'a> {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) length: Length,
    pub(crate) rounds: usize,
    pub(crate) contenders: Vec<Contender<'a>>,
    pub(crate) bars: Vec<Bar>,
    /// The contender of whose time each takes a percentage, in a column of its own.
    pub(crate) ideal: Option<&'static str>,
}

impl Table<'_> {
    /// Measure, print, and note what came of the bars.
    pub(crate) fn measure(mut self, run: &mut Run) {
        run.watch.refresh();
        for contender in &mut self.contenders {
            match self.length {
                Length::Fill(duration) => contender.fill(duration),
                Length::Times(tasks) => {
                    contender.tasks = tasks;
                    (contender.run)(tasks.min(contender.tasks_min));
                }
            }
        }
        let start = Instant::now();
        let count = self.contenders.len();
        for round in 0..self.rounds {
            if run.must_do(round, start.elapsed()) {
                println!("{round} of {} rounds, for lack of time.\n", self.rounds);
                break;
            }
            for turn in 0..count {
                let contender = &mut self.contenders[(round + turn) % count];
                run.watch.wait_until_all_sleep();
                let sample = (contender.run)(contender.tasks);
                contender.samples.push(sample);
            }
        }
        let rows = self
            .contenders
            .into_iter()
            .map(|contender| Row { name: contender.name, samples: contender.samples });
        let rows: Vec<_> = rows.collect();
        run.report(&self.title, self.unit, &rows, &self.bars, self.ideal);
    }
}
