//! Tasks that do not end, and time.

use std::time::Duration;

use atasker::{Call, Limits, Pool, Stop, TaskErrorKind, TaskStatus};

use super::misdeeds::{hang_with_a_grandchild, in_c, leave_a_grandchild, lock_twice};
use super::{BRIEFLY, Scene, cases};
use crate::tasks;
use crate::watch::{eventually, is_alive, send_signal, state_of};

cases! {
    everywhere {
        an_infinite_loop_in_c,
        a_deadlock_in_c,
        a_deadlock_in_rust,
        every_signal_ignored_in_c,
        a_task_that_stops_its_worker,
        stopped_from_outside_in_a_task,
        many_time_out_at_once,
        cancelled_in_every_state,
        a_timeout_that_races_the_completion,
        a_cancel_that_races_the_next_start,
        a_deadline_in_the_queue_and_one_for_the_run,
        a_hang_with_a_grandchild,
        a_grandchild_that_outlives_its_task,
        a_grandchild_that_holds_the_output,
        a_fork_that_holds_everything_in_c,
        a_replaced_worker_that_hangs_at_its_exit_in_c,
        stopped_while_idle_and_no_longer_needed,
    }
    on_rings {
        stopped_from_outside_while_idle,
    }
}

/// Run what never ends, with a timeout, and see it killed.
fn assert_times_out<T: std::fmt::Debug>(scene: &Scene, call: Call<T>) {
    let error = scene.run(call.timeout(BRIEFLY)).expect_err("it hangs");
    let TaskErrorKind::TimedOut { pid: Some(pid), ran, .. } = *error.kind() else {
        panic!("{error}")
    };
    assert!(ran >= BRIEFLY && error.may_have_run());
    eventually("its worker is dead", || !is_alive(pid));
}

fn an_infinite_loop_in_c(scene: &Scene) {
    assert_times_out(scene, in_c::call("infinite loop"));
}

fn a_deadlock_in_c(scene: &Scene) {
    assert_times_out(scene, in_c::call("deadlock"));
}

fn a_deadlock_in_rust(scene: &Scene) {
    assert_times_out(scene, lock_twice::call());
}

fn every_signal_ignored_in_c(scene: &Scene) {
    assert_times_out(scene, in_c::call("ignore every signal"));
}

fn a_task_that_stops_its_worker(scene: &Scene) {
    assert_times_out(scene, in_c::call("stop itself"));
}

fn stopped_from_outside_in_a_task(scene: &Scene) {
    let occupied = scene.occupy();
    let [stopped, other] = occupied.pids;
    send_signal(stopped, libc::SIGSTOP);
    eventually("it stands still", || state_of(stopped) == Some('T'));
    // It has no timeout and is not taken for stuck. When it is let on, nothing is missing.
    std::fs::remove_file(&occupied.files[1]).expect("it is there");
    for n in 0..5 {
        assert_eq!(scene.run(tasks::add::call(n, 1)).expect("by the other"), n + 1);
    }
    std::fs::remove_file(&occupied.files[0]).expect("it is there");
    send_signal(stopped, libc::SIGCONT);
    for task in occupied.tasks {
        task.wait().expect("it ends");
    }
    assert!(is_alive(stopped) && is_alive(other));
}

/// What was with the stopped one goes to another after the claim deadline.
fn stopped_from_outside_while_idle(scene: &Scene) {
    // On a busy machine others may seem to stand still, too.
    let builder = scene.builder().claim_deadline(Duration::from_millis(100));
    scene.start(builder.restart_limit(1_000_000));
    let occupied = scene.occupy();
    let pids = occupied.pids;
    occupied.release();
    for pid in pids {
        send_signal(pid, libc::SIGSTOP);
        eventually("it stands still", || state_of(pid) == Some('T'));
    }
    let tasks: Vec<_> =
        (0..6).map(|_| scene.submit(tasks::pid::call()).expect("accepted")).collect();
    for task in tasks {
        let pid = task.wait().expect("another worker takes it");
        assert!(!pids.contains(&pid));
    }
}

