//! Supervisors that stop with background workers of all kinds, loaded and idle, and what is left then.

use std::time::Duration;

use atasker::background::Timing;
use atasker::{BackgroundWorker, Limits, Stop, SubmitError, Supervisor};

use crate::tasks;
use crate::watch::{Held, alone, eventually, watched};

/// How often each is repeated; more where `ATASKER_TEST_ROUNDS` says so.
fn rounds() -> usize {
    let rounds = std::env::var("ATASKER_TEST_ROUNDS").ok();
    rounds.map_or(60, |rounds| rounds.parse().expect("a number"))
}

const STOPS: [Option<Stop>; 5] = [
    Some(Stop::Drain),
    Some(Stop::DrainFor(Duration::from_millis(5))),
    Some(Stop::CancelQueued),
    Some(Stop::KillNow),
    None,
];

fn end(supervisor: Supervisor, how: Option<Stop>) {
    match how {
        Some(how) => supervisor.stop(how),
        None => drop(supervisor),
    }
}

/// All kinds, with nothing to do for a long time.
fn idle(supervisor: &Supervisor) {
    let hour = Duration::from_secs(3600);
    let accepted = "the supervisor runs";
    let waits = BackgroundWorker::timed(Timing::every(hour).first_after(hour)).run(|_| ());
    drop(waits.start(supervisor).expect(accepted));
    let once = BackgroundWorker::every(hour).run(|_| ());
    drop(once.start(supervisor).expect(accepted));
    drop(BackgroundWorker::on_event().run(|_| ()).start(supervisor).expect(accepted));
    let queue = BackgroundWorker::queue().for_each(|_: u8, _| ());
    drop(queue.start(supervisor).expect(accepted));
    let awaits = BackgroundWorker::on_event().run_async(|_| async {});
    drop(awaits.start(supervisor).expect(accepted));
    let never = BackgroundWorker::queue().for_each(|_: u8, _| ()).make(supervisor);
    drop(never);
}

/// All kinds, which do as much as they can.
fn busy(supervisor: &Supervisor, in_processes: bool) -> Vec<BackgroundWorker> {
    let accepted = "the supervisor runs";
    let mut workers = vec![
        BackgroundWorker::looping().run(|_| ()).start(supervisor).expect(accepted),
        BackgroundWorker::every(Duration::from_micros(100))
            .run(|run| (run.number() % 3 != 0).then_some(()).ok_or("every third"))
            .on_error(|_, _| std::ops::ControlFlow::Continue(()))
            .start(supervisor)
            .expect(accepted),
        BackgroundWorker::on_event().run(|_| ()).start(supervisor).expect(accepted),
    ];
    let queue = BackgroundWorker::queue().for_each(|item: u32, run| {
        assert!(item < 1000);
        if item == 999 {
            run.stop();
        }
    });
    let queue = queue.start(supervisor).expect(accepted);
    for item in 0..100 {
        queue.put(item).expect("it runs");
    }
    let awaits = BackgroundWorker::looping().run_async(|_| tokio::task::yield_now());
    workers.push(awaits.start(supervisor).expect(accepted));
    let sleeps = BackgroundWorker::every(Duration::from_micros(300))
        .run_async(|_| tokio::time::sleep(Duration::from_micros(200)));
    workers.push(sleeps.start(supervisor).expect(accepted));
    if in_processes {
        let nothing = |_: Result<(), _>, _: &atasker::background::Run| ();
        let often = BackgroundWorker::looping().run_process(|_| tasks::nothing::call(), nothing);
        workers.push(often.start(supervisor).expect(accepted));
        let dies = BackgroundWorker::every(Duration::from_millis(3))
            .run_process(|_| tasks::die::call("abort"), nothing)
            .on_error(|_, _| std::ops::ControlFlow::Continue(()));
        workers.push(dies.start(supervisor).expect(accepted));
        let slow = BackgroundWorker::looping().run_process(|_| tasks::sleep_ms::call(2), |_, _| ());
        workers.push(slow.start(supervisor).expect(accepted));
    }
    workers
}

fn start(processes: bool) -> Supervisor {
    let builder = Supervisor::builder();
    let builder = if processes { builder.processes(Limits::new(2)) } else { builder };
    builder.start().expect("it starts")
}

