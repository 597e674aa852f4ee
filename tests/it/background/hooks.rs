//! Hooks, errors, and types of one's own.

use std::ops::ControlFlow;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use atasker::background::{
    Background, BackgroundStatus, Hooks, OnFailure, ProcessBackground, Run, RunError,
};
use atasker::{
    BackgroundWorker, Backoff, Call, Stop, TaskError, TaskFailure, TaskResult, TaskStatus,
};

use super::{supervisor, with_processes};
use crate::tasks;
use crate::watch::{eventually, watched};

/// Says all that it is asked for.
struct Talker(Sender<String>);

impl Talker {
    fn say(&self, what: &str) {
        self.0.send(what.to_owned()).expect("the test receives");
    }
}

impl Hooks<i32> for Talker {
    fn before_start(&mut self, run: &Run) {
        assert!(run.task_id().is_some());
        self.say("before start");
    }
    fn after_start(&mut self, _: &Run) {
        self.say("after start");
    }
    fn before_stop(&mut self, _: &Run) {
        self.say("before stop");
    }
    fn after_stop(&mut self, _: &Run) {
        self.say("after stop");
    }
    fn before_queue_get(&mut self, _: &Run) {
        self.say("before get");
    }
    fn after_queue_get(&mut self, item: &i32, _: &Run) {
        self.say(&format!("got {item}"));
    }
    fn on_error(&mut self, error: &RunError, _: &Run) -> ControlFlow<()> {
        self.say(&error.to_string());
        ControlFlow::Continue(())
    }
}

impl Background<i32> for Talker {
    fn run(&mut self, item: i32, _: &Run) -> TaskResult<ControlFlow<()>> {
        self.say("run");
        match item {
            0 => Ok(ControlFlow::Break(())),
            1 => Err(TaskFailure::new("one")),
            2 => panic!("two"),
            _ => Ok(ControlFlow::Continue(())),
        }
    }
}

const BEGIN: [&str; 2] = ["before start", "after start"];
const END: [&str; 2] = ["before stop", "after stop"];

#[test]
fn hooks_are_called_in_their_order() {
    watched(|| {
        let supervisor = supervisor();
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::queue().run_own(Talker(send)).make(&supervisor);
        for round in 0..2 {
            worker.start().expect("accepted");
            for item in [3, 1, 2, 0] {
                eventually("it waits for an item", || {
                    worker.info().status == BackgroundStatus::Waiting
                });
                worker.put(item).expect("it runs");
            }
            eventually("it has stopped", || !worker.is_active());
            let said: Vec<_> = receive.try_iter().collect();
            let mut expected: Vec<&str> = BEGIN.to_vec();
            expected.extend(["before get", "got 3", "run"]);
            expected.extend(["before get", "got 1", "run", "one"]);
            expected.extend(["before get", "got 2", "run", "panicked: two"]);
            expected.extend(["before get", "got 0", "run"]);
            expected.extend(END);
            assert_eq!(said, expected, "in round {round}");
        }
        let info = worker.info();
        assert_eq!((info.runs, info.errors), (8, 4));
        assert!(info.last_run.is_some());
    });
}

#[test]
fn a_supervisor_that_stops_calls_the_hooks_of_the_end() {
    watched(|| {
        let stops = [
            Stop::Drain,
            Stop::DrainFor(Duration::from_secs(60)),
            Stop::CancelQueued,
            Stop::KillNow,
        ];
        for how in stops.map(Some).into_iter().chain([None]) {
            let supervisor = supervisor();
            let (send, receive) = mpsc::channel();
            let worker = BackgroundWorker::queue().run_own(Talker(send)).start(&supervisor);
            let worker = worker.expect("accepted");
            worker.put(7).expect("it runs");
            eventually("it has run", || {
                worker.info().runs == 1 && worker.info().status == BackgroundStatus::Waiting
            });
            match how {
                Some(how) => supervisor.stop(how),
                None => drop(supervisor),
            }
            eventually("it has stopped", || !worker.is_active());
            let said: Vec<_> = receive.try_iter().collect();
            assert_eq!(said[said.len() - 3..], ["run", END[0], END[1]], "{how:?}");
        }
    });
}

