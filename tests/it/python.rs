//! What the tests of the Python library check, each as a test here. PYTHON.md says which is which; those about
//! async loops and background workers stand with these.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use atasker::extras::{FunctionCollection, Locals, Locker, TaskCollection};
use atasker::{Call, Limits, Priority, SubmitError, Supervisor, task, wait_all};
use serde_json::json;

use crate::watch::{alone, eventually, watched};

#[task(io)]
fn sum_on_thread(a: u32, x: u32) -> u32 {
    a + x
}

#[task]
fn sum_in_process(a: u32, x: u32) -> u32 {
    a + x
}

#[task]
fn nine() -> u32 {
    999
}

#[test]
fn the_default_supervisor_is_made_by_its_first_use() {
    alone("python::the_default_supervisor_is_made_by_its_first_use", || {
        let settings = Supervisor::builder().name("default").threads(Limits::new(3));
        atasker::configure(settings).expect("it has not been used");
        let task = atasker::supervisor().expect("starts").spawn_blocking(|| 1 + 1);
        assert_eq!(task.expect("accepted").wait().expect("it runs"), 2);
        let info = atasker::supervisor().expect("runs").info();
        assert_eq!((&*info.name, info.threads.limits.places()), ("default", 3));
        assert!(atasker::configure(Supervisor::builder()).is_err(), "too late");
    });
}

