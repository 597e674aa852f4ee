//! How a loop ends, and what becomes of what runs on it.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use atasker::{AsyncLoop, Call, LoopError, LoopStop, Stop, SubmitError, Supervisor, TaskStatus};

use crate::loops::{Tells, held, here, start};
use crate::watch::{Held, alone, eventually, watched};

#[test]
fn a_loop_that_is_stopped_with_wait_ends_its_tasks_and_takes_no_more() {
    watched(|| {
        let supervisor = start();
        let devices = supervisor.create_loop("devices").expect("created");
        supervisor.set_default_loop(&devices).expect("it is there");
        let (hold, future) = held();
        let first = devices.spawn(future).expect("accepted");
        let later = Call::future(async { 5 }).on_loop(&devices).delay(Duration::from_millis(5));
        let later = supervisor.submit(later).expect("accepted");
        let stopping = devices.clone();
        let stopper = std::thread::spawn(move || stopping.stop(LoopStop::Wait));
        eventually("it is closed", || !devices.is_active());
        let refused = devices.spawn(async {}).unwrap_err();
        assert!(matches!(refused, SubmitError::Loop(LoopError::Stopped(_))), "{refused}");
        assert!(matches!(
            supervisor.set_default_loop(&devices),
            Err(LoopError::Stopped(name)) if name == "devices"
        ));
        drop(hold);
        stopper.join().expect("it ends");
        first.wait().expect("it ran");
        assert_eq!(later.wait().expect("it ran"), 5);
        let again = supervisor.create_loop("devices").expect("the name is free");
        assert_ne!(again, devices);
        let name = supervisor.spawn(async { here() }).expect("a new default").wait();
        assert_eq!(name.expect("it runs"), "default");
    });
}

#[test]
fn a_loop_that_is_stopped_with_cancel_drops_its_futures() {
    watched(|| {
        let supervisor = start();
        let devices = supervisor.create_loop("devices").expect("created");
        let (tell, told) = mpsc::channel();
        let tasks: Vec<_> = (0..10)
            .map(|n| {
                let tells = Tells(tell.clone());
                let call = Call::future(async move {
                    let _tells = tells;
                    pending::<()>().await;
                });
                let delay = Duration::from_secs(if n % 2 == 0 { 0 } else { 3600 });
                supervisor.submit(call.on_loop(&devices).delay(delay)).expect("accepted")
            })
            .collect();
        devices.stop(LoopStop::Cancel);
        drop(tell);
        assert_eq!(told.iter().count(), 10);
        for task in tasks {
            assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
        }
        assert_eq!(supervisor.info().loops.busy, 0);
        let devices = supervisor.create_loop("devices").expect("created");
        let task = devices.spawn(pending::<()>()).expect("accepted");
        devices.stop(LoopStop::WaitFor(Duration::from_millis(5)));
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
    });
}

#[test]
fn a_future_that_never_yields_holds_up_a_hard_stop_only_for_a_while() {
    watched(|| {
        let supervisor = start();
        let devices = supervisor.create_loop("devices").expect("created");
        let released = Arc::new(AtomicBool::new(false));
        let mine = Arc::clone(&released);
        let (tell, begun) = mpsc::channel();
        let task = devices.spawn(async move {
            tell.send("begun").expect("the test receives");
            while !mine.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let task = task.expect("accepted");
        begun.recv().expect("it runs");
        devices.stop(LoopStop::Cancel);
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
        assert_eq!(supervisor.info().loops.busy, 1, "it holds its place until it yields");
        supervisor.stop(Stop::KillNow);
        released.store(true, Ordering::SeqCst);
        eventually("it is gone", || supervisor.info().loops.busy == 0);
    });
}

#[test]
fn loops_and_supervisors_are_stopped_from_within() {
    watched(|| {
        for how in [LoopStop::Wait, LoopStop::Cancel] {
            let supervisor = start();
            let devices = supervisor.create_loop("devices").expect("created");
            let inner = devices.clone();
            let task = devices.spawn(async move {
                inner.stop(how);
                tokio::task::yield_now().await;
                7
            });
            let ended = task.expect("accepted").wait();
            assert_eq!(ended.is_ok(), how == LoopStop::Wait);
            devices.stop(LoopStop::Wait);
        }
        let supervisor = Arc::new(start());
        let devices = supervisor.create_loop("devices").expect("created");
        let (inner, hanging) = (devices.clone(), devices.spawn(pending::<()>()));
        let task =
            devices.spawn(async move { inner.stop(LoopStop::WaitFor(Duration::from_millis(20))) });
        task.expect("accepted").wait().expect("it does not wait for itself");
        let hanging = hanging.expect("accepted").wait();
        assert_eq!(hanging.unwrap_err().status(), TaskStatus::Cancelled);
        devices.stop(LoopStop::Wait);
        let devices = supervisor.create_loop("devices").expect("its name is free");
        let inner = Arc::clone(&supervisor);
        let task = devices.spawn(async move { inner.stop(Stop::Drain) }).expect("accepted");
        task.wait().expect("it does not wait for itself");
        supervisor.stop(Stop::Drain);
        assert!(!devices.is_active());
        assert!(matches!(
            devices.spawn(async {}),
            Err(SubmitError::Stopped | SubmitError::Loop(_))
        ));
        assert!(matches!(supervisor.create_loop("more"), Err(LoopError::SupervisorStopped)));
    });
}

#[test]
fn a_wrapped_runtime_goes_on_without_the_loop() {
    watched(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("app")
            .enable_all()
            .build()
            .expect("a runtime");
        let supervisor = start();
        let app = supervisor.wrap_loop("wrapped", runtime.handle().clone()).expect("wrapped");
        assert_eq!(app.run(async { here() }).expect("accepted").expect("it runs"), "app");
        let task = app.spawn(pending::<()>()).expect("accepted");
        let theirs = runtime.spawn(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            1
        });
        supervisor.stop(Stop::KillNow);
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
        assert!(!app.is_active());
        assert_eq!(runtime.block_on(theirs).expect("the runtime goes on"), 1);
    });
}

