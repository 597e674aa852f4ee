//! Limits of memory: of workers, of tasks, of the machine.

use std::time::Duration;

use atasker::{
    CrashReport, ExitCause, Limits, Priority, Stop, Supervisor, SupervisorBuilder, TaskError,
};

use crate::tasks;
use crate::watch::{Held, TRANSPORTS, alone, eventually, watched};

const MIB: u64 = 1 << 20;

fn one_worker() -> SupervisorBuilder {
    Supervisor::builder().processes(Limits::new(1))
}

fn assert_serves(supervisor: &Supervisor) {
    let task = supervisor.submit(tasks::add::call(2, 3)).expect("accepted");
    assert_eq!(task.wait().expect("the pool goes on"), 5);
}

fn crash(error: &TaskError) -> &CrashReport {
    error.crash().unwrap_or_else(|| panic!("{error}"))
}

#[test]
fn a_worker_above_the_hard_limit_is_killed_and_the_report_says_so() {
    watched(|| {
        for transport in TRANSPORTS {
            let builder = one_worker().transport(transport).memory_hard_limit(200 * MIB);
            let supervisor = builder.start().expect("workers start");
            let eats = supervisor.submit(tasks::eat::call(100 * MIB, 200)).expect("accepted");
            eats.wait().expect("that is not too much");
            let behind = supervisor.submit(tasks::eat::call(4096 * MIB, 60_000));
            let behind = behind.expect("accepted");
            let next = supervisor.submit(tasks::add::call(1, 1)).expect("accepted");
            let error = behind.wait().expect_err("that is too much");
            assert_eq!(crash(&error).cause, ExitCause::Signal(libc::SIGKILL), "{error}");
            assert!(error.to_string().contains("memory_hard_limit"), "{error}");
            assert_eq!(next.wait().expect("what was behind runs elsewhere"), 2);
            assert_serves(&supervisor);
        }
    });
}

#[test]
fn a_task_that_takes_more_than_its_limit_is_killed_and_the_report_says_so() {
    watched(|| {
        for transport in TRANSPORTS {
            let supervisor = one_worker().transport(transport).start().expect("workers start");
            let leaks = supervisor.submit(tasks::leak::call(150 * MIB)).expect("accepted");
            leaks.wait().expect("it has no limit");
            let within = tasks::eat::call(50 * MIB, 200).memory_limit(100 * MIB);
            supervisor.submit(within).expect("accepted").wait().expect("what was there is not its");
            let beyond = tasks::eat_limited::call(4096 * MIB, 60_000);
            let error = supervisor.submit(beyond).expect("accepted").wait().expect_err("too much");
            assert!(error.to_string().contains("`memory_limit`"), "{error}");
            assert_eq!(crash(&error).cause, ExitCause::Signal(libc::SIGKILL), "{error}");
            assert_serves(&supervisor);
        }
    });
}

#[test]
fn a_worker_above_the_soft_limit_is_replaced_and_nothing_fails() {
    watched(|| {
        let supervisor = one_worker().memory_soft_limit(100 * MIB).start().expect("workers start");
        for _ in 0..3 {
            let leaks = supervisor.submit(tasks::leak::call(150 * MIB)).expect("accepted");
            let leaked = leaks.wait().expect("it ends by itself");
            eventually("another worker serves", || {
                let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait();
                pid.expect("it runs") != leaked
            });
        }
        assert_eq!(supervisor.info().ended.crashed, 0);
    });
}

#[test]
fn an_allocation_beyond_the_address_space_fails() {
    watched(|| {
        let builder = one_worker().address_space_limit(2048 * MIB);
        let supervisor = builder.start().expect("workers start");
        let small = supervisor.submit(tasks::eat::call(50 * MIB, 0)).expect("accepted");
        small.wait().expect("it has room for that");
        let error = supervisor.submit(tasks::eat::call(4096 * MIB, 0)).expect("accepted").wait();
        let error = error.expect_err("it has no room for that");
        let crash = crash(&error);
        assert_eq!(crash.cause, ExitCause::Signal(libc::SIGABRT), "{error}");
        assert!(crash.stderr.contains("memory allocation of"), "{error}");
        assert_serves(&supervisor);
    });
}

#[test]
fn one_task_runs_at_a_time_while_the_machine_is_short_of_memory() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(3));
        let supervisor = builder.min_available_memory(u64::MAX).start().expect("workers start");
        assert!(!supervisor.info().processes.held_back);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let held = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        eventually("one task runs", || file.exists());
        let others: Vec<_> =
            (0..5).map(|_| supervisor.submit(tasks::pid::call()).expect("accepted")).collect();
        eventually("the others are held back", || supervisor.info().processes.held_back);
        let urgent = tasks::pid::call().priority(Priority::Critical);
        supervisor.submit(urgent).expect("accepted").wait().expect("it is not held back");
        // Longer than the memory is looked at again.
        std::thread::sleep(Duration::from_millis(250));
        let info = supervisor.info().processes;
        assert_eq!((info.running, info.outstanding()), (1, 6), "{info:?}");
        assert!(held.cancel());
        others.into_iter().for_each(|task| _ = task.wait().expect("one after the other"));
        supervisor.stop(Stop::Drain);
        assert!(!supervisor.info().processes.held_back);
    });
}

#[test]
fn nothing_is_held_back_while_there_is_memory() {
    watched(|| {
        let supervisor = one_worker().min_available_memory(1).start().expect("workers start");
        let sum: Result<i64, _> = supervisor.map((0..200).map(|n| tasks::add::call(n, 1))).sum();
        assert_eq!(sum.expect("all run"), 20_100);
    });
}

/// The soft and the hard limit.
fn core_limits(pid: u32) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    let mut words = line.expect("a limit").split_whitespace().map(str::to_owned);
    words.next().zip(words.next()).expect("two limits")
}

#[test]
fn workers_leave_no_core_dumps_unless_asked_to() {
    watched(|| {
        let limits_in = |builder: SupervisorBuilder| {
            let supervisor = builder.start().expect("workers start");
            let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait();
            core_limits(pid.expect("it runs"))
        };
        let own = core_limits(std::process::id());
        let least = if own.1 == "0" { "0" } else { "1" };
        assert_eq!(limits_in(one_worker()), (least.to_owned(), own.1.clone()));
        assert_eq!(limits_in(one_worker().core_dumps()), own);
    });
}

#[test]
fn kills_for_memory_leave_nothing() {
    alone("memory::kills_for_memory_leave_nothing", || {
        let once = || {
            let supervisor = one_worker().memory_hard_limit(100 * MIB).start();
            let supervisor = supervisor.expect("workers start");
            let eats = supervisor.submit(tasks::eat::call(4096 * MIB, 60_000)).expect("accepted");
            eats.wait().expect_err("that is too much");
            supervisor.stop(Stop::Drain);
        };
        once();
        let before = Held::count();
        for _ in 0..3 {
            once();
        }
        before.assert_again();
    });
}