#[test]
fn an_error_handler_that_breaks_stops_the_worker() {
    watched(|| {
        let supervisor = supervisor();
        let worker = BackgroundWorker::looping()
            .run(|run| (run.number() < 3).then_some(()).ok_or("enough"))
            .on_error(|error, run| {
                assert_eq!((error.to_string().as_str(), run.number()), ("enough", 3));
                ControlFlow::Break(())
            })
            .start(&supervisor)
            .expect("accepted");
        eventually("it has stopped", || !worker.is_active());
        let info = worker.info();
        assert_eq!((info.runs, info.errors), (3, 1));
    });
}

#[test]
fn after_a_failure_its_policy_decides() {
    watched(|| {
        let supervisor = supervisor();
        let failing = |policy| {
            let worker = BackgroundWorker::looping().on_failure(policy).run(|run| {
                if run.number() < 5 {
                    panic!("for the {}. time", run.number());
                }
                ControlFlow::Break(())
            });
            let worker = worker.start(&supervisor).expect("accepted");
            eventually("it has stopped", || !worker.is_active());
            (worker.info().runs, worker.info().errors)
        };
        assert_eq!(failing(OnFailure::GoOn), (5, 4));
        assert_eq!(failing(OnFailure::Stop), (1, 1));
        let before = std::time::Instant::now();
        let pause = Duration::from_millis(10);
        assert_eq!(failing(OnFailure::Backoff(Backoff::fixed(pause))), (5, 4));
        // Up to a quarter is taken off.
        assert!(before.elapsed() >= pause * 3);
    });
}

#[test]
fn a_hook_or_handler_that_panics_changes_nothing() {
    struct Bad;
    impl Hooks for Bad {
        fn before_start(&mut self, _: &Run) {
            panic!("before start");
        }
        fn after_stop(&mut self, _: &Run) {
            panic!("after stop");
        }
        fn on_error(&mut self, _: &RunError, _: &Run) -> ControlFlow<()> {
            panic!("on error");
        }
    }
    impl Background for Bad {
        fn run(&mut self, (): (), run: &Run) -> TaskResult<ControlFlow<()>> {
            if run.number() == 3 {
                return Ok(ControlFlow::Break(()));
            }
            Err("not yet")?
        }
    }
    watched(|| {
        let supervisor = supervisor();
        let worker = BackgroundWorker::looping().run_own(Bad).start(&supervisor).expect("accepted");
        eventually("it has stopped", || !worker.is_active());
        assert_eq!((worker.info().runs, worker.info().errors), (3, 2));
    });
}

/// Counts what comes back.
#[derive(Default)]
struct Squares {
    sum: i64,
    crashes: u32,
    report: Option<Sender<(i64, u32)>>,
}

impl Hooks<i64> for Squares {
    fn after_stop(&mut self, _: &Run) {
        let report = self.report.take().expect("it stops once");
        report.send((self.sum, self.crashes)).expect("the test receives");
    }
}

impl ProcessBackground<i64> for Squares {
    type Output = i64;

    fn call(&mut self, item: i64, _: &Run) -> Call<i64> {
        tasks::die_at::call(item, 3)
    }

    fn process_result(
        &mut self,
        result: Result<i64, TaskError>,
        run: &Run,
    ) -> TaskResult<ControlFlow<()>> {
        match result {
            Ok(item) => self.sum += item,
            Err(error) => {
                assert_eq!(error.status(), TaskStatus::Crashed);
                self.crashes += 1;
            }
        }
        if run.number() == 5 { Ok(ControlFlow::Break(())) } else { Ok(ControlFlow::Continue(())) }
    }
}

