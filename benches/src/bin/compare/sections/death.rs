//! A worker is killed in the middle of a task: how soon the caller is told, and how soon the next task is done.

use std::time::{Duration, Instant};

use atasker::{Limits, Supervisor};
use atasker_benches::ours::{self, Transport};
use atasker_benches::placement::Placement;
use atasker_benches::pools::worker_pids;
use atasker_benches::processes;
use procspawn::Pool;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::report::{Bar, Unit};
use crate::rounds::{Contender, Length, Table};
use crate::run::Run;

/// Longer than any run takes.
const HOLD: Duration = Duration::from_secs(600);
/// By then a task that was submitted runs, and a pool has all its workers again.
const SETTLE: Duration = Duration::from_millis(50);
const SPARE: &str = "atasker, ring, a warm spare";
const PROCSPAWN: &str = "procspawn";
/// The least that anybody needs who wants to know how it ended.
const KERNEL: &str = "the kernel, until the process of our worker has ended";

/// What is measured, from the moment of the kill.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Told,
    Next,
}

/// One worker each, so that nobody has another that could take the next task.
pub(crate) fn of_a_worker(run: &mut Run, placement: Placement) {
    if run.layout(placement, 1).is_none() {
        return;
    }
    let ours: Vec<_> =
        Transport::ALL.iter().map(|&one| (one.name(), ours::supervisor(1, one))).collect();
    let spare = Supervisor::builder().processes(Limits::new(1)).spares(1).start();
    let spare = spare.expect("workers start");
    let procspawn = processes::pool(1);
    for (until, title, factor) in [
        (Until::Told, "Death: the caller is told", 0.5),
        (Until::Next, "Death: the next task is done", 0.25),
    ] {
        println!("**{title}**\n");
        let mut contenders: Vec<_> = vec![Contender::new(SPARE, |times| {
            repeated(times, || killed_of_ours(&spare, 2, until))
        })];
        contenders.extend(ours.iter().map(|(name, ours)| {
            Contender::new(*name, move |times| repeated(times, || killed_of_ours(ours, 1, until)))
        }));
        contenders.push(Contender::new(PROCSPAWN, |times| {
            repeated(times, || killed_of_procspawn(&procspawn, until))
        }));
        if until == Until::Told {
            let ours = &ours[0].1;
            contenders
                .push(Contender::new(KERNEL, |times| repeated(times, || ended_in_kernel(ours))));
        }
        let length = if run.arguments.short { 1 } else { 2 };
        Table {
            title: title.to_owned(),
            unit: Unit::Us,
            length: Length::Times(length),
            rounds: run.rounds(),
            contenders,
            bars: vec![Bar::at_most(factor, SPARE, PROCSPAWN)],
            ideal: None,
        }
        .measure(run);
    }
    spare.stop(atasker::Stop::KillNow);
    procspawn.kill();
}

fn repeated(times: u64, mut killed: impl FnMut() -> Duration) -> f64 {
    (0..times).map(|_| killed().as_secs_f64()).sum::<f64>() / times as f64
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
    kill_process(pid, Signal::KILL).expect("it runs");
}

fn killed_of_ours(pool: &Supervisor, processes: usize, until: Until) -> Duration {
    worker_pids(pool, processes);
    let task = pool.submit(ours::hold::call(0, HOLD.as_millis() as u64)).expect("accepted");
    std::thread::sleep(SETTLE);
    let pid = task.info().pid.expect("it runs");
    let begun = Instant::now();
    kill(pid);
    task.wait().expect_err("it was killed");
    if until == Until::Next {
        let next = pool.submit(ours::hold::call(1, 0)).expect("accepted");
        assert_eq!(next.wait().expect("it runs"), 2);
    }
    begun.elapsed()
}

fn ended_in_kernel(pool: &Supervisor) -> Duration {
    worker_pids(pool, 1);
    let task = pool.submit(ours::hold::call(0, HOLD.as_millis() as u64)).expect("accepted");
    std::thread::sleep(SETTLE);
    let pid = task.info().pid.expect("it runs");
    let process = pid.cast_signed();
    let process = pidfd_open(Pid::from_raw(process).expect("a process"), PidfdFlags::empty());
    let process = process.expect("it runs");
    let begun = Instant::now();
    kill(pid);
    poll(&mut [PollFd::new(&process, PollFlags::IN)], None).expect("it can be waited for");
    let took = begun.elapsed();
    task.wait().expect_err("it was killed");
    took
}

fn killed_of_procspawn(pool: &Pool, until: Until) -> Duration {
    let pid = processes::pids(pool, 1).expect("there is one")[0];
    let task =
        pool.spawn(HOLD.as_secs(), |seconds| std::thread::sleep(Duration::from_secs(seconds)));
    std::thread::sleep(SETTLE);
    let begun = Instant::now();
    kill(pid);
    task.join().expect_err("it was killed");
    if until == Until::Next {
        assert_eq!(pool.spawn(1, |n: u64| n + 1).join().expect("it runs"), 2);
    }
    begun.elapsed()
}
