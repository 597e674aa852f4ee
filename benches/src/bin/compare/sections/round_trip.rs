//! One empty task there and back.

use atasker_benches::echo::BytesEcho;
use atasker_benches::ours::{self, Transport};
use atasker_benches::ping_pong::{PingPong, Wait};
use atasker_benches::placement::{Layout, Placement};
use atasker_benches::pools::{Pools, worker_pids};
use atasker_benches::threads;
use atasker_benches::trip::{self, Pace};

use crate::report::{Bar, Unit};
use crate::rounds::{Contender, Length, Table};
use crate::run::{Run, warn_unless_placed};

const RAYON: &str = "rayon spawn, same process";
const RAYON_TWO: &str = "rayon spawn, two threads";
const FUTEX: &str = "two processes, bare futex";
/// Trips in one sample after idleness.
const COLD_TRIPS: u64 = 5;

/// One trip right after another.
pub(crate) fn hot(run: &mut Run, placement: Placement) {
    let Some(layout) = run.layout(placement, 1) else { return };
    // Like all the others they must see at their start how many cores there are.
    warn_unless_placed(layout.before_start());
    let two_threads = threads::rayon(2);
    let two_workers = ours::supervisor(2, Transport::ALL[0]);
    let pids = worker_pids(&two_workers, 2);
    let cast = Cast::start(&layout);
    // Away from the coordinator, both of them: which one is used is the pool's to choose.
    warn_unless_placed(
        layout
            .pin_threads(&threads::rayon_ids(&two_threads))
            .and_then(|()| layout.pin_processes(&pids)),
    );

    let ours = Transport::ALL[0].name();
    let ours_two = format!("{ours}, two workers");
    let mut contenders = cast.contenders(Pace::Hot);
    // Not after idleness: its idea of that is to look at the memory all the time.
    contenders.push(Contender::new("two processes, bare shared memory, spinning", |n| {
        trip::ping_pong(&cast.ping_pong, Wait::Spin, Pace::Hot, n)
    }));
    contenders.push(Contender::new(&ours_two, |n| trip::ours(&two_workers, Pace::Hot, n)));
    contenders.push(Contender::new(RAYON_TWO, |n| trip::rayon(&two_threads, Pace::Hot, n)));
    let elsewhere = placement != Placement::Separate;
    let why = "the bar is for separate cores";
    Table {
        title: format!("Round trip, hot, {placement}"),
        unit: Unit::Us,
        length: Length::Fill(run.sample() / 2),
        rounds: run.rounds(),
        contenders,
        bars: vec![Bar::at_most(1.0, ours, RAYON).waived_if(elsewhere, why)],
        ideal: None,
    }
    .measure(run);
}

/// One trip after both sides have slept.
pub(crate) fn after_idleness(run: &mut Run, placement: Placement) {
    let Some(layout) = run.layout(placement, 1) else { return };
    let cast = Cast::start(&layout);
    let elsewhere = placement != Placement::Separate;
    let bar = Bar::at_most(1.2, Transport::ALL[0].name(), FUTEX)
        .waived_if(elsewhere, "the bar is for separate cores");
    Table {
        title: format!("Round trip after idleness, {placement}"),
        unit: Unit::Us,
        length: Length::Times(COLD_TRIPS),
        rounds: run.rounds(),
        contenders: cast.contenders(Pace::AfterIdle),
        bars: vec![bar],
        ideal: None,
    }
    .measure(run);
}

/// Everybody with one worker, and the limits.
struct Cast {
    pools: Pools,
    echo: BytesEcho,
    ping_pong: PingPong,
}

impl Cast {
    fn start(layout: &Layout) -> Self {
        let pools = Run::pools(1, layout);
        let (echo, ping_pong) = (BytesEcho::start(), PingPong::start());
        let placed = [echo.pid(), ping_pong.pid()].map(|pid| layout.pin_processes(&[pid]));
        placed.into_iter().for_each(warn_unless_placed);
        Self { pools, echo, ping_pong }
    }

    fn contenders(&self, pace: Pace) -> Vec<Contender<'_>> {
        let Self { pools, echo, ping_pong } = self;
        let ours = pools.ours.iter().map(|(transport, supervisor)| {
            Contender::new(transport.name(), move |n| trip::ours(supervisor, pace, n))
        });
        let mut contenders: Vec<_> = ours.collect();
        contenders.extend([
            Contender::new(RAYON, move |n| trip::rayon(&pools.rayon, pace, n)),
            Contender::new("crossbeam channel to a thread", move |n| {
                trip::channel_threads(&pools.channel_threads, pace, n)
            }),
            Contender::new("threadpool", move |n| trip::threadpool(&pools.threadpool, pace, n)),
            Contender::new("atasker, threads", move |n| {
                trip::our_threads(&pools.our_threads, pace, n)
            }),
            Contender::new("ipc-channel, bare", move |n| trip::ipc_channel(echo, pace, n)),
            Contender::new("procspawn", move |n| trip::procspawn(&pools.procspawn, pace, n)),
            Contender::new(FUTEX, move |n| trip::ping_pong(ping_pong, Wait::Futex, pace, n)),
        ]);
        contenders
    }
}
