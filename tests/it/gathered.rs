//! Single calls that travel together because they are quick and many: each is a task like any other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use atasker::{
    Limits, Priority, SharedSlice, Stop, Supervisor, SupervisorBuilder, TaskErrorKind, TaskHandle,
    TaskStatus, task,
};
use serde::{Deserialize, Serialize};

use crate::handles::block_on;
use crate::tasks;
use crate::watch::{eventually, watched};

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Deed {
    Return,
    Fail,
    Panic,
    Abort,
    /// Return so many numbers in a buffer.
    Buffer(usize),
    /// Say so, and wait until there is this file.
    Await(PathBuf),
    /// Make it.
    Make(PathBuf),
    /// When it was begun, by the clock of the system.
    Note,
}

type Answer = Result<(u64, Option<SharedSlice<u64>>), String>;

#[task]
fn odd_job(n: u64, deed: Deed) -> Answer {
    match deed {
        Deed::Return => {}
        Deed::Fail => return Err(format!("{n} fails")),
        Deed::Panic => panic!("{n} panics"),
        Deed::Abort => std::process::abort(),
        Deed::Buffer(length) => {
            let buffer = SharedSlice::from_slice(&vec![n; length]).map_err(|it| it.to_string())?;
            return Ok((n, Some(buffer)));
        }
        Deed::Await(file) => {
            atasker::progress(n, 1000);
            while !file.exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Deed::Make(file) => drop(std::fs::File::create(file).expect("the folder is writable")),
        Deed::Note => return Ok((clock_ns(), None)),
    }
    Ok((n, None))
}

fn clock_ns() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("it is later").as_nanos() as u64
}

fn start(workers: u32) -> Supervisor {
    start_as(Supervisor::builder().processes(Limits::new(workers)))
}

fn start_as(builder: SupervisorBuilder) -> Supervisor {
    let supervisor = builder.start().expect("it starts");
    // How long it takes has to be known.
    let first: Vec<_> = (0..20).map(|n| submit(&supervisor, n, Deed::Return)).collect();
    first.into_iter().for_each(|task| assert!(task.wait().is_ok()));
    supervisor
}

fn submit(supervisor: &Supervisor, n: u64, deed: Deed) -> TaskHandle<Answer> {
    supervisor.submit(odd_job::call(n, deed)).expect("it is accepted")
}

fn travels_with_others(task: &TaskHandle<Answer>) -> bool {
    format!("{task:?}").contains("in_pack: true")
}

/// So many that most travel together.
fn submit_many(
    supervisor: &Supervisor,
    count: u64,
    deed: impl Fn(u64) -> Deed,
) -> Vec<TaskHandle<Answer>> {
    let all: Vec<_> = (0..count).map(|n| submit(supervisor, n, deed(n))).collect();
    let together = all.iter().filter(|task| travels_with_others(task)).count();
    assert!(together > all.len() / 2, "{together} of {} travel together", all.len());
    all
}

/// Tasks that run as long as their files are in the folder.
struct Held {
    folder: tempfile::TempDir,
    tasks: Vec<TaskHandle<()>>,
}

/// Keeps every worker busy.
fn hold_all(supervisor: &Supervisor, workers: u32) -> Held {
    let folder = tempfile::tempdir().expect("a folder");
    let holding = (0..workers).map(|n| {
        let file = folder.path().join(format!("held{n}"));
        let task = supervisor.submit(tasks::hold::call(&file)).expect("it is accepted");
        eventually("it is held", || file.exists());
        task
    });
    let tasks = holding.collect();
    Held { folder, tasks }
}

fn let_go(held: Held) {
    drop(held.folder);
    for task in held.tasks {
        task.wait().expect("it was held");
    }
}

