//! Schedulers of the user's own: they start and stop with their supervisor, whatever they do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::Duration;

use atasker::{
    Call, Limits, Scheduler, SchedulerError, Stop, SubmitError, Supervisor, TaskHandle, TaskResult,
};

use crate::watch::{eventually, watched};

type Log = Arc<Mutex<Vec<String>>>;
type Body = Box<dyn Fn() -> TaskResult<()> + Send + Sync>;

/// Notes what is done to it, and does what it was told to.
struct Noting {
    name: &'static str,
    log: Log,
    on_start: Body,
    on_stop: Body,
}

impl Noting {
    fn new(name: &'static str, log: &Log) -> Self {
        let nothing = || -> Body { Box::new(|| Ok(())) };
        Self { name, log: Arc::clone(log), on_start: nothing(), on_stop: nothing() }
    }

    fn on_start(mut self, body: impl Fn() -> TaskResult<()> + Send + Sync + 'static) -> Self {
        self.on_start = Box::new(body);
        self
    }

    fn on_stop(mut self, body: impl Fn() -> TaskResult<()> + Send + Sync + 'static) -> Self {
        self.on_stop = Box::new(body);
        self
    }

    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{} {what}", self.name));
    }
}

impl Scheduler for Noting {
    fn start(&self) -> TaskResult<()> {
        self.note("starts");
        (self.on_start)()
    }

    fn stop(&self, how: Stop) -> TaskResult<()> {
        self.note(&format!("stops by {how:?}"));
        (self.on_stop)()
    }
}

fn start() -> Arc<Supervisor> {
    Arc::new(Supervisor::builder().threads(Limits::new(2)).start().expect("starts"))
}

#[test]
fn they_start_when_registered_and_stop_with_the_supervisor_the_last_first() {
    watched(|| {
        let log = Log::default();
        let supervisor = start();
        for name in ["a", "b", "c"] {
            supervisor.register_scheduler(name, Noting::new(name, &log)).expect("starts");
        }
        assert_eq!(supervisor.info().schedulers, ["a", "b", "c"]);
        assert!(supervisor.unregister_scheduler("b").is_some(), "it is given back, and goes on");
        assert!(supervisor.unregister_scheduler("b").is_none());
        supervisor.stop(Stop::CancelQueued);
        supervisor.stop(Stop::KillNow);
        let noted = log.lock().unwrap().join(", ");
        let stops = "c stops by CancelQueued, a stops by CancelQueued";
        assert_eq!(noted, format!("a starts, b starts, c starts, {stops}"));
        assert!(supervisor.info().schedulers.is_empty());
    });
}

#[test]
fn one_that_does_not_start_is_not_registered() {
    watched(|| {
        let log = Log::default();
        let supervisor = start();
        let fails = Noting::new("fails", &log).on_start(|| Err("no clock")?);
        let error = supervisor.register_scheduler("fails", fails).unwrap_err();
        assert_eq!(error.to_string(), "the scheduler `fails` did not start: no clock");
        let panics = Noting::new("panics", &log).on_start(|| panic!("as asked"));
        let error = supervisor.register_scheduler("panics", panics).unwrap_err();
        assert_eq!(error.to_string(), "the scheduler `panics` did not start: panicked: as asked");
        assert!(supervisor.info().schedulers.is_empty());
        supervisor
            .register_scheduler("fails", Noting::new("again", &log))
            .expect("the name is free");
        let twice = supervisor.register_scheduler("fails", Noting::new("twice", &log));
        assert!(matches!(twice, Err(SchedulerError::DuplicateName(name)) if name == "fails"));
        supervisor.stop(Stop::Drain);
        let late = supervisor.register_scheduler("late", Noting::new("late", &log));
        assert!(matches!(late, Err(SchedulerError::Stopped)));
        let noted = log.lock().unwrap().join(", ");
        assert_eq!(noted, "fails starts, panics starts, again starts, again stops by Drain");
    });
}

#[test]
fn errors_and_panics_in_a_stop_hold_up_nothing() {
    watched(|| {
        let log = Log::default();
        let supervisor = start();
        let register = |name, on_stop: fn() -> TaskResult<()>| {
            let scheduler = Noting::new(name, &log).on_stop(on_stop);
            supervisor.register_scheduler(name, scheduler).expect("starts");
        };
        register("last", || Ok(()));
        register("fails", || Err("as asked")?);
        register("panics", || panic!("as asked"));
        supervisor.stop(Stop::Drain);
        let stopped = log.lock().unwrap().iter().filter(|line| line.contains("stops")).count();
        assert_eq!(stopped, 3);
    });
}

#[test]
fn what_a_scheduler_submits_in_its_stop_is_drained_and_then_nothing_is_accepted() {
    watched(|| {
        let log = Log::default();
        let supervisor = start();
        let last: Arc<Mutex<Option<TaskHandle<u32>>>> = Arc::default();
        let (weak, kept) = (Arc::downgrade(&supervisor), Arc::clone(&last));
        let scheduler = Noting::new("flushes", &log).on_stop(move || {
            let supervisor = weak.upgrade().ok_or("gone")?;
            *kept.lock().unwrap() = Some(supervisor.spawn_blocking(|| 7)?);
            Ok(())
        });
        supervisor.register_scheduler("flushes", scheduler).expect("starts");
        supervisor.stop(Stop::Drain);
        let last = last.lock().unwrap().take().expect("it was accepted");
        assert_eq!(last.wait().expect("it ran"), 7);
        assert!(matches!(supervisor.spawn_blocking(|| ()), Err(SubmitError::Stopped)));
    });
}

