//! What makes each kind run.

use std::ops::ControlFlow;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use atasker::background::{
    BackgroundKind, BackgroundStatus, MissedTicks, PutErrorKind, Run, Start, Timing, WorkQueue,
};
use atasker::{BackgroundWorker, Priority};

use super::{assert_nothing_runs, assert_silent, supervisor, with_processes};
use crate::tasks;
use crate::watch::{eventually, watched};

const INTERVAL: Duration = Duration::from_millis(20);

#[test]
fn a_loop_runs_until_it_is_stopped() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::looping()
            .name("loop")
            .run(move |run| _ = send.send(run.number()))
            .start(&supervisor)
            .expect("accepted");
        for n in 1..=10 {
            assert_eq!(receive.recv(), Ok(n));
        }
        worker.stop();
        assert!(!worker.is_active());
        while receive.try_recv().is_ok() {}
        assert_silent(&receive);
        assert_nothing_runs(&supervisor);
    });
}

/// Sends when it was planned, until five intervals have passed.
fn planned(run: &Run, send: &Sender<Instant>, first: &mut Option<Instant>) -> ControlFlow<()> {
    let planned = run.planned_at().expect("a tick");
    let first = *first.get_or_insert(planned);
    if planned - first >= INTERVAL * 5 {
        return ControlFlow::Break(());
    }
    send.send(planned).expect("the test receives");
    ControlFlow::Continue(())
}

/// Five ticks of 20 ms are in 100 ms: counted by when they were due, not by when they were run.
fn assert_five(receive: &mpsc::Receiver<Instant>) {
    let ticks: Vec<_> = receive.iter().collect();
    let apart: Vec<_> = ticks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(apart, [INTERVAL; 4]);
}

