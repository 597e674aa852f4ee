//! Soft timeouts and limits of CPU time.

use std::sync::mpsc;
use std::time::Duration;

use atasker::{Call, Limits, RetryOn, Supervisor, TaskError, TaskErrorKind, TaskStatus, TimeLimit};

use crate::tasks;
use crate::watch::{each_transport, eventually, watched};

const SOON: Duration = Duration::from_millis(50);

fn limit_of(error: &TaskError) -> TimeLimit {
    match error.kind() {
        TaskErrorKind::TimedOut { limit, .. } => *limit,
        _ => panic!("not timed out: {error}"),
    }
}

#[test]
fn a_soft_timeout_asks_the_task_in_its_worker() {
    each_transport(|supervisor| {
        let folder = tempfile::tempdir().expect("a folder");
        let note = folder.path().join("notes");
        let supervisor = supervisor(1);
        let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        let call = tasks::until_asked::call(&note).soft_timeout(SOON);
        assert!(supervisor.submit(call).expect("accepted").wait().expect("it ends by itself"));
        assert!(
            supervisor
                .submit(tasks::patient::call(&note))
                .expect("accepted")
                .wait()
                .expect("declared")
        );
        // The flag was that of the one task: nothing is left of it, and the worker is the same.
        let next = supervisor.submit(tasks::until_asked::call(&note)).expect("accepted");
        eventually("it runs", || {
            std::fs::read_to_string(&note).expect("written").lines().count() == 3
        });
        assert!(!next.is_done());
        assert!(next.cancel());
        drop(next);
        let again = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        assert_ne!(again, pid, "a cancelled one is killed");
    });
}

#[test]
fn who_does_not_listen_is_ended_by_the_timeout() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        let call = tasks::die::call("hang").soft_timeout(SOON).timeout(SOON * 3);
        let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
        assert_eq!(limit_of(&error), TimeLimit::Timeout, "{error}");
    });
}

#[test]
fn each_attempt_is_asked_anew() {
    each_transport(|supervisor| {
        let folder = tempfile::tempdir().expect("a folder");
        let note = folder.path().join("notes");
        let supervisor = supervisor(1);
        let call = tasks::asked_then_fails::call(&note).retries(1).retry_on([RetryOn::Error]);
        let result = supervisor.submit(call.soft_timeout(SOON)).expect("accepted").wait();
        assert_eq!(result.expect("it ran"), Err("asked to end".to_owned()));
        assert_eq!(std::fs::read_to_string(&note).expect("written"), "begun\n".repeat(2));
    });
}

#[test]
fn threads_rayon_the_caller_and_loops_are_asked_too() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let note = folder.path().join("notes");
        let builders =
            [Supervisor::builder().inline(), Supervisor::builder().rayon(Limits::new(1))];
        for builder in builders {
            let supervisor = builder.start().expect("it starts");
            let call = tasks::until_asked::call(&note).soft_timeout(SOON);
            assert!(supervisor.submit(call).expect("accepted").wait().expect("it ends"));
        }
        let supervisor = Supervisor::builder().start().expect("it starts");
        let file = note.clone();
        let call = Call::closure(move || tasks::until_asked(&file)).soft_timeout(SOON);
        assert!(supervisor.submit(call).expect("accepted").wait().expect("it ends"));
        let call = Call::future(async {
            while !atasker::current().is_cancelled() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let task = supervisor.submit(call.soft_timeout(SOON)).expect("accepted");
        task.wait().expect("it ends by itself");
    });
}

#[test]
fn a_thread_that_nobody_waits_for_is_asked_to_end() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("it starts");
        for timeout in [None, Some(SOON)] {
            let (begun, has_begun) = mpsc::channel();
            let call = Call::closure(move || {
                begun.send(()).expect("the test listens");
                while !atasker::current().is_cancelled() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let call = match timeout {
                Some(timeout) => call.timeout(timeout),
                None => call,
            };
            let task = supervisor.submit(call).expect("accepted");
            match timeout {
                // Its time may be over before a thread takes it up, and then it never runs.
                Some(_) => _ = has_begun.recv(),
                None => has_begun.recv().expect("it runs"),
            }
            assert_eq!(timeout.is_none(), timeout.is_none() && task.cancel());
            let status = task.wait().unwrap_err().status();
            let expected = timeout.map_or(TaskStatus::Cancelled, |_| TaskStatus::TimedOut);
            assert_eq!(status, expected);
            // It has given its place back: the only one.
            assert_eq!(supervisor.spawn_blocking(|| 5).expect("accepted").wait().expect("runs"), 5);
        }
    });
}

#[test]
fn cpu_time_is_limited_for_all_threads_together() {
    each_transport(|supervisor| {
        let supervisor = supervisor(2);
        let neighbour = supervisor.submit(tasks::burn::call(400, 1)).expect("accepted");
        let limit = Duration::from_millis(300);
        for (ms, threads) in [(u64::MAX, 1), (200, 4)] {
            let call = tasks::burn::call(ms, threads).cpu_limit(limit);
            let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
            assert_eq!(limit_of(&error), TimeLimit::Cpu, "{error}");
            assert!(error.to_string().contains("used up its CPU time within"), "{error}");
        }
        neighbour.wait().expect("a neighbour notices nothing");
        let error = supervisor.submit(tasks::frugal::call()).expect("accepted").wait().unwrap_err();
        assert_eq!(limit_of(&error), TimeLimit::Cpu, "declared");
    });
}

#[test]
fn a_task_pays_for_its_own_cpu_time_only() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        let limit = Duration::from_millis(300);
        // The worker uses more than the limit altogether, and each of them less; also behind one that is not limited.
        for n in 0..9 {
            let call = tasks::burn::call(150, 1);
            let call = if n % 3 == 0 { call } else { call.cpu_limit(limit) };
            supervisor.submit(call).expect("accepted").wait().expect("it is within its limit");
        }
        // Waiting is free.
        let sleeps = tasks::sleep_ms::call(1000).cpu_limit(limit);
        supervisor.submit(sleeps).expect("accepted").wait().expect("it has used nothing");
        let again = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        assert_eq!(pid, again);
    });
}

#[test]
fn what_uses_up_its_cpu_time_counts_as_timed_out_for_retries() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        for (kind, attempts) in [(RetryOn::Timeout, 2), (RetryOn::Crash, 1)] {
            let call = tasks::frugal::call().retries(1).retry_on([kind]);
            let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
            assert_eq!((limit_of(&error), error.attempts()), (TimeLimit::Cpu, attempts), "{error}");
        }
        let next = supervisor.submit(tasks::add::call(1, 2)).expect("accepted");
        assert_eq!(next.wait().expect("the pool goes on"), 3);
    });
}
