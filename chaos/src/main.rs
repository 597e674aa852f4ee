//! Seeded chaos against atasker, in real processes, with an oracle that checks every outcome.
//!
//! A run is a sequence of *lives*: a supervisor is started, *lanes* (threads) submit tasks of all kinds, cancel
//! them, wait for them in all ways, resize the pool, kill and stop its workers, and at last the supervisor is
//! stopped or dropped, mostly while all that goes on. What is done follows from a seed (`plan`). Every attempt in
//! every worker leaves its begin and end in a file (`record`), and the library's log tells how each process ended
//! (`fleet`). When the life is over, the `oracle` judges each task by what was declared, what was done to it, what its
//! handle said and what really ran; and `life` checks the supervisor's own counts, that no worker died without a reason,
//! and that the process holds no more than before.
//!
//! The seed decides what is done, not how the threads and processes interleave; a failing life is printed with the
//! command that repeats it until it fails again.

mod dice;
mod fleet;
mod held;
mod lane;
mod life;
mod mischief;
mod options;
mod oracle;
mod pending;
mod plan;
mod race;
mod record;
mod report;
mod tasks;
mod trace;
mod watchdog;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::fleet::{Fleet, Listener};
use crate::held::{Held, resident_kib};
use crate::life::{Before, Figures, STATES};
use crate::options::Options;
use crate::plan::{LifePlan, Wish};
use crate::race::Against;
use crate::report::EXIT_VIOLATED;

/// For so many lives the process may still get what it keeps for good.
const WARM_UP: u64 = 3;

#[atasker::main]
fn main() {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(fresh_seed);
    println!("seed {seed}");
    let fleet = Arc::new(Fleet::default());
    tracing::subscriber::set_global_default(Listener(Arc::clone(&fleet)))
        .expect("there is no other subscriber");
    let races =
        [(Against::Timeout, options.race_timeouts), (Against::Cancel, options.race_cancels)];
    if races.iter().all(|(_, count)| count.is_none()) {
        return run(&options, seed, &fleet);
    }
    for (against, count) in races {
        if let Some(Err(what)) = count.map(|count| race::race(against, count, seed)) {
            eprintln!("VIOLATED: {what}");
            std::process::exit(EXIT_VIOLATED);
        }
    }
}

fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_micros() as u64
}

fn run(options: &Options, seed: u64, fleet: &Arc<Fleet>) {
    let start = Instant::now();
    let time = options.time.or_else(|| options.tasks.is_none().then_some(Duration::from_secs(30)));
    let until = time.map(|time| start + time);
    let tasks_per_kill =
        options.tasks.zip(options.kills).map(|(tasks, kills)| (tasks / kills.max(1)).max(1));
    let mut sums = Figures::default();
    let mut before = Before::default();
    let mut memory = None;
    let mut told = start;
    let mut turns = 0_u64;
    loop {
        let left = options.tasks.map_or(u64::MAX, |tasks| tasks.saturating_sub(sums.tasks));
        if left == 0 || until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let wish =
            Wish { transport: options.transport.map(Into::into), tasks_per_kill, tasks_max: left };
        let plan = LifePlan::of(seed, options.life.unwrap_or(turns), wish);
        match life::live(plan, fleet, until, options.patience, &before) {
            Ok(figures) => sums.add(figures),
            Err(violation) => {
                eprintln!("{violation}");
                std::process::exit(EXIT_VIOLATED);
            }
        }
        turns += 1;
        if turns == WARM_UP {
            held::fill_pool_of_buffers();
            before = Before(Some(Held::count()));
            memory = Some(resident_kib());
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            println!("{sums}, {} KiB", resident_kib());
        }
    }
    println!("{sums} in {:.1} s", start.elapsed().as_secs_f64());
    if let Some(memory) = memory {
        println!("memory: {memory} KiB after {WARM_UP} lives, {} KiB at the end", resident_kib());
    }
    println!("nothing lost, nothing doubled, nothing hung");
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.lives += other.lives;
        self.tasks += other.tasks;
        self.attempts += other.attempts;
        self.kills += other.kills;
        self.deaths += other.deaths;
        for (sum, number) in self.totals.iter_mut().zip(other.totals) {
            *sum += number;
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { lives, tasks, attempts, kills, deaths, totals } = self;
        write!(
            f,
            "{lives} lives, {tasks} tasks, {attempts} attempts, {kills} kills, {deaths} deaths ("
        )?;
        for (index, (state, number)) in STATES.iter().zip(totals).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{state} {number}")?;
        }
        write!(f, ")")
    }
}
