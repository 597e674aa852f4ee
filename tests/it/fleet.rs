//! Spare workers, and workers that are replaced while the pool goes on serving.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use atasker::{Call, Limits, Priority, Stop, Supervisor, TaskErrorKind};

use crate::tasks;
use crate::watch::{
    Held, TRANSPORTS, alone, eventually, is_alive, long_enough, send_signal, watched,
};

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
            let lose = |call: Call<()>| {
                let all = ready(&supervisor, 2);
                let first = pid(&supervisor);
                assert_eq!(first, pid(&supervisor), "a spare worker sleeps on");
                let error = supervisor.submit(call).expect("accepted").wait().expect_err("it dies");
                let next = pid(&supervisor);
                // One that has not even begun in its time has cost the first worker before.
                if let TaskErrorKind::TimedOut { pid, .. } = *error.kind()
                    && pid != Some(first)
                {
                    return None;
                }
                assert_ne!(next, first);
                assert!(all.contains(&next), "the next task begins on a spare worker");
                eventually("the dead one is gone", || !is_alive(first));
                Some(())
            };
            for how in ["abort", "exit 0"] {
                lose(tasks::die::call(how)).expect("it has no timeout");
            }
            long_enough(|timeout| lose(tasks::die::call("hang").timeout(timeout)));
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

/// Keep all places busy with short tasks until so many processes have served. Between any two looks so many
/// workers must be there.
fn serve_until(supervisor: &Supervisor, served: usize, at_least: usize) {
    let pids = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while pids.lock().expect("no panic").len() < served {
                    let pid = pid(supervisor);
                    pids.lock().expect("no panic").insert(pid);
                }
            });
        }
        while pids.lock().expect("no panic").len() < served {
            let workers = supervisor.info().workers;
            let ready = workers.iter().filter(|worker| worker.pid.is_some()).count();
            assert!(ready >= at_least, "{ready} workers are there: {workers:?}");
        }
    });
}

#[test]
fn workers_are_replaced_after_so_many_tasks_and_the_pool_serves_on() {
    watched(|| {
        for (transport, spares) in [(TRANSPORTS[0], 0), (TRANSPORTS[0], 1), (TRANSPORTS[1], 0)] {
            let builder = Supervisor::builder().transport(transport).processes(Limits::new(3));
            let supervisor = builder.spares(spares).recycle_after_tasks(20).start();
            let supervisor = supervisor.expect("workers start");
            ready(&supervisor, 3 + spares as usize);
            serve_until(&supervisor, 15, 3);
            assert_eq!(supervisor.info().ended.crashed, 0);
        }
    });
}

#[test]
fn workers_are_replaced_at_an_age() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(2));
        let supervisor = builder.recycle_after(Duration::from_millis(40)).start();
        let supervisor = supervisor.expect("workers start");
        ready(&supervisor, 2);
        serve_until(&supervisor, 10, 2);
    });
}

#[test]
fn all_workers_killed_at_once_while_idle_are_replaced() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let files: Vec<_> = (0..3).map(|n| folder.path().join(n.to_string())).collect();
        for transport in TRANSPORTS {
            let limits = Limits::new(3).reserve_normal(0).reserve_high(0);
            let builder = Supervisor::builder().transport(transport).processes(limits);
            let supervisor = builder.restart_limit(0).start().expect("workers start");
            for _ in 0..5 {
                let pids = ready(&supervisor, 3);
                let hold =
                    |file: &PathBuf| supervisor.submit(tasks::hold::call(file)).expect("accepted");
                let held: Vec<_> = files.iter().map(hold).collect();
                eventually("each of them serves", || files.iter().all(|file| file.exists()));
                files.iter().for_each(|file| std::fs::remove_file(file).expect("it is there"));
                held.into_iter().for_each(|task| task.wait().expect("it runs"));
                pids.iter().for_each(|pid| send_signal(*pid, libc::SIGKILL));
                eventually("they are missed", || {
                    let info = supervisor.info();
                    !info.workers.iter().any(|it| it.pid.is_some_and(|pid| pids.contains(&pid)))
                });
            }
        }
    });
}

#[test]
fn a_worker_for_one_task_never_runs_a_second() {
    watched(|| {
        for transport in TRANSPORTS {
            let builder = Supervisor::builder().transport(transport).processes(Limits::new(2));
            let supervisor = builder.recycle_after_tasks(1).spares(1).start();
            let supervisor = supervisor.expect("workers start");
            let calls = (0..30).map(|_| tasks::pid::call());
            let pids: Result<BTreeSet<u32>, _> = supervisor.map(calls).collect();
            assert_eq!(pids.expect("all run").len(), 30);
        }
    });
}

#[test]
fn what_a_worker_runs_that_is_replaced_comes_to_its_end() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(1));
        let supervisor = builder.recycle_after(Duration::ZERO).start().expect("workers start");
        for _ in 0..20 {
            let first = supervisor.submit(tasks::pid::call()).expect("accepted");
            let long = supervisor.submit(tasks::sleep_ms::call(30)).expect("accepted");
            let behind = supervisor.submit(tasks::pid::call()).expect("accepted");
            let first = first.wait().expect("it runs");
            assert_eq!(long.wait().expect("it ends by itself"), 30);
            let _anywhere = behind.wait().expect("it runs");
            eventually("the first one is replaced", || !is_alive(first));
        }
    });
}

#[test]
fn spare_workers_leave_nothing() {
    alone("fleet::spare_workers_leave_nothing", || {
        let once = || {
            let builder = Supervisor::builder().processes(Limits::new(2)).spares(2);
            let supervisor = builder.recycle_after_tasks(1).start().expect("workers start");
            for _ in 0..4 {
                pid(&supervisor);
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
