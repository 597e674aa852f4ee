//! What happens to the program with the supervisor while it lives. How it dies is in `coordinator`, and what becomes of
//! the command in its own tests.

use std::sync::atomic::{AtomicBool, Ordering};

use atasker::{Stop, SubmitError, Supervisor, TaskErrorKind, TaskStatus};

use super::misdeeds::die_with_a_grandchild;
use super::{Scene, cases};
use crate::tasks;
use crate::watch::{eventually, is_alive, send_signal};

cases! {
    everywhere {
        a_panic_while_tasks_run,
        the_thread_that_started_it_ends,
        stopped_and_continued,
        a_host_that_reaps_children,
        a_host_that_ignores_its_children,
        a_host_that_forks,
    }
    on_named_rings {
        a_panic_while_tasks_run,
        stopped_and_continued,
        a_host_that_forks,
    }
}

/// Unwinding drops handles, and a pool.
fn a_panic_while_tasks_run(scene: &Scene) {
    let occupied = scene.occupy();
    let pool: &Supervisor = scene;
    let other = scene.builder().start().expect("workers start");
    let hanging = other.submit(tasks::die::call("hang")).expect("accepted");
    eventually("it runs", || hanging.info().pid.is_some());
    let pid = hanging.info().pid.expect("just seen");
    let panicked = std::thread::scope(|threads| {
        let thread = threads.spawn(move || {
            let _dropped = pool.submit(tasks::add::call(1, 1)).expect("accepted");
            let _dropped = other;
            panic!("the host panics");
        });
        thread.join().is_err()
    });
    assert!(panicked);
    let error = hanging.wait().expect_err("its pool is gone");
    assert!(matches!(error.kind(), TaskErrorKind::Stopped), "{error}");
    eventually("its worker is dead", || !is_alive(pid));
    occupied.release();
}

/// Workers die with the thread that made them, so it must not be this one.
fn the_thread_that_started_it_ends(scene: &Scene) {
    let builder = scene.builder();
    let started = std::thread::spawn(move || builder.start().expect("workers start"));
    scene.adopt(started.join().expect("it does not panic"));
    let pids = scene.pids();
    for n in 0..20 {
        assert_eq!(scene.run(tasks::add::call(n, 1)).expect("it runs"), n + 1);
    }
    assert!(pids.iter().all(|&pid| is_alive(pid)));
}

/// The whole program stands still for a while, as by SIGTSTP, and goes on. Workers are no part of its group.
fn stopped_and_continued(scene: &Scene) {
    let tasks: Vec<_> =
        (0..100).map(|n| scene.submit(tasks::sleep_ms::call(n % 5)).expect("accepted")).collect();
    let this = std::process::id();
    let mut helper = std::process::Command::new("sh")
        .args(["-c", &format!("kill -STOP {this}; sleep 0.2; kill -CONT {this}")])
        .spawn()
        .expect("there is a shell");
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.wait().expect("it runs"), n % 5);
    }
    assert!(helper.wait().expect("it is ours").success());
}

/// Let workers die in every way while something else waits for all children, or nobody can.
fn die_unreaped(scene: &Scene) {
    for how in ["kill", "exit 42", "abort"] {
        let error = scene.run(tasks::die::call(how)).expect_err("it dies");
        assert_eq!(error.status(), TaskStatus::Crashed, "{error}");
    }
    let names_groups_safely =
        atasker::probe().iter().any(|it| it.name == "PIDFD_SIGNAL_PROCESS_GROUP" && it.is_there);
    let folder = tempfile::tempdir().expect("a folder");
    for how in ["kill", "exit 0"] {
        let file = folder.path().join(how);
        let call = die_with_a_grandchild::call(&file, how);
        assert_eq!(scene.run(call).expect_err("it dies").status(), TaskStatus::Crashed);
        let pid = std::fs::read_to_string(&file).expect("it was started").parse().expect("a pid");
        if names_groups_safely {
            eventually("its grandchild is dead", || !is_alive(pid));
        } else {
            send_signal(pid, libc::SIGKILL);
        }
    }
    let hanging = tasks::die::call("hang").timeout(super::BRIEFLY);
    assert_eq!(scene.run(hanging).expect_err("it hangs").status(), TaskStatus::TimedOut);
    for n in 0..20 {
        assert_eq!(scene.run(tasks::add::call(n, 1)).expect("it runs"), n + 1);
    }
}

#[expect(unsafe_code, reason = "a host may do so")]
fn a_host_that_reaps_children(scene: &Scene) {
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: no status is asked for.
                unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
                std::thread::yield_now();
            }
        });
        die_unreaped(scene);
        scene.end(Stop::Drain);
        done.store(true, Ordering::Relaxed);
    });
}

#[expect(unsafe_code, reason = "a host may do so")]
fn a_host_that_ignores_its_children(scene: &Scene) {
    // SAFETY: ignoring has no preconditions.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    die_unreaped(scene);
    scene.end(Stop::Drain);
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// The child is told that nothing here is its own, and its end ends nothing of the parent's.
#[expect(unsafe_code, reason = "only a fork makes a forked child")]
fn a_host_that_forks(scene: &Scene) {
    let occupied = scene.occupy();
    let pool: &Supervisor = scene;
    // SAFETY: the child calls what is to be tested, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = pool.submit(tasks::nothing::call());
        let told = matches!(refused, Err(SubmitError::Forked));
        pool.stop(Stop::KillNow);
        // SAFETY: it ends the child at once.
        unsafe { libc::_exit(i32::from(!told)) };
    }
    let mut status = 0;
    // SAFETY: the child is this process's own, and the status this frame's.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (child, true, 0));
    assert!(occupied.pids.iter().all(|&pid| is_alive(pid)));
    occupied.release();
}
