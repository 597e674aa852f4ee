//! Scheduled jobs: when they run, and how they end.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use atasker::{AsyncJob, AsyncLoop, LoopError, LoopStop, Schedule, Stop, SubmitError, Supervisor};

use crate::watch::{Held, alone, eventually, watched};

const MS: Duration = Duration::from_millis(1);

fn start() -> (Supervisor, AsyncLoop) {
    let supervisor = Supervisor::builder().start().expect("starts");
    let devices = supervisor.create_loop("devices").expect("created");
    (supervisor, devices)
}

fn counting(aloop: &AsyncLoop, schedule: Schedule) -> (AsyncJob, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    let mine = Arc::clone(&count);
    let job = aloop.schedule(schedule, move || {
        let mine = Arc::clone(&mine);
        async move { _ = mine.fetch_add(1, Ordering::SeqCst) }
    });
    (job.expect("scheduled"), count)
}

#[test]
fn of_two_jobs_one_is_cancelled_and_the_other_goes_on() {
    watched(|| {
        let (_supervisor, devices) = start();
        let (first, first_count) = counting(&devices, Schedule::every(10 * MS));
        let (second, second_count) = counting(&devices, Schedule::every(10 * MS));
        eventually("both run ten times", || first.runs() >= 10 && second.runs() >= 10);
        assert!(first.cancel());
        assert!(!first.cancel(), "it has ended already");
        assert!(!first.is_active() && second.is_active());
        let (runs, others) = (first.runs(), second.runs());
        eventually("the other goes on", || second.runs() >= others + 5);
        assert_eq!(first.runs(), runs);
        assert_eq!(u64::from(first_count.load(Ordering::SeqCst)), runs);
        // A run is counted when it begins.
        eventually("its runs end", || second_count.load(Ordering::SeqCst) >= 15);
    });
}

#[test]
fn no_run_is_early_and_lateness_does_not_add_up() {
    watched(|| {
        let (_supervisor, devices) = start();
        let times = Arc::new(Mutex::new(Vec::new()));
        let mine = Arc::clone(&times);
        let before = Instant::now();
        let schedule = Schedule::every(2 * MS).first_after(Duration::ZERO).times(100);
        let job = devices.schedule(schedule, move || {
            mine.lock().expect("no panic").push(Instant::now());
            // Blocks the loop for longer than the interval, now and then.
            if mine.lock().expect("no panic").len() % 10 == 0 {
                std::thread::sleep(5 * MS);
            }
            async {}
        });
        let job = job.expect("scheduled");
        eventually("it ends", || !job.is_active());
        let times = times.lock().expect("no panic");
        assert_eq!((job.runs(), times.len()), (100, 100));
        for (n, time) in (0..).zip(times.iter()) {
            assert!(*time >= before + 2 * MS * n, "run {n} is early");
        }
    });
}

#[test]
fn a_job_runs_as_often_as_it_is_to() {
    watched(|| {
        let (_supervisor, devices) = start();
        let (three, count) = counting(&devices, Schedule::every(MS).times(3));
        let (never, nothing) = counting(&devices, Schedule::every(MS).times(0));
        let (often, _) = counting(&devices, Schedule::every(Duration::ZERO));
        let (late, _) = counting(&devices, Schedule::every(MS).first_after(3600 * 1000 * MS));
        eventually("it ends", || !three.is_active());
        assert!(!never.is_active());
        eventually("it goes on", || often.runs() > 20);
        assert_eq!(count.load(Ordering::SeqCst), 3);
        assert_eq!(nothing.load(Ordering::SeqCst), 0);
        assert!(late.is_active());
        assert_eq!(late.runs(), 0);
    });
}