/// So often, with another kind of end each time; nothing is left of any.
fn ends_often(test: &str, processes: bool, load: impl Fn(&Supervisor, usize)) {
    alone(test, || {
        let once = |round: usize| {
            let supervisor = start(processes);
            load(&supervisor, round);
            end(supervisor, STOPS[round % STOPS.len()]);
        };
        // Some things are opened once, and stay open for good.
        (0..2 * STOPS.len()).for_each(once);
        let before = Held::count();
        for round in 0..rounds() {
            watched(|| once(round));
        }
        before.assert_again();
    });
}

#[test]
fn idle_workers_end_with_their_supervisor() {
    ends_often("background::ends::idle_workers_end_with_their_supervisor", false, |it, _| idle(it));
}

#[test]
fn busy_workers_end_with_their_supervisor() {
    ends_often("background::ends::busy_workers_end_with_their_supervisor", false, |it, round| {
        idle(it);
        let workers = busy(it, false);
        // Each time at another moment.
        for _ in 0..round % 50 {
            workers[2].trigger_again();
            std::thread::yield_now();
        }
    });
}

#[test]
fn workers_of_all_kinds_end_with_their_processes() {
    let test = "background::ends::workers_of_all_kinds_end_with_their_processes";
    ends_often(test, true, |it, round| {
        idle(it);
        let workers = busy(it, true);
        eventually("some have run", || workers[5].info().runs > round as u64 % 7);
    });
}

#[test]
fn a_run_that_does_not_return_keeps_no_hard_stop() {
    watched(|| {
        for how in [Some(Stop::KillNow), Some(Stop::DrainFor(Duration::from_millis(10))), None] {
            let supervisor = start(false);
            let (hold, held) = std::sync::mpsc::channel::<()>();
            let worker = BackgroundWorker::looping()
                .run(move |_| _ = held.recv())
                .start(&supervisor)
                .expect("accepted");
            eventually("it runs", || worker.info().runs == 1);
            end(supervisor, how);
            assert!(worker.is_active(), "it still runs");
            drop(hold);
            worker.stop();
            assert!(!worker.is_active());
        }
    });
}

#[test]
fn a_hard_stop_kills_a_run_in_a_process() {
    watched(|| {
        for how in [Some(Stop::KillNow), Some(Stop::DrainFor(Duration::from_millis(10))), None] {
            let supervisor = start(true);
            let worker = BackgroundWorker::looping()
                .run_process(|_| tasks::die::call("hang"), |_, _| ())
                .start(&supervisor)
                .expect("accepted");
            eventually("it runs", || supervisor.info().processes.running == 1);
            end(supervisor, how);
            eventually("it has stopped", || !worker.is_active());
        }
    });
}

#[test]
fn nothing_starts_on_a_supervisor_that_has_stopped() {
    watched(|| {
        let supervisor = start(false);
        let worker = BackgroundWorker::on_event().run(|_| ()).make(&supervisor);
        supervisor.stop(Stop::Drain);
        let refused = |result: Result<bool, SubmitError>| {
            assert!(matches!(result, Err(SubmitError::Stopped)));
        };
        refused(worker.start());
        let late = BackgroundWorker::looping().run(|_| ());
        assert!(matches!(late.start(&supervisor), Err(SubmitError::Stopped)));
        drop(supervisor);
        refused(worker.start());
        worker.stop();
        assert!(!worker.trigger());
    });
}

#[test]
fn tasks_of_others_are_refused_while_workers_end() {
    watched(|| {
        let supervisor = std::sync::Arc::new(start(false));
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let worker = BackgroundWorker::looping().run(move |_| _ = held.recv());
        let worker = worker.start(&supervisor).expect("accepted");
        eventually("it runs", || worker.info().runs == 1);
        let other = std::sync::Arc::clone(&supervisor);
        let stopper = std::thread::spawn(move || other.stop(Stop::Drain));
        eventually("it stops", || {
            matches!(supervisor.spawn_blocking(|| ()), Err(SubmitError::Stopped))
        });
        assert!(worker.is_active());
        drop(hold);
        stopper.join().expect("it stops");
        assert!(!worker.is_active());
    });
}