#[test]
fn each_has_its_own_end() {
    watched(|| {
        let supervisor = start(2);
        let before = supervisor.info().ended;
        let deed = |n| match n % 500 {
            77 | 78 => Deed::Fail,
            133 => Deed::Panic,
            200 => Deed::Abort,
            301 => Deed::Buffer(100),
            302 => Deed::Buffer(100_000),
            _ => Deed::Return,
        };
        let all = submit_many(&supervisor, 4000, deed);
        let ids: BTreeSet<_> = all.iter().map(TaskHandle::id).collect();
        assert_eq!(ids.len(), all.len(), "each has a number of its own");
        for (n, task) in (0..).zip(all) {
            let id = task.id();
            eventually("it ends", || task.is_done());
            let info = task.info();
            assert_eq!((info.id, info.attempts), (id, 1));
            let result = task.wait();
            match (deed(n), result) {
                (Deed::Fail, Ok(Err(text))) => {
                    assert_eq!(text, format!("{n} fails"));
                    assert_eq!(info.status, TaskStatus::Completed);
                    assert_eq!(info.returned_error, Some(text));
                }
                (Deed::Panic, Err(error)) => {
                    assert_eq!(error.task_id(), Some(id));
                    let TaskErrorKind::Panicked(report) = error.kind() else { panic!("{error}") };
                    assert_eq!(report.message, format!("{n} panics"));
                    assert_eq!((info.status, info.pid), (TaskStatus::Panicked, report.pid));
                    assert!(report.pid.is_some());
                }
                (Deed::Abort, Err(error)) => {
                    assert_eq!(error.task_id(), Some(id));
                    let TaskErrorKind::Crashed(report) = error.kind() else { panic!("{error}") };
                    assert!(report.cause.to_string().contains("signal 6"), "{error}");
                    assert_eq!(info.status, TaskStatus::Crashed);
                }
                (Deed::Buffer(length), Ok(Ok((value, Some(buffer))))) => {
                    assert_eq!(value, n);
                    assert_eq!(buffer.to_vec().expect("it is readable"), vec![n; length]);
                }
                (Deed::Return, Ok(Ok((value, None)))) => {
                    assert_eq!((value, info.status), (n, TaskStatus::Completed));
                }
                (deed, other) => panic!("{n} was to {deed:?}: {other:?}"),
            }
        }
        let after = supervisor.info().ended;
        assert_eq!(after.panicked - before.panicked, 8);
        assert_eq!(after.crashed - before.crashed, 8);
        assert_eq!(after.completed - before.completed, 4000 - 16);
    });
}

#[test]
fn one_among_them_is_cancelled_and_no_other() {
    watched(|| {
        let supervisor = start(2);
        let held = hold_all(&supervisor, 2);
        let all = submit_many(&supervisor, 600, |_| Deed::Return);
        // From the front, the back, and the middle.
        let unwanted = |n: usize| n % 7 == 3 || n >= 590;
        for (_, task) in all.iter().enumerate().filter(|(n, _)| unwanted(*n)) {
            assert!(task.cancel(), "{task:?}");
            assert!(task.is_done() && !task.cancel(), "it was cancelled once: {task:?}");
            assert_eq!(task.info().status, TaskStatus::Cancelled);
        }
        let_go(held);
        for (n, task) in all.into_iter().enumerate() {
            match task.wait() {
                Ok(Ok((value, None))) => assert!(!unwanted(n) && value == n as u64),
                Err(error) => {
                    assert!(unwanted(n) && matches!(error.kind(), TaskErrorKind::Cancelled));
                    assert!(!error.may_have_run());
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

/// What a cut leaves behind may be given to the worker in the same moment.
#[test]
fn a_cancel_in_the_midst_of_submitting_ends_one() {
    watched(|| {
        let supervisor = start(1);
        for round in 0..100 {
            let all: Vec<_> = (0..60).map(|n| submit(&supervisor, n, Deed::Return)).collect();
            let unwanted = 35 + round % 24;
            let said = all[unwanted].cancel();
            for (n, task) in all.into_iter().enumerate() {
                let result = task.wait();
                assert_eq!(
                    result.is_err(),
                    said && n == unwanted,
                    "{n}, not {unwanted}: {result:?}"
                );
            }
        }
    });
}

#[test]
fn what_is_told_of_one_that_runs_is_its_own() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = start(1);
        let file = folder.path().join("made");
        let deed = |n| if n == 45 { Deed::Await(file.clone()) } else { Deed::Return };
        let all: Vec<_> = (0..60).map(|n| submit(&supervisor, n, deed(n))).collect();
        assert!(travels_with_others(&all[45]));
        eventually("it runs", || all[45].progress().is_some());
        for (n, task) in all.iter().enumerate().skip(45) {
            let info = task.info();
            let told = (info.status, info.attempts, info.progress.map(|it| it.done));
            let runs = (TaskStatus::Running, 1, Some(45));
            assert_eq!(told, if n == 45 { runs } else { (TaskStatus::Queued, 0, None) });
        }
        eventually("those before it have ended", || all[..45].iter().all(TaskHandle::is_done));
        let info = supervisor.info();
        let queued = info.processes.queued.iter().sum::<usize>();
        assert_eq!((info.processes.running, queued, supervisor.tasks().len()), (1, 14, 15));
        let runs = info.workers[0].task.expect("it runs one");
        assert_eq!(runs.number(), all[45].id().number());
        std::fs::File::create(file).expect("the folder is writable");
        assert!(all.into_iter().all(|task| task.wait().is_ok()));
    });
}

#[test]
fn each_that_waits_long_is_told_of() {
    watched(|| {
        let (tell, told) = std::sync::mpsc::channel();
        let supervisor = start_as(
            Supervisor::builder()
                .processes(Limits::new(1))
                .timeout_warning(Duration::from_millis(50))
                .on_warning(move |task| tell.send(task.id.number()).expect("somebody listens")),
        );
        let held = hold_all(&supervisor, 1);
        let all = submit_many(&supervisor, 300, |_| Deed::Return);
        let seen: BTreeSet<_> = told.iter().take(300).collect();
        assert_eq!(seen, all.iter().map(|task| task.id().number()).collect());
        let_go(held);
        assert!(all.into_iter().all(|task| task.wait().is_ok()));
        assert_eq!(told.try_iter().count(), 0, "each once");
    });
}

#[test]
fn none_runs_where_another_has_panicked_if_that_is_not_wanted() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(1)).recycle_on_panic();
        let supervisor = start_as(builder);
        let deed = |n| if n == 45 { Deed::Panic } else { Deed::Return };
        let all: Vec<_> = (0..60).map(|n| submit(&supervisor, n, deed(n))).collect();
        let pids: Vec<_> = all
            .iter()
            .map(|task| {
                eventually("it ends", || task.is_done());
                task.info().pid.expect("it has run")
            })
            .collect();
        assert!(pids[..45].iter().all(|&pid| pid == pids[45]));
        assert!(pids[46..].iter().all(|&pid| pid != pids[45]));
        let ends: Vec<_> = supervisor.map((0..60).map(|n| odd_job::call(n, deed(n)))).collect();
        assert_eq!(ends.iter().filter(|end| end.is_err()).count(), 1);
        let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("it runs");
        assert!(!pids.contains(&pid), "it was replaced");
    });
}

