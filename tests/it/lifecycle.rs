//! Supervisors: several, stopped in every way, dropped, idle, and killed from outside.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use atasker::{BackgroundWorker, Call, Limits, Stop, SubmitError, Supervisor, TaskErrorKind};

use crate::tasks;
use crate::watch::{alone, eventually, is_alive, watched};

fn supervisor() -> Supervisor {
    Supervisor::builder().processes(Limits::new(2)).start().expect("workers start")
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("procfs").count()
}

#[test]
fn draining_runs_everything_that_was_accepted() {
    watched(|| {
        let supervisor = supervisor();
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                let delay = Duration::from_millis(n % 7);
                supervisor.submit(tasks::add::call(n as i64, 1).delay(delay)).expect("accepted")
            })
            .collect();
        supervisor.stop(Stop::Drain);
        assert!(matches!(supervisor.submit(tasks::nothing::call()), Err(SubmitError::Stopped)));
        for (n, task) in (0..).zip(tasks) {
            assert!(task.is_done());
            assert_eq!(task.wait().expect("it ran"), n + 1);
        }
    });
}

#[test]
fn cancelling_what_is_queued_lets_the_rest_end() {
    watched(|| {
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let running = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        eventually("it runs", || file.exists());
        let queued = supervisor.submit(tasks::sleep_ms::call(1)).expect("accepted");
        std::thread::scope(|scope| {
            let stopping = scope.spawn(|| supervisor.stop(Stop::CancelQueued));
            eventually("what waits is cancelled", || queued.is_done());
            assert!(!running.is_done() && !stopping.is_finished());
            std::fs::remove_file(&file).expect("it is there");
        });
        running.wait().expect("it ran");
        let error = queued.wait().unwrap_err();
        assert!(matches!(error.kind(), TaskErrorKind::Stopped) && !error.may_have_run(), "{error}");
    });
}

#[test]
fn killing_ends_what_runs() {
    watched(|| {
        for stop in [Stop::KillNow, Stop::DrainFor(Duration::from_millis(30))] {
            let supervisor = supervisor();
            let task = supervisor.submit(tasks::die::call("hang")).expect("accepted");
            eventually("it runs", || task.info().pid.is_some());
            let pid = task.info().pid.expect("just seen");
            supervisor.stop(stop);
            assert!(!is_alive(pid));
            assert!(matches!(task.wait().unwrap_err().kind(), TaskErrorKind::Stopped));
        }
    });
}

#[test]
fn dropping_resolves_every_handle_and_ends_every_process() {
    watched(|| {
        let supervisor = supervisor();
        let hanging: Vec<_> = (0..5)
            .map(|_| supervisor.submit(tasks::die::call("hang")).expect("accepted"))
            .collect();
        let (hold, held) = mpsc::channel::<()>();
        let thread = supervisor.spawn_blocking(move || held.recv().is_ok()).expect("accepted");
        eventually("two run", || supervisor.info().processes.running == 2);
        let pids: Vec<_> =
            supervisor.info().workers.iter().filter_map(|worker| worker.pid).collect();
        assert_eq!(pids.len(), 2);
        drop(supervisor);
        for task in hanging {
            assert!(matches!(task.wait().unwrap_err().kind(), TaskErrorKind::Stopped));
        }
        assert!(matches!(thread.wait().unwrap_err().kind(), TaskErrorKind::Stopped));
        assert!(pids.into_iter().all(|pid| !is_alive(pid)));
        drop(hold);
    });
}

#[test]
fn a_stop_from_inside_a_task_does_not_wait_for_itself() {
    watched(|| {
        let supervisor = Arc::new(Supervisor::builder().start().expect("starts"));
        let inner = Arc::clone(&supervisor);
        let task = supervisor.spawn_blocking(move || inner.stop(Stop::Drain)).expect("accepted");
        task.wait().expect("it returns");
        supervisor.join();
    });
}

#[test]
fn draining_for_a_time_ends_also_if_it_is_begun_from_inside() {
    watched(|| {
        let supervisor = Arc::new(supervisor());
        let hanging = supervisor.submit(tasks::die::call("hang")).expect("accepted");
        let inner = Arc::clone(&supervisor);
        let task = supervisor
            .spawn_blocking(move || inner.stop(Stop::DrainFor(Duration::from_millis(50))));
        task.expect("accepted").wait().expect("it does not wait for itself");
        supervisor.join();
        let error = hanging.wait().unwrap_err();
        assert!(matches!(error.kind(), TaskErrorKind::Stopped), "{error}");
        supervisor.stop(Stop::Drain);
    });
}

#[test]
fn a_soft_stop_waits_for_every_callback() {
    watched(|| {
        for stop in [Stop::Drain, Stop::CancelQueued] {
            let supervisor = supervisor();
            let (send, receive) = mpsc::channel();
            for _ in 0..4 {
                let send = send.clone();
                let task = supervisor.spawn_blocking(|| ()).expect("accepted");
                eventually("it has ended", || task.is_done());
                task.on_complete(move |_| {
                    std::thread::sleep(Duration::from_millis(400));
                    send.send(()).expect("somebody listens");
                });
            }
            supervisor.stop(stop);
            assert_eq!(receive.try_iter().count(), 4, "{stop:?}");
        }
    });
}

