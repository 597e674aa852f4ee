//! The thread pool through the supervisor, and process tasks without processes.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atasker::{Call, Limits, Pool, Priority, RetryOn, Supervisor, TaskErrorKind, TaskStatus};

use crate::tasks;
use crate::watch::{eventually, long_enough, watched};

#[test]
fn io_tasks_take_owned_and_borrowed_arguments() {
    watched(|| {
        let supervisor = Supervisor::builder().start().expect("starts");
        let text = supervisor.submit(tasks::on_thread::call(4, "four")).expect("accepted").wait();
        assert_eq!(text.expect("it runs"), format!("four4 {}", std::process::id()));
    });
}

#[test]
fn io_tasks_that_declare_retries_run_again() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = Supervisor::builder().start().expect("starts");
        let good = tasks::flaky::call(folder.path().join("good"), 3);
        assert_eq!(supervisor.submit(good).expect("accepted").wait().expect("it ends"), Ok(3));
        let bad = tasks::flaky::call(folder.path().join("bad"), 9);
        let bad = supervisor.submit(bad).expect("accepted");
        assert_eq!(bad.wait().expect("it ends"), Err("attempt 3".to_owned()));
        let refused = supervisor.submit(Call::closure(|| ()).retries(1)).unwrap_err();
        assert!(refused.to_string().contains("can't be retried"), "{refused}");
    });
}

#[test]
fn a_panic_is_an_error_of_its_task() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
        let error = supervisor
            .spawn_blocking(|| panic!("{} times", 3))
            .expect("accepted")
            .wait()
            .unwrap_err();
        assert!(
            matches!(error.kind(), TaskErrorKind::Panicked(report) if report.message == "3 times")
        );
        assert_eq!(supervisor.spawn_blocking(|| 1).expect("accepted").wait().expect("goes on"), 1);
    });
}

#[test]
fn critical_tasks_extend_the_pool() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
        let (hold, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let wait = |held: &Arc<Mutex<mpsc::Receiver<()>>>| {
            let held = Arc::clone(held);
            move || held.lock().expect("no panic").recv().is_err()
        };
        let running = supervisor.spawn_blocking(wait(&held)).expect("accepted");
        let queued = supervisor.spawn_blocking(|| 2).expect("accepted");
        let critical = Call::closure(|| 3).priority(Priority::Critical);
        assert_eq!(supervisor.submit(critical).expect("accepted").wait().expect("at once"), 3);
        assert_eq!(queued.info().status, TaskStatus::Queued);
        drop(hold);
        running.wait().expect("it runs");
        assert_eq!(queued.wait().expect("it runs"), 2);
    });
}

#[test]
fn a_timed_out_closure_holds_its_place_until_it_returns() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
        let (hold, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        long_enough(|timeout| {
            let (tell, begun) = mpsc::channel();
            let held = Arc::clone(&held);
            let call = Call::closure(move || {
                tell.send(()).expect("the test listens");
                held.lock().expect("no panic").recv().is_ok()
            });
            let task = supervisor.submit(call.timeout(timeout)).expect("accepted");
            let error = task.wait().unwrap_err();
            assert!(matches!(error.kind(), TaskErrorKind::TimedOut { pid: None, .. }), "{error}");
            // One whose time was over before a thread took it up never runs.
            begun.recv().ok()
        });
        assert_eq!(supervisor.info().threads.busy, 1);
        let next = supervisor.spawn_blocking(|| ()).expect("accepted");
        assert_eq!(next.info().status, TaskStatus::Queued);
        drop(hold);
        next.wait().expect("the place is free");
    });
}

#[test]
fn limits_change_while_tasks_run() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(4)).start().expect("starts");
        let (hold, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let held = Arc::clone(&held);
                let closure = move || held.lock().expect("no panic").recv().is_err();
                supervisor.spawn_blocking(closure).expect("accepted")
            })
            .collect();
        assert_eq!(supervisor.info().threads.running, 4);
        supervisor.resize(Pool::Threads, Limits::new(1)).expect("a good size");
        assert_eq!(supervisor.info().threads.running, 4, "shrinking ends nothing");
        supervisor.resize(Pool::Threads, Limits::new(5)).expect("a good size");
        assert_eq!(supervisor.info().threads.running, 5);
        drop(hold);
        for task in tasks {
            task.wait().expect("it runs");
        }
    });
}

