//! Spare workers, and workers that are replaced while the pool goes on serving.

use std::time::Duration;

use atasker::{Limits, Priority, Stop, Supervisor};

use crate::tasks;
use crate::watch::{Held, TRANSPORTS, alone, eventually, is_alive, watched};

/// Wait until so many workers are ready, and say which.
fn ready(supervisor: &Supervisor, count: usize) -> Vec<u32> {
    let mut pids = Vec::new();
    eventually("the workers are ready", || {
        let info = supervisor.info();
        pids = info.workers.iter().filter_map(|worker| worker.pid).collect();
        info.workers.len() == count && pids.len() == count
    });
    pids.sort_unstable();
    pids
}

fn pid(supervisor: &Supervisor) -> u32 {
    supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("it runs")
}

#[test]
fn a_spare_worker_gets_the_next_task_when_another_is_lost() {
    watched(|| {
        for transport in TRANSPORTS {
            let builder = Supervisor::builder().transport(transport).processes(Limits::new(1));
            let supervisor = builder.spares(1).start().expect("workers start");
            let mut all = ready(&supervisor, 2);
            for how in ["abort", "hang", "exit 0"] {
                let first = pid(&supervisor);
                assert_eq!(first, pid(&supervisor), "a spare worker sleeps on");
                let call = tasks::die::call(how).timeout(Duration::from_millis(50));
                supervisor.submit(call).expect("accepted").wait().expect_err("it dies");
                let next = pid(&supervisor);
                assert_ne!(next, first);
                assert!(all.contains(&next), "the next task begins on a spare worker");
                eventually("the dead one is gone", || !is_alive(first));
                all = ready(&supervisor, 2);
            }
        }
    });
}

#[test]
fn a_critical_task_takes_a_spare_worker() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(1)).spares(1).burst(0);
        let supervisor = builder.start().expect("workers start");
        let all = ready(&supervisor, 2);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let held = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        eventually("the task runs", || file.exists());
        let critical = tasks::pid::call().priority(Priority::Critical);
        let at = supervisor.submit(critical).expect("accepted").wait().expect("it runs");
        assert!(all.contains(&at), "no process was started for it");
        assert!(!held.is_done());
        assert_eq!(all, ready(&supervisor, 2));
        supervisor.stop(Stop::KillNow);
    });
}

#[test]
fn spare_workers_leave_nothing() {
    alone("fleet::spare_workers_leave_nothing", || {
        let once = || {
            let builder = Supervisor::builder().processes(Limits::new(2)).spares(2);
            let supervisor = builder.start().expect("workers start");
            for _ in 0..4 {
                let dying = tasks::die::call("abort");
                supervisor.submit(dying).expect("accepted").wait().expect_err("it dies");
            }
            supervisor.stop(Stop::Drain);
        };
        once();
        let before = Held::count();
        for _ in 0..5 {
            once();
        }
        before.assert_again();
    });
}
