//! Stops that could wait for ever, and user code in bad places.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use atasker::background::Start;
use atasker::{BackgroundWorker, Call, Limits, LoopStop, Stop, Supervisor, TaskStatus};

use super::supervisor;
use crate::tasks;
use crate::watch::{alone, eventually, watched};

/// The runtime of a wrapped loop is gone, and nobody has stopped the loop.
#[test]
fn a_worker_on_a_runtime_that_is_gone_ends() {
    watched(|| {
        let supervisor = supervisor();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let app = supervisor.wrap_loop("app", runtime.handle().clone()).expect("wrapped");
        drop(runtime);
        let looping = BackgroundWorker::looping().on_loop(&app).run_async(|_| async {});
        let looping = looping.start(&supervisor).expect("nobody knows yet");
        eventually("it has stopped", || !looping.is_active());
        looping.stop();
        let late = BackgroundWorker::every(Duration::from_millis(1)).on_loop(&app);
        assert!(late.run_async(|_| async {}).start(&supervisor).is_err(), "now it is known");
        supervisor.stop(Stop::Drain);
    });
}

/// The same with many that wait for a place.
#[test]
fn many_futures_end_whose_runtime_is_gone() {
    watched(|| {
        let supervisor = Supervisor::builder().loops(Limits::new(1)).start().expect("it starts");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let app = supervisor.wrap_loop("app", runtime.handle().clone()).expect("wrapped");
        let tasks: Vec<_> =
            (0..5000).map(|_| app.spawn(std::future::pending::<()>()).expect("accepted")).collect();
        drop(runtime);
        for task in tasks {
            assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);
        }
        supervisor.stop(Stop::Drain);
    });
}

/// A loop that is being stopped is still one on which nobody may wait for it.
#[test]
fn a_worker_is_stopped_on_a_loop_that_is_stopped_itself() {
    watched(|| {
        let supervisor = supervisor();
        let devices = supervisor.create_loop("devices").expect("a free name");
        let (begun, begins) = mpsc::channel();
        let goes_on = Arc::new(tokio::sync::Notify::new());
        let held = Arc::clone(&goes_on);
        let worker = BackgroundWorker::on_event().on_loop(&devices).run_async(move |_| {
            begun.send(()).expect("awaited");
            let held = Arc::clone(&held);
            async move { held.notified().await }
        });
        let worker = worker.start(&supervisor).expect("accepted");
        assert!(worker.trigger());
        begins.recv().expect("it runs");
        let (inner, closed) = (worker.clone(), devices.clone());
        let task = devices.spawn(async move {
            while closed.is_active() {
                tokio::task::yield_now().await;
            }
            inner.stop();
            goes_on.notify_one();
        });
        devices.stop(LoopStop::Wait);
        task.expect("accepted").wait().expect("it only begins to stop there");
        eventually("it has stopped", || !worker.is_active());
    });
}

#[test]
fn a_loop_is_stopped_in_one_of_its_tasks_and_in_a_callback() {
    watched(|| {
        let supervisor = supervisor();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let app = supervisor.wrap_loop("app", runtime.handle().clone()).expect("wrapped");
        let inner = app.clone();
        let task = app.spawn(async move { inner.stop(LoopStop::Wait) }).expect("accepted");
        task.wait().expect("it only begins to stop there");
        app.stop(LoopStop::Wait);
        // With turns of a worker on it that have not begun.
        let devices = supervisor.create_loop("devices").expect("a free name");
        let worker = BackgroundWorker::every(Duration::from_secs(3600)).on_loop(&devices);
        let worker = worker.run_async(|_| async {}).start(&supervisor).expect("accepted");
        eventually("it has run once", || worker.info().runs == 1);
        let delayed = Call::future(async {}).on_loop(&devices).delay(Duration::from_millis(20));
        let delayed = supervisor.submit(delayed).expect("accepted");
        let (tell, told) = mpsc::channel();
        supervisor.spawn_blocking(|| ()).expect("accepted").on_complete(move |_| {
            devices.stop(LoopStop::Wait);
            tell.send(()).expect("awaited");
        });
        told.recv().expect("it stops there");
        delayed.wait().expect("it was awaited");
        // Its end comes behind the callback.
        eventually("it has stopped", || !worker.is_active());
    });
}

/// What is left of a turn needs no place, for who waits for it may have the last one.
#[test]
fn a_worker_is_stopped_in_the_only_place_there_is() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).processes(Limits::new(1));
        let supervisor = supervisor.start().expect("it starts");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let held = file.clone();
        let worker = BackgroundWorker::on_event()
            .run_process(move |_| tasks::hold::call(&held), |_, _| ())
            .start(&supervisor)
            .expect("accepted");
        assert!(worker.trigger());
        eventually("it runs", || file.exists());
        let inner = worker.clone();
        let task = supervisor.spawn_blocking(move || inner.stop()).expect("accepted");
        eventually("it has the place", || supervisor.info().threads.running == 1);
        std::fs::remove_file(&file).expect("it is there");
        task.wait().expect("it returns");
        assert!(!worker.is_active());
    });
}

/// Looks at its supervisor when it is dropped.
#[derive(Clone)]
struct Looks(Arc<Supervisor>);

impl Drop for Looks {
    fn drop(&mut self) {
        assert!(!self.0.info().name.is_empty());
    }
}

#[test]
fn what_a_start_does_not_need_is_dropped_where_it_may_look_around() {
    watched(|| {
        let supervisor = Arc::new(supervisor());
        let worker = BackgroundWorker::on_event().run(|_| ()).start(&supervisor);
        let worker = worker.expect("accepted");
        let start = Start::new().arguments(Looks(Arc::clone(&supervisor)));
        assert!(!worker.start_with(start).expect("accepted"), "it runs already");
        worker.stop();
    });
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("nobody should wake this");
    }
}

#[test]
fn a_waker_that_panics_keeps_nobody_from_ending() {
    watched(|| {
        let supervisor = supervisor();
        let (hold, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let worker = BackgroundWorker::on_event().run(move |_| {
            let _ = held.lock().expect("no panic").recv();
        });
        let worker = worker.start(&supervisor).expect("accepted");
        assert!(worker.trigger());
        eventually("it runs", || worker.info().runs == 1);
        let mut stops = Box::pin(worker.stop_async());
        let waker = Waker::from(Arc::new(Panics));
        let polled = Pin::new(&mut stops).poll(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
        drop(hold);
        supervisor.stop(Stop::Drain);
        assert!(!worker.is_active());
    });
}

#[test]
#[expect(unsafe_code, reason = "only a fork makes a forked child")]
fn a_forked_child_starts_nothing() {
    alone("background::waits::a_forked_child_starts_nothing", || {
        let supervisor = supervisor();
        let event = BackgroundWorker::on_event().run(|_| ()).start(&supervisor).expect("accepted");
        let queue = BackgroundWorker::queue().for_each(|_: u32, _| ()).start(&supervisor);
        let queue = queue.expect("accepted");
        // SAFETY: the child calls what is to be tested, and ends by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut told = !event.trigger() && !event.trigger_again() && queue.put(1).is_err();
            let mut stops = Box::pin(event.stop_async());
            let polled = Pin::new(&mut stops).poll(&mut Context::from_waker(Waker::noop()));
            told &= polled == Poll::Ready(());
            supervisor.join();
            // SAFETY: it ends the child at once.
            unsafe { libc::_exit(i32::from(!told)) };
        }
        let mut status = 0;
        // SAFETY: the child is this process's own, and the status this frame's.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, status), (child, 0), "it has exited with zero");
        assert!(event.trigger());
        supervisor.stop(Stop::Drain);
    });
}