/// Nothing waits for it, and nobody would ever ask for it again.
fn a_replaced_worker_that_hangs_at_its_exit_in_c(scene: &Scene) {
    scene.start(scene.builder().recycle_after_tasks(1).exit_timeout(BRIEFLY));
    eventually("both are ready", || scene.pids().len() == 2);
    let pids = scene.pids();
    for _ in 0..2 {
        scene.run(in_c::call("hang at exit")).expect("it returns");
    }
    eventually("both are gone", || !pids.iter().any(|pid| is_alive(*pid)));
}

fn stopped_while_idle_and_no_longer_needed(scene: &Scene) {
    scene.start(scene.builder().exit_timeout(BRIEFLY));
    eventually("both are ready", || scene.pids().len() == 2);
    let pids = scene.pids();
    for &pid in &pids {
        send_signal(pid, libc::SIGSTOP);
        eventually("it stands still", || state_of(pid) == Some('T'));
    }
    scene.resize(Pool::Processes, Limits::new(1)).expect("a good size");
    eventually("one is gone", || !pids.iter().all(|pid| is_alive(*pid)));
    scene.resize(Pool::Processes, Limits::new(2)).expect("a good size");
    for pid in pids.into_iter().filter(|pid| is_alive(*pid)) {
        send_signal(pid, libc::SIGCONT);
    }
}

fn many_time_out_at_once(scene: &Scene) {
    let hanging = || tasks::die::call("hang").timeout(BRIEFLY);
    let tasks: Vec<_> = (0..6).map(|_| scene.submit(hanging()).expect("accepted")).collect();
    for task in tasks {
        assert_eq!(task.wait().expect_err("it hangs").status(), TaskStatus::TimedOut);
    }
}

fn cancelled_in_every_state(scene: &Scene) {
    let occupied = scene.occupy();
    let folder = tempfile::tempdir().expect("a folder");
    let noted = folder.path().join("noted");
    // Some are with a worker already, the others are in line.
    let waiting: Vec<_> = (0..50)
        .map(|_| scene.submit(tasks::note::call(&noted, "begun")).expect("accepted"))
        .collect();
    for task in waiting.iter().rev().chain(&occupied.tasks) {
        assert!(task.cancel());
        assert!(!task.cancel(), "it can be cancelled once");
    }
    for task in waiting.into_iter().chain(occupied.tasks) {
        assert_eq!(task.wait().expect_err("cancelled").status(), TaskStatus::Cancelled);
    }
    assert!(!noted.exists(), "none of them began");
}