#[test]
fn an_interval_of_20_ms_has_five_ticks_in_100_ms() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let mut first = None;
        let timing = Timing::every(INTERVAL).missed(MissedTicks::Burst);
        let worker = BackgroundWorker::timed(timing)
            .run(move |run| planned(run, &send, &mut first))
            .start(&supervisor)
            .expect("accepted");
        eventually("it has stopped by itself", || !worker.is_active());
        assert_eq!(worker.info().runs, 6);
        drop(worker);
        assert_five(&receive);
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn an_interval_of_20_ms_in_processes_has_five_ticks_in_100_ms() {
    watched(|| {
        let supervisor = with_processes();
        let (send, receive) = mpsc::channel();
        let mut first = None;
        let timing = Timing::every(INTERVAL).missed(MissedTicks::Burst);
        let worker = BackgroundWorker::timed(timing)
            .run_process(
                |run| tasks::add::call(run.number() as i64, 1),
                move |sum, run| {
                    assert_eq!(sum.expect("it runs"), run.number() as i64 + 1);
                    planned(run, &send, &mut first)
                },
            )
            .start(&supervisor)
            .expect("accepted");
        eventually("it has stopped by itself", || !worker.is_active());
        assert_eq!(worker.info().errors, 0);
        drop(worker);
        assert_five(&receive);
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn a_queue_worker_sums_what_it_is_given() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let mut sum = 0;
        let worker = BackgroundWorker::queue()
            .for_each(move |n: u32, _| {
                sum += n;
                send.send(sum).expect("the test receives");
            })
            .start(&supervisor)
            .expect("accepted");
        for n in [2, 3, 4] {
            worker.put(n).expect("it runs");
        }
        assert_eq!(receive.iter().take(3).last(), Some(9));
        worker.stop();
        assert_eq!(worker.info().runs, 3);
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn items_in_worker_processes() {
    watched(|| {
        let supervisor = with_processes();
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::queue()
            .for_each_process(
                |(a, b), _| tasks::add::call(a, b),
                move |sum, _| {
                    send.send(sum.expect("it runs"))
                        .is_err()
                        .then_some(())
                        .map_or(Ok(()), |()| Err("gone"))
                },
            )
            .start(&supervisor)
            .expect("accepted");
        for n in 0..100 {
            worker.put((n, 7)).expect("it runs");
        }
        let sums: Vec<i64> = receive.iter().take(100).collect();
        assert_eq!(sums, (7..107).collect::<Vec<_>>());
    });
}

#[test]
fn the_most_urgent_item_first() {
    watched(|| {
        let supervisor = supervisor();
        let (hold, held) = mpsc::channel::<()>();
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::priority_queue()
            .for_each(move |item: u32, _| {
                send.send(item).expect("the test receives");
                held.recv().expect("the test releases it");
            })
            .start(&supervisor)
            .expect("accepted");
        worker.put(5).expect("it runs");
        assert_eq!(receive.recv(), Ok(5));
        for item in [1, 3, 2] {
            worker.put(item).expect("it runs");
        }
        assert_eq!(worker.info().waiting, 3);
        for _ in 0..4 {
            hold.send(()).expect("it waits");
        }
        assert_eq!(receive.iter().take(3).collect::<Vec<_>>(), [3, 2, 1]);
        worker.stop();
    });
}

#[test]
fn a_bounded_queue_gives_back_what_is_too_much() {
    watched(|| {
        let supervisor = supervisor();
        let (hold, held) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let worker = BackgroundWorker::bounded_queue(2)
            .for_each(move |item: u32, _| {
                begun.send(item).expect("the test receives");
                held.recv().expect("the test releases it");
            })
            .start(&supervisor)
            .expect("accepted");
        worker.put(1).expect("there is room");
        assert_eq!(begins.recv(), Ok(1));
        worker.put(2).expect("there is room");
        worker.put(3).expect("there is room");
        let error = worker.put(4).unwrap_err();
        assert_eq!((error.kind(), error.into_item()), (PutErrorKind::Full, 4));
        for _ in 0..3 {
            hold.send(()).expect("it waits");
        }
        assert_eq!(begins.iter().take(2).collect::<Vec<_>>(), [2, 3]);
        worker.stop();
        let error = worker.put(5).unwrap_err();
        assert_eq!((error.kind(), error.into_item()), (PutErrorKind::Stopped, 5));
    });
}

/// Shared with whoever puts items into it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u32>>>);

impl WorkQueue<u32> for Shared {
    fn put(&self, item: u32) -> Result<(), u32> {
        self.0.lock().unwrap().push(item);
        Ok(())
    }

    fn take(&self) -> Option<u32> {
        self.0.lock().unwrap().pop()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[test]
fn a_queue_of_ones_own_that_others_fill() {
    watched(|| {
        let supervisor = supervisor();
        let queue = Shared::default();
        queue.0.lock().unwrap().push(1);
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::queue_of(queue.clone())
            .for_each(move |item, _| _ = send.send(item))
            .start(&supervisor)
            .expect("accepted");
        assert_eq!(receive.recv(), Ok(1), "what is there at the start is run");
        queue.0.lock().unwrap().push(2);
        assert!(worker.trigger());
        assert_eq!(receive.recv(), Ok(2));
        worker.put(3).expect("it runs");
        assert_eq!(receive.recv(), Ok(3));
    });
}

#[test]
fn what_is_left_in_a_queue_is_there_for_the_next_start() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::queue()
            .for_each(move |item: u32, run: &Run| {
                send.send(item).expect("the test receives");
                run.stop();
            })
            .start(&supervisor)
            .expect("accepted");
        // The first may have stopped it before the others come.
        let put = (1..=3).filter(|&item| worker.put(item).is_ok()).count();
        for _ in 0..put {
            eventually("it has stopped", || !worker.is_active());
            worker.start().expect("the supervisor runs");
        }
        assert_eq!(
            receive.iter().take(put).collect::<Vec<_>>(),
            (1..).take(put).collect::<Vec<_>>()
        );
    });
}

#[test]
fn an_event_worker_that_is_triggered_twice_runs_twice() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::on_event()
            .run(move |run| _ = send.send(run.number()))
            .start(&supervisor)
            .expect("accepted");
        assert_silent(&receive);
        for n in 1..=2 {
            eventually("it waits", || worker.info().status == BackgroundStatus::Waiting);
            assert!(worker.trigger());
            assert_eq!(receive.recv(), Ok(n));
        }
        worker.stop();
        assert_eq!(worker.info().runs, 2);
        assert!(!worker.trigger() && !worker.trigger_again());
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn a_trigger_while_it_runs_is_ignored_unless_it_insists() {
    watched(|| {
        let supervisor = supervisor();
        let (hold, held) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let worker = BackgroundWorker::on_event()
            .run(move |run| {
                begun.send(run.number()).expect("the test receives");
                held.recv().expect("the test releases it");
            })
            .start(&supervisor)
            .expect("accepted");
        assert!(worker.trigger());
        assert_eq!(begins.recv(), Ok(1));
        assert!(!worker.trigger());
        for _ in 0..10 {
            assert!(worker.trigger_again());
        }
        hold.send(()).expect("it waits");
        assert_eq!(begins.recv(), Ok(2));
        hold.send(()).expect("it waits");
        eventually("it waits", || worker.info().status == BackgroundStatus::Waiting);
        assert_silent(&begins);
    });
}

#[test]
fn a_delay_is_kept_between_runs_and_before_the_first() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let timing = Timing::spaced(INTERVAL).first_after(INTERVAL * 2);
        let before = Instant::now();
        let _worker = BackgroundWorker::timed(timing)
            .run(move |_| {
                let begun = Instant::now();
                std::thread::sleep(Duration::from_millis(5));
                _ = send.send((begun, Instant::now()));
            })
            .start(&supervisor)
            .expect("accepted");
        let runs: Vec<_> = receive.iter().take(4).collect();
        assert!(runs[0].0 - before >= INTERVAL * 2);
        for pair in runs.windows(2) {
            assert!(
                pair[1].0 - pair[0].1 >= INTERVAL,
                "from the end of one to the start of the next"
            );
        }
    });
}

