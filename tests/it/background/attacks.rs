//! Everything at the wrong moment: stops within runs, races, storms, deaths.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use atasker::background::{Background, BackgroundStatus, Hooks, PutErrorKind, Run};
use atasker::{BackgroundWorker, Call, Limits, Priority, Supervisor, TaskResult, TaskStatus};

use super::{assert_nothing_runs, assert_silent, supervisor, with_processes};
use crate::tasks;
use crate::watch::{eventually, watched};

#[test]
fn a_process_that_aborts_costs_one_run() {
    watched(|| {
        let supervisor = with_processes();
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::every(Duration::from_millis(1))
            .run_process(
                |run| tasks::die_at::call(run.number() as i64, 2),
                move |result, _| _ = send.send(result.map_err(|error| error.status())),
            )
            .start(&supervisor)
            .expect("accepted");
        let results: Vec<_> = receive.iter().take(4).collect();
        assert_eq!(results[0], Ok(1));
        assert_eq!(results[1], Err(TaskStatus::Crashed));
        assert_eq!(results[2..], [Ok(3), Ok(4)]);
        worker.stop();
        assert_eq!(worker.info().errors, 1);
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn a_stop_from_within_does_not_wait_for_itself() {
    watched(|| {
        let supervisor = supervisor();
        let own: Arc<OnceLock<BackgroundWorker>> = Arc::default();
        let itself = Arc::clone(&own);
        let worker = BackgroundWorker::looping().run(move |run| {
            if let Some(worker) = itself.get() {
                assert!(!run.is_stopping());
                worker.stop();
                assert!(run.is_stopping() && worker.is_active());
            }
        });
        let worker = worker.start(&supervisor).expect("accepted");
        own.set(worker.clone()).expect("set once");
        eventually("it has stopped", || !worker.is_active());
        assert_eq!(worker.info().errors, 0);
    });
}

#[test]
fn a_restart_from_within_starts_it_again() {
    watched(|| {
        let supervisor = supervisor();
        let own: Arc<OnceLock<BackgroundWorker>> = Arc::default();
        let itself = Arc::clone(&own);
        let worker = BackgroundWorker::on_event().run(move |_| {
            itself.get().expect("set before it is triggered").restart().expect("accepted");
            ControlFlow::Break(())
        });
        let worker = worker.start(&supervisor).expect("accepted");
        own.set(worker.clone()).expect("set once");
        for n in 1..=20 {
            eventually("it has started again", || worker.trigger());
            eventually("it has run", || worker.info().runs == n);
        }
        worker.stop();
    });
}

#[test]
fn a_stop_of_the_supervisor_from_within_a_run() {
    watched(|| {
        let supervisor = Arc::new(supervisor());
        let inner = Arc::downgrade(&supervisor);
        let worker = BackgroundWorker::looping()
            .run(move |_| inner.upgrade().expect("it lives").stop(atasker::Stop::Drain))
            .start(&supervisor)
            .expect("accepted");
        supervisor.join();
        eventually("it has stopped", || !worker.is_active());
        assert!(worker.start().is_err());
    });
}

/// A supervisor with one thread, which is taken until the sender is dropped.
fn taken() -> (Supervisor, mpsc::Sender<()>) {
    let supervisor = Supervisor::builder().threads(Limits::new(1)).queue_bound(1);
    let supervisor = supervisor.start().expect("it starts");
    let (hold, held) = mpsc::channel::<()>();
    let call = Call::closure(move || held.recv().is_ok()).priority(Priority::Low);
    let task = supervisor.submit(call).expect("accepted");
    eventually("it runs", || supervisor.info().threads.running == 1);
    drop(task);
    (supervisor, hold)
}

#[test]
fn a_run_that_waits_for_a_place_is_stopped_at_once() {
    watched(|| {
        let (supervisor, hold) = taken();
        let (send, receive) = mpsc::channel::<()>();
        let worker = BackgroundWorker::looping()
            .priority(Priority::Low)
            .run(move |_| _ = send.send(()))
            .start(&supervisor)
            .expect("accepted");
        eventually("it waits", || supervisor.info().threads.queued(Priority::Low) == 1);
        worker.stop();
        assert_eq!(supervisor.info().threads.queued(Priority::Low), 0);
        drop(hold);
        assert_nothing_runs(&supervisor);
        assert!(receive.try_recv().is_err(), "it never ran");
    });
}

#[test]
fn the_end_needs_no_free_place_and_a_full_queue_refuses_no_run() {
    watched(|| {
        let (supervisor, hold) = taken();
        let workers: Vec<_> = (0..5)
            .map(|_| {
                let worker = BackgroundWorker::on_event().priority(Priority::Low).run(|_| ());
                worker.start(&supervisor).expect("past the bound")
            })
            .collect();
        eventually("all wait", || supervisor.info().threads.queued(Priority::Low) == 5);
        drop(hold);
        for worker in &workers {
            eventually("it runs", || {
                worker.trigger();
                worker.info().runs > 0
            });
        }
        let (hold, held) = mpsc::channel::<()>();
        let blocker = Call::closure(move || held.recv().is_ok());
        let _blocker = supervisor.submit(blocker).expect("accepted");
        eventually("the only place is taken", || supervisor.info().threads.running >= 1);
        for worker in &workers {
            worker.stop();
        }
        drop(hold);
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn a_task_of_a_worker_that_is_cancelled_is_a_run_less() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let interval = Duration::from_secs(3600);
        let worker = BackgroundWorker::every(interval)
            .name("cancelled")
            .run(move |run| _ = send.send(run.planned_at()))
            .start(&supervisor)
            .expect("accepted");
        let first = receive.recv().expect("it runs at once").expect("a tick");
        for skipped in 1..=3 {
            // The first may still be about to end.
            let planned = || {
                let mut tasks = supervisor.tasks().into_iter();
                tasks.find(|it| it.name == "cancelled" && it.status == TaskStatus::Delayed)
            };
            eventually("the next is planned", || planned().is_some());
            let next = planned().expect("it waits for an hour");
            assert!(supervisor.cancel(next.id));
            eventually("it is missed", || worker.info().skipped == skipped);
        }
        assert!(worker.is_active());
        assert!(worker.trigger());
        assert_eq!(receive.recv(), Ok(None));
        assert!(first.elapsed() < interval);
        worker.stop();
    });
}

/// Knows whether it is between its start and its end.
struct Balanced {
    inside: Arc<AtomicBool>,
    lives: Arc<AtomicU64>,
}

impl Hooks for Balanced {
    fn before_start(&mut self, _: &Run) {
        assert!(!self.inside.swap(true, Ordering::SeqCst), "started twice");
    }
    fn after_stop(&mut self, _: &Run) {
        assert!(self.inside.swap(false, Ordering::SeqCst), "stopped twice");
        self.lives.fetch_add(1, Ordering::SeqCst);
    }
}

impl Background for Balanced {
    fn run(&mut self, (): (), _: &Run) -> TaskResult<ControlFlow<()>> {
        assert!(self.inside.load(Ordering::SeqCst), "runs while it does not");
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn a_thousand_starts_and_stops_from_all_sides() {
    watched(|| {
        let supervisor = supervisor();
        let kinds = [
            BackgroundWorker::looping(),
            BackgroundWorker::on_event(),
            BackgroundWorker::every(Duration::from_micros(50)),
        ];
        for kind in kinds {
            let (inside, lives) = (Arc::default(), Arc::default());
            let own = Balanced { inside: Arc::clone(&inside), lives: Arc::clone(&lives) };
            let worker = kind.run_own(own).make(&supervisor);
            std::thread::scope(|scope| {
                for side in 0..4 {
                    let worker = &worker;
                    scope.spawn(move || {
                        for n in 0..250 {
                            match (n + side) % 5 {
                                0 | 1 => {
                                    worker.start().expect("the supervisor runs");
                                    // Sometimes it gets as far as to run.
                                    let before = worker.info().runs;
                                    for _ in 0..n % 100 {
                                        worker.trigger();
                                        if worker.info().runs > before || !worker.is_active() {
                                            break;
                                        }
                                        std::thread::yield_now();
                                    }
                                }
                                2 => worker.stop(),
                                3 => worker.restart().expect("the supervisor runs"),
                                _ => _ = worker.trigger_again(),
                            }
                        }
                    });
                }
            });
            worker.stop();
            assert!(!worker.is_active() && !inside.load(Ordering::SeqCst));
            assert_eq!(worker.info().errors, 0);
            // Alternating, from one side: each start is a life.
            let before = lives.load(Ordering::SeqCst);
            for n in 0..1000 {
                assert!(worker.start().expect("the supervisor runs"));
                assert!(worker.is_active());
                if n % 10 == 0 {
                    worker.trigger();
                    eventually("it is between its hooks", || inside.load(Ordering::SeqCst));
                }
                worker.stop();
                assert!(!worker.is_active() && !inside.load(Ordering::SeqCst));
            }
            let lives = lives.load(Ordering::SeqCst) - before;
            assert!((100..=1000).contains(&lives), "{lives} lives");
        }
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn in_a_storm_of_triggers_none_is_forgotten() {
    watched(|| {
        let supervisor = supervisor();
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(AtomicUsize::new(0));
        let (asked_by_run, seen_by_run) = (Arc::clone(&asked), Arc::clone(&seen));
        let worker = BackgroundWorker::on_event()
            .run(move |_| {
                seen_by_run.store(asked_by_run.load(Ordering::SeqCst), Ordering::SeqCst);
            })
            .start(&supervisor)
            .expect("accepted");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        asked.fetch_add(1, Ordering::SeqCst);
                        assert!(worker.trigger_again());
                    }
                });
            }
        });
        // The last trigger's run has seen all that came before it.
        eventually("the last is run", || seen.load(Ordering::SeqCst) == 8000);
        eventually("it waits", || worker.info().status == BackgroundStatus::Waiting);
        let runs = worker.info().runs;
        assert!(runs <= 8000, "{runs} runs of 8,000 triggers");
        worker.stop();
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn what_is_put_while_it_stops_is_run_once_or_given_back() {
    watched(|| {
        let supervisor = supervisor();
        let ran = Arc::new(Mutex::new(Vec::new()));
        let runs = Arc::clone(&ran);
        let worker = BackgroundWorker::queue()
            .for_each(move |item: u32, _| runs.lock().unwrap().push(item))
            .start(&supervisor)
            .expect("accepted");
        let mut taken = Vec::new();
        std::thread::scope(|scope| {
            let putters: Vec<_> = (0..3)
                .map(|putter| {
                    let worker = &worker;
                    scope.spawn(move || {
                        let items = (0..2000).map(|n| putter * 10_000 + n);
                        items
                            .filter(|&item| match worker.put(item) {
                                Ok(()) => true,
                                Err(error) => {
                                    assert_eq!(error.kind(), PutErrorKind::Stopped);
                                    false
                                }
                            })
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            for _ in 0..200 {
                worker.stop();
                worker.start().expect("the supervisor runs");
            }
            for putter in putters {
                taken.extend(putter.join().expect("it puts"));
            }
        });
        eventually("all are run", || ran.lock().unwrap().len() == taken.len());
        let mut ran = ran.lock().unwrap().clone();
        ran.sort_unstable();
        taken.sort_unstable();
        assert_eq!(ran, taken);
        worker.stop();
    });
}

#[test]
fn two_that_trigger_each_other() {
    watched(|| {
        let supervisor = supervisor();
        let other: Arc<OnceLock<BackgroundWorker>> = Arc::default();
        let (send, receive) = mpsc::channel();
        let (to_other, from_one) = (Arc::clone(&other), send);
        let one = BackgroundWorker::on_event()
            .run(move |run| {
                to_other.get().expect("set before").trigger_again();
                _ = from_one.send(run.number());
            })
            .start(&supervisor)
            .expect("accepted");
        let back = one.clone();
        let two = BackgroundWorker::on_event().run(move |_| _ = back.trigger_again());
        other.set(two.start(&supervisor).expect("accepted")).expect("set once");
        one.trigger();
        for n in 1..=100 {
            assert_eq!(receive.recv(), Ok(n));
        }
        one.stop();
        other.get().expect("set").stop();
        while receive.try_recv().is_ok() {}
        assert_silent(&receive);
        assert_nothing_runs(&supervisor);
    });
}
