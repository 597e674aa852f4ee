//! The feature `extras`, attacked.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use atasker::extras::{FunctionCollection, Locals, Locker, TaskCollection};
use atasker::{Call, Limits, Priority, Supervisor, TaskResult, TaskStatus};

use crate::tasks;
use crate::watch::watched;

/// Names in the order in which they were pushed.
type Log = Arc<Mutex<Vec<&'static str>>>;

fn noting(log: &Log, name: &'static str) -> impl FnMut() -> TaskResult<()> + use<> {
    let log = Arc::clone(log);
    move || {
        log.lock().unwrap().push(name);
        Ok(())
    }
}

#[test]
fn functions_run_by_rank_and_their_results_are_in_that_order() {
    let log = Log::default();
    let mut collection = FunctionCollection::new();
    collection
        .add("low", Priority::Low, noting(&log, "low"))
        .add("normal", Priority::Normal, noting(&log, "normal"))
        .add("between", 60, noting(&log, "between"))
        .add("critical", Priority::Critical, noting(&log, "critical"))
        .add("high", Priority::High, noting(&log, "high"))
        .add("before all", -1, noting(&log, "before all"));
    let outcome = collection.run();
    let expected = ["before all", "critical", "high", "between", "normal", "low"];
    assert_eq!(*log.lock().unwrap(), expected);
    assert!(outcome.iter().map(|(name, _)| name).eq(expected));
    assert!(outcome.all_ok());
    assert!(collection.remove("between"));
    assert_eq!(collection.run().iter().len(), 5, "it runs again, without the one taken out");
}

#[test]
fn a_function_that_fails_or_panics_stops_none_of_the_others() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let handler = Arc::clone(&told);
    let mut collection = FunctionCollection::new().on_error(move |name, failure| {
        handler.lock().unwrap().push(format!("{name}: {failure:#}"));
    });
    collection.add("fails", 1, || {
        std::fs::read_to_string("/no/such/file")?;
        Ok(1)
    });
    collection.add("panics", 2, || panic!("as asked")).add("goes well", 3, || Ok(3));
    let outcome = collection.run();
    assert!(!outcome.all_ok());
    assert!(outcome.values().eq([("goes well", &3)]), "without the errors");
    assert!(outcome.get("panics").unwrap().is_err(), "or with them");
    assert!(outcome.get("nobody").is_none());
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("fails: No such file"), "{told:?}");
    assert_eq!(told[1], "panics: panicked: as asked");
}

#[test]
fn tasks_of_a_collection_run_side_by_side_on_any_pool() {
    watched(|| {
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        let mut collection = TaskCollection::new();
        // Neither would ever end without the other.
        let meeting = Arc::new(Barrier::new(2));
        for name in ["one", "other"] {
            let meeting = Arc::clone(&meeting);
            collection.add(name, Priority::Normal, move || {
                let meeting = Arc::clone(&meeting);
                Call::closure(move || {
                    meeting.wait();
                    Ok(std::process::id())
                })
            });
        }
        collection.add("elsewhere", Priority::Low, || tasks::checked_pid::call("well"));
        let outcome = collection.run(&supervisor);
        assert!(outcome.all_ok(), "{outcome:?}");
        let here = std::process::id();
        assert_eq!(outcome.get("one"), Some(&Ok(here)));
        assert_ne!(outcome.get("elsewhere").unwrap().as_ref().unwrap(), &here);
        assert!(outcome.iter().map(|(name, _)| name).eq(["one", "other", "elsewhere"]));
    });
}