#[test]
fn each_is_told_of_while_it_waits() {
    watched(|| {
        let supervisor = start(1);
        let held = hold_all(&supervisor, 1);
        let all = submit_many(&supervisor, 300, |_| Deed::Return);
        assert_eq!(supervisor.info().processes.queued.iter().sum::<usize>(), 300);
        let told: BTreeSet<_> = supervisor.tasks().into_iter().map(|task| task.id).collect();
        for task in &all {
            assert!(told.contains(&task.id()), "{task:?}");
            let info = task.info();
            assert_eq!((info.id, info.status), (task.id(), TaskStatus::Queued));
            assert!(info.name.ends_with("::odd_job"));
            let found = supervisor.task(task.id()).expect("it has not ended");
            assert_eq!(found.id, task.id());
        }
        let cancelled = supervisor.cancel(all[200].id());
        assert!(cancelled && supervisor.task(all[200].id()).is_none());
        assert_eq!(supervisor.tasks().len(), 300);
        let_go(held);
        let results = atasker::wait_all(all, None).expect("there is no timeout");
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 299);
    });
}

#[test]
fn whoever_waits_for_one_is_told() {
    watched(|| {
        let supervisor = start(2);
        let held = hold_all(&supervisor, 2);
        let mut all = submit_many(&supervisor, 500, |_| Deed::Return);
        assert!(all[450].wait_timeout(Duration::from_millis(1)).is_none());
        let late = all.split_off(400);
        let error = atasker::wait_all(late, Duration::from_millis(1)).expect_err("they are held");
        let late = error.handles;
        let called = Arc::new(AtomicUsize::new(0));
        for task in all.drain(300..) {
            let called = Arc::clone(&called);
            task.on_complete(move |result| {
                assert!(result.is_ok_and(|value| value.is_ok()));
                called.fetch_add(1, Ordering::SeqCst);
            });
        }
        let awaited: Vec<_> = all.drain(200..).collect();
        let waiter = std::thread::spawn(move || {
            awaited.into_iter().map(block_on).filter(|result| matches!(result, Ok(Ok(_)))).count()
        });
        let detached = all.split_off(150);
        drop(detached);
        let before = supervisor.info().ended.completed;
        let_go(held);
        let mut seen = BTreeSet::new();
        for done in atasker::as_completed(all) {
            assert_eq!(done.info.status, TaskStatus::Completed);
            let (value, _) = done.result.expect("it returns").expect("it does not fail");
            assert_eq!(value, done.index as u64);
            assert!(seen.insert(done.index), "each is told once");
        }
        assert_eq!(seen.len(), 150);
        assert_eq!(waiter.join().expect("it does not panic"), 100);
        eventually("all callbacks are called", || called.load(Ordering::SeqCst) == 100);
        let late = atasker::wait_all(late, Duration::from_secs(600)).expect("nothing holds them");
        assert!(late.iter().all(|result| matches!(result, Ok(Ok(_)))));
        eventually("the others end, too", || supervisor.info().ended.completed == before + 502);
    });
}

