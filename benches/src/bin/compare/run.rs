//! What all sections share: how long to take, the cores, and what has come of it so far.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use atasker_benches::placement::{Cores, Layout, NotPinned, Placement};
use atasker_benches::pools::Pools;
use atasker_benches::work;

use crate::arguments::Arguments;
use crate::report::{self, Bar, Row, Unit, Verdict};
use crate::watch::Watch;

/// Fewer rounds tell little; they are what there is time for in any case.
const ROUNDS_MIN: usize = 3;

/// One run of this program.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) arguments: Arguments,
    pub(crate) cores: Cores,
    pub(crate) watch: Watch,
    pub(crate) verdicts: Vec<Verdict>,
    steps_per_us: OnceCell<f64>,
    begun: Instant,
}

impl Run {
    pub(crate) fn new(arguments: Arguments) -> Self {
        let cores = Cores::of_this_process();
        Self {
            arguments,
            watch: Watch::new(cores.count()),
            cores,
            verdicts: Vec::new(),
            steps_per_us: OnceCell::new(),
            begun: Instant::now(),
        }
    }

    /// How often each contender has its turn.
    pub(crate) fn rounds(&self) -> usize {
        if self.arguments.short { 3 } else { 11 }
    }

    /// How long a sample takes, where the length can be chosen.
    pub(crate) fn sample(&self) -> Duration {
        Duration::from_millis(if self.arguments.short { 8 } else { 40 })
    }

    /// Whether a table must do with so many rounds, which have taken so long: none takes much longer, nor the
    /// whole run.
    pub(crate) fn must_do(&self, rounds: usize, taken: Duration) -> bool {
        let (table_s, run_s) = if self.arguments.short { (2, 34) } else { (15, 240) };
        let run_is_over = self.begun.elapsed() > Duration::from_secs(run_s);
        let table_is_over = taken > Duration::from_secs(table_s);
        rounds > 0 && (run_is_over || table_is_over && rounds >= ROUNDS_MIN)
    }

    /// How many steps of computation take so long.
    pub(crate) fn steps(&self, duration: Duration) -> u32 {
        let steps_per_us = *self.steps_per_us.get_or_init(work::steps_per_us);
        work::steps(duration, steps_per_us)
    }

    /// Print what was measured, and note what came of the bars. With an `ideal`, say who reaches how
    /// much of it.
    pub(crate) fn report(
        &mut self,
        title: &str,
        unit: Unit,
        rows: &[Row],
        bars: &[Bar],
        ideal: Option<&str>,
    ) {
        println!("{}", report::table(unit, rows, ideal));
        let verdicts: Vec<_> = bars.iter().map(|bar| bar.judge(title, rows)).collect();
        println!("{}", report::verdicts(&verdicts));
        self.verdicts.extend(verdicts);
    }

    /// Where everything goes; `None`, and says why, if that is not possible here.
    pub(crate) fn layout(&self, placement: Placement, workers: usize) -> Option<Layout> {
        let layout = self.cores.layout(placement, workers);
        match &layout {
            Some(layout) => println!("**{placement}**: {layout}.\n"),
            None => warn(&format!("{placement}: not measured, since it needs a second core")),
        }
        layout
    }

    /// All pools with so many workers, in their places.
    pub(crate) fn pools(workers: usize, layout: &Layout) -> Pools {
        let (pools, placed) = Pools::start(workers, layout);
        warn_unless_placed(placed);
        pools
    }
}

/// Say so in the report if something is not where it should be.
pub(crate) fn warn_unless_placed(placed: Result<(), NotPinned>) {
    if let Err(error) = placed {
        warn(&format!("not placed as said here: {error}"));
    }
}

/// Where it can't be overlooked.
pub(crate) fn warn(text: &str) {
    println!("**Warning**: {text}.\n");
    eprintln!("warning: {text}");
}
