//! Async loops: where futures run, how they end, and how a loop does.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use atasker::{
    AsyncLoop, Call, Limits, LoopError, LoopStop, Pool, Priority, Stop, SubmitError, Supervisor,
    TaskErrorKind, TaskStatus, TrySubmitError, wait_all,
};

use crate::tasks;
use crate::watch::{Held, alone, eventually, watched};

fn start() -> Supervisor {
    Supervisor::builder().start().expect("starts")
}

fn here() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// Holds up the future that came with it until it is dropped.
struct Hold(
    #[expect(dead_code, reason = "its end is what is awaited")] tokio::sync::oneshot::Sender<()>,
);

fn held() -> (Hold, impl Future<Output = ()> + Send + use<>) {
    let (hold, held) = tokio::sync::oneshot::channel();
    (Hold(hold), async move { drop(held.await) })
}

/// Tells when, and in which thread, it is dropped.
struct Tells(mpsc::Sender<String>);

impl Drop for Tells {
    fn drop(&mut self) {
        drop(self.0.send(here()));
    }
}

#[test]
fn a_future_runs_on_the_thread_of_its_loop() {
    watched(|| {
        let supervisor = start();
        let devices = supervisor.create_loop("devices").expect("created");
        assert_eq!(devices.name(), "devices");
        assert!(devices.is_active());
        let name = devices.spawn(async { here() }).expect("accepted").wait();
        assert_eq!(name.expect("it runs"), "devices");
        let name = supervisor.spawn(async { here() }).expect("accepted").wait();
        assert_eq!(name.expect("it runs"), "default");
        supervisor.set_default_loop(&devices).expect("it is there");
        let name = supervisor.spawn(async { here() }).expect("accepted").wait();
        assert_eq!(name.expect("it runs"), "devices");
        let names: Vec<_> =
            supervisor.async_loops().iter().map(|it| it.name().to_owned()).collect();
        assert_eq!(names, ["devices", "default"]);
        assert_eq!(supervisor.async_loop("devices"), Some(devices));
        assert_eq!(supervisor.async_loop("absent"), None);
    });
}

#[test]
fn run_returns_the_value_and_refuses_to_wait_for_itself() {
    watched(|| {
        let supervisor = start();
        let devices = supervisor.create_loop("devices").expect("created");
        assert_eq!(devices.run(async { 6 * 7 }).expect("accepted").expect("it runs"), 42);
        let inner = devices.clone();
        let error = devices.run(async move { inner.run(async { 1 }) }).expect("accepted");
        let error = error.expect("it runs").unwrap_err();
        assert!(
            matches!(&error, SubmitError::Loop(LoopError::WaitsForItself(name)) if name == "devices"),
            "{error}"
        );
        let other = supervisor.create_loop("other").expect("created");
        let inner = devices.clone();
        let value = other.run(async move { inner.run(async { 1 }) }).expect("accepted");
        assert_eq!(value.expect("it runs").expect("accepted").expect("it runs"), 1);
    });
}

#[test]
fn timers_of_tokio_work_on_a_loop() {
    watched(|| {
        let supervisor = start();
        let slept = supervisor.spawn(async {
            let started = tokio::time::Instant::now();
            tokio::time::sleep(Duration::from_millis(5)).await;
            started.elapsed()
        });
        let slept = slept.expect("accepted").wait().expect("it runs");
        assert!(slept >= Duration::from_millis(5), "{slept:?}");
    });
}

#[test]
fn the_results_of_all_kinds_of_tasks_are_waited_for_together() {
    watched(|| {
        let supervisor =
            Supervisor::builder().processes(Limits::new(1)).start().expect("workers start");
        let on_loop = supervisor.submit(tasks::later::call(3, "x")).expect("accepted");
        assert_eq!(on_loop.info().pool, Pool::Loops);
        assert_eq!(on_loop.wait().expect("it runs"), "x3 default");
        let handles = vec![
            supervisor.submit(tasks::add::call(3, 7)).expect("accepted"),
            supervisor.spawn_blocking(|| 20).expect("accepted"),
            supervisor.spawn(async { 30 }).expect("accepted"),
        ];
        let all = wait_all(handles, None).expect("without a timeout");
        let all: Vec<i64> = all.into_iter().map(|it| it.expect("it runs")).collect();
        assert_eq!(all, [10, 20, 30]);
        let task = supervisor.submit(tasks::add::call(1, 2)).expect("accepted");
        let awaited = supervisor.spawn(async move { task.await.map(|sum| sum * 2) });
        assert_eq!(awaited.expect("accepted").wait().expect("it runs").expect("it runs"), 6);
    });
}

