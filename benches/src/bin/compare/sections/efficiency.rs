//! How much of the ideal is left, by the size of a task.

use std::time::Duration;

use atasker_benches::batch;
use atasker_benches::ours::Transport;
use atasker_benches::placement::{Layout, Placement};
use atasker_benches::pools::Pools;
use atasker_benches::processes::AT_ONCE_MAX;

use crate::report::{Bar, Unit};
use crate::rounds::{Contender, Length, Table};
use crate::run::Run;

const WORKERS: usize = 2;
const IDEAL: &str = "two bare threads, equal shares";
/// Fewer would measure how evenly the last ones fall.
const TASKS_MIN: u64 = 200;

/// Microseconds of computation, and the bars for `map` and for single submissions in percent.
const SIZES: [(u64, f64, f64); 3] = [(1, 85.0, 50.0), (10, 95.0, 90.0), (100, 98.0, 97.0)];

/// One table for each size.
pub(crate) fn by_task_size(run: &mut Run, placement: Placement) {
    let Some(layout) = run.layout(placement, WORKERS) else { return };
    let pools = Run::pools(WORKERS, &layout);
    for (us, map_bar, singles_bar) in SIZES {
        println!("{us} µs of computation:\n");
        let steps = run.steps(Duration::from_micros(us));
        let name = |how: &str| format!("{}, {how}", Transport::ALL[0].name());
        Table {
            title: format!("Efficiency at {us} µs, {placement}"),
            unit: Unit::Us,
            length: Length::Fill(run.sample() * 2),
            rounds: run.rounds(),
            contenders: contenders(&pools, &layout, steps),
            bars: vec![
                Bar::percent_at_least(map_bar, &name("map"), IDEAL),
                Bar::percent_at_least(singles_bar, &name("wait_all"), IDEAL),
            ],
            ideal: Some(IDEAL),
        }
        .measure(run);
    }
}

fn contenders<'a>(pools: &'a Pools, layout: &'a Layout, steps: u32) -> Vec<Contender<'a>> {
    let mut contenders = Vec::new();
    for (transport, supervisor) in &pools.ours {
        let name = transport.name();
        contenders.extend([
            Contender::new(format!("{name}, map"), move |n| batch::map(supervisor, n, steps)),
            Contender::new(format!("{name}, wait_all"), move |n| {
                batch::singles(supervisor, n, steps)
            }),
        ]);
    }
    let place = |index| {
        // What can't be pinned has been said when the pools were.
        drop(layout.pin_this_thread(index));
    };
    contenders.extend([
        Contender::new(IDEAL, move |n| batch::bare_threads(WORKERS, &place, n, steps)),
        Contender::new("rayon spawn, answers stored", move |n| {
            batch::rayon_stored(&pools.rayon, n, steps)
        }),
        Contender::new("rayon par_iter", move |n| batch::par_iter(&pools.rayon, n, steps)),
        Contender::new("procspawn", move |n| batch::procspawn(&pools.procspawn, n, steps))
            .at_most(AT_ONCE_MAX),
    ]);
    contenders.into_iter().map(|contender| contender.at_least(TASKS_MIN)).collect()
}
