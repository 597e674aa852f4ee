//! Beginnings and ends, and tasks that do what tasks should not.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use atasker::{
    Limits, Output, Pool, Stop, SubmitError, Supervisor, SupervisorBuilder, TaskError,
    TaskErrorKind, TaskHandle, TaskStatus, Transport,
};

use super::misdeeds::{change_directory, current_directory, flood, in_c, print_no_text};
use super::{Occupied, Scene, cases};
use crate::tasks;
use crate::watch::{eventually, is_alive};

cases! {
    everywhere {
        drain_with_tasks_queued,
        drain_for_a_time_with_tasks_queued,
        cancel_queued_with_tasks_queued,
        kill_now_with_tasks_queued,
        dropped_while_handles_live,
        a_handle_dropped_while_queued,
        a_handle_dropped_while_running,
        submissions_during_a_stop,
        a_submission_from_inside_a_task,
        resized_under_load,
        resized_to_zero,
        recycling_that_races_dispatch,
        callbacks_that_panic,
        callbacks_that_submit,
        a_task_that_forks_in_c,
        a_task_that_closes_everything_in_c,
        a_task_that_closes_sockets_in_c,
        a_task_that_changes_directory,
        a_task_that_floods_the_output,
        a_task_that_prints_no_text,
    }
    on_named_rings {
        dropped_while_handles_live,
        resized_under_load,
        recycling_that_races_dispatch,
        a_task_that_forks_in_c,
        a_task_that_closes_everything_in_c,
    }
}

/// Both workers hang, with twenty tasks behind.
fn hanging(scene: &Scene) -> (Occupied, Vec<TaskHandle<i64>>) {
    let occupied = scene.occupy();
    let queue = |n| scene.submit(tasks::add::call(n, 1)).expect("accepted");
    (occupied, (0..20).map(queue).collect())
}

fn assert_stopped<T: std::fmt::Debug>(task: TaskHandle<T>) {
    assert!(task.is_done(), "a stop leaves nothing unresolved");
    let error = task.wait().expect_err("it was stopped");
    assert!(matches!(error.kind(), TaskErrorKind::Stopped), "{error}");
}

fn drain_with_tasks_queued(scene: &Scene) {
    let (occupied, queued) = hanging(scene);
    for file in &occupied.files {
        std::fs::remove_file(file).expect("it is there");
    }
    scene.end(Stop::Drain);
    for (n, task) in (0..).zip(queued) {
        assert!(task.is_done());
        assert_eq!(task.wait().expect("it ran"), n + 1);
    }
    for task in occupied.tasks {
        task.wait().expect("it ran");
    }
}

fn drain_for_a_time_with_tasks_queued(scene: &Scene) {
    let (occupied, queued) = hanging(scene);
    scene.end(Stop::DrainFor(Duration::from_millis(30)));
    queued.into_iter().for_each(assert_stopped);
    occupied.tasks.into_iter().for_each(assert_stopped);
    assert!(occupied.pids.into_iter().all(|pid| !is_alive(pid)));
}

fn cancel_queued_with_tasks_queued(scene: &Scene) {
    let (occupied, queued) = hanging(scene);
    let pool: &Supervisor = scene;
    std::thread::scope(|threads| {
        threads.spawn(|| pool.stop(Stop::CancelQueued));
        eventually("what waits is cancelled", || queued.iter().all(TaskHandle::is_done));
        occupied.release();
    });
    queued.into_iter().for_each(assert_stopped);
    scene.end(Stop::CancelQueued);
}

fn kill_now_with_tasks_queued(scene: &Scene) {
    let (occupied, queued) = hanging(scene);
    scene.end(Stop::KillNow);
    queued.into_iter().for_each(assert_stopped);
    occupied.tasks.into_iter().for_each(assert_stopped);
    assert!(occupied.pids.into_iter().all(|pid| !is_alive(pid)));
}

fn dropped_while_handles_live(scene: &Scene) {
    let pool = scene.builder().start().expect("workers start");
    let hanging = pool.submit(tasks::die::call("hang")).expect("accepted");
    let (hold, held) = mpsc::channel::<()>();
    let on_a_thread = pool.spawn_blocking(move || held.recv().is_ok()).expect("accepted");
    let queued: Vec<_> =
        (0..10).map(|_| pool.submit(tasks::die::call("hang")).expect("accepted")).collect();
    eventually("it runs", || hanging.info().pid.is_some());
    let pid = hanging.info().pid.expect("just seen");
    drop(pool);
    assert_stopped(hanging);
    assert_stopped(on_a_thread);
    queued.into_iter().for_each(assert_stopped);
    assert!(!is_alive(pid));
    drop(hold);
}

fn a_handle_dropped_while_queued(scene: &Scene) {
    let occupied = scene.occupy();
    let folder = tempfile::tempdir().expect("a folder");
    let noted = folder.path().join("noted");
    for _ in 0..5 {
        drop(scene.submit(tasks::note::call(&noted, "ran")).expect("accepted"));
    }
    occupied.release();
    eventually("it runs for nobody", || {
        std::fs::read_to_string(&noted).is_ok_and(|notes| notes.lines().count() == 5)
    });
}