#[test]
fn a_run_that_waits_holds_up_nobody_and_goes_on_after_a_cancel() {
    watched(|| {
        let (_supervisor, devices) = start();
        let (tell, told) = mpsc::channel();
        let slow = devices.schedule(Schedule::every(MS), move || {
            let tell = tell.clone();
            async move {
                tokio::time::sleep(20 * MS).await;
                tell.send("over").expect("the test receives");
            }
        });
        let slow = slow.expect("scheduled");
        let (other, _) = counting(&devices, Schedule::every(MS));
        eventually("they overlap", || slow.runs() >= 5);
        slow.cancel();
        let runs = slow.runs();
        assert_eq!(told.iter().count() as u64, runs, "each run comes to its end");
        assert!(other.is_active());
    });
}

#[test]
fn a_panic_costs_one_run() {
    watched(|| {
        let (_supervisor, devices) = start();
        let panics = |when: &'static str| {
            let mut runs = 0;
            let job = devices.schedule(Schedule::every(MS), move || {
                runs += 1;
                let now = runs % 2 == 1;
                assert!(when != "closure" || !now, "in the closure");
                async move {
                    assert!(when != "poll" || !now, "at once");
                    tokio::task::yield_now().await;
                    assert!(when != "later" || !now, "later");
                }
            });
            job.expect("scheduled")
        };
        let jobs = ["closure", "poll", "later"].map(panics);
        eventually("all go on", || jobs.iter().all(|job| job.runs() > 5));
        assert_eq!(devices.run(async { 1 }).expect("accepted").expect("the loop goes on"), 1);
    });
}

#[test]
fn jobs_cancel_themselves_and_submit_without_a_deadlock() {
    watched(|| {
        let builder = Supervisor::builder().loops(atasker::Limits::new(1)).queue_bound(1);
        let supervisor = Arc::new(builder.start().expect("starts"));
        let devices = supervisor.create_loop("devices").expect("created");
        let slot = Arc::new(Mutex::new(None::<AsyncJob>));
        let mine = Arc::clone(&slot);
        let job = devices.schedule(Schedule::every(MS), move || {
            let mine = Arc::clone(&mine);
            async move {
                if let Some(job) = &*mine.lock().expect("no panic") {
                    job.cancel();
                }
            }
        });
        *slot.lock().expect("no panic") = Some(job.expect("scheduled"));
        let job = slot.lock().expect("no panic").clone().expect("it was just put there");
        eventually("it ends itself", || !job.is_active());
        // One runs, one waits, and there is no place for those of the job.
        let hangs = || supervisor.spawn(std::future::pending::<()>()).expect("accepted");
        let _hang = [hangs(), hangs()];
        let refused = Arc::new(AtomicU64::new(0));
        let (mine, inner) = (Arc::clone(&refused), Arc::clone(&supervisor));
        let job = devices.schedule(Schedule::every(MS), move || {
            let full = matches!(inner.spawn(async {}), Err(SubmitError::QueueFull));
            _ = mine.fetch_add(u64::from(full), Ordering::SeqCst);
            async {}
        });
        eventually("it is refused", || refused.load(Ordering::SeqCst) > 3);
        job.expect("scheduled").cancel();
    });
}

#[test]
fn thousands_of_jobs_need_no_thread_each() {
    alone("jobs::thousands_of_jobs_need_no_thread_each", || {
        let (supervisor, devices) = start();
        devices.run(async {}).expect("accepted").expect("it runs");
        let before = Held::count();
        let jobs: Vec<_> =
            (0..5_000).map(|_| counting(&devices, Schedule::every(20 * MS)).0).collect();
        eventually("each has run thrice", || jobs.iter().all(|job| job.runs() >= 3));
        before.assert_again();
        // One by one, so that the heap is cleared now and then.
        for (n, job) in jobs.iter().enumerate() {
            assert!(job.cancel(), "job {n} goes on until then");
        }
        let (last, _) = counting(&devices, Schedule::every(MS));
        eventually("the loop goes on", || last.runs() > 3);
        assert!(jobs.iter().all(|job| !job.is_active()));
        supervisor.stop(Stop::Drain);
        assert!(!last.is_active());
    });
}

