//! Background workers whose runs are futures.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use atasker::background::{AsyncBackground, BackgroundStatus, Hooks, MissedTicks, Run, Timing};
use atasker::{BackgroundWorker, LoopError, LoopStop, Stop, SubmitError, TaskResult};

use super::{assert_nothing_runs, supervisor};
use crate::watch::{eventually, watched};

fn thread_name() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

#[test]
fn an_async_worker_runs_on_the_thread_of_its_loop() {
    watched(|| {
        let supervisor = supervisor();
        let devices = supervisor.create_loop("devices").expect("a free name");
        let (send, receive) = mpsc::channel();
        let (send, on_default) = (send.clone(), send);
        let named = BackgroundWorker::looping()
            .on_loop(&devices)
            .run_async(move |run| {
                let send = send.clone();
                async move {
                    tokio::time::sleep(Duration::from_micros(100)).await;
                    assert!(run.task_id().is_some());
                    send.send(thread_name()).expect("the test receives");
                }
            })
            .start(&supervisor)
            .expect("accepted");
        for name in receive.iter().take(5) {
            assert_eq!(name, "devices");
        }
        named.stop();
        while receive.try_recv().is_ok() {}
        let default = BackgroundWorker::on_event().run_async(move |_| {
            let send = on_default.clone();
            async move { send.send(thread_name()).expect("the test receives") }
        });
        let default = default.start(&supervisor).expect("accepted");
        assert!(default.trigger());
        assert_eq!(receive.recv().as_deref(), Ok("default"));
        default.stop();
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn an_async_interval_of_20_ms_has_five_ticks_in_100_ms() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel::<Instant>();
        let interval = Duration::from_millis(20);
        let timing = Timing::every(interval).missed(MissedTicks::Burst);
        let mut first = None;
        let worker = BackgroundWorker::timed(timing)
            .run_async(move |run| {
                let planned = run.planned_at().expect("a tick");
                let is_over = planned - *first.get_or_insert(planned) >= interval * 5;
                let send = send.clone();
                async move {
                    if is_over {
                        return ControlFlow::Break(());
                    }
                    tokio::task::yield_now().await;
                    send.send(planned).expect("the test receives");
                    ControlFlow::Continue(())
                }
            })
            .start(&supervisor)
            .expect("accepted");
        eventually("it has stopped by itself", || !worker.is_active());
        drop(worker);
        let ticks: Vec<_> = receive.iter().collect();
        let apart: Vec<_> = ticks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(apart, [interval; 4]);
        assert_nothing_runs(&supervisor);
    });
}

/// Adds up, and says so at its end.
struct Adder {
    sum: u32,
    tell: mpsc::Sender<u32>,
}

impl Hooks<u32> for Adder {
    fn after_stop(&mut self, _: &Run) {
        self.tell.send(self.sum).expect("the test receives");
    }
}

impl AsyncBackground<u32> for Adder {
    async fn run(&mut self, item: u32, _: &Run) -> TaskResult<ControlFlow<()>> {
        tokio::task::yield_now().await;
        if item == 0 {
            panic!("nothing to add");
        }
        self.sum += item;
        Ok(ControlFlow::Continue(()))
    }
}

#[test]
fn an_async_queue_worker_of_ones_own_sums() {
    watched(|| {
        let supervisor = supervisor();
        let (tell, told) = mpsc::channel();
        let own = Adder { sum: 0, tell };
        let worker = BackgroundWorker::queue().run_own_async(own);
        let worker = worker.start(&supervisor).expect("accepted");
        for item in [2, 0, 3, 4] {
            worker.put(item).expect("it runs");
        }
        eventually("all have run", || {
            let info = worker.info();
            info.runs == 4 && info.status == BackgroundStatus::Waiting
        });
        assert_eq!(worker.info().errors, 1);
        worker.stop();
        assert_eq!(told.recv(), Ok(9));
    });
}

#[test]
fn a_run_whose_task_is_cancelled_is_an_error_and_the_worker_goes_on() {
    watched(|| {
        let supervisor = supervisor();
        let (begun, begins) = mpsc::channel();
        let worker = BackgroundWorker::looping().run_async(move |run| {
            begun.send(run.task_id().expect("a task")).expect("the test receives");
            std::future::pending::<()>()
        });
        let worker = worker.start(&supervisor).expect("accepted");
        for errors in 1..=3 {
            let task = begins.recv().expect("it runs");
            assert!(supervisor.cancel(task));
            eventually("it is counted", || worker.info().errors == errors);
        }
        let task = begins.recv().expect("it runs");
        worker.begin_stop();
        assert!(worker.is_active());
        assert!(supervisor.cancel(task));
        eventually("it has stopped", || !worker.is_active());
        assert_nothing_runs(&supervisor);
    });
}

#[test]
fn a_worker_stops_with_its_loop() {
    watched(|| {
        for how in [LoopStop::Wait, LoopStop::Cancel] {
            let supervisor = supervisor();
            let devices = supervisor.create_loop("devices").expect("a free name");
            let hour = Duration::from_secs(3600);
            let waits = BackgroundWorker::timed(Timing::every(hour).first_after(hour))
                .on_loop(&devices)
                .run_async(|_| async {})
                .start(&supervisor)
                .expect("accepted");
            let often = BackgroundWorker::looping().on_loop(&devices);
            let often = often.run_async(|_| tokio::task::yield_now());
            let often = often.start(&supervisor).expect("accepted");
            eventually("it runs", || often.info().runs > 10);
            devices.stop(how);
            eventually("both have stopped", || !waits.is_active() && !often.is_active());
            assert!(matches!(waits.start(), Err(SubmitError::Loop(LoopError::Stopped(_)))));
            assert_nothing_runs(&supervisor);
            supervisor.stop(Stop::Drain);
        }
    });
}

#[test]
fn a_stop_on_a_loop_is_awaited_or_only_begun() {
    watched(|| {
        let supervisor = supervisor();
        let devices = supervisor.create_loop("devices").expect("a free name");
        let start = || {
            let worker = BackgroundWorker::looping().on_loop(&devices);
            worker.run_async(|_| tokio::task::yield_now()).start(&supervisor).expect("accepted")
        };
        let (one, two) = (start(), start());
        let stopping = one.clone();
        devices.run(async move { stopping.stop() }).expect("accepted").expect("it runs");
        eventually("it has stopped", || !one.is_active());
        let stopping = two.clone();
        devices
            .run(async move { stopping.stop_async().await })
            .expect("accepted")
            .expect("it runs");
        assert!(!two.is_active());
    });
}

#[test]
fn a_closure_that_is_no_future_runs_on_no_loop() {
    watched(|| {
        let supervisor = supervisor();
        let devices = supervisor.create_loop("devices").expect("a free name");
        let worker = BackgroundWorker::looping().on_loop(&devices).run(|_| ()).start(&supervisor);
        assert!(matches!(worker, Err(SubmitError::Loop(LoopError::NotAFuture(_)))));
    });
}