#[test]
fn the_default_supervisor_is_tried_again_as_it_was_configured() {
    alone("python::the_default_supervisor_is_tried_again_as_it_was_configured", || {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("worker");
        let settings = Supervisor::builder().processes(Limits::new(1)).worker_program(&program);
        atasker::configure(settings.name("another")).expect("it has not been used");
        for _ in 0..2 {
            atasker::supervisor().expect_err("there is no such program");
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_stranger"), &program).expect("a link");
        let info = atasker::supervisor().expect("now there is").info();
        assert_eq!((&*info.name, info.processes.limits.places()), ("another", 1));
    });
}

#[test]
fn an_id_of_the_callers_finds_its_task() {
    watched(|| {
        let supervisor = start();
        let (hold, held) = mpsc::channel::<()>();
        let call = Call::closure(move || held.recv().is_err()).id("nightly");
        let task = supervisor.submit(call).expect("accepted");
        let twice = supervisor.submit(Call::closure(|| ()).id("nightly"));
        assert!(matches!(twice, Err(SubmitError::DuplicateId(id)) if id == "nightly"));
        assert_eq!(supervisor.task("nightly").map(|info| info.id), Some(task.id()));
        drop(hold);
        assert!(task.wait().expect("it runs"));
        assert!(supervisor.task("nightly").is_none());
    });
}

fn start() -> Supervisor {
    let limits = Limits::new(20).reserve_normal(5).reserve_high(5);
    Supervisor::builder().threads(limits).processes(Limits::new(2)).start().expect("starts")
}

#[test]
fn locals_do_not_leak_between_threads() {
    static LOCALS: Locals = Locals::new();
    watched(|| {
        let supervisor = start();
        LOCALS.set("test", 1);
        assert!(LOCALS.clear::<i32>("test") && !LOCALS.has::<i32>("test"));
        LOCALS.set("test", 999);
        let task = supervisor.spawn_blocking(|| {
            LOCALS.set("ttt", 333);
            LOCALS.get_or("test", 222)
        });
        assert_eq!(task.expect("accepted").wait().expect("it runs"), 222);
        assert_eq!(LOCALS.get::<i32>("ttt"), None);
        assert_eq!(LOCALS.get_or("test", 222), 999);
    });
}

#[test]
fn a_function_collection_of_two_runs_both() {
    let sum = Arc::new(AtomicU32::new(0));
    let mut collection = FunctionCollection::new();
    for (name, number) in [("f1", 1), ("f2", 2)] {
        let sum = Arc::clone(&sum);
        collection.add(
            name,
            Priority::Normal,
            move || Ok(sum.fetch_add(number, Ordering::Relaxed)),
        );
    }
    assert!(collection.run().all_ok());
    assert_eq!(sum.load(Ordering::Relaxed), 3);
}

#[test]
fn a_task_collection_of_two_runs_both() {
    watched(|| {
        let supervisor = start();
        let sum = Arc::new(AtomicU32::new(0));
        let mut collection = TaskCollection::new();
        for (name, number) in [("f1", 1), ("f2", 2)] {
            let sum = Arc::clone(&sum);
            collection.add(name, Priority::Normal, move || {
                let sum = Arc::clone(&sum);
                Call::closure(move || Ok(sum.fetch_add(number, Ordering::Relaxed)))
            });
        }
        assert!(collection.run(&supervisor).all_ok());
        assert_eq!(sum.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn annotated_wrapped_and_critical_tasks_run_with_their_arguments() {
    watched(|| {
        let supervisor = start();
        let annotated = supervisor.submit(sum_on_thread::call(1, 2)).expect("accepted");
        let plain = |a, x| a + x;
        let wrapped = supervisor.spawn_blocking(move || plain(2, 3)).expect("accepted");
        let critical = Call::closure(move || plain(3, 4)).priority(Priority::Critical);
        let critical = supervisor.submit(critical).expect("accepted");
        assert_eq!(annotated.wait().expect("it runs"), 3);
        assert_eq!(wrapped.wait().expect("it runs"), 5);
        assert_eq!(critical.wait().expect("it runs"), 7);
        let named = Call::by_name("python::sum_in_process", json!({"x": 5, "a": 4}));
        let named = supervisor.submit(named).expect("accepted");
        assert_eq!(named.wait().expect("it runs"), 9);
    });
}

#[test]
fn the_callback_of_a_process_task_gets_its_value() {
    watched(|| {
        let supervisor = start();
        let (send, receive) = mpsc::channel();
        let task = supervisor.submit(sum_in_process::call(3, 7)).expect("accepted");
        task.on_complete(move |value| send.send(value).expect("the test receives"));
        assert_eq!(receive.recv().expect("it is called").expect("it runs"), 10);
    });
}

#[test]
fn a_locker_held_elsewhere_calls_critical_and_does_not_run_the_body() {
    watched(|| {
        let cried = Arc::new(AtomicBool::new(false));
        let handler = Arc::clone(&cried);
        let locker = Locker::new("test")
            .not_reentrant()
            .timeout(Duration::from_millis(5))
            .on_critical(move || handler.store(true, Ordering::Relaxed));
        let guard = locker.lock().expect("it is free");
        assert_eq!(locker.run(|| unreachable!("the lock is held")), None::<()>);
        assert!(cried.load(Ordering::Relaxed));
        drop(guard);
        assert_eq!(locker.run(|| 1), Some(1));
    });
}

#[test]
fn results_are_waited_for_one_by_one_and_together() {
    watched(|| {
        let supervisor = start();
        let one = supervisor.submit(nine::call()).expect("accepted");
        assert_eq!(one.wait().expect("it runs"), 999);
        let tasks = vec![
            supervisor.spawn_blocking(|| 777).expect("accepted"),
            supervisor.submit(nine::call()).expect("accepted"),
            supervisor.submit(sum_on_thread::call(1, 110)).expect("accepted"),
        ];
        let results = wait_all(tasks, None).expect("without a timeout").into_iter();
        assert!(results.map(|result| result.expect("it runs")).eq([777, 999, 111]));
    });
}

#[test]
fn waiting_for_several_ends_with_the_last_of_them() {
    watched(|| {
        let supervisor = start();
        let ended = Arc::new(AtomicU32::new(0));
        let tasks = [1, 2, 3].map(|n| {
            let ended = Arc::clone(&ended);
            let call = Call::closure(move || ended.fetch_add(n, Ordering::Relaxed));
            supervisor.submit(call.delay(Duration::from_millis(u64::from(n)))).expect("accepted")
        });
        let results = wait_all(tasks, Duration::from_secs(60)).expect("they end");
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(ended.load(Ordering::Relaxed), 6);
    });
}

#[test]
fn after_all_that_info_shows_no_running_task() {
    watched(|| {
        let supervisor = start();
        let tasks = [nine::call(), sum_in_process::call(3, 7)];
        let tasks = tasks.map(|call| supervisor.submit(call).expect("accepted"));
        let mut tasks = Vec::from(tasks);
        tasks.push(supervisor.submit(sum_on_thread::call(1, 2)).expect("accepted"));
        assert!(wait_all(tasks, None).expect("without a timeout").iter().all(Result::is_ok));
        let info = supervisor.info();
        assert_eq!((info.threads.outstanding(), info.processes.outstanding()), (0, 0));
        assert!(supervisor.tasks().is_empty());
        eventually("no place is taken", || {
            let info = supervisor.info();
            info.threads.busy == 0 && info.processes.busy == 0
        });
    });
}