#[test]
fn a_stop_that_hangs_is_given_up_by_a_harder_one() {
    watched(|| {
        let log = Log::default();
        let supervisor = start();
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let scheduler = Noting::new("hangs", &log).on_stop(move || {
            let _released = held.lock().unwrap().recv();
            Ok(())
        });
        supervisor.register_scheduler("hangs", scheduler).expect("starts");
        std::thread::scope(|scope| {
            let soft = scope.spawn(|| supervisor.stop(Stop::Drain));
            eventually("it hangs", || log.lock().unwrap().len() == 2);
            assert!(!soft.is_finished());
            let task = supervisor.spawn_blocking(|| 1).expect("still accepted");
            assert_eq!(task.wait().expect("it runs"), 1);
            supervisor.stop(Stop::KillNow);
            soft.join().expect("it returns too");
        });
        drop(release);
    });
}

#[test]
fn a_stop_that_hangs_is_given_up_when_the_time_to_drain_is_over_or_the_supervisor_dropped() {
    watched(|| {
        for by_drop in [false, true] {
            let log = Log::default();
            let supervisor = start();
            let (release, held) = mpsc::channel::<()>();
            let held = Mutex::new(held);
            let scheduler = Noting::new("hangs", &log).on_stop(move || {
                let _released = held.lock().unwrap().recv();
                Ok(())
            });
            supervisor.register_scheduler("hangs", scheduler).expect("starts");
            if !by_drop {
                supervisor.stop(Stop::DrainFor(Duration::from_millis(20)));
            }
            drop(supervisor);
            drop(release);
        }
    });
}

#[test]
fn a_supervisor_may_be_stopped_by_its_own_tasks_and_schedulers() {
    watched(|| {
        let log = Log::default();
        let supervisor = start();
        let stop_it = |supervisor: &Weak<Supervisor>| {
            let supervisor = supervisor.upgrade().expect("the test has it");
            supervisor.stop(Stop::Drain);
        };
        let weak = Arc::downgrade(&supervisor);
        let scheduler = Noting::new("stops", &log).on_stop(move || {
            stop_it(&weak);
            Ok(())
        });
        supervisor.register_scheduler("stops", scheduler).expect("starts");
        let weak = Arc::downgrade(&supervisor);
        let task = supervisor.spawn_blocking(move || stop_it(&weak)).expect("accepted");
        task.wait().expect("it runs");
        supervisor.join();
        assert_eq!(log.lock().unwrap().join(", "), "stops starts, stops stops by Drain");
        supervisor.stop(Stop::Drain);
    });
}

#[test]
fn one_that_starts_while_the_supervisor_stops_is_stopped() {
    watched(|| {
        let log = Log::default();
        let supervisor = start();
        let (weak, stopped) = (Arc::downgrade(&supervisor), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&stopped);
        let scheduler = Noting::new("late", &log).on_start(move || {
            weak.upgrade().ok_or("gone")?.stop(Stop::CancelQueued);
            seen.store(true, Ordering::SeqCst);
            Ok(())
        });
        let answer = supervisor.register_scheduler("late", scheduler);
        assert!(matches!(answer, Err(SchedulerError::Stopped)));
        assert!(stopped.load(Ordering::SeqCst));
        assert_eq!(log.lock().unwrap().join(", "), "late starts, late stops by CancelQueued");
    });
}

#[test]
fn registering_races_with_stopping() {
    watched(|| {
        for _ in 0..100 {
            let log = Log::default();
            let supervisor = start();
            std::thread::scope(|scope| {
                for name in ["a", "b", "c", "d"] {
                    let (supervisor, log) = (&supervisor, &log);
                    scope.spawn(move || {
                        let _answer = supervisor.register_scheduler(name, Noting::new(name, log));
                        let _answer = supervisor.submit(Call::closure(|| ()));
                    });
                }
                scope.spawn(|| supervisor.stop(Stop::KillNow));
            });
            let log = log.lock().unwrap();
            let count = |what| log.iter().filter(|line| line.contains(what)).count();
            assert_eq!(count("starts"), count("stops"), "{log:?}");
        }
    });
}

/// Panics when nobody has it any more.
struct Bomb(Noting);

impl Scheduler for Bomb {
    fn start(&self) -> TaskResult<()> {
        self.0.start()
    }

    fn stop(&self, how: Stop) -> TaskResult<()> {
        self.0.stop(how)
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a scheduler panics when it is dropped");
    }
}

#[test]
fn one_that_panics_when_it_is_dropped_keeps_no_other_from_stopping() {
    watched(|| {
        let log = Log::default();
        let supervisor = Supervisor::builder().start().expect("it starts");
        for name in ["first", "second"] {
            let noting = Noting::new(name, &log);
            supervisor.register_scheduler(name, Bomb(noting)).expect("it starts");
        }
        supervisor.stop(Stop::Drain);
        let stops = log.lock().unwrap().iter().filter(|line| line.contains("stops")).count();
        assert_eq!(stops, 2);
    });
}
