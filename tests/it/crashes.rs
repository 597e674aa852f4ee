//! Crash isolation: whatever a task does to its process, that task alone pays, and is told.

use std::time::Duration;

use atasker::{Call, ExitCause, Limits, Stop, Supervisor, TaskErrorKind, TaskStatus, wait_all};

use crate::tasks;
use crate::watch::{
    Held, alone, each_transport, eventually, is_alive, long_enough, send_signal, watched,
};

fn assert_serves(supervisor: &Supervisor) {
    let task = supervisor.submit(tasks::add::call(2, 3)).expect("it is accepted");
    assert_eq!(task.wait().expect("the pool goes on"), 5);
}

fn check_death(how: &'static str, cause: ExitCause) {
    each_transport(|supervisor| {
        let supervisor = supervisor(2);
        let neighbour = supervisor.submit(tasks::sleep_ms::call(50)).expect("accepted");
        let error = supervisor.submit(tasks::die::call(how)).expect("accepted").wait().unwrap_err();
        let crash = error.crash().unwrap_or_else(|| panic!("{how}: {error}"));
        assert_eq!(crash.cause, cause, "{how}: {error}");
        assert!(crash.stderr.contains(&format!("about to {how}")), "{how}: {error}");
        assert_eq!(error.status(), TaskStatus::Crashed);
        assert!(error.may_have_run());
        assert!(error.task_name().ends_with("::die"));
        assert!(crash.pid > 0 && !is_alive(crash.pid));
        assert_eq!(neighbour.wait().expect("a neighbour notices nothing"), 50);
        assert_serves(&supervisor);
        eventually("the worker is replaced", || {
            supervisor.info().workers.iter().filter(|worker| worker.pid.is_some()).count() == 2
        });
    });
}

#[test]
fn a_segfault_costs_its_task() {
    check_death("null write", ExitCause::Signal(libc::SIGSEGV));
}

#[test]
fn so_does_every_other_signal() {
    for (how, signal) in [
        ("segfault", libc::SIGSEGV),
        ("abort", libc::SIGABRT),
        ("kill", libc::SIGKILL),
        ("illegal", libc::SIGILL),
        ("bus", libc::SIGBUS),
    ] {
        check_death(how, ExitCause::Signal(signal));
    }
}

#[test]
fn so_does_a_stack_overflow() {
    check_death("stack overflow", ExitCause::Signal(libc::SIGABRT));
}

#[test]
fn so_does_an_exit() {
    check_death("exit 0", ExitCause::Code(0));
    check_death("exit 42", ExitCause::Code(42));
}

#[test]
fn a_panic_costs_not_even_the_worker() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        let error =
            supervisor.submit(tasks::die::call("panic")).expect("accepted").wait().unwrap_err();
        let TaskErrorKind::Panicked(report) = error.kind() else { panic!("{error}") };
        assert_eq!(report.message, "as asked");
        assert!(
            report.location.as_deref().is_some_and(|place| place.contains("tasks.rs:")),
            "{report:?}"
        );
        assert_eq!(report.pid, Some(pid));
        let error = supervisor
            .submit(tasks::die::call("panic with a number"))
            .expect("accepted")
            .wait()
            .unwrap_err();
        assert_eq!(error.status(), TaskStatus::Panicked);
        let again = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        assert_eq!(pid, again);
    });
}

#[test]
fn a_panic_replaces_the_worker_if_asked() {
    watched(|| {
        let supervisor = Supervisor::builder()
            .processes(Limits::new(1))
            .recycle_on_panic()
            .start()
            .expect("workers start");
        let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        drop(supervisor.submit(tasks::die::call("panic")).expect("accepted").wait());
        let again = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        assert_ne!(pid, again);
    });
}

#[test]
fn a_timeout_kills_the_worker_and_nothing_else() {
    each_transport(|supervisor| {
        let supervisor = supervisor(2);
        let neighbour = supervisor.submit(tasks::sleep_ms::call(300)).expect("accepted");
        let call = tasks::die::call("hang").timeout(Duration::from_millis(50));
        let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
        let TaskErrorKind::TimedOut { pid: Some(pid), ran, .. } = *error.kind() else {
            panic!("{error}")
        };
        assert!(ran >= Duration::from_millis(50));
        eventually("the worker is dead", || !is_alive(pid));
        neighbour.wait().expect("a neighbour notices nothing");
        assert_serves(&supervisor);
    });
}

#[test]
fn cancelling_a_running_task_kills_its_worker() {
    each_transport(|supervisor| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let supervisor = supervisor(1);
        let task = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        eventually("the task runs", || file.exists());
        let pid: u32 = std::fs::read_to_string(&file).expect("written").parse().expect("a pid");
        assert!(task.cancel());
        assert!(!task.cancel(), "it can be cancelled once");
        let error = task.wait().unwrap_err();
        assert_eq!(error.status(), TaskStatus::Cancelled);
        assert!(error.may_have_run());
        eventually("the worker is dead", || !is_alive(pid));
        assert_serves(&supervisor);
    });
}

#[test]
fn cancelling_what_is_done_is_too_late() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        let task = supervisor.submit(tasks::add::call(1, 1)).expect("accepted");
        eventually("it ends", || task.is_done());
        assert!(!task.cancel());
        assert_eq!(task.wait().expect("the completion stands"), 2);
    });
}

