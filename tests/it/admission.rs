//! Priorities, reserves, queue timeouts, warnings, as a user sees them.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atasker::{Call, Limits, Priority, Supervisor, TaskErrorKind, TaskStatus};

use crate::tasks;
use crate::watch::{eventually, watched};

type Gate = Arc<Mutex<mpsc::Receiver<()>>>;

fn gate() -> (mpsc::Sender<()>, Gate) {
    let (open, closed) = mpsc::channel();
    (open, Arc::new(Mutex::new(closed)))
}

fn behind(gate: &Gate) -> Call<()> {
    let gate = Arc::clone(gate);
    Call::closure(move || {
        let _opened = gate.lock().expect("no panic").recv();
    })
}

#[test]
fn each_class_may_use_its_places() {
    watched(|| {
        let limits = Limits::new(2).reserve_normal(1).reserve_high(1);
        let supervisor = Supervisor::builder().threads(limits).start().expect("starts");
        let (open, closed) = gate();
        let submit =
            |priority| supervisor.submit(behind(&closed).priority(priority)).expect("accepted");
        let low: Vec<_> = (0..3).map(|_| submit(Priority::Low)).collect();
        let normal: Vec<_> = (0..2).map(|_| submit(Priority::Normal)).collect();
        let high: Vec<_> = (0..2).map(|_| submit(Priority::High)).collect();
        let critical = submit(Priority::Critical);
        let state = |tasks: &[atasker::TaskHandle<()>]| -> Vec<_> {
            tasks.iter().map(|task| task.info().status == TaskStatus::Running).collect()
        };
        assert_eq!(state(&low), [true, true, false]);
        assert_eq!(state(&normal), [true, false]);
        assert_eq!(state(&high), [true, false]);
        assert_eq!(critical.info().status, TaskStatus::Running);
        let info = supervisor.info().threads;
        assert_eq!((info.running, info.queued(Priority::Low)), (5, 1));
        drop(open);
        for task in low.into_iter().chain(normal).chain(high) {
            task.wait().expect("everything runs in the end");
        }
        critical.wait().expect("it runs");
    });
}

#[test]
fn the_urgent_overtake_and_within_a_class_the_first_is_first() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
        let (open, closed) = gate();
        let first = supervisor.submit(behind(&closed)).expect("accepted");
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (priority, name) in [
            (Priority::Low, "low 1"),
            (Priority::Normal, "normal 1"),
            (Priority::Low, "low 2"),
            (Priority::High, "high 1"),
            (Priority::Normal, "normal 2"),
            (Priority::High, "high 2"),
        ] {
            let order = Arc::clone(&order);
            let call = Call::closure(move || order.lock().expect("no panic").push(name));
            tasks.push(supervisor.submit(call.priority(priority)).expect("accepted"));
        }
        drop(open);
        first.wait().expect("it runs");
        tasks.into_iter().for_each(|task| task.wait().expect("it runs"));
        let order = order.lock().expect("no panic");
        assert_eq!(*order, ["high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2"]);
    });
}

#[test]
fn what_waits_too_long_expires_and_is_told() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
        let (open, closed) = gate();
        let first = supervisor.submit(behind(&closed)).expect("accepted");
        let call = Call::closure(|| ()).queue_timeout(Duration::from_millis(10));
        let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
        assert!(
            matches!(error.kind(), TaskErrorKind::Expired { waited } if *waited >= Duration::from_millis(10))
        );
        assert!(!error.may_have_run());
        drop(open);
        first.wait().expect("it runs");
    });
}

#[test]
fn handlers_are_called_while_the_task_still_waits() {
    watched(|| {
        let (tell, told) = mpsc::channel();
        let tell_critical = tell.clone();
        let supervisor = Supervisor::builder()
            .threads(Limits::new(1))
            .timeout_warning(Duration::from_millis(10))
            .timeout_critical(Duration::from_millis(30))
            .on_warning(move |task| drop(tell.send(("warning", task.status, task.label.clone()))))
            .on_critical(move |task| {
                drop(tell_critical.send(("critical", task.status, task.label.clone())));
            })
            .start()
            .expect("starts");
        let (open, closed) = gate();
        let first = supervisor.submit(behind(&closed)).expect("accepted");
        let second = supervisor.submit(Call::closure(|| ()).label("second")).expect("accepted");
        let label = Some("second".to_owned());
        assert_eq!(told.recv(), Ok(("warning", TaskStatus::Queued, label.clone())));
        assert_eq!(told.recv(), Ok(("critical", TaskStatus::Queued, label)));
        drop(open);
        first.wait().expect("it runs");
        second.wait().expect("it runs");
        drop(supervisor);
        assert!(told.recv().is_err(), "each is called once");
    });
}