#[test]
fn what_a_job_holds_is_dropped_when_it_ends() {
    watched(|| {
        let (supervisor, devices) = start();
        let held = Arc::new(());
        let holding = |schedule| {
            let held = Arc::clone(&held);
            devices.schedule(schedule, move || {
                let held = Arc::clone(&held);
                async move { drop(held) }
            })
        };
        let hour = || Schedule::every(3600 * 1000 * MS);
        let cancelled = holding(hour()).expect("scheduled");
        cancelled.cancel();
        assert_eq!(Arc::strong_count(&held), 1, "at once");
        let over = holding(Schedule::every(MS).times(2)).expect("scheduled");
        eventually("it is over", || !over.is_active());
        eventually("dropped", || Arc::strong_count(&held) == 1);
        let left = holding(hour()).expect("scheduled");
        devices.stop(LoopStop::Wait);
        assert!(!left.is_active());
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(matches!(holding(hour()), Err(LoopError::Stopped(name)) if name == "devices"));
        drop(supervisor);
    });
}

#[test]
fn jobs_end_with_their_loop_and_nothing_is_left() {
    alone("jobs::jobs_end_with_their_loop_and_nothing_is_left", || {
        drop(start());
        let before = Held::count();
        for round in 0..20 {
            let (supervisor, devices) = start();
            let jobs: Vec<_> = (0..50)
                .map(|n| {
                    devices.schedule(Schedule::every(MS * (n % 3)), move || async move {
                        match n % 4 {
                            0 => std::future::pending().await,
                            1 => tokio::time::sleep(MS).await,
                            _ => {}
                        }
                    })
                })
                .map(|job| job.expect("scheduled"))
                .collect();
            eventually("they run", || jobs.iter().all(|job| job.runs() > 1));
            match round % 4 {
                0 => devices.stop(LoopStop::Wait),
                1 => devices.stop(LoopStop::Cancel),
                2 => supervisor.stop(Stop::Drain),
                _ => drop(supervisor),
            }
            assert!(jobs.iter().all(|job| !job.is_active()));
        }
        before.assert_again();
    });
}

#[test]
fn on_a_wrapped_runtime_jobs_end_and_the_runtime_goes_on() {
    watched(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let supervisor = Supervisor::builder().start().expect("starts");
        let app = supervisor.wrap_loop("app", runtime.handle().clone()).expect("wrapped");
        let held = Arc::new(());
        let mine = Arc::clone(&held);
        let job = app.schedule(Schedule::every(MS), move || {
            let mine = Arc::clone(&mine);
            async move {
                std::future::pending::<()>().await;
                drop(mine);
            }
        });
        let job = job.expect("scheduled");
        eventually("it runs", || job.runs() > 3);
        app.stop(LoopStop::Wait);
        assert!(!job.is_active());
        assert_eq!(Arc::strong_count(&held), 1, "runs that go on are dropped, too");
        assert_eq!(runtime.block_on(async { 1 }), 1);

        let timeless = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
        let app = supervisor.wrap_loop("app", timeless.handle().clone()).expect("wrapped");
        let refused = app.schedule(Schedule::every(MS), || async {});
        assert!(matches!(refused, Err(LoopError::NoTimer(name)) if name == "app"));
        let app = supervisor.wrap_loop("other", runtime.handle().clone()).expect("wrapped");
        let (job, _) = counting(&app, Schedule::every(MS));
        eventually("it runs", || job.runs() > 3);
        drop(runtime);
        assert!(!job.is_active(), "its runtime is gone");
        app.stop(LoopStop::Wait);
    });
}

#[test]
fn cron_jobs_run() {
    watched(|| {
        let (_supervisor, devices) = start();
        let each_second = Schedule::cron("* * * * * *").expect("it is one").times(2);
        let (job, count) = counting(&devices, each_second);
        let never = Schedule::cron("0 0 30 2 *").expect("it is one");
        let (never, _) = counting(&devices, never);
        assert!(!never.is_active(), "there is no such day");
        eventually("it has run twice", || !job.is_active());
        assert_eq!(count.load(Ordering::SeqCst), 2);
    });
}
