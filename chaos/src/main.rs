//! Seeded chaos against atasker, in real processes, with an oracle that checks every outcome.
//!
//! A run is a sequence of *lives*: a supervisor is started, *lanes* (threads) submit tasks of all kinds, cancel
//! them, wait for them in all ways, resize the pool, kill and stop its workers, and at last the supervisor is
//! stopped or dropped, mostly while all that goes on. What is done follows from a seed (`plan`). Every attempt in
//! every worker leaves its begin and end in a file (`record`), and the library's log tells how each process ended
//! (`fleet`). When the life is over, the `oracle` judges each task by what was declared, what was done to it, what its
//! handle said and what really ran; and `verdict` checks the supervisor's own counts, and that no worker died without a
//! reason. A long life has *chapters*: at the end of each the supervisor has nothing to do, is judged so far, and lives on.
//!
//! From life to life the process may not hold more than before (`held`), and neither from life to life nor from chapter
//! to chapter may more memory be allocated (`memory`): the run itself then keeps nothing but numbers.
//!
//! The seed decides what is done, not how the threads and processes interleave; a failing life is printed with the
//! command that repeats it until it fails again.

mod dice;
mod fleet;
mod held;
mod lane;
mod life;
mod memory;
mod mischief;
mod options;
mod oracle;
mod pending;
mod plan;
mod race;
mod record;
mod report;
mod staff;
mod tasks;
mod trace;
mod verdict;
mod watchdog;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::fleet::{Fleet, Listener};
use crate::held::Held;
use crate::life::Lived;
use crate::memory::Flat;
use crate::options::Options;
use crate::plan::{LifePlan, Wish};
use crate::race::Against;
use crate::report::EXIT_VIOLATED;
use crate::verdict::{Ledger, STATES};

/// For so many lives the process may still get what it keeps for good.
const WARM_UP: u64 = 3;

#[atasker::main]
fn main() {
    memory::keep_little();
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
            violated(&format!("VIOLATED: {what}"));
        }
    }
}

fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_micros() as u64
}

/// Lives, until there were enough tasks and kills or the time is up.
fn run(options: &Options, seed: u64, fleet: &Arc<Fleet>) {
    let start = Instant::now();
    let is_endless = options.tasks.is_none() && options.time.is_none();
    let time = options.time.or_else(|| is_endless.then_some(Duration::from_secs(30)));
    let until = time.map(|time| start + time);
    let wanted_kills = options.kills.unwrap_or_default();
    let by_kills = options.tasks.zip(options.kills).map(|(tasks, kills)| tasks / kills.max(1));
    let tasks_per_kill = options.tasks_per_kill.or(by_kills).map(|many| many.max(1));
    let mut sums = Figures::default();
    let mut between: Option<(Held, Flat)> = None;
    let mut told = start;
    while until.is_none_or(|until| Instant::now() < until) {
        let kills_left = wanted_kills.saturating_sub(sums.kills);
        let for_kills = kills_left * tasks_per_kill.unwrap_or_default();
        let left =
            options.tasks.map_or(u64::MAX, |tasks| tasks.saturating_sub(sums.ledger.accepted));
        let tasks_max = left.max(for_kills);
        if tasks_max == 0 {
            break;
        }
        let Options { transport, chapters, chapter_tasks, .. } = *options;
        let transport = transport.map(Into::into);
        let wish = Wish { transport, tasks_per_kill, chapters, chapter_tasks, tasks_max };
        let plan = LifePlan::of(seed, options.life.unwrap_or(sums.lives), wish);
        let again = plan.command();
        let held = between.as_ref().map(|(held, _)| held);
        let lived = life::live(plan, fleet, until, options.patience, held);
        sums.add(lived.unwrap_or_else(|violation| violated(&violation)));
        match &mut between {
            Some((_, memory)) => memory.check().unwrap_or_else(|what| {
                violated(&format!("VIOLATED: between lives, {what}\n{again}"))
            }),
            None if sums.lives == WARM_UP => {
                held::fill_pool_of_buffers();
                between = Some((Held::count(), Flat::between_lives()));
            }
            None => {}
        }
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            println!("{:6.1} s: {sums}", start.elapsed().as_secs_f64());
        }
    }
    println!("{sums} in {:.1} s", start.elapsed().as_secs_f64());
    if let Some((_, memory)) = between {
        println!("memory after {WARM_UP} lives, between lives: {memory}");
    }
    println!("nothing lost, nothing doubled, nothing hung");
}

fn violated(what: &dyn std::fmt::Display) -> ! {
    eprintln!("{what}");
    std::process::exit(EXIT_VIOLATED);
}

/// What all lives amount to.
#[derive(Debug, Default)]
struct Figures {
    lives: u64,
    kills: u64,
    ledger: Ledger,
}

impl Figures {
    fn add(&mut self, lived: Lived) {
        let Lived { ledger, kills, memory } = lived;
        if let Some(memory) = memory {
            let tasks = ledger.accepted;
            println!("life {} of {tasks} tasks, between its chapters: {memory}", self.lives);
        }
        self.lives += 1;
        self.kills += kills;
        self.ledger.add(&ledger);
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { lives, kills, ledger: Ledger { accepted, attempts, deaths, seen, .. } } = self;
        write!(f, "{lives} lives, {accepted} tasks, {attempts} attempts, ")?;
        write!(f, "{kills} kills, {deaths} deaths (seen: ")?;
        for (index, (state, number)) in STATES.iter().zip(seen).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{state} {number}")?;
        }
        write!(f, ")")
    }
}