fn a_handle_dropped_while_running(scene: &Scene) {
    let occupied = scene.occupy();
    let files = occupied.files.clone();
    drop(occupied.tasks);
    for file in &files {
        std::fs::remove_file(file).expect("it is there");
    }
    // And one whose end is a death.
    drop(scene.submit(tasks::die::call("abort")).expect("accepted"));
    // It has left the list when it has ended, and is counted when that has been reported.
    eventually("all have ended", || scene.tasks().is_empty());
    eventually("the crash is counted", || scene.info().ended.crashed == 1);
}

fn submissions_during_a_stop(scene: &Scene) {
    for how in [Stop::Drain, Stop::CancelQueued, Stop::KillNow] {
        let pool = scene.builder().start().expect("workers start");
        let accepted = AtomicU32::new(0);
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    loop {
                        match pool.submit(tasks::add::call(1, 2)) {
                            Err(SubmitError::Stopped) => break,
                            Err(other) => panic!("{other}"),
                            Ok(task) => {
                                accepted.fetch_add(1, Ordering::Relaxed);
                                match task.wait() {
                                    Ok(sum) => assert_eq!(sum, 3),
                                    Err(error) => assert!(
                                        matches!(error.kind(), TaskErrorKind::Stopped),
                                        "{error}"
                                    ),
                                }
                            }
                        }
                    }
                });
            }
            eventually("they submit", || accepted.load(Ordering::Relaxed) > 20);
            pool.stop(how);
        });
        assert_eq!(super::ended(&pool), u64::from(accepted.into_inner()));
    }
}

fn a_submission_from_inside_a_task(scene: &Scene) {
    let answer = scene.run(tasks::submit_inside::call()).expect("it runs");
    assert!(answer.contains("this is a worker process"), "{answer}");
}

fn resized_under_load(scene: &Scene) {
    let tasks: Vec<_> = (0..600)
        .map(|n| {
            if let Some(size) = [(0, 1), (10, 4), (20, 2)].iter().find(|one| n % 30 == one.0) {
                scene.resize(Pool::Processes, Limits::new(size.1)).expect("a good size");
            }
            scene.submit(tasks::add::call(n, 1)).expect("accepted")
        })
        .collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.wait().expect("it runs"), n + 1);
    }
    scene.resize(Pool::Processes, Limits::new(2)).expect("a good size");
    eventually("two are left", || scene.info().workers.len() == 2);
}

/// No process pool has a size of zero; on threads it means no limit.
fn resized_to_zero(scene: &Scene) {
    let tasks: Vec<_> =
        (0..50).map(|n| scene.submit(tasks::add::call(n, 1)).expect("accepted")).collect();
    scene.resize(Pool::Processes, Limits::new(0)).expect_err("processes are not free");
    for limits in [Limits::new(0), Limits::new(3), Limits::new(0)] {
        scene.resize(Pool::Threads, limits).expect("a good size");
        let on_threads: Vec<_> =
            (0..10).map(|n| scene.spawn_blocking(move || n).expect("accepted")).collect();
        for (n, task) in (0..).zip(on_threads) {
            assert_eq!(task.wait().expect("it runs"), n);
        }
    }
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.wait().expect("it runs"), n + 1);
    }
    // Threads beyond the limit retire only when they have been idle; this ends them now.
    scene.end(Stop::Drain);
}

fn recycling_that_races_dispatch(scene: &Scene) {
    let ways: [fn(SupervisorBuilder) -> SupervisorBuilder; 4] = [
        SupervisorBuilder::recycle_on_panic,
        |builder| builder.recycle_after_tasks(1),
        |builder| builder.recycle_after_tasks(5),
        |builder| builder.recycle_after(Duration::ZERO),
    ];
    for way in ways {
        let pool = way(scene.builder()).start().expect("workers start");
        let tasks: Vec<_> = (0..30)
            .map(|n| {
                let panics = pool.submit(tasks::die::call("panic")).expect("accepted");
                (panics, pool.submit(tasks::add::call(n, 1)).expect("accepted"))
            })
            .collect();
        for (n, (panics, adds)) in (0..).zip(tasks) {
            assert_eq!(panics.wait().expect_err("it panics").status(), TaskStatus::Panicked);
            assert_eq!(adds.wait().expect("by another worker"), n + 1);
        }
        pool.stop(Stop::Drain);
        let ended = pool.info().ended;
        assert_eq!((ended.completed, ended.panicked), (30, 30), "{ended:?}");
    }
}

fn callbacks_that_panic(scene: &Scene) {
    for how in ["panic", "abort", "exit 0"] {
        let task = scene.submit(tasks::die::call(how)).expect("accepted");
        task.on_complete(|_result| panic!("a callback panics"));
    }
    for _ in 0..20 {
        let task = scene.submit(tasks::add::call(1, 1)).expect("accepted");
        task.on_complete(|_result| panic!("a callback panics"));
    }
    eventually("all have ended", || scene.tasks().is_empty());
}

