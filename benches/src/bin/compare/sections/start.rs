//! From nothing to two workers that have both answered.

use std::time::Duration;

use atasker::{Stop, Supervisor};
use atasker_benches::ours::{self, Transport};
use atasker_benches::placement::Placement;
use atasker_benches::processes;
use atasker_benches::work::seconds;

use crate::report::{Bar, Unit};
use crate::rounds::{Contender, Length, Table};
use crate::run::{Run, warn_unless_placed};

const WORKERS: usize = 2;
/// Long enough that one worker can't answer both.
const HOLD: Duration = Duration::from_millis(20);
const PROCSPAWN: &str = "procspawn";

/// Two of them.
pub(crate) fn two_workers(run: &mut Run, placement: Placement) {
    let Some(layout) = run.layout(placement, WORKERS) else { return };
    warn_unless_placed(layout.before_start());
    let ours = Transport::ALL.iter().map(|transport| {
        Contender::new(transport.name(), |times| repeated(times, || started_by_ours(*transport)))
    });
    let mut contenders: Vec<_> = ours.collect();
    contenders.push(Contender::new(PROCSPAWN, |times| repeated(times, started_by_procspawn)));
    Table {
        title: "Start".to_owned(),
        unit: Unit::Ms,
        length: Length::Times(1),
        rounds: run.rounds(),
        contenders,
        bars: vec![Bar::at_most(1.5, Transport::ALL[0].name(), PROCSPAWN)],
        ideal: None,
    }
    .measure(run);
}

fn repeated(times: u64, mut started: impl FnMut() -> f64) -> f64 {
    (0..times).map(|_| started()).sum::<f64>() / times as f64 - HOLD.as_secs_f64()
}

fn started_by_ours(transport: Transport) -> f64 {
    let hold_ms = HOLD.as_millis() as u64;
    let mut started: Option<Supervisor> = None;
    let total = seconds(|| {
        let supervisor = started.insert(ours::supervisor(WORKERS as u32, transport));
        let tasks =
            [0, 1].map(|n| supervisor.submit(ours::hold::call(n, hold_ms)).expect("accepted"));
        assert_eq!(tasks.map(|task| task.wait().expect("it runs")), [1, 2]);
    });
    started.expect("it started").stop(Stop::KillNow);
    total
}

fn started_by_procspawn() -> f64 {
    let mut started = None;
    let total = seconds(|| {
        let pool = started.insert(processes::pool(WORKERS));
        let tasks = [0_u64, 1].map(|n| {
            pool.spawn(n, |n| {
                std::thread::sleep(HOLD);
                n + 1
            })
        });
        assert_eq!(tasks.map(|task| task.join().expect("it runs")), [1, 2]);
    });
    started.expect("it started").kill();
    total
}
