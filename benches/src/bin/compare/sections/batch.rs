//! A batch of tasks that are worth a process each.

use std::time::Duration;

use atasker_benches::batch;
use atasker_benches::ours::Transport;
use atasker_benches::placement::Placement;

use crate::report::{Bar, Unit};
use crate::rounds::{Contender, Length, Table};
use crate::run::Run;

const WORKERS: usize = 2;
const ROUNDS: usize = 3;
const RAYON: &str = "rayon spawn";

/// Tasks of 5 ms.
pub(crate) fn of_5_ms(run: &mut Run, placement: Placement) {
    let Some(layout) = run.layout(placement, WORKERS) else { return };
    let pools = Run::pools(WORKERS, &layout);
    let steps = run.steps(Duration::from_millis(5));
    let tasks = if run.arguments.short { 100 } else { 1_000 };
    let all = |each: f64| each * tasks as f64;

    let ours = pools.ours.iter().map(|(transport, supervisor)| {
        Contender::new(transport.name(), move |n| all(batch::map(supervisor, n, steps)))
    });
    let mut contenders: Vec<_> = ours.collect();
    contenders.extend([
        Contender::new(RAYON, |n| all(batch::rayon_stored(&pools.rayon, n, steps))),
        Contender::new("procspawn", |n| all(batch::procspawn(&pools.procspawn, n, steps))),
    ]);
    Table {
        title: format!("Batch of 5 ms tasks, {placement}"),
        unit: Unit::S,
        length: Length::Times(tasks),
        rounds: ROUNDS,
        contenders,
        bars: vec![Bar::at_most(1.01, Transport::ALL[0].name(), RAYON)],
        ideal: None,
    }
    .measure(run);
}