#[test]
fn an_interval_is_triggered_by_hand_too() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let hour = Duration::from_secs(3600);
        let worker = BackgroundWorker::timed(Timing::every(hour).first_after(hour))
            .run(move |run| _ = send.send(run.planned_at()))
            .start(&supervisor)
            .expect("accepted");
        for _ in 0..3 {
            eventually("no run goes on", || worker.trigger());
            assert_eq!(receive.recv(), Ok(None));
        }
        // The tick that is an hour away does not keep anybody.
        worker.stop();
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn runs_never_overlap() {
    watched(|| {
        let supervisor = supervisor();
        let runs = Arc::new(Mutex::new(()));
        let one = Arc::clone(&runs);
        let worker = BackgroundWorker::every(Duration::from_millis(1))
            .run(move |_| {
                let _alone = one.try_lock().expect("nobody else runs");
                std::thread::sleep(Duration::from_millis(3));
            })
            .start(&supervisor)
            .expect("accepted");
        eventually("it has run often", || {
            worker.trigger_again();
            worker.info().runs >= 30
        });
        worker.stop();
        assert_eq!(worker.info().errors, 0);
        assert!(worker.info().skipped > 0, "what it missed is counted");
    });
}

#[test]
fn a_start_gives_arguments_name_and_priority() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::on_event()
            .name("first")
            .arguments(String::from("one"))
            .run(move |run: &Run| {
                let argument = run.arguments::<String>().expect("a string").clone();
                assert!(run.arguments::<u32>().is_none());
                _ = send.send((run.name().to_owned(), argument, run.task_id().is_some()));
            })
            .start(&supervisor)
            .expect("accepted");
        assert!(worker.trigger());
        assert_eq!(receive.recv(), Ok(("first".to_owned(), "one".to_owned(), true)));
        let other =
            Start::new().name("second").arguments("two".to_owned()).priority(Priority::High);
        assert!(!worker.start_with(other.clone()).expect("accepted"), "it runs already");
        worker.stop();
        assert!(worker.start_with(other).expect("accepted"));
        assert!(worker.trigger());
        assert_eq!(receive.recv(), Ok(("second".to_owned(), "two".to_owned(), true)));
        let info = worker.info();
        assert_eq!((info.name.as_str(), info.priority), ("second", Priority::High));
        worker.restart().expect("accepted");
        assert!(worker.trigger_again(), "what is asked for while it starts is run");
        assert_eq!(receive.recv(), Ok(("second".to_owned(), "two".to_owned(), true)));
    });
}

#[test]
fn the_supervisor_lists_them() {
    watched(|| {
        let supervisor = supervisor();
        let queue = BackgroundWorker::queue().name("queue").for_each(|_: u8, _| ());
        let queue = queue.start(&supervisor).expect("accepted");
        let timed = BackgroundWorker::every(Duration::from_secs(60)).name("timed").run(|_| ());
        let timed = timed.make(&supervisor);
        let listed = || {
            let info = supervisor.info().background_workers;
            let is_stopped = |status| status == BackgroundStatus::Stopped;
            info.into_iter().map(|it| (it.name, it.kind, is_stopped(it.status))).collect::<Vec<_>>()
        };
        // It begins with a look into its queue, and may run or wait.
        let waits = ("queue".to_owned(), BackgroundKind::Queue, false);
        let stopped = ("timed".to_owned(), BackgroundKind::Interval, true);
        assert_eq!(listed(), [waits.clone(), stopped]);
        drop(timed);
        assert_eq!(
            listed(),
            std::slice::from_ref(&waits),
            "one that is stopped and has no handle is gone"
        );
        drop(queue);
        assert_eq!(listed(), [waits], "one that is active goes on without its handle");
    });
}