#[test]
fn a_task_ends_whose_runtime_is_shut_down() {
    watched(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let supervisor = start();
        let app = supervisor.wrap_loop("app", runtime.handle().clone()).expect("wrapped");
        let error = runtime.block_on({
            let app = app.clone();
            async move { app.run(async {}).map(drop).unwrap_err() }
        });
        assert!(matches!(error, SubmitError::Loop(LoopError::WaitsForItself(_))), "{error}");
        let task = app.spawn(pending::<()>()).expect("accepted");
        drop(runtime);
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
        let late = app.spawn(async {}).unwrap_err();
        assert!(matches!(late, SubmitError::Loop(LoopError::Stopped(_))), "{late}");
        app.stop(LoopStop::Wait);
        supervisor.stop(Stop::Drain);
    });
}

/// A runtime that a thread keeps for itself goes with the thread, after what its tasks have there.
#[test]
fn a_task_ends_whose_runtime_goes_with_a_thread() {
    thread_local! {
        static RUNTIME: std::cell::RefCell<Option<tokio::runtime::Runtime>> =
            const { std::cell::RefCell::new(None) };
    }
    watched(|| {
        let supervisor = start();
        let (pass, passed) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                RUNTIME.with_borrow_mut(|kept| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    let runtime = kept.insert(runtime.expect("a runtime"));
                    let app = supervisor.wrap_loop("app", runtime.handle().clone());
                    let task = app.expect("wrapped").spawn(pending::<()>()).expect("accepted");
                    // Polled once, so that this thread has met a task.
                    runtime.block_on(tokio::task::yield_now());
                    pass.send(task).expect("awaited");
                });
            });
        });
        let task = passed.recv().expect("it was submitted");
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
        supervisor.stop(Stop::Drain);
    });
}

fn storm(supervisor: &Arc<Supervisor>, end: impl FnOnce(&AsyncLoop)) {
    let devices = supervisor.create_loop("devices").expect("created");
    let spawners: Vec<_> = (0..4)
        .map(|spawner| {
            let (devices, supervisor) = (devices.clone(), Arc::clone(supervisor));
            std::thread::spawn(move || {
                let mut tasks = Vec::new();
                for n in 0_u32.. {
                    let call = Call::future(async move {
                        match n % 3 {
                            0 => pending().await,
                            1 => tokio::task::yield_now().await,
                            _ => {}
                        }
                    });
                    let delay = Duration::from_micros(u64::from(n % 5 * spawner));
                    let call = call.on_loop(&devices).delay(delay);
                    match supervisor.submit(call) {
                        Ok(task) => tasks.push(task),
                        Err(_) => return tasks,
                    }
                }
                tasks
            })
        })
        .collect();
    eventually("some are accepted", || supervisor.info().ended.completed > 50);
    end(&devices);
    for spawner in spawners {
        for task in spawner.join().expect("it ends") {
            let ended = task.wait();
            assert!(ended.is_ok() || ended.unwrap_err().status() == TaskStatus::Cancelled);
        }
    }
}

#[test]
fn stops_during_a_storm_of_spawns_end_everything() {
    alone("loop_ends::stops_during_a_storm_of_spawns_end_everything", || {
        drop(start());
        let before = Held::count();
        for round in 0..10 {
            let supervisor = Arc::new(start());
            match round % 3 {
                0 => storm(&supervisor, |devices| devices.stop(LoopStop::Cancel)),
                1 => storm(&supervisor, |_| supervisor.stop(Stop::KillNow)),
                _ => storm(&supervisor, |_| {
                    supervisor.stop(Stop::DrainFor(Duration::from_millis(5)));
                }),
            }
            assert_eq!(supervisor.info().loops.outstanding(), 0);
            drop(supervisor);
        }
        before.assert_again();
    });
}

/// Its future never comes to an await.
#[test]
fn whoever_waits_for_a_loop_returns_after_it_was_cancelled() {
    watched(|| {
        let supervisor = start();
        let devices = supervisor.create_loop("devices").expect("created");
        let (begins, begun) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        let hanging = devices.spawn(async move {
            begins.send(()).expect("somebody listens");
            let _never = held.recv();
        });
        begun.recv().expect("it begins");
        let soft = devices.clone();
        let waiting = std::thread::spawn(move || soft.stop(LoopStop::Wait));
        std::thread::sleep(Duration::from_millis(20));
        devices.stop(LoopStop::Cancel);
        waiting.join().expect("it returns");
        drop(release);
        drop(hanging);
    });
}

#[test]
fn dropping_a_supervisor_ends_its_loops() {
    alone("loop_ends::dropping_a_supervisor_ends_its_loops", || {
        drop(start());
        let before = Held::count();
        let (tell, told) = mpsc::channel();
        let supervisor = start();
        let devices = supervisor.create_loop("devices").expect("created");
        let tells = Tells(tell);
        let task = devices.spawn(async move {
            let _tells = tells;
            pending::<()>().await;
        });
        let task = task.expect("accepted");
        eventually("it runs", || task.info().status == TaskStatus::Running);
        drop(supervisor);
        assert_eq!(told.recv().expect("it is dropped"), "devices");
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
        assert!(matches!(
            devices.spawn(async {}),
            Err(SubmitError::Stopped | SubmitError::Loop(_))
        ));
        drop(devices);
        before.assert_again();
    });
}
