//! Async loops: where futures run, and how they end.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use atasker::{
    Call, Limits, LoopError, LoopStop, Pool, Priority, Stop, SubmitError, Supervisor,
    TaskErrorKind, TaskStatus, TrySubmitError, wait_all,
};

use crate::tasks;
use crate::watch::{alone, eventually, watched};

pub(crate) fn start() -> Supervisor {
    Supervisor::builder().start().expect("starts")
}

pub(crate) fn here() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// Holds up the future that came with it until it is dropped.
pub(crate) struct Hold(
    #[expect(dead_code, reason = "its end is what is awaited")] tokio::sync::oneshot::Sender<()>,
);

pub(crate) fn held() -> (Hold, impl Future<Output = ()> + Send + use<>) {
    let (hold, held) = tokio::sync::oneshot::channel();
    (Hold(hold), async move { drop(held.await) })
}

/// Tells when, and in which thread, it is dropped.
pub(crate) struct Tells(pub(crate) mpsc::Sender<String>);

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
        assert!(supervisor.submit(call).expect("accepted").wait().expect("it ends") >= 2);
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
        assert_eq!((waited, status), (child, 0), "it has exited with zero");
        assert_eq!(devices.run(async { 1 }).expect("accepted").expect("it goes on"), 1);
    });
}
