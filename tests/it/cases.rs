//! What a pool must survive, over every transport and each in a process of its own: afterwards a next task is
//! served, and nothing is left behind that was not there before.

use std::time::Duration;

use atasker::{ExitCause, Priority, Stop, Supervisor, TaskError, TaskStatus, Transport, wait_all};

use crate::tasks;
use crate::watch::{Held, alone, eventually, is_alive, send_signal};

/// Makes a test of each case for each transport.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        mod over_ring {
            $(#[test]
            fn $case() {
                super::survive(
                    concat!("cases::over_ring::", stringify!($case)),
                    atasker::Transport::Ring,
                    super::$case,
                );
            })*
        }

        mod over_channel {
            $(#[test]
            fn $case() {
                super::survive(
                    concat!("cases::over_channel::", stringify!($case)),
                    atasker::Transport::Channel,
                    super::$case,
                );
            })*
        }
    };
}

cases! {
    killed_in_a_task,
    killed_while_idle,
    a_null_write,
    abort_in_a_task,
    exit_in_a_task,
    a_stack_overflow,
    two_die_at_once,
    all_die_at_once_with_more_behind,
    a_large_result_then_death,
    death_in_the_middle_of_a_map,
    many_time_out_at_once,
    cancelled_in_every_state,
    an_urgent_task_goes_before_ten_thousand,
}

fn start(transport: Transport) -> Supervisor {
    let builder = Supervisor::builder().transport(transport);
    builder.processes(atasker::Limits::new(2)).start().expect("workers start")
}

fn survive(test: &str, transport: Transport, case: fn(&Supervisor)) {
    alone(test, || {
        // The first supervisor opens what stays open for good, and buffers that are used again are kept.
        let first = start(transport);
        first
            .submit(tasks::reverse::call(&vec![1; 9_000_000]))
            .expect("accepted")
            .wait()
            .expect("runs");
        first.stop(Stop::Drain);
        drop(first);
        let before = Held::count();
        let supervisor = start(transport);
        case(&supervisor);
        for n in 0..20 {
            let task = supervisor.submit(tasks::add::call(n, 3)).expect("accepted");
            assert_eq!(task.wait().expect("the pool goes on"), n + 3);
        }
        eventually("both workers are there", || {
            supervisor.info().workers.iter().filter(|worker| worker.pid.is_some()).count() == 2
        });
        supervisor.stop(Stop::Drain);
        drop(supervisor);
        before.assert_again();
    });
}

fn death_of(supervisor: &Supervisor, how: &str) -> TaskError {
    let error = supervisor.submit(tasks::die::call(how)).expect("accepted").wait().unwrap_err();
    assert_eq!(error.status(), TaskStatus::Crashed, "{error}");
    assert!(error.may_have_run());
    error
}

fn assert_dies_of(supervisor: &Supervisor, how: &str, cause: ExitCause) {
    let error = death_of(supervisor, how);
    let crash = error.crash().expect("it crashed");
    assert_eq!(crash.cause, cause, "{error}");
    assert!(!is_alive(crash.pid));
}

fn killed_in_a_task(supervisor: &Supervisor) {
    assert_dies_of(supervisor, "kill", ExitCause::Signal(libc::SIGKILL));
}

fn killed_while_idle(supervisor: &Supervisor) {
    for _ in 0..3 {
        let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        send_signal(pid, libc::SIGKILL);
        eventually("it is missed", || {
            supervisor.info().workers.iter().all(|worker| worker.pid != Some(pid))
        });
    }
}

fn a_null_write(supervisor: &Supervisor) {
    assert_dies_of(supervisor, "null write", ExitCause::Signal(libc::SIGSEGV));
}

fn abort_in_a_task(supervisor: &Supervisor) {
    assert_dies_of(supervisor, "abort", ExitCause::Signal(libc::SIGABRT));
}

fn exit_in_a_task(supervisor: &Supervisor) {
    assert_dies_of(supervisor, "exit 0", ExitCause::Code(0));
}

fn a_stack_overflow(supervisor: &Supervisor) {
    assert_dies_of(supervisor, "stack overflow", ExitCause::Signal(libc::SIGABRT));
}

fn two_die_at_once(supervisor: &Supervisor) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [folder.path().join("one"), folder.path().join("two")];
    let tasks =
        files.each_ref().map(|file| supervisor.submit(tasks::hold::call(file)).expect("accepted"));
    eventually("both run", || files.iter().all(|file| file.exists()));
    for file in &files {
        let pid = std::fs::read_to_string(file).expect("written").parse().expect("a pid");
        send_signal(pid, libc::SIGKILL);
    }
    for task in tasks {
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Crashed);
    }
}

