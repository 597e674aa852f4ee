//! How many trivial tasks in a second.

use atasker::Supervisor;
use atasker_benches::batch;
use atasker_benches::echo::VectorEcho;
use atasker_benches::ours::Transport;
use atasker_benches::placement::Placement;
use atasker_benches::processes::AT_ONCE_MAX;

use crate::report::{Bar, Unit};
use crate::rounds::{Contender, Length, Table};
use crate::run::{Run, warn_unless_placed};

/// A task computes nothing.
const NO_STEPS: u32 = 0;
const WORKERS: usize = 2;
const RAYON_COUNTED: &str = "rayon spawn, only counted";
const RAYON_STORED: &str = "rayon spawn, answers stored";
const PROCSPAWN: &str = "procspawn";
/// Enough of them that both workers have something to do.
const CHUNKED_MIN: u64 = 8 * batch::CHUNK;
/// Below this a start-up in common would show.
const TASKS_MIN: u64 = 500;
const WHY_NOT_ONE_CORE: &str = "two workers need two cores";

fn named<'a>(
    supervisors: &'a [(Transport, Supervisor)],
    how: &'a str,
    run: fn(&Supervisor, u64, u32) -> f64,
) -> impl Iterator<Item = Contender<'a>> {
    supervisors.iter().map(move |(transport, supervisor)| {
        let name = format!("{}, {how}", transport.name());
        Contender::new(name, move |n| run(supervisor, n, NO_STEPS)).at_least(TASKS_MIN)
    })
}

/// Each task submitted by itself.
pub(crate) fn single_submissions(run: &mut Run, placement: Placement) {
    let Some(layout) = run.layout(placement, WORKERS) else { return };
    let pools = Run::pools(WORKERS, &layout);
    let in_process = |name, body: fn(&rayon::ThreadPool, u64, u32) -> f64| {
        let rayon = &pools.rayon;
        Contender::new(name, move |n| body(rayon, n, NO_STEPS)).at_least(TASKS_MIN)
    };
    let mut contenders: Vec<_> = named(&pools.ours, "wait_all", batch::singles).collect();
    contenders.extend(named(&pools.ours, "each handle in turn", batch::singles_in_turn));
    contenders.extend([
        in_process(RAYON_COUNTED, batch::rayon_counted),
        in_process(RAYON_STORED, batch::rayon_stored),
        Contender::new("crossbeam channel to threads", |n| {
            batch::channel_threads(&pools.channel_threads, n, NO_STEPS)
        }),
        Contender::new("threadpool, answers stored", |n| {
            batch::threadpool(&pools.threadpool, n, NO_STEPS)
        }),
        Contender::new("atasker, threads, wait_all", |n| {
            batch::our_threads(&pools.our_threads, n, NO_STEPS)
        }),
        Contender::new(PROCSPAWN, |n| batch::procspawn(&pools.procspawn, n, NO_STEPS))
            .at_most(AT_ONCE_MAX),
    ]);
    let ours = format!("{}, wait_all", Transport::ALL[0].name());
    let in_turn = format!("{}, each handle in turn", Transport::ALL[0].name());
    let one_core = placement == Placement::OneCore;
    let bars = vec![
        Bar::rate_at_least(0.5, &ours, RAYON_STORED).waived_if(one_core, WHY_NOT_ONE_CORE),
        Bar::rate_at_least(0.5, &in_turn, RAYON_STORED).waived_if(one_core, WHY_NOT_ONE_CORE),
        Bar::rate_at_least(100.0, &ours, PROCSPAWN).waived_if(one_core, WHY_NOT_ONE_CORE),
    ];
    Table {
        title: format!("Single submissions, {placement}"),
        unit: Unit::RateM,
        length: Length::Fill(run.sample()),
        rounds: run.rounds(),
        contenders,
        bars,
        ideal: None,
    }
    .measure(run);
}

/// As many at once as the contender likes.
pub(crate) fn map(run: &mut Run, placement: Placement) {
    let Some(layout) = run.layout(placement, WORKERS) else { return };
    let pools = Run::pools(WORKERS, &layout);
    let echoes = [VectorEcho::start(), VectorEcho::start()];
    let pids: Vec<_> = echoes.iter().map(VectorEcho::pid).collect();
    warn_unless_placed(layout.pin_processes(&pids));

    let mut contenders: Vec<_> = named(&pools.ours, "map", batch::map).collect();
    contenders.extend([
        Contender::new(RAYON_STORED, |n| batch::rayon_stored(&pools.rayon, n, NO_STEPS))
            .at_least(TASKS_MIN),
        Contender::new("rayon par_iter", |n| batch::par_iter(&pools.rayon, n, NO_STEPS))
            .at_least(TASKS_MIN),
        Contender::new("ipc-channel, bare, vectors of 8,192", |n| {
            batch::ipc_chunks(&echoes, n, NO_STEPS)
        })
        .at_least(CHUNKED_MIN),
        Contender::new("procspawn, vectors of 8,192", |n| {
            batch::procspawn_chunks(&pools.procspawn, n, NO_STEPS)
        })
        .at_least(CHUNKED_MIN),
    ]);
    let ours = format!("{}, map", Transport::ALL[0].name());
    let one_core = placement == Placement::OneCore;
    Table {
        title: format!("Map, {placement}"),
        unit: Unit::RateM,
        length: Length::Fill(run.sample()),
        rounds: run.rounds(),
        contenders,
        bars: vec![
            Bar::rate_at_least(5.0, &ours, RAYON_STORED).waived_if(one_core, WHY_NOT_ONE_CORE),
        ],
        ideal: None,
    }
    .measure(run);
}
