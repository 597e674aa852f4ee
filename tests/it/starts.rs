//! Workers that end while they start leave nothing behind in the program that started them.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use atasker::{Limits, Stop, Supervisor};

use crate::tasks;
use crate::watch::{Held, alone, watched};

#[test]
fn first_words_without_a_socket_leave_nothing() {
    alone("starts::first_words_without_a_socket_leave_nothing", || {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("says-it-is-a-worker");
        let version = env!("CARGO_PKG_VERSION");
        let script = format!(
            "#!/bin/sh\nset -- $ATASKER_WORKER\nprintf \"atasker $1 {version} $3/socket\" >&0\nexec sleep 1000\n"
        );
        std::fs::write(&program, script).expect("a file");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, executable).expect("its owner may");
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