fn callbacks_that_submit(scene: &Scene) {
    let pool = Arc::new(scene.builder().start().expect("workers start"));
    let (sender, received) = mpsc::channel();
    for n in 0..20 {
        let (pool, sender) = (Arc::downgrade(&pool), sender.clone());
        let task = pool.upgrade().expect("it lives").submit(tasks::add::call(n, 1));
        task.expect("accepted").on_complete(move |first| {
            let pool = pool.upgrade().expect("it lives");
            let next = tasks::add::call(first.expect("it runs"), 1);
            pool.submit(next).expect("accepted").on_complete(move |second| {
                sender.send(second.expect("it runs")).expect("somebody waits");
            });
        });
    }
    let mut sums: Vec<_> = received.iter().take(20).collect();
    sums.sort_unstable();
    assert!(sums.into_iter().eq(2..22));
    // What callbacks hold may be let go on the pool's own thread.
    eventually("they have let go", || Arc::strong_count(&pool) == 1);
}

/// Both processes return from the task. Only one of them is a worker: the other has no ring to answer over, and over a
/// channel its answer is a lie, which costs the worker.
fn a_task_that_forks_in_c(scene: &Scene) {
    let check = |result: Result<i64, TaskError>, value| match result {
        Ok(answer) => assert_eq!(answer, value),
        Err(error) => {
            assert_eq!(scene.transport, Transport::Channel, "{error}");
            assert_eq!(error.status(), TaskStatus::Crashed, "{error}");
        }
    };
    for _ in 0..10 {
        check(scene.run(in_c::call("fork and return")).map(i64::from), 7);
        check(scene.run(tasks::add::call(1, 1)), 2);
    }
    // The second answer may come late.
    super::garbage::retire_liars(scene);
}

/// Without its sockets a worker is of no use any more. What becomes of the task itself does not matter.
fn close(scene: &Scene, what: &str) {
    for _ in 0..3 {
        let call = in_c::call(what).timeout(Duration::from_secs(5));
        if let Err(error) = scene.run(call) {
            let ends = [TaskStatus::Crashed, TaskStatus::TimedOut];
            assert!(ends.contains(&error.status()), "{error}");
        }
        eventually("there are workers that serve", || {
            (0..4).all(|n| {
                let call = tasks::add::call(n, 1).timeout(Duration::from_secs(5));
                scene.run(call).is_ok_and(|sum| sum == n + 1)
            })
        });
    }
}

fn a_task_that_closes_everything_in_c(scene: &Scene) {
    close(scene, "close everything");
}

fn a_task_that_closes_sockets_in_c(scene: &Scene) {
    close(scene, "close sockets");
}

/// It stays with its worker, as everything that a task does to its process; nobody else notices.
fn a_task_that_changes_directory(scene: &Scene) {
    let here = std::env::current_dir().expect("there is one");
    let folder = tempfile::tempdir().expect("a folder");
    scene.run(change_directory::call(folder.path())).expect("it runs");
    folder.close().expect("it can be removed all the same");
    assert_eq!(std::env::current_dir().expect("there is one"), here);
    scene.crash(tasks::die::call("abort"));
    scene.crash(tasks::die::call("abort"));
    assert_eq!(scene.run(current_directory::call()).expect("it runs"), here);
}

fn a_task_that_floods_the_output(scene: &Scene) {
    let lines = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&lines);
    let captured = Output::Captured(Arc::new(move |line| {
        assert_eq!(line.text.len(), 99);
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    scene.start(scene.builder().worker_output(captured));
    let floods = [0, 1].map(|_| scene.submit(flood::call(2_000)).expect("accepted"));
    for task in floods {
        assert_eq!(task.wait().expect("it runs"), 2_000);
    }
    eventually("every line has come", || lines.load(Ordering::Relaxed) == 8_000);
    let silent = scene.builder().worker_output(Output::Silent).start().expect("workers start");
    let flooded = silent.submit(flood::call(20_000)).expect("accepted").wait();
    assert_eq!(flooded.expect("it runs"), 20_000);
}

fn a_task_that_prints_no_text(scene: &Scene) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Arc::clone(&heard);
    let captured = Output::Captured(Arc::new(move |line| {
        ear.lock().expect("no panic").push(line.text.to_owned());
    }));
    scene.start(scene.builder().worker_output(captured));
    scene.run(print_no_text::call(false)).expect("it runs");
    let error = scene.run(print_no_text::call(true)).expect_err("it dies");
    let stderr = &error.crash().expect("it crashed").stderr;
    assert!(stderr.contains("\u{fffd}\u{fffd} err \u{fffd}"), "{stderr:?}");
    eventually("what could be read is heard", || {
        let heard = heard.lock().expect("no panic");
        heard.iter().any(|line| line.contains("\u{fffd}\u{fffd} out"))
            && heard.iter().any(|line| line.contains("\u{fffd}\u{fffd} err"))
    });
}