#[test]
fn a_process_that_dies_is_a_result_like_another() {
    watched(|| {
        let supervisor = with_processes();
        let (send, receive) = mpsc::channel();
        let own = Squares { report: Some(send), ..Squares::default() };
        let worker =
            BackgroundWorker::queue().run_own_process(own).start(&supervisor).expect("accepted");
        for item in 1..=5 {
            worker.put(item).expect("it runs");
        }
        assert_eq!(receive.recv(), Ok((1 + 2 + 4 + 5, 1)));
        eventually("it has stopped", || !worker.is_active());
        let info = worker.info();
        assert_eq!((info.runs, info.errors), (5, 1));
    });
}

/// Panics at the third item that is taken.
#[derive(Clone)]
struct Slippery(std::sync::Arc<std::sync::Mutex<(Vec<u32>, u32)>>);

impl atasker::background::WorkQueue<u32> for Slippery {
    fn put(&self, item: u32) -> Result<(), u32> {
        self.0.lock().unwrap().0.push(item);
        Ok(())
    }

    fn take(&self) -> Option<u32> {
        let taken = {
            let mut state = self.0.lock().unwrap();
            state.1 += 1;
            state.1
        };
        assert!(taken != 3, "it slipped");
        self.0.lock().unwrap().0.pop()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().0.len()
    }
}

#[test]
fn a_queue_that_panics_fails_a_run_and_is_asked_again() {
    watched(|| {
        let supervisor = supervisor();
        let queue = Slippery(std::sync::Arc::new(std::sync::Mutex::new((vec![1; 6], 0))));
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::queue_of(queue.clone())
            .on_error(move |error, _| {
                send.send(error.to_string()).expect("the test receives");
                ControlFlow::Continue(())
            })
            .for_each(|_, _| ())
            .start(&supervisor)
            .expect("accepted");
        assert!(receive.recv().expect("it is told").contains("it slipped"));
        eventually("the rest is run", || queue.0.lock().unwrap().0.is_empty());
        eventually("it is counted", || worker.info().errors == 1);
    });
}

#[test]
fn a_worker_whose_process_pool_has_given_up_stops() {
    watched(|| {
        let supervisor = atasker::Supervisor::builder()
            .worker_program("/bin/false")
            .restart_limit(2)
            .start()
            .expect("processes start with the first task");
        let (send, receive) = mpsc::channel();
        let worker = BackgroundWorker::looping()
            .on_error(move |error, _| {
                send.send(matches!(error, RunError::Refused(_))).expect("the test receives");
                ControlFlow::Continue(())
            })
            .run_process(|_| tasks::add::call(1, 2), |_, _| ())
            .start(&supervisor)
            .expect("accepted");
        eventually("it stops", || !worker.is_active());
        assert!(receive.try_iter().any(|refused| refused));
    });
}

/// It starts with the first process task, and might be able to at the next.
#[test]
fn a_pool_that_can_not_be_started_just_now_does_not_end_the_worker() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("worker");
        let supervisor =
            atasker::Supervisor::builder().worker_program(&program).start().expect("starts");
        let (tell, told) = mpsc::channel();
        let errors = tell.clone();
        let worker = BackgroundWorker::every(Duration::from_millis(5))
            .run_process(
                |_| Call::by_name("double", serde_json::json!([21])),
                move |result: Result<serde_json::Value, _>, _| {
                    let _ = tell.send(Ok(result.expect("it runs")));
                },
            )
            .on_error(move |error, _| {
                let _ = errors.send(Err(error.to_string()));
                ControlFlow::Continue(())
            })
            .start(&supervisor)
            .expect("it starts");
        for _ in 0..3 {
            let error = told.recv().expect("it goes on").expect_err("there is no such program");
            assert!(error.contains("is it built"), "{error}");
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_stranger"), &program).expect("a link");
        let value = told.iter().find_map(Result::ok).expect("it goes on");
        assert_eq!(value, serde_json::json!(42));
        worker.stop();
    });
}