#[test]
fn nobody_has_to_wait_for_them() {
    watched(|| {
        let supervisor = start(2);
        let before = supervisor.info().ended.completed;
        for round in 1..=20 {
            drop(submit_many(&supervisor, 200, |_| Deed::Return));
            let wanted = before + round * 200;
            eventually("all have ended", || supervisor.info().ended.completed == wanted);
        }
    });
}

#[test]
fn what_waits_for_one_behind_it_gets_it() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = start(2);
        let file = folder.path().join("made");
        let all = submit_many(&supervisor, 400, |n| match n {
            300 => Deed::Await(file.clone()),
            301 => Deed::Make(file.clone()),
            _ => Deed::Return,
        });
        for task in all {
            assert!(matches!(task.wait(), Ok(Ok(_))));
        }
    });
}

#[test]
fn what_is_urgent_overtakes_them() {
    watched(|| {
        let supervisor = start(1);
        let held = hold_all(&supervisor, 1);
        let low = |n| odd_job::call(n, Deed::Note).priority(Priority::Low);
        let low: Vec<_> =
            (0..10_000).map(|n| supervisor.submit(low(n)).expect("it is accepted")).collect();
        assert!(low.iter().filter(|task| travels_with_others(task)).count() > 9_000);
        let high = odd_job::call(0, Deed::Note).priority(Priority::High);
        let high = supervisor.submit(high).expect("it is accepted");
        let_go(held);
        let begun = |task: TaskHandle<Answer>| task.wait().expect("it returns").expect("a time").0;
        let high = begun(high);
        let sooner = low.into_iter().map(begun).filter(|&low| low < high).count();
        assert_eq!(sooner, 0, "it begins next");
    });
}

#[test]
fn a_stop_ends_them_all() {
    for stop in [Stop::CancelQueued, Stop::KillNow, Stop::Drain] {
        watched(|| {
            let supervisor = start(2);
            let held = hold_all(&supervisor, 2);
            let all = submit_many(&supervisor, 500, |_| Deed::Return);
            let stopper = std::thread::spawn(move || {
                supervisor.stop(stop);
            });
            if stop != Stop::Drain {
                for task in all.iter().skip(100) {
                    eventually("it ends", || task.is_done());
                }
            }
            drop(held.folder);
            for task in held.tasks {
                drop(task.wait());
            }
            stopper.join().expect("it does not panic");
            for task in all {
                match task.wait() {
                    Ok(Ok(_)) => assert_eq!(stop, Stop::Drain),
                    Err(error) => {
                        assert!(matches!(error.kind(), TaskErrorKind::Stopped), "{error}");
                        assert_ne!(stop, Stop::Drain);
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
    }
}

#[test]
#[should_panic(expected = "taken once")]
fn the_value_of_one_is_taken_once() {
    watched(|| {
        let supervisor = start(1);
        let mut all = submit_many(&supervisor, 200, |_| Deed::Return);
        let last = all.last_mut().expect("there are some");
        let patience = Duration::from_secs(600);
        assert!(last.wait_timeout(patience).is_some_and(|result| result.is_ok()));
        let _panics = last.wait_timeout(patience);
    });
}

#[test]
fn many_threads_submit_at_once() {
    watched(|| {
        let supervisor = start(2);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let supervisor = &supervisor;
                scope.spawn(move || {
                    for round in 0..10 {
                        let all: Vec<_> = (0..300)
                            .map(|n| {
                                submit(supervisor, thread << 32 | round << 16 | n, Deed::Return)
                            })
                            .collect();
                        for (n, task) in (0..).zip(all) {
                            let (value, _) = task.wait().expect("it returns").expect("a value");
                            assert_eq!(value, thread << 32 | round << 16 | n);
                        }
                    }
                });
            }
        });
    });
}