#[test]
fn the_process_pool_is_resized_while_it_runs() {
    watched(|| {
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        let ready = |supervisor: &Supervisor| {
            supervisor.info().workers.iter().filter(|worker| worker.pid.is_some()).count()
        };
        supervisor.resize(Pool::Processes, Limits::new(3)).expect("a good size");
        eventually("three workers", || ready(&supervisor) == 3);
        supervisor.resize(Pool::Processes, Limits::new(1)).expect("a good size");
        eventually("one worker", || supervisor.info().workers.len() == 1);
        assert!(supervisor.resize(Pool::Processes, Limits::new(0)).is_err());
        let sum = supervisor.submit(tasks::add::call(1, 2)).expect("accepted").wait();
        assert_eq!(sum.expect("it runs"), 3);
    });
}

fn check_in_this_process(supervisor: &Supervisor) {
    let submit = |a, b| supervisor.submit(tasks::add::call(a, b)).expect("accepted").wait();
    assert_eq!(submit(3, 4).expect("it runs"), 7);
    let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("it runs");
    assert_eq!(pid, std::process::id());
    let error = supervisor.submit(tasks::die::call("panic")).expect("accepted").wait().unwrap_err();
    assert_eq!(error.status(), TaskStatus::Panicked);
    let by_name = Call::by_name("it::tasks::add", serde_json::json!({"b": 1, "a": 2}));
    assert_eq!(supervisor.submit(by_name).expect("accepted").wait().expect("it runs"), 3);
    let sums = supervisor.map((0..100).map(|n| tasks::add::call(n, 1)));
    assert!(sums.map(|sum| sum.expect("it runs")).eq(1..101));
}

#[test]
fn the_same_tasks_run_on_rayon() {
    watched(|| {
        check_in_this_process(
            &Supervisor::builder().rayon(Limits::new(2)).start().expect("starts"),
        );
    });
}

#[test]
fn the_same_tasks_run_inline() {
    watched(|| {
        let supervisor = Supervisor::builder().inline().start().expect("starts");
        check_in_this_process(&supervisor);
        let task = supervisor.submit(tasks::add::call(1, 1)).expect("accepted");
        assert!(task.is_done(), "it ran before submit returned");
        task.wait().expect("it ran");
        let delayed = tasks::add::call(1, 1).delay(Duration::from_millis(5));
        assert_eq!(supervisor.submit(delayed).expect("accepted").wait().expect("it runs"), 2);
    });
}

#[test]
fn no_number_of_retries_fills_the_stack_inline() {
    watched(|| {
        let supervisor = Supervisor::builder().inline().start().expect("starts");
        let call = tasks::fail::call("again").retries(20_000).retry_on([RetryOn::Error]);
        let outcome = supervisor.submit(call).expect("accepted").wait().expect("it returns");
        assert_eq!(outcome, Err("again".to_owned()));
    });
}

/// A value whose Drop panics.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("nobody wanted this value");
    }
}

/// What is dropped because nobody wants it is the user's, and so is its panic: no task, place or thread is lost by it.
#[test]
fn values_that_panic_when_nobody_wants_them_cost_nothing() {
    watched(|| {
        let supervisor = Arc::new(
            Supervisor::builder().threads(Limits::new(1)).queue_bound(100).start().expect("starts"),
        );
        for _ in 0..5 {
            // Without a handle, and another task behind that the same thread goes on with.
            let (hold, held) = mpsc::channel::<()>();
            drop(
                supervisor.spawn_blocking(move || (held.recv().is_err(), Bomb)).expect("accepted"),
            );
            let behind = supervisor.spawn_blocking(|| 1).expect("accepted");
            drop(hold);
            assert_eq!(behind.wait().expect("it runs"), 1);
            // Cancelled while it runs.
            let (begun, begins) = mpsc::channel::<()>();
            let (hold, held) = mpsc::channel::<()>();
            let given_up = supervisor.spawn_blocking(move || {
                begun.send(()).expect("awaited");
                (held.recv().is_err(), Bomb)
            });
            let given_up = given_up.expect("accepted");
            begins.recv().expect("it begins");
            assert!(given_up.cancel());
            drop(given_up);
            let behind = supervisor.spawn_blocking(|| 2).expect("accepted");
            drop(hold);
            assert_eq!(behind.wait().expect("it runs"), 2);
            // Completed elsewhere, and nobody has the handle.
            let (pass, passed) = mpsc::channel();
            let external = supervisor
                .external_task::<Bomb, _>("elsewhere", move |completer| drop(pass.send(completer)));
            drop(external.expect("accepted"));
            passed.recv().expect("it starts").complete(Bomb);
            let behind = supervisor.spawn_blocking(|| 3).expect("accepted");
            assert_eq!(behind.wait().expect("it runs"), 3);
        }
        supervisor.stop(atasker::Stop::Drain);
    });
}
