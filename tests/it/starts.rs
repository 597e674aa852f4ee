//! Workers that end while they start leave nothing behind in the program that started them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atasker::{Limits, Stop, Supervisor, SupervisorBuilder};

use crate::tasks;
use crate::watch::{Held, alone, children, eventually, send_signal, watched};

/// Write a program for the shell.
pub(crate) fn script(folder: &Path, text: &str) -> PathBuf {
    let program = folder.join("program");
    std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("a file");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("its owner may");
    program
}

#[test]
fn first_words_without_a_socket_leave_nothing() {
    alone("starts::first_words_without_a_socket_leave_nothing", || {
        let directory = tempfile::tempdir().expect("a directory");
        let version = env!("CARGO_PKG_VERSION");
        let text = format!(
            "set -- $ATASKER_WORKER\nprintf \"atasker $1 {version} $3/socket\" >&0\nexec sleep 1000"
        );
        let program = script(directory.path(), &text);
        let start = || {
            let builder = Supervisor::builder().processes(Limits::new(1)).worker_program(&program);
            let builder = builder.start_timeout(Duration::from_secs(60));
            builder.start().expect_err("that is no worker").to_string()
        };
        let error = start();
        assert!(error.contains("its socket did not come along"), "{error}");
        let before = Held::count();
        for _ in 0..5 {
            start();
        }
        before.assert_again();
    });
}

#[test]
fn workers_killed_at_any_moment_of_their_start_leave_nothing() {
    alone("starts::workers_killed_at_any_moment_of_their_start_leave_nothing", || {
        let once = |round: u32| {
            let supervisor =
                Supervisor::builder().processes(Limits::new(4)).start().expect("it starts");
            let dying: Vec<_> = (0..4)
                .map(|_| supervisor.submit(tasks::die::call("abort")).expect("accepted"))
                .collect();
            for task in dying {
                task.wait().expect_err("it dies with its worker");
            }
            // What is started in their place is at another moment of it each time.
            std::thread::sleep(Duration::from_micros(u64::from(round) * 100));
            supervisor.stop(Stop::KillNow);
        };
        once(0);
        let before = Held::count();
        for round in 0..100 {
            watched(|| once(round));
        }
        before.assert_again();
    });
}

/// A program that is this test binary as a worker, until the file `broken` is beside it; what it does then is said by
/// `then`.
fn fragile(folder: &Path, then: &str) -> SupervisorBuilder {
    let (broken, own) = (folder.join("broken"), std::env::current_exe().expect("this test binary"));
    let text = format!(
        "if [ -e {} ]; then {then}; fi\nexec {} atasker_worker --exact --nocapture",
        broken.display(),
        own.display()
    );
    let program = script(folder, &text);
    Supervisor::builder().processes(Limits::new(1)).worker_program(program).restart_limit(2)
}

#[test]
fn a_program_that_breaks_while_it_is_used_is_given_up_with_its_last_words() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let then = "echo the licence has expired >&2; exit 3";
        let supervisor = fragile(folder.path(), then).start().expect("it starts");
        std::fs::write(folder.path().join("broken"), "").expect("a file");
        let dying = supervisor.submit(tasks::die::call("abort")).expect("accepted");
        dying.wait().expect_err("it dies");
        let waiting = supervisor.submit(tasks::add::call(1, 2));
        let text = match waiting {
            Ok(task) => task.wait().expect_err("nobody is there to run it").to_string(),
            Err(error) => error.to_string(),
        };
        for part in
            ["after 3 in a row", "code 3", "without becoming a worker", "the licence has expired"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let refused = supervisor.submit(tasks::add::call(1, 2)).expect_err("it has given up");
        assert!(refused.to_string().contains("the licence has expired"), "{refused}");
    });
}

#[test]
fn workers_that_die_idle_are_given_up_with_how_they_died() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(1)).restart_limit(1);
        let supervisor = builder.start().expect("workers start");
        let mut killed = Vec::new();
        while killed.len() < 2 {
            eventually("another worker is ready", || {
                let workers = supervisor.info().workers;
                let pid = workers.first().and_then(|worker| worker.pid);
                pid.filter(|pid| !killed.contains(pid)).map(|pid| killed.push(pid)).is_some()
            });
            send_signal(*killed.last().expect("one more"), libc::SIGUSR1);
        }
        let mut text = String::new();
        eventually("the pool gives up", || {
            let task = supervisor.submit(tasks::add::call(1, 2));
            match task.map(atasker::TaskHandle::wait) {
                Ok(Ok(_)) => return false,
                Ok(Err(error)) => text = error.to_string(),
                Err(error) => text = error.to_string(),
            }
            true
        });
        assert!(text.contains("(SIGUSR1)") && text.contains("nothing to do"), "{text}");
    });
}

#[test]
fn a_program_that_was_replaced_or_removed_is_told() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = fragile(folder.path(), "true").start().expect("it starts");
        std::fs::remove_file(folder.path().join("program")).expect("it is there");
        let dying = supervisor.submit(tasks::die::call("abort")).expect("accepted");
        dying.wait().expect_err("it dies");
        let text = match supervisor.submit(tasks::add::call(1, 2)) {
            Ok(task) => task.wait().expect_err("nobody is there to run it").to_string(),
            Err(error) => error.to_string(),
        };
        assert!(text.contains("/program") && text.contains("is the path right"), "{text}");
    });
}