#[test]
fn every_way_to_fail_is_a_failure_of_that_member() {
    watched(|| {
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        let count = Arc::new(AtomicU32::new(0));
        let handler = Arc::clone(&count);
        let mut collection = TaskCollection::new().on_error(move |_, _| {
            handler.fetch_add(1, Ordering::Relaxed);
        });
        collection
            .add("error", 1, || tasks::checked_pid::call("fail"))
            .add("crash", 2, || tasks::checked_pid::call("abort"))
            .add("panic", 3, || Call::closure(|| panic!("as asked")))
            .add("unknown", 4, || Call::closure(|| Ok(1)).retries(1))
            .add("fine", 5, || tasks::checked_pid::call("well"));
        let outcome = collection.run(&supervisor);
        let said = |name| format!("{:#}", outcome.get(name).unwrap().as_ref().unwrap_err());
        assert_eq!(said("error"), "checking: as asked");
        assert!(said("crash").contains("SIGABRT"), "{}", said("crash"));
        assert!(said("panic").contains("as asked"), "{}", said("panic"));
        assert!(said("unknown").contains("can't be retried"), "{}", said("unknown"));
        assert_eq!(outcome.values().count(), 1);
        assert_eq!(count.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn the_rank_of_a_task_is_its_priority_and_its_name_its_label() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
        let (hold, held) = mpsc::channel::<()>();
        let running = supervisor.spawn_blocking(move || held.recv().is_err()).expect("accepted");
        let mut collection = TaskCollection::new();
        collection.add("night shift", Priority::Low, || Call::closure(|| Ok(())));
        std::thread::scope(|scope| {
            let run = scope.spawn(|| collection.run(&supervisor));
            let waiting = || supervisor.tasks().into_iter().find(|task| task.id != running.id());
            crate::watch::eventually("it waits", || waiting().is_some());
            let info = waiting().unwrap();
            assert_eq!((info.priority, info.status), (Priority::Low, TaskStatus::Queued));
            assert_eq!(info.label.as_deref(), Some("night shift"));
            drop(hold);
            assert!(run.join().unwrap().all_ok());
        });
    });
}

#[test]
fn locals_are_told_apart_by_store_type_and_name() {
    static ONE: Locals = Locals::new();
    static OTHER: Locals = Locals::new();
    ONE.set("n", 1_u32);
    ONE.set("n", "text");
    ONE.set("m", 2_u32);
    OTHER.set("n", 3_u32);
    assert_eq!(ONE.get("n"), Some(1_u32));
    assert_eq!(ONE.get("n"), Some("text"));
    assert_eq!(OTHER.get("n"), Some(3_u32));
    assert!(ONE.clear::<u32>("n") && !ONE.clear::<u32>("n"));
    assert!(ONE.has::<&str>("n") && ONE.has::<u32>("m") && OTHER.has::<u32>("n"));
}

#[test]
fn values_may_use_the_store_while_they_are_cloned_and_dropped() {
    static LOCALS: Locals = Locals::new();

    struct Meddler(Rc<Cell<u32>>);

    impl Clone for Meddler {
        fn clone(&self) -> Self {
            LOCALS.set("cloned", true);
            Self(Rc::clone(&self.0))
        }
    }

    impl Drop for Meddler {
        fn drop(&mut self) {
            LOCALS.set("dropped", true);
            self.0.set(self.0.get() + 1);
        }
    }

    let drops = Rc::new(Cell::new(0));
    LOCALS.set("it", Meddler(Rc::clone(&drops)));
    drop(LOCALS.get::<Meddler>("it"));
    LOCALS.set("it", Meddler(Rc::clone(&drops)));
    assert!(LOCALS.clear::<Meddler>("it"));
    assert_eq!(drops.get(), 3);
    assert!(LOCALS.get("cloned") == Some(true) && LOCALS.get("dropped") == Some(true));
}

#[test]
fn values_end_with_their_thread() {
    static LOCALS: Locals = Locals::new();
    let owner = Arc::new(());
    let kept = Arc::clone(&owner);
    std::thread::spawn(move || LOCALS.set("kept", kept)).join().expect("no panic");
    assert_eq!(Arc::strong_count(&owner), 1);
}

#[test]
fn a_lock_is_reentrant_unless_it_is_said_not_to_be() {
    let locker = Locker::new("one");
    assert_eq!(locker.run(|| locker.run(|| 1)), Some(Some(1)));
    let plain = Locker::new("two").timeout(Duration::from_millis(5)).not_reentrant();
    assert_eq!(plain.run(|| plain.run(|| 1)), Some(None));
    assert_eq!(plain.run(|| 2), Some(2), "it is free again");
}

#[test]
fn a_panic_under_the_lock_frees_it() {
    for locker in [Locker::new("one"), Locker::new("two").not_reentrant()] {
        let locker = Arc::new(locker.timeout(Duration::ZERO));
        let other = Arc::clone(&locker);
        let thread = std::thread::spawn(move || other.run(|| panic!("under the lock")));
        assert!(thread.join().is_err());
        assert_eq!(locker.run(|| 3), Some(3));
    }
}

#[test]
fn a_lock_lets_one_in_at_a_time() {
    watched(|| {
        let locker = Locker::new("counter").timeout(Duration::from_secs(60));
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let alone = locker.run(|| {
                            let before = inside.fetch_add(1, Ordering::Relaxed);
                            std::thread::yield_now();
                            before == 0 && inside.fetch_sub(1, Ordering::Relaxed) == 1
                        });
                        assert_eq!(alone, Some(true));
                    }
                });
            }
        });
    });
}

#[test]
fn a_lock_that_is_held_too_long_is_an_error_that_names_it() {
    watched(|| {
        let cries = Arc::new(AtomicU32::new(0));
        let handler = Arc::clone(&cries);
        let locker =
            Locker::new("ledger").timeout(Duration::from_millis(5)).on_critical(move || {
                handler.fetch_add(1, Ordering::Relaxed);
            });
        let guard = locker.lock().expect("it is free");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| locker.lock().map(drop));
            let error = other.join().expect("no panic").expect_err("it is held");
            assert_eq!(error.to_string(), "the lock `ledger` could not be had within 5ms");
        });
        assert_eq!(cries.load(Ordering::Relaxed), 1);
        drop(guard);
        std::thread::scope(|scope| {
            assert!(scope.spawn(|| locker.lock().is_ok()).join().expect("no panic"));
        });
    });
}