#[test]
fn cancel_and_completion_race_without_a_third_outcome() {
    each_transport(|supervisor| {
        let supervisor = supervisor(2);
        let (mut completed, mut cancelled) = (0, 0);
        for round in 0..300_u64 {
            let task = supervisor.submit(tasks::add::call(1, 2)).expect("accepted");
            for _ in 0..(round % 30) * 100 {
                std::hint::spin_loop();
            }
            let won = task.cancel();
            match task.wait() {
                Ok(value) => {
                    assert_eq!((value, won), (3, false));
                    completed += 1;
                }
                Err(error) => {
                    assert_eq!((error.status(), won), (TaskStatus::Cancelled, true), "{error}");
                    cancelled += 1;
                }
            }
        }
        assert_eq!(completed + cancelled, 300);
        assert_serves(&supervisor);
    });
}

/// Run what notes that it begins and then ends like this. How often it began, and how many attempts there were if it
/// failed. What hangs needs time to say that it began; what ends by itself may take its time, for a backtrace say.
fn begins(
    supervisor: &Supervisor,
    how: &str,
    expected: usize,
    with: impl Fn(Call<Result<u32, String>>) -> Call<Result<u32, String>>,
) -> (usize, Option<u32>) {
    let run = |timeout| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("begun");
        let call = with(tasks::note_and::call(&file, how).timeout(timeout));
        let attempts = match supervisor.submit(call).expect("accepted").wait() {
            Ok(returned) => {
                assert_eq!(returned, Err("as asked".to_owned()));
                None
            }
            Err(error) => Some(error.attempts()),
        };
        (std::fs::read_to_string(&file).unwrap_or_default().lines().count(), attempts)
    };
    if how != "hang" {
        return run(Duration::from_secs(60));
    }
    long_enough(|timeout| Some(run(timeout)).filter(|(begins, _)| *begins >= expected))
}

#[test]
fn what_is_not_declared_retryable_runs_once() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        for how in ["abort", "panic", "fail", "hang"] {
            assert_eq!(begins(&supervisor, how, 1, |call| call).0, 1, "{how}");
        }
    });
}

#[test]
fn what_is_declared_retryable_runs_again_for_the_named_failures_only() {
    use atasker::RetryOn::{Crash, Error, Panic, Timeout};
    each_transport(|supervisor| {
        let supervisor = supervisor(2);
        for (how, kind, other) in [
            ("abort", Crash, Panic),
            ("panic", Panic, Crash),
            ("fail", Error, Timeout),
            ("hang", Timeout, Error),
        ] {
            for (kind, expected) in [(kind, 3), (other, 1)] {
                let retried = |call: Call<_>| call.retries(2).retry_on([kind]);
                let (begins, attempts) = begins(&supervisor, how, expected, retried);
                assert_eq!(begins, expected, "{how}");
                assert!(attempts.is_none_or(|attempts| attempts as usize == expected), "{how}");
            }
        }
    });
}

#[test]
fn every_worker_dies_at_once_and_nothing_is_lost() {
    each_transport(|supervisor| {
        let supervisor = supervisor(2);
        let bad: Vec<_> = (0..20)
            .map(|_| supervisor.submit(tasks::die::call("abort")).expect("accepted"))
            .collect();
        let good: Vec<_> =
            (0..20).map(|n| supervisor.submit(tasks::add::call(n, n)).expect("accepted")).collect();
        let bad = wait_all(bad, None).expect("without a timeout");
        assert!(bad.iter().all(|result| {
            result.as_ref().is_err_and(|error| error.status() == TaskStatus::Crashed)
        }));
        let good = wait_all(good, None).expect("without a timeout");
        assert!((0..20).zip(good).all(|(n, result)| result.expect("a good one runs") == 2 * n));
    });
}

#[test]
fn a_worker_killed_while_idle_is_replaced() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        send_signal(pid, libc::SIGKILL);
        eventually("a new worker is ready", || {
            supervisor.info().workers.iter().any(|worker| worker.pid.is_some_and(|now| now != pid))
        });
        assert_serves(&supervisor);
    });
}

#[test]
fn the_death_of_an_old_worker_is_reported_after_many_of_younger_ones() {
    each_transport(|supervisor| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let supervisor = supervisor(2);
        let old = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        eventually("it runs", || file.exists());
        let pid = std::fs::read_to_string(&file).expect("written").parse().expect("a pid");
        for _ in 0..70 {
            let young = supervisor.submit(tasks::die::call("abort")).expect("accepted");
            assert_eq!(young.wait().unwrap_err().status(), TaskStatus::Crashed);
        }
        send_signal(pid, libc::SIGKILL);
        let error = old.wait().unwrap_err();
        let crash = error.crash().expect("it crashed");
        assert_eq!((crash.pid, crash.cause), (pid, ExitCause::Signal(libc::SIGKILL)), "{error}");
    });
}

#[test]
fn nothing_is_left_after_a_stop() {
    alone("crashes::nothing_is_left_after_a_stop", || {
        each_transport(|supervisor| {
            // The first supervisor opens what stays open for good.
            supervisor(1).stop(Stop::Drain);
            let before = Held::count();
            let mut pids = Vec::new();
            for round in 0..5 {
                let supervisor = supervisor(2);
                pids.push(
                    supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs"),
                );
                drop(supervisor.submit(tasks::die::call("abort")).expect("accepted").wait());
                drop(supervisor.submit(tasks::die::call("hang")));
                match round % 3 {
                    0 => supervisor.stop(Stop::KillNow),
                    1 => supervisor.stop(Stop::DrainFor(Duration::from_millis(20))),
                    _ => drop(supervisor),
                }
            }
            assert!(pids.iter().all(|&pid| !is_alive(pid)));
            before.assert_again();
        });
    });
}