fn all_die_at_once_with_more_behind(supervisor: &Supervisor) {
    let mut tasks = Vec::new();
    for n in 0..60 {
        let call = if n % 3 == 0 { tasks::die_at::call(n, n) } else { tasks::die_at::call(n, -1) };
        tasks.push(supervisor.submit(call).expect("accepted"));
    }
    for (n, result) in (0..60).zip(wait_all(tasks, None).expect("without a timeout")) {
        match result {
            Ok(value) => assert!(value == n && n % 3 != 0),
            Err(error) => assert!(error.status() == TaskStatus::Crashed && n % 3 == 0, "{error}"),
        }
    }
}

fn a_large_result_then_death(supervisor: &Supervisor) {
    let sent: Vec<u8> = (0..9_000_000_u32).map(|n| n as u8).collect();
    let large = supervisor.submit(tasks::reverse::call(&sent)).expect("accepted");
    eventually("it ends", || large.is_done());
    for _ in 0..2 {
        death_of(supervisor, "abort");
    }
    let expected: Vec<u8> = sent.iter().rev().copied().collect();
    assert!(large.wait().expect("it was there before") == expected);
}

fn death_in_the_middle_of_a_map(supervisor: &Supervisor) {
    // Long enough for packs of hundreds.
    let bad = [7_000, 7_001, 12_345, 19_999];
    let element = |n: i64| tasks::die_at::call(n, if bad.contains(&n) { n } else { -1 });
    let mut next = 0;
    for (n, result) in (0..).zip(supervisor.map((0..20_000).map(element))) {
        match result {
            Ok(value) => assert!(value == n && !bad.contains(&n), "{value} in the place of {n}"),
            Err(error) => {
                assert_eq!(error.status(), TaskStatus::Crashed, "{n}: {error}");
                assert!(bad.contains(&n), "{n}: {error}");
            }
        }
        next = n + 1;
    }
    assert_eq!(next, 20_000);
    assert_eq!(supervisor.info().ended.crashed, 4);
}

fn many_time_out_at_once(supervisor: &Supervisor) {
    let hanging = || tasks::die::call("hang").timeout(Duration::from_millis(50));
    let tasks: Vec<_> = (0..6).map(|_| supervisor.submit(hanging()).expect("accepted")).collect();
    for task in tasks {
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::TimedOut);
    }
}

fn cancelled_in_every_state(supervisor: &Supervisor) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [folder.path().join("one"), folder.path().join("two")];
    let running: Vec<_> = files
        .iter()
        .map(|file| supervisor.submit(tasks::hold::call(file)).expect("accepted"))
        .collect();
    eventually("both run", || files.iter().all(|file| file.exists()));
    let noted = folder.path().join("noted");
    // Some are with a worker already, the others are in line.
    let waiting: Vec<_> = (0..50)
        .map(|_| supervisor.submit(tasks::note::call(&noted, "begun")).expect("accepted"))
        .collect();
    for task in waiting.iter().rev().chain(&running) {
        assert!(task.cancel());
    }
    for task in waiting.into_iter().chain(running) {
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
    }
    assert!(!noted.exists(), "none of them began");
}

fn an_urgent_task_goes_before_ten_thousand(supervisor: &Supervisor) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = [folder.path().join("one"), folder.path().join("two")];
    let noted = folder.path().join("noted");
    let held: Vec<_> = files
        .iter()
        .map(|file| supervisor.submit(tasks::hold::call(file)).expect("accepted"))
        .collect();
    eventually("both run", || files.iter().all(|file| file.exists()));
    let low: Vec<_> = (0..10_000)
        .map(|_| {
            let call = tasks::note::call(&noted, "low").priority(Priority::Low);
            supervisor.submit(call).expect("accepted")
        })
        .collect();
    let high = tasks::note::call(&noted, "high").priority(Priority::High);
    let high = supervisor.submit(high).expect("accepted");
    // One worker alone, so that the order is one.
    std::fs::remove_file(&files[0]).expect("it is there");
    high.wait().expect("it runs");
    std::fs::remove_file(&files[1]).expect("it is there");
    wait_all(held, None).expect("without a timeout");
    wait_all(low, None).expect("without a timeout");
    let notes = std::fs::read_to_string(&noted).expect("it is there");
    assert_eq!(notes.lines().position(|line| line == "high"), Some(0));
    assert_eq!(notes.lines().count(), 10_001);
}