/// So often, or as often as `ATASKER_TEST_RACES` says. The count of ends shows that none has two.
fn races() -> u32 {
    std::env::var("ATASKER_TEST_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// Returns after so many microseconds, without sleeping.
#[atasker::task]
fn spin(microseconds: u64) -> u64 {
    let until = std::time::Instant::now() + Duration::from_micros(microseconds);
    while std::time::Instant::now() < until {
        std::hint::spin_loop();
    }
    microseconds
}

fn a_timeout_that_races_the_completion(scene: &Scene) {
    let (mut completed, mut timed_out) = (0, 0);
    for round in 0..races() {
        let timeout = Duration::from_micros(2000);
        let microseconds = u64::from(1900 + round % 40 * 5);
        match scene.run(spin::call(microseconds).timeout(timeout)) {
            Ok(value) => {
                assert_eq!(value, microseconds);
                completed += 1;
            }
            Err(error) => {
                assert_eq!(error.status(), TaskStatus::TimedOut, "{error}");
                timed_out += 1;
            }
        }
    }
    let ended = scene.info().ended;
    assert_eq!((ended.completed, ended.timed_out), (completed, timed_out));
}

fn a_cancel_that_races_the_next_start(scene: &Scene) {
    for round in 0..races() {
        let tasks: Vec<_> =
            (0..8).map(|n| scene.submit(tasks::add::call(n, 1)).expect("accepted")).collect();
        for _ in 0..round * 50 {
            std::hint::spin_loop();
        }
        let cancelled = [2, 5].map(|n: usize| (n, tasks[n].cancel()));
        for (n, task) in tasks.into_iter().enumerate() {
            let was_cancelled = cancelled.contains(&(n, true));
            match task.wait() {
                Ok(value) => assert!(value == n as i64 + 1 && !was_cancelled),
                Err(error) => {
                    assert_eq!(error.status(), TaskStatus::Cancelled, "{n}: {error}");
                    assert!(was_cancelled, "{n}: another was meant");
                }
            }
        }
    }
}

fn a_deadline_in_the_queue_and_one_for_the_run(scene: &Scene) {
    let occupied = scene.occupy();
    let folder = tempfile::tempdir().expect("a folder");
    let noted = folder.path().join("noted");
    let both = |call: Call<_>| call.queue_timeout(BRIEFLY).timeout(Duration::from_mins(10));
    let waiting: Vec<_> = (0..3)
        .map(|_| scene.submit(both(tasks::note_and::call(&noted, "hang"))).expect("accepted"))
        .collect();
    for task in waiting {
        let error = task.wait().expect_err("nobody begins it");
        assert_eq!(error.status(), TaskStatus::Expired, "{error}");
        assert!(!error.may_have_run());
    }
    assert!(!noted.exists());
    occupied.release();
    // What has begun expires no more, and runs as long as it may.
    let began_in_time = [100, 1_000, 10_000].into_iter().any(|ms| {
        let call = tasks::sleep_ms::call(ms * 3 / 2).queue_timeout(Duration::from_millis(ms));
        match scene.run(call) {
            Ok(slept) => slept > ms,
            // On a machine that is too busy for that.
            Err(error) if error.status() == TaskStatus::Expired => false,
            Err(error) => panic!("{error}"),
        }
    });
    assert!(began_in_time);
    let call = tasks::note_and::call(&noted, "hang").queue_timeout(Duration::from_mins(10));
    assert_times_out(scene, call);
}

fn a_hang_with_a_grandchild(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("grandchild");
    let task = scene.submit(hang_with_a_grandchild::call(&file)).expect("accepted");
    eventually("it hangs", || file.exists());
    assert!(task.cancel());
    assert_eq!(task.wait().expect_err("it hangs").status(), TaskStatus::Cancelled);
    let pid = std::fs::read_to_string(&file).expect("it was started").parse().expect("a pid");
    eventually("the grandchild is dead", || !is_alive(pid));
}

/// Its task, but not the worker whose group it is of, however that ends.
fn a_grandchild_that_outlives_its_task(scene: &Scene) {
    let run = |n: i64| scene.run(tasks::add::call(n, 1)).expect("it runs");
    let pids: Vec<u32> =
        (0..4).map(|_| scene.run(leave_a_grandchild::call(false)).expect("it returns")).collect();
    assert!((0..20).all(|n| run(n) == n + 1));
    assert!(pids.iter().all(|&pid| is_alive(pid)));
    scene.crash(tasks::die::call("abort"));
    scene.end(Stop::Drain);
    eventually("they are dead", || !pids.iter().any(|&pid| is_alive(pid)));
}

/// Nobody waits for the end of what a worker may yet write.
fn a_grandchild_that_holds_the_output(scene: &Scene) {
    let pids: Vec<u32> =
        (0..4).map(|_| scene.run(leave_a_grandchild::call(true)).expect("it returns")).collect();
    for _ in 0..2 {
        scene.crash(tasks::die::call("abort"));
    }
    scene.end(Stop::Drain);
    eventually("they are dead", || !pids.iter().any(|&pid| is_alive(pid)));
}

/// It has the worker's sockets, too, and is not of its group.
fn a_fork_that_holds_everything_in_c(scene: &Scene) {
    let pids: Vec<_> = (0..2)
        .map(|_| scene.run(in_c::call("fork and stay")).expect("it returns").cast_unsigned())
        .collect();
    for _ in 0..2 {
        scene.crash(tasks::die::call("abort"));
    }
    scene.end(Stop::Drain);
    for pid in pids {
        assert!(is_alive(pid), "no kill reaches what has a session of its own");
        send_signal(pid, libc::SIGKILL);
    }
}
