//! Workers that do not start as they should.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use atasker::{Call, StartError, Supervisor, TaskErrorKind, TaskStatus, WorkerStartError};

use super::{Scene, cases};
use crate::starts::script;
use crate::tasks;
use crate::watch::{children, eventually, send_signal, watched};

cases! {
    everywhere {
        a_program_that_is_not_there,
        a_file_that_is_no_program,
        a_program_of_another_version,
        a_program_with_other_functions,
        a_program_with_no_functions,
        functions_that_nobody_knows,
        a_slow_start,
        a_start_that_never_comes_to_an_end,
        an_initialiser_that_fails,
        an_initialiser_that_panics,
        an_initialiser_that_dies,
        an_initialiser_that_hangs,
        a_loop_of_crashes,
        killed_at_any_moment_of_a_start,
    }
    on_named_rings {
        a_program_of_another_version,
        a_start_that_never_comes_to_an_end,
        an_initialiser_that_dies,
        killed_at_any_moment_of_a_start,
    }
}

/// Start a pool of workers of this program, which can't be.
fn refused(scene: &Scene, program: &Path) -> WorkerStartError {
    let builder = scene.builder().worker_program(program);
    match builder.start_timeout(Duration::from_secs(60)).start() {
        Err(StartError::Worker(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("that is no worker"),
    }
}

fn a_program_that_is_not_there(scene: &Scene) {
    let error = refused(scene, Path::new("/no/such/program"));
    assert!(error.to_string().contains("is it built"), "{error}");
}

fn a_file_that_is_no_program(scene: &Scene) {
    let error = refused(scene, Path::new("/etc/passwd"));
    assert!(error.to_string().contains("may it be executed"), "{error}");
    let error = refused(scene, Path::new("/bin/true"));
    assert!(matches!(error, WorkerStartError::NotAWorker { .. }), "{error}");
}

fn a_program_of_another_version(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = script(folder.path(), "printf 'atasker 99 9.9.9 ' >&0; exec sleep 1000");
    let error = refused(scene, &program);
    assert!(error.to_string().contains("9.9.9 (protocol 99)"), "{error}");
}

fn a_program_with_other_functions(scene: &Scene) {
    let builder = scene.builder().worker_program(env!("CARGO_BIN_EXE_stranger"));
    let pool = builder.start().expect("it is a worker");
    let names: Vec<_> =
        pool.functions().expect("they start").iter().map(|f| f.path.clone()).collect();
    let all = ["become_a_sleeper", "become_a_sleeper_in_a_thread", "double"];
    assert_eq!(names, all.map(|name| format!("stranger::{name}")));
    assert_unknown(&pool, "add");
    let call = Call::by_name("double", serde_json::json!([21]));
    let doubled = pool.submit(call).expect("it has that one").wait().expect("it runs");
    assert_eq!(doubled, serde_json::json!(42));
}

/// See that the pool does not take a call of a function of this program, and says which.
fn assert_unknown(pool: &Supervisor, name: &str) {
    let text = match pool.submit(tasks::add::call(1, 2)) {
        Err(refused) => refused.to_string(),
        Ok(task) => {
            let error = task.wait().expect_err("it is unknown there");
            assert_eq!(error.status(), TaskStatus::Rejected, "{error}");
            assert!(!error.may_have_run());
            error.to_string()
        }
    };
    assert!(text.contains(name), "{text}");
}

fn a_program_with_no_functions(scene: &Scene) {
    let builder = scene.builder().worker_program(env!("CARGO_BIN_EXE_taskless"));
    let pool = builder.start().expect("it is a worker");
    assert_eq!(pool.functions().expect("they start").iter().len(), 0);
    assert_unknown(&pool, "add");
}

fn functions_that_nobody_knows(scene: &Scene) {
    for name in ["no_such_function", "", "tasks::", "it::tasks::ad"] {
        let text = match scene.submit(Call::by_name(name, serde_json::json!([]))) {
            Err(refused) => refused.to_string(),
            Ok(task) => task.wait().expect_err("nobody knows it").to_string(),
        };
        assert!(text.contains("function") || text.contains("task"), "{name}: {text}");
    }
}

fn a_slow_start(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = format!("sleep 0.3; exec {} \"$@\"", env!("CARGO_BIN_EXE_stranger"));
    let program = script(folder.path(), &slow);
    let pool = scene.builder().worker_program(program).start().expect("it is only slow");
    let call = Call::by_name("double", serde_json::json!([4]));
    let doubled = pool.submit(call).expect("accepted").wait().expect("it runs");
    assert_eq!(doubled, serde_json::json!(8));
}

fn a_start_that_never_comes_to_an_end(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = script(folder.path(), "exec sleep 1000");
    let waited = Duration::from_millis(100);
    let builder = scene.builder().worker_program(program).start_timeout(waited);
    let error = builder.start().expect_err("it never becomes a worker").to_string();
    assert!(error.contains("ready"), "{error}");
}

/// Start a pool whose initialiser does what is said, which can't be.
fn refused_with(scene: &Scene, data: &str, timeout: Duration) -> String {
    let builder = scene.builder().worker_data(&data.to_owned()).start_timeout(timeout);
    builder.start().expect_err("no worker can start").to_string()
}

const LONG: Duration = Duration::from_secs(60);

fn an_initialiser_that_fails(scene: &Scene) {
    let error = refused_with(scene, "refuse", LONG);
    assert!(error.contains("the initialiser was told to refuse"), "{error}");
}

fn an_initialiser_that_panics(scene: &Scene) {
    let error = refused_with(scene, "panic", LONG);
    assert!(error.contains("the initialiser panics"), "{error}");
}

fn an_initialiser_that_dies(scene: &Scene) {
    let error = refused_with(scene, "die", LONG);
    assert!(error.contains("the initialiser dies") && error.contains("SIGABRT"), "{error}");
}

fn an_initialiser_that_hangs(scene: &Scene) {
    let error = refused_with(scene, "hang", Duration::from_millis(500));
    assert!(error.contains("ready"), "{error}");
}

/// A program that is broken while it runs: its workers die as soon as they start. After some, with longer and longer
/// pauses, the pool gives up and says why.
fn a_loop_of_crashes(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken");
    let builder = scene.builder().worker_data(&format!("die if {}", broken.display()));
    let pool = builder.restart_limit(3).start().expect("it works at first");
    let mut pids: Vec<_> = Vec::new();
    eventually("both workers are there", || {
        pids = pool.info().workers.iter().filter_map(|worker| worker.pid).collect();
        pids.len() == 2
    });
    std::fs::write(&broken, "").expect("the test's folder is writable");
    for pid in pids {
        send_signal(pid, libc::SIGKILL);
    }
    let begun = Instant::now();
    let mut last = String::new();
    eventually("it gives up", || match pool.submit(tasks::add::call(1, 1)) {
        Err(refused) => {
            last = refused.to_string();
            true
        }
        Ok(task) => task.wait().is_err_and(|error| {
            last = error.to_string();
            matches!(error.kind(), TaskErrorKind::NoWorkers { .. })
        }),
    });
    assert!(last.contains("the initialiser dies"), "{last} after {:?}", begun.elapsed());
}

fn killed_at_any_moment_of_a_start(scene: &Scene) {
    scene.start(scene.builder().restart_limit(1_000_000));
    for step in 0..20 {
        let before = children();
        for pid in scene.pids() {
            send_signal(pid, libc::SIGKILL);
        }
        eventually("others are on their way", || {
            children().iter().any(|pid| !before.contains(pid))
        });
        std::thread::sleep(Duration::from_micros(step * 300));
        for pid in children() {
            send_signal(pid, libc::SIGKILL);
        }
        // One may have been killed when it had begun this.
        eventually("a later one serves", || match scene.run(tasks::add::call(1, 1)) {
            Ok(sum) => sum == 2,
            Err(error) => {
                assert_eq!(error.status(), TaskStatus::Crashed, "{error}");
                false
            }
        });
    }
}

/// The file of the running program is replaced by another: workers are still what was started.
#[test]
fn a_program_replaced_while_it_runs() {
    const COPY: &str = "ATASKER_TEST_REPLACED";
    const NAME: &str = "catalogue::starts::a_program_replaced_while_it_runs";
    if let Some(copy) = std::env::var_os(COPY) {
        return watched(|| {
            let scene = Scene::new(atasker::Transport::Ring);
            let first = scene.run(tasks::pid::call()).expect("it runs");
            let other = PathBuf::from(&copy).with_extension("other");
            std::fs::write(&other, "no program").expect("a file");
            std::fs::rename(&other, &copy).expect("it is replaced");
            send_signal(first, libc::SIGKILL);
            eventually("it is missed", || !scene.pids().contains(&first));
            super::assert_sound(&scene);
        });
    }
    let this = std::env::current_exe().expect("this test binary");
    let folder = tempfile::tempdir_in(this.parent().expect("it is somewhere")).expect("a folder");
    let copy = folder.path().join("copy");
    std::fs::hard_link(&this, &copy).expect("the same file under another name");
    let output = std::process::Command::new(&copy)
        .args([NAME, "--exact", "--nocapture"])
        .env(COPY, &copy)
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