#[test]
fn an_async_task_that_declares_retries_gets_its_arguments_again() {
    watched(|| {
        let supervisor = start();
        let counted = Arc::new(AtomicU32::new(0));
        let call = tasks::flaky_later::call("abc", Arc::clone(&counted), 3);
        let task = supervisor.submit(call).expect("accepted");
        assert_eq!(task.wait().expect("it ends"), Ok("abc 3".to_owned()));
        let task = supervisor.submit(tasks::flaky_later::call("abc", counted, 99));
        let task = task.expect("accepted");
        let ended = task.wait().expect("it ends");
        assert_eq!(ended, Err("attempt 6".to_owned()));
        let refused = supervisor.submit(Call::future(async {}).retries(1)).unwrap_err();
        assert!(matches!(refused, SubmitError::NotRepeatable(_)), "{refused}");
    });
}

#[test]
fn a_timeout_and_a_cancel_drop_the_future_on_its_loop_and_free_its_place() {
    watched(|| {
        let supervisor = Supervisor::builder().loops(Limits::new(1)).start().expect("starts");
        let (tell, told) = mpsc::channel();
        let hangs = |tell: &mpsc::Sender<String>| {
            let tells = Tells(tell.clone());
            Call::future(async move {
                let _tells = tells;
                pending::<()>().await;
            })
        };
        let call = hangs(&tell).timeout(Duration::from_millis(5));
        let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
        assert!(
            matches!(error.kind(), TaskErrorKind::TimedOut { pool: Pool::Loops, pid: None, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("next await"), "{error}");
        assert_eq!(told.recv().expect("it is dropped"), "default");
        let task = supervisor.submit(hangs(&tell)).expect("accepted");
        eventually("it runs", || supervisor.info().loops.running == 1);
        let next = supervisor.spawn(async { 7 }).expect("accepted");
        assert!(task.cancel());
        assert_eq!(told.recv().expect("it is dropped"), "default");
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
        assert_eq!(next.wait().expect("the place is free"), 7);
        eventually("no place is taken", || supervisor.info().loops.busy == 0);
    });
}

#[test]
fn a_retry_after_a_timeout_waits_until_the_future_is_dropped() {
    watched(|| {
        let supervisor = start();
        let counted = Arc::new(AtomicU32::new(0));
        let alive = Arc::new(AtomicU32::new(0));
        let call = tasks::hangs_once::call(Arc::clone(&counted), Arc::clone(&alive));
        assert_eq!(supervisor.submit(call).expect("accepted").wait().expect("it ends"), 2);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn limits_and_priorities_hold_for_futures() {
    watched(|| {
        let supervisor =
            Supervisor::builder().loops(Limits::new(1).reserve_high(1)).start().expect("starts");
        let order = Arc::new(Mutex::new(Vec::new()));
        let noting = |name: &'static str, priority| {
            let order = Arc::clone(&order);
            let call = Call::future(async move { order.lock().expect("no panic").push(name) });
            supervisor.submit(call.priority(priority)).expect("accepted")
        };
        let (hold, future) = held();
        let running = supervisor.spawn(future).expect("accepted");
        let (hold_high, future) = held();
        let high = Call::future(future).priority(Priority::High);
        let high = supervisor.submit(high).expect("accepted");
        assert_eq!(high.info().status, TaskStatus::Running);
        let tasks = [
            noting("low", Priority::Low),
            noting("normal", Priority::Normal),
            noting("high", Priority::High),
        ];
        noting("critical", Priority::Critical).wait().expect("at once");
        drop((hold, hold_high));
        running.wait().expect("it runs");
        high.wait().expect("it runs");
        for task in tasks {
            task.wait().expect("it runs");
        }
        assert_eq!(*order.lock().expect("no panic"), ["critical", "high", "normal", "low"]);
        let delayed = Call::future(async {}).delay(Duration::from_secs(3600));
        let delayed = supervisor.submit(delayed).expect("accepted");
        assert_eq!(delayed.info().status, TaskStatus::Delayed);
        assert!(delayed.cancel());
        let (hold, future) = held();
        let running = supervisor.spawn(future).expect("accepted");
        let expires = Call::future(async {}).queue_timeout(Duration::from_millis(5));
        let error = supervisor.submit(expires).expect("accepted").wait().unwrap_err();
        assert_eq!(error.status(), TaskStatus::Expired);
        let waiting = supervisor.spawn(async { 1 }).expect("accepted");
        supervisor.resize(Pool::Loops, Limits::new(0)).expect("no limit");
        assert_eq!(waiting.wait().expect("there is a place now"), 1);
        drop(hold);
        running.wait().expect("it runs");
    });
}

#[test]
fn a_full_queue_is_no_deadlock_on_a_loop() {
    watched(|| {
        let builder = Supervisor::builder().loops(Limits::new(1)).queue_bound(1);
        let supervisor = Arc::new(builder.start().expect("starts"));
        let (hold, future) = held();
        let inner = Arc::clone(&supervisor);
        let outer = supervisor.spawn(async move {
            future.await;
            let refused = inner.spawn(async {}).map(drop);
            let awaited = inner.submit_async(Call::future(async { 1 }));
            // It gets its place once this task has ended.
            let mut awaited = std::pin::pin!(awaited);
            let full =
                poll_fn(|context| Poll::Ready(awaited.as_mut().poll(context).is_pending())).await;
            (refused, full)
        });
        let outer = outer.expect("accepted");
        let queued = supervisor.spawn(async { 2 }).expect("accepted");
        let Err(TrySubmitError::QueueFull(call)) = supervisor.try_submit(Call::future(async { 3 }))
        else {
            panic!("one runs and one waits");
        };
        drop(hold);
        let (refused, full) = outer.wait().expect("it runs");
        assert!(matches!(refused, Err(SubmitError::QueueFull)), "{refused:?}");
        assert!(full, "there is no place while this task runs");
        assert_eq!(queued.wait().expect("it runs"), 2);
        assert_eq!(supervisor.submit(call).expect("accepted").wait().expect("it runs"), 3);
    });
}

/// Panics where it is told to.
struct Bomb {
    in_poll: bool,
    in_drop: bool,
}

impl Future for Bomb {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
        assert!(!self.in_poll, "in poll");
        Poll::Pending
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.in_drop, "in drop");
    }
}

#[test]
fn panics_cost_their_own_task_only() {
    watched(|| {
        let supervisor = Supervisor::builder().loops(Limits::new(1)).start().expect("starts");
        let error = supervisor.spawn(async { panic!("{} times", 3) }).expect("accepted").wait();
        let error: atasker::TaskError = error.map(|(): ()| ()).unwrap_err();
        assert!(
            matches!(error.kind(), TaskErrorKind::Panicked(report) if report.message == "3 times"),
            "{error}"
        );
        let both = Bomb { in_poll: true, in_drop: true };
        let error = supervisor.spawn(both).expect("accepted").wait().unwrap_err();
        assert!(
            matches!(error.kind(), TaskErrorKind::Panicked(report) if report.message == "in poll"),
            "{error}"
        );
        let in_drop = || Call::future(Bomb { in_poll: false, in_drop: true });
        let task = supervisor.submit(in_drop().timeout(Duration::from_millis(5)));
        assert_eq!(task.expect("accepted").wait().unwrap_err().status(), TaskStatus::TimedOut);
        let task = supervisor.submit(in_drop()).expect("accepted");
        eventually("it runs", || task.info().status == TaskStatus::Running);
        assert!(task.cancel());
        let queued = supervisor.submit(in_drop().delay(Duration::from_secs(3600)));
        assert!(queued.expect("accepted").cancel());
        assert_eq!(supervisor.spawn(async { 1 }).expect("accepted").wait().expect("goes on"), 1);
        supervisor.stop(Stop::Drain);
    });
}

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
fn names_are_checked_and_loops_are_of_one_supervisor() {
    watched(|| {
        let (supervisor, other) = (start(), start());
        let devices = supervisor.create_loop("devices").expect("created");
        assert!(matches!(supervisor.create_loop("devices"), Err(LoopError::Duplicate(_))));
        assert!(matches!(supervisor.create_loop("__supervisor__"), Err(LoopError::Reserved(_))));
        let foreign = other.submit(Call::future(async {}).on_loop(&devices)).unwrap_err();
        assert!(matches!(foreign, SubmitError::Loop(LoopError::Foreign(_))), "{foreign}");
        assert!(matches!(other.set_default_loop(&devices), Err(LoopError::Foreign(_))));
        let closure = supervisor.submit(Call::closure(|| ()).on_loop(&devices)).unwrap_err();
        assert!(matches!(closure, SubmitError::Loop(LoopError::NotAFuture(_))), "{closure}");
        let odd = supervisor.create_loop("a\0b").expect("created");
        assert_eq!(odd.run(async { here() }).expect("accepted").expect("it runs"), "ab");
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
        let late = app.spawn(async {}).expect("accepted");
        assert_eq!(late.wait().unwrap_err().status(), TaskStatus::Cancelled);
        app.stop(LoopStop::Wait);
        supervisor.stop(Stop::Drain);
    });
}

#[test]
fn cancelling_races_with_the_end() {
    watched(|| {
        let supervisor = start();
        for round in 0..2_000 {
            let task = supervisor.spawn(async { tokio::task::yield_now().await });
            let task = task.expect("accepted");
            if round % 3 == 0 {
                std::thread::yield_now();
            }
            let cancelled = task.cancel();
            assert_eq!(task.wait().is_err(), cancelled);
        }
        eventually("no place is taken", || supervisor.info().loops.busy == 0);
        supervisor.stop(Stop::Drain);
    });
}

/// Cancelled between its start and the moment when a thread takes it up.
#[test]
fn a_closure_that_is_cancelled_at_its_start_frees_its_place() {
    watched(|| {
        let supervisor = start();
        for _ in 0..500 {
            let task = supervisor.spawn_blocking(|| ()).expect("accepted");
            let cancelled = task.cancel();
            assert_eq!(task.wait().is_err(), cancelled);
        }
        eventually("no place is taken", || supervisor.info().threads.busy == 0);
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
    alone("loops::stops_during_a_storm_of_spawns_end_everything", || {
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

#[test]
fn dropping_a_supervisor_ends_its_loops() {
    alone("loops::dropping_a_supervisor_ends_its_loops", || {
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

#[test]
#[expect(unsafe_code, reason = "only a fork makes a forked child")]
fn a_forked_child_is_told() {
    alone("loops::a_forked_child_is_told", || {
        let supervisor = start();
        let devices = supervisor.create_loop("devices").expect("created");
        // SAFETY: the child calls what is to be tested, and ends by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let told = matches!(devices.spawn(async {}), Err(SubmitError::Forked))
                && matches!(devices.run(async {}), Err(SubmitError::Forked))
                && matches!(supervisor.create_loop("more"), Err(LoopError::Forked));
            devices.stop(LoopStop::Wait);
            drop(devices);
            drop(supervisor);
            // SAFETY: it ends the child at once.
            unsafe { libc::_exit(i32::from(!told)) };
        }
        let mut status = 0;
        // SAFETY: the child is this process's own, and the status this frame's.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, libc::WEXITSTATUS(status)), (child, 0));
        assert_eq!(devices.run(async { 1 }).expect("accepted").expect("it goes on"), 1);
    });
}
