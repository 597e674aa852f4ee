//! What kills its workers again and again is taken out, and kept so that it can be made to happen again.

use std::time::Duration;

use atasker::{
    Backoff, ExitCause, Limits, Quarantine, QuarantineError, RetryOn, SharedSlice, Supervisor,
    TaskError, TaskErrorKind, TaskStatus, wait_all,
};

use crate::tasks;
use crate::watch::{each_transport, watched};

fn quarantine_of(error: &TaskError) -> &Quarantine {
    match error.kind() {
        TaskErrorKind::Quarantined(quarantine) => quarantine,
        other => panic!("not quarantined, but it {other}"),
    }
}

#[test]
fn it_is_taken_out_at_its_limit_and_its_neighbours_run_on() {
    each_transport(|supervisor| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("notes");
        let supervisor = supervisor(2);
        let call = tasks::note_and::call(&file, "abort").retries(100).crash_limit(3);
        let poison = supervisor.submit(call.retry_on([RetryOn::Crash])).expect("accepted");
        let good: Vec<_> =
            (0..50).map(|n| supervisor.submit(tasks::add::call(n, n)).expect("accepted")).collect();
        for (n, sum) in (0..50).zip(wait_all(good, None).expect("without a timeout")) {
            assert_eq!(sum.expect("a neighbour notices nothing"), 2 * n);
        }
        let error = poison.wait().unwrap_err();
        assert_eq!((error.status(), error.attempts()), (TaskStatus::Quarantined, 3), "{error}");
        assert_eq!(std::fs::read_to_string(&file).expect("it began"), "begun\n".repeat(3));
        let quarantine = quarantine_of(&error);
        assert!(quarantine.function().ends_with("tasks::note_and"), "{quarantine:?}");
        assert_eq!(quarantine.codec(), "postcard");
        let crashes = quarantine.crashes();
        assert_eq!(crashes.len(), 3);
        let pids: std::collections::BTreeSet<_> = crashes.iter().map(|crash| crash.pid).collect();
        assert_eq!(pids.len(), 3, "each attempt has a report of its own: {crashes:?}");
        assert!(crashes.iter().all(|crash| crash.cause == ExitCause::Signal(libc::SIGABRT)));
        assert_eq!(error.crash(), crashes.last());
        let text = error.to_string();
        assert!(text.contains("it has killed 3 worker processes; the last time"), "{text}");
        assert_eq!(supervisor.info().ended.quarantined, 1);
    });
}

#[test]
fn what_is_kept_makes_the_same_happen_again() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        // Longer than what stands in an entry of a ring.
        let how = format!("no such death, but {} bytes", "x".repeat(100_000));
        for how in ["abort", &how] {
            let folder = tempfile::tempdir().expect("a folder");
            let note = folder.path().join("notes");
            let call = tasks::note_and_die::call(&note, how).crash_limit(1);
            let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
            let kept = quarantine_of(&error).clone();
            // It holds on to nothing of the pool.
            drop(error);
            let saved = kept.to_bytes().expect("there are no buffers");
            let read = Quarantine::from_bytes(&saved).expect("it was saved");
            assert_eq!(read.arguments(), kept.arguments());
            for (round, call) in [kept.call(), read.call()].into_iter().enumerate() {
                // Neither retries nor a crash limit: it crashes, and that is that.
                let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
                assert_eq!((error.status(), error.attempts()), (TaskStatus::Crashed, 1), "{error}");
                let notes = std::fs::read_to_string(&note).expect("it began");
                assert_eq!(notes, format!("{how}\n").repeat(round + 2), "the same arguments");
            }
        }
    });
}

#[test]
fn only_what_kills_is_held_against_a_task() {
    each_transport(|supervisor| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = supervisor(1);
        for (how, status) in [("panic", TaskStatus::Panicked), ("hang", TaskStatus::TimedOut)] {
            let file = folder.path().join(how);
            let call = tasks::note_and::call(&file, how).retries(2).crash_limit(1);
            let call = call.timeout(Duration::from_millis(if how == "hang" { 50 } else { 60_000 }));
            let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
            assert_eq!((error.status(), error.attempts()), (status, 3), "{error}");
        }
        // With a limit that retries never reach, it crashes as ever.
        let call = tasks::die::call("abort").retries(1).crash_limit(3);
        let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
        assert_eq!((error.status(), error.attempts()), (TaskStatus::Crashed, 2), "{error}");
    });
}

#[test]
fn the_limit_is_declared_said_or_the_builders() {
    watched(|| {
        let supervisor = Supervisor::builder()
            .processes(Limits::new(2))
            .crash_limit(1)
            .start()
            .expect("workers start");
        let ends = |call: atasker::Call<()>| {
            let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
            (error.status(), error.attempts())
        };
        assert_eq!(ends(tasks::die::call("abort")), (TaskStatus::Quarantined, 1));
        assert_eq!(ends(tasks::poison::call()), (TaskStatus::Quarantined, 2), "declared");
        assert_eq!(ends(tasks::poison::call().crash_limit(3)), (TaskStatus::Quarantined, 3));
        let never = tasks::die::call("abort").crash_limit(u32::MAX);
        assert_eq!(ends(never), (TaskStatus::Crashed, 1));
        // By name too, where the attribute is known at the submission only, and in a map.
        let named = atasker::Call::by_name("tasks::poison", serde_json::json!([]));
        let error = supervisor.submit(named).expect("accepted").wait().unwrap_err();
        let quarantine = quarantine_of(&error);
        assert_eq!((quarantine.codec(), quarantine.arguments()), ("json", &b"[]"[..]));
        let calls = (0..200).map(|n| tasks::die_at::call(n, 77));
        for (n, result) in (0..).zip(supervisor.map(calls)) {
            match result {
                Ok(value) => assert!(value == n && n != 77),
                Err(error) => {
                    assert_eq!(n, 77, "{error}");
                    assert_eq!(quarantine_of(&error).crashes().len(), 1);
                }
            }
        }
    });
}

#[test]
fn buffers_are_kept_but_not_saved() {
    watched(|| {
        let supervisor =
            Supervisor::builder().processes(Limits::new(1)).start().expect("workers start");
        let numbers = SharedSlice::from_slice(&[1_u64; 1000]).expect("there is memory").seal();
        let call = tasks::die_of::call(numbers.expect("it can be sealed")).crash_limit(1);
        let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
        let quarantine = quarantine_of(&error);
        assert_eq!(quarantine.to_bytes(), Err(QuarantineError::SharedBuffers));
        let again = supervisor.submit(quarantine.call()).expect("accepted").wait().unwrap_err();
        assert_eq!(again.status(), TaskStatus::Crashed);
    });
}

#[test]
fn a_backoff_is_waited_for_between_crashes() {
    watched(|| {
        let supervisor =
            Supervisor::builder().processes(Limits::new(1)).start().expect("workers start");
        let begun = std::time::Instant::now();
        let call = tasks::die::call("abort").retries(9).crash_limit(3);
        let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(1));
        let task = supervisor.submit(call.backoff(backoff)).expect("accepted");
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Quarantined);
        // A quarter may be taken off the first hundred, and off the two hundred after that.
        assert!(begun.elapsed() >= Duration::from_millis(225));
    });
}