#[test]
fn a_lack_of_descriptors_is_told_as_such_and_leaves_nothing() {
    alone("starts::a_lack_of_descriptors_is_told_as_such_and_leaves_nothing", || {
        let start = || Supervisor::builder().processes(Limits::new(1)).start();
        drop(start().expect("there are enough"));
        let before = Held::count();
        let open = std::fs::read_dir("/proc/self/fd").expect("procfs").count() as u64;
        for more in [0, 2, 4] {
            let limits = set_descriptors_max(open + more);
            let error = start().expect_err("there are too few").to_string();
            set_descriptors_max(limits);
            assert!(error.contains("`ulimit -n`"), "{more} more: {error}");
        }
        before.assert_again();
        let supervisor = start().expect("there are enough again");
        let sum = supervisor.submit(tasks::add::call(1, 2)).expect("accepted");
        assert_eq!(sum.wait().expect("it runs"), 3);
    });
}

/// The soft limit; what it was before.
#[expect(unsafe_code, reason = "limits can only be set through libc")]
fn set_descriptors_max(max: u64) -> u64 {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid and lives as long as the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) }, 0);
    let before = std::mem::replace(&mut limits.rlim_cur, max);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) }, 0);
    before
}

/// What another program has is not known before a worker of it was ready, whoever submits meanwhile.
#[test]
fn nothing_is_given_to_another_program_before_it_is_known_what_it_has() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let slow = format!("sleep 0.5; exec {}", env!("CARGO_BIN_EXE_stranger"));
        let program = script(folder.path(), &slow);
        // Started by the first submission, while others come.
        let supervisor =
            Supervisor::builder().worker_program(program).start().expect("no worker yet");
        std::thread::scope(|scope| {
            for n in 0..4 {
                let supervisor = &supervisor;
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(n * 100));
                    let refused = supervisor.submit(tasks::add::call(1, 2));
                    let refused = refused.expect_err("it has no such function").to_string();
                    assert!(refused.contains("add"), "{refused}");
                });
            }
        });
        let call = atasker::Call::by_name("double", serde_json::json!([4]));
        let doubled = supervisor.submit(call).expect("accepted").wait().expect("it runs");
        assert_eq!(doubled, serde_json::json!(8));
    });
}

/// Nor after a first start that failed.
#[test]
fn nothing_is_given_to_another_program_that_did_not_start() {
    watched(|| {
        let builder = Supervisor::builder().worker_program("/bin/false");
        let supervisor = builder.start().expect("no worker yet");
        for _ in 0..3 {
            let refused = supervisor.submit(tasks::add::call(1, 2)).expect_err("it is no worker");
            assert!(matches!(refused, atasker::SubmitError::NoWorkers(_)), "{refused:?}");
        }
    });
}

#[test]
fn workers_killed_while_they_are_sent_much_leave_nothing() {
    alone("starts::workers_killed_while_they_are_sent_much_leave_nothing", || {
        let data = "x".repeat(8 << 20);
        let once = |round: u32| {
            let builder = Supervisor::builder().worker_data(&data).restart_limit(0);
            let supervisor = builder.start().expect("no worker yet");
            std::thread::scope(|scope| {
                let task = scope.spawn(|| supervisor.submit(tasks::greeting::call()));
                eventually("one starts", || !children().is_empty());
                std::thread::sleep(Duration::from_micros(u64::from(round) * 200));
                for pid in children() {
                    send_signal(pid, libc::SIGKILL);
                }
                if let Ok(task) = task.join().expect("it submits") {
                    // One more may have been ready before.
                    let _ = task.wait();
                }
            });
            supervisor.stop(Stop::KillNow);
        };
        once(0);
        let before = Held::count();
        for round in 0..40 {
            watched(|| once(round));
        }
        before.assert_again();
    });
}

#[test]
fn initialisers_get_all_of_what_is_much() {
    watched(|| {
        let data = "y".repeat(8 << 20);
        for transport in crate::watch::TRANSPORTS {
            let builder = Supervisor::builder().processes(Limits::new(2)).transport(transport);
            let supervisor = builder.worker_data(&data).start().expect("workers start");
            let tasks: Vec<_> = (0..4)
                .map(|_| supervisor.submit(tasks::greeting::call()).expect("accepted"))
                .collect();
            for task in tasks {
                assert!(task.wait().expect("it runs") == data);
            }
        }
    });
}

#[test]
fn limits_without_an_end_are_taken_as_such() {
    watched(|| {
        let for_ever = Duration::MAX;
        let builder = Supervisor::builder().processes(Limits::new(1)).start_timeout(for_ever);
        let builder = builder.exit_timeout(for_ever).claim_deadline(for_ever);
        let supervisor = builder.start().expect("a worker starts");
        let call = tasks::add::call(1, 2).timeout(for_ever).queue_timeout(for_ever);
        let call = call.soft_timeout(for_ever).cpu_limit(for_ever);
        assert_eq!(supervisor.submit(call).expect("accepted").wait().expect("it runs"), 3);
        supervisor.stop(Stop::Drain);
    });
}

/// A submitter waits for the first worker, and the supervisor is stopped.
#[test]
fn a_stop_ends_the_wait_for_a_first_worker() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let program = script(folder.path(), "exec sleep 1000");
        let builder = Supervisor::builder().worker_program(program).start_timeout(Duration::MAX);
        let supervisor = builder.start().expect("no worker yet");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| supervisor.submit(tasks::add::call(1, 2)));
            eventually("one starts", || !supervisor.info().workers.is_empty());
            supervisor.stop(Stop::Drain);
            let refused = waits.join().expect("no panic").expect_err("there is no worker");
            assert!(matches!(refused, atasker::SubmitError::Stopped), "{refused:?}");
        });
    });
}