#[test]
fn a_delayed_task_holds_no_place() {
    watched(|| {
        let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
        let never = Call::closure(|| 0).delay(Duration::from_secs(3600));
        let never = supervisor.submit(never).expect("accepted");
        assert_eq!(supervisor.info().threads.busy, 0);
        let now = supervisor.spawn_blocking(|| 2).expect("accepted");
        assert_eq!(now.wait().expect("it runs"), 2);
        assert_eq!(never.info().status, TaskStatus::Delayed);
        let late = Call::closure(|| 1).delay(Duration::from_millis(50));
        let late = supervisor.submit(late).expect("accepted");
        assert_eq!(late.wait().expect("it runs"), 1);
        assert!(never.cancel());
    });
}

#[test]
fn aging_lifts_what_would_starve() {
    watched(|| {
        let supervisor = Supervisor::builder()
            .threads(Limits::new(1))
            .aging(Duration::from_millis(5))
            .start()
            .expect("starts");
        let (open, closed) = gate();
        let first = supervisor.submit(behind(&closed)).expect("accepted");
        let old =
            supervisor.submit(Call::closure(|| ()).priority(Priority::Low)).expect("accepted");
        eventually("it is lifted", || old.info().priority == Priority::High);
        drop(open);
        first.wait().expect("it runs");
        old.wait().expect("it runs");
    });
}

#[test]
fn a_critical_task_gets_an_extra_worker() {
    use crate::tasks;
    watched(|| {
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        let hanging = supervisor.submit(tasks::die::call("hang")).expect("accepted");
        // Until then more urgent tasks may overtake it.
        eventually("it hangs", || hanging.info().status == TaskStatus::Running);
        let queued = supervisor.submit(tasks::add::call(1, 1).priority(Priority::High));
        let queued = queued.expect("accepted");
        let critical = tasks::add::call(2, 3).priority(Priority::Critical);
        assert_eq!(supervisor.submit(critical).expect("accepted").wait().expect("it runs"), 5);
        assert_eq!(queued.info().status, TaskStatus::Queued, "the extra worker is not for it");
        eventually("the extra worker retires", || supervisor.info().workers.len() == 1);
        assert!(hanging.cancel());
        assert_eq!(queued.wait().expect("it runs"), 2);
    });
}

#[test]
fn an_urgent_task_overtakes_ten_thousand_in_the_process_pool() {
    use crate::tasks;
    watched(|| {
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        let folder = tempfile::tempdir().expect("a folder");
        let [file, low_file] = ["held", "low"].map(|name| folder.path().join(name));
        let first = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        eventually("it runs", || file.exists());
        let low: Vec<_> = (0..10_000)
            .map(|n| supervisor.submit(tasks::add::call(n, 0).priority(Priority::Low)))
            .collect::<Result<_, _>>()
            .expect("accepted");
        // The last of them goes on until the urgent one has ended.
        let last = tasks::hold::call(&low_file).priority(Priority::Low);
        let last = supervisor.submit(last).expect("accepted");
        let high =
            supervisor.submit(tasks::add::call(7, 0).priority(Priority::High)).expect("accepted");
        std::fs::remove_file(&file).expect("it is there");
        first.wait().expect("it runs");
        assert_eq!(high.wait().expect("it runs"), 7);
        assert!(!last.is_done(), "the high one did not wait for all the low ones");
        eventually("the last of them runs", || low_file.exists());
        std::fs::remove_file(&low_file).expect("it is there");
        last.wait().expect("it runs");
        for (n, task) in (0..).zip(low) {
            assert_eq!(task.wait().expect("it runs"), n);
        }
    });
}

/// Some of them are with the worker of the long one when that turns out to be long.
#[test]
fn nobody_waits_for_a_long_task_while_others_go_on() {
    watched(|| {
        for later in [Priority::Normal, Priority::Low] {
            let supervisor =
                Supervisor::builder().processes(Limits::new(2)).start().expect("workers start");
            // Not for the first time, so that it is taken for a quick one.
            for _ in 0..100 {
                supervisor.submit(tasks::nothing::call()).expect("accepted").wait().expect("runs");
            }
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("held");
            let long = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
            let submit = |call| supervisor.submit(call).expect("accepted");
            let first: Vec<_> = (0..20).map(|_| submit(tasks::sleep_ms::call(2))).collect();
            let behind: Vec<_> =
                (0..400).map(|_| submit(tasks::sleep_ms::call(2).priority(later))).collect();
            eventually("half of them have ended", || behind[200].is_done());
            let waiting = first.iter().filter(|task| !task.is_done()).count();
            assert_eq!(waiting, 0, "who came first begins first, whatever runs beside");
            std::fs::remove_file(&file).expect("it is there");
            long.wait().expect("it ends");
        }
    });
}