/// Whoever drains would wait for what a harder stop has given up.
#[test]
fn a_soft_stop_returns_after_a_harder_one() {
    watched(|| {
        for (hard, within) in [Stop::KillNow, Stop::DrainFor(Duration::from_millis(30))]
            .into_iter()
            .flat_map(|hard| [(hard, false), (hard, true)])
        {
            for what in ["a closure", "a callback", "a background run"] {
                let supervisor = Arc::new(supervisor());
                let inner = Arc::clone(&supervisor);
                let (order, ordered) = mpsc::channel::<()>();
                let task = move || {
                    let _order = ordered.recv();
                    if within {
                        inner.stop(hard);
                    }
                };
                drop(supervisor.spawn_blocking(task).expect("accepted"));
                let (begins, begun) = mpsc::channel();
                let (release, held) = mpsc::channel::<()>();
                let hang = move || {
                    begins.send(()).expect("somebody listens");
                    let _never = held.recv();
                };
                match what {
                    "a closure" => drop(supervisor.spawn_blocking(hang).expect("accepted")),
                    "a callback" => {
                        let task = supervisor.spawn_blocking(|| ()).expect("accepted");
                        task.on_complete(move |_| hang());
                    }
                    _ => drop(BackgroundWorker::looping().run(move |_| hang()).start(&supervisor)),
                }
                begun.recv().expect("it begins");
                let soft = Arc::clone(&supervisor);
                let draining = std::thread::spawn(move || soft.stop(Stop::Drain));
                // Mostly it waits by then.
                std::thread::sleep(Duration::from_millis(20));
                drop(order);
                if !within {
                    supervisor.stop(hard);
                }
                draining.join().expect("it returns");
                drop(release);
            }
        }
    });
}

#[test]
fn functions_are_told_until_the_stop() {
    watched(|| {
        let supervisor = Supervisor::builder().start().expect("starts");
        supervisor.stop(Stop::Drain);
        assert!(matches!(supervisor.functions(), Err(SubmitError::Stopped)));
        assert!(supervisor.info().workers.is_empty());
    });
}

#[test]
fn two_supervisors_do_not_meet() {
    watched(|| {
        let (one, two) = (supervisor(), supervisor());
        let pid = |supervisor: &Supervisor| {
            supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs")
        };
        assert_ne!(pid(&one), pid(&two));
        drop(one);
        assert!(is_alive(pid(&two)));
    });
}

/// Whoever waits for tasks of both looks after the rings of one of them, which has long ended while the other runs on.
#[test]
fn whoever_waits_for_tasks_of_two_does_not_keep_the_one_that_is_stopped() {
    alone(
        "lifecycle::whoever_waits_for_tasks_of_two_does_not_keep_the_one_that_is_stopped",
        || {
            let folder = tempfile::tempdir().expect("a folder");
            let long = supervisor();
            let file = folder.path().join("long");
            let lasting = long.submit(tasks::hold::call(&file)).expect("accepted");
            eventually("it runs", || file.exists());
            // One of its two workers is held, and some threads of it end when the other is ready.
            long.submit(tasks::nothing::call()).expect("accepted").wait().expect("runs");
            let before = threads();
            let short = supervisor();
            let brief = folder.path().join("brief");
            let ending = short.submit(tasks::hold::call(&brief)).expect("accepted");
            eventually("it runs", || brief.exists());
            let waiting = std::thread::spawn(move || {
                atasker::wait_all([ending, lasting], Duration::from_hours(1)).expect("both end")
            });
            // Until it looks after the rings, of which nobody tells.
            std::thread::sleep(Duration::from_millis(100));
            std::fs::remove_file(&brief).expect("it is there");
            short.stop(Stop::Drain);
            eventually("only the one that waits is left", || threads() <= before + 1);
            assert!(!waiting.is_finished());
            std::fs::remove_file(&file).expect("it is there");
            assert!(waiting.join().expect("no panic").iter().all(Result::is_ok));
        },
    );
}

#[test]
fn processes_start_with_the_first_process_task_unless_asked_for_earlier() {
    watched(|| {
        let supervisor = Supervisor::builder().start().expect("starts");
        assert!(supervisor.info().workers.is_empty());
        supervisor.spawn_blocking(|| ()).expect("accepted").wait().expect("runs");
        assert!(supervisor.info().workers.is_empty());
        let sum = supervisor.submit(tasks::add::call(1, 2)).expect("accepted").wait();
        assert_eq!(sum.expect("runs"), 3);
        assert!(!supervisor.info().workers.is_empty());
    });
}

#[test]
fn submitters_that_wait_learn_of_the_stop() {
    watched(|| {
        let supervisor = Arc::new(
            Supervisor::builder().threads(Limits::new(1)).queue_bound(1).start().expect("starts"),
        );
        let (hold, held) = mpsc::channel::<()>();
        let running = supervisor.spawn_blocking(move || held.recv().is_ok()).expect("accepted");
        let queued = supervisor.spawn_blocking(|| ()).expect("accepted");
        let other = Arc::clone(&supervisor);
        let blocked = std::thread::spawn(move || other.submit(Call::closure(|| ())).map(drop));
        let stopper = Arc::clone(&supervisor);
        let stopping = std::thread::spawn(move || stopper.stop(Stop::CancelQueued));
        assert!(matches!(blocked.join().expect("no panic"), Err(SubmitError::Stopped)));
        drop(hold);
        stopping.join().expect("no panic");
        running.wait().expect("it ran");
        assert!(queued.wait().is_err());
    });
}
