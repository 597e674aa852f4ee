//! What crosses to a worker and back: typed calls, calls by name, initialisers, logs, and what does not
//! cross.

use std::path::Path;
use std::time::Duration;

use atasker::{Call, Limits, StartError, Supervisor, TaskStatus, WorkerStartError};
use serde_json::{Value, json};

use crate::tasks::{self, Order};
use crate::watch::watched;

fn supervisor() -> Supervisor {
    Supervisor::builder().processes(Limits::new(1)).start().expect("workers start")
}

#[test]
fn arguments_and_results_cross() {
    watched(|| {
        let supervisor = supervisor();
        let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        assert_ne!(pid, std::process::id());
        assert_eq!(
            supervisor.submit(tasks::add::call(-3, 10)).expect("accepted").wait().expect("runs"),
            7
        );
        let text = supervisor.submit(tasks::shout::call("straße 🦀")).expect("accepted").wait();
        assert_eq!(text.expect("runs"), "STRASSE 🦀");
        let length =
            supervisor.submit(tasks::length::call(Path::new("/a/b"))).expect("accepted").wait();
        assert_eq!(length.expect("runs"), 4);
        supervisor.submit(tasks::nothing::call()).expect("accepted").wait().expect("runs");
        let order = Order {
            id: 7,
            lines: vec![("tea".to_owned(), 2.5), ("cake".to_owned(), 4.0)],
            note: None,
        };
        let back = supervisor.submit(tasks::total::call(order.clone())).expect("accepted").wait();
        assert_eq!(back.expect("runs"), (order, 6.5));
    });
}

#[test]
fn payloads_of_every_size_cross() {
    watched(|| {
        let supervisor = supervisor();
        for size in [0, 1, 4095, 4096, 65_536, 212_000, 213_000, 1 << 20, 5 << 20] {
            let bytes: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
            let back = supervisor.submit(tasks::reverse::call(&bytes)).expect("accepted").wait();
            assert!(back.expect("runs").iter().rev().eq(&bytes), "{size}");
        }
    });
}

#[test]
fn a_returned_error_is_the_functions_value() {
    watched(|| {
        let supervisor = supervisor();
        let task = supervisor.submit(tasks::fail::call("no luck")).expect("accepted");
        assert_eq!(task.wait().expect("it ran"), Err("no luck".to_owned()));
        let missing = supervisor
            .submit(tasks::read_file::call(Path::new("/no/such/file")))
            .expect("accepted");
        let failure = missing.wait().expect("it ran").expect_err("there is no such file");
        assert!(failure.to_string().contains("No such file"), "{failure}");
    });
}

#[test]
fn calls_by_name_take_json() {
    watched(|| {
        let supervisor = supervisor();
        let run = |name: &str, arguments: Value| {
            supervisor.submit(Call::by_name(name, arguments)).expect("accepted").wait()
        };
        assert_eq!(run("it::tasks::add", json!([2, 3])).expect("runs"), json!(5));
        assert_eq!(run("add", json!({"b": 2, "a": -3})).expect("runs"), json!(-1));
        assert_eq!(
            run("shout", json!(["a \"quoted\"\nline"])).expect("runs"),
            json!("A \"QUOTED\"\nLINE")
        );
        let task = Call::by_name("fail", json!({"message": "no"}));
        let task = supervisor.submit(task).expect("accepted");
        while !task.is_done() {
            std::thread::yield_now();
        }
        assert_eq!(task.info().returned_error.as_deref(), Some("no"));
    });
}

#[test]
fn what_an_attribute_declares_holds_by_name_too() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = supervisor();
        let attempts = |call: Call<Value>, file: &Path| {
            let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
            assert_eq!(error.status(), TaskStatus::TimedOut, "{error}");
            // Its time may be over before it can say that it began.
            let begins = std::fs::read_to_string(file).unwrap_or_default().lines().count();
            assert!(begins <= error.attempts() as usize, "{begins} begins: {error}");
            (error.attempts(), error.label().map(str::to_owned))
        };
        let (declared, given) = (folder.path().join("declared"), folder.path().join("given"));
        let call = Call::by_name("impatient", json!([declared]));
        assert_eq!(attempts(call, &declared), (3, Some("declared".to_owned())));
        let call = Call::by_name("impatient", json!([given])).retries(1).label("mine");
        assert_eq!(attempts(call, &given), (2, Some("mine".to_owned())));
    });
}

fn rejection(supervisor: &Supervisor, name: &str, arguments: Value) -> String {
    let error =
        supervisor.submit(Call::by_name(name, arguments)).expect("accepted").wait().unwrap_err();
    assert_eq!(error.status(), TaskStatus::Rejected, "{error}");
    error.reason()
}

#[test]
fn wrong_calls_by_name_say_what_is_wrong() {
    watched(|| {
        let supervisor = supervisor();
        let unknown = supervisor.submit(Call::by_name("ad", json!([1, 2]))).unwrap_err();
        insta::assert_snapshot!("unknown_function", unknown.to_string());
        insta::assert_snapshot!("wrong_type", rejection(&supervisor, "add", json!([1, "two"])));
        insta::assert_snapshot!("too_many", rejection(&supervisor, "add", json!([1, 2, 3])));
        insta::assert_snapshot!(
            "unknown_argument",
            rejection(&supervisor, "add", json!({"a": 1, "c": 2}))
        );
        insta::assert_snapshot!("missing_argument", rejection(&supervisor, "add", json!({"a": 1})));
        insta::assert_snapshot!("not_arguments", rejection(&supervisor, "add", json!(5)));
    });
}

#[test]
fn an_initialiser_gets_its_data() {
    watched(|| {
        let supervisor = Supervisor::builder()
            .processes(Limits::new(1))
            .worker_data(&"hello".to_owned())
            .start()
            .expect("starts");
        let greeting = supervisor.submit(tasks::greeting::call()).expect("accepted").wait();
        assert_eq!(greeting.expect("runs"), "hello");
    });
}

#[test]
fn an_initialiser_that_fails_or_dies_is_reported() {
    watched(|| {
        let start = |data: &str| {
            Supervisor::builder()
                .processes(Limits::new(1))
                .worker_data(&data.to_owned())
                .start()
                .expect_err("no worker can start")
                .to_string()
        };
        let refused = start("refuse");
        assert!(refused.contains("the initialiser was told to refuse"), "{refused}");
        let died = start("die");
        assert!(died.contains("the initialiser dies") && died.contains("SIGABRT"), "{died}");
    });
}

#[test]
fn programs_that_are_no_workers_are_explained() {
    watched(|| {
        let start = |program: &str| {
            // Only this one would never end.
            let milliseconds = if program == "/bin/cat" { 2_000 } else { 60_000 };
            Supervisor::builder()
                .processes(Limits::new(1))
                .worker_program(program)
                .start_timeout(Duration::from_millis(milliseconds))
                .start()
                .expect_err("that is no worker")
        };
        for program in ["/no/such/program", "/etc/passwd", "/bin/true", "/bin/cat"] {
            let error = start(program);
            assert!(matches!(error, StartError::Worker(_)), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(program.rsplit('/').next().unwrap_or(program)), "{text}");
            insta::assert_snapshot!(
                format!("no_worker_{}", program.rsplit('/').next().unwrap_or("")),
                text
            );
        }
        let _: fn(&WorkerStartError) -> String = ToString::to_string;
    });
}

#[test]
fn a_program_that_forgot_something_is_told() {
    watched(|| {
        let says = |arguments: &[&str]| {
            let program = std::process::Command::new(env!("CARGO_BIN_EXE_forgetful"));
            let output = { program }.args(arguments).output().expect("it runs");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).expect("text")
        };
        insta::assert_snapshot!("forgotten_first_line", says(&[]));
        insta::assert_snapshot!("crate_not_linked", says(&["by name"]));
    });
}

#[test]
fn nothing_is_inherited_by_accident() {
    watched(|| {
        let supervisor = supervisor();
        let open =
            supervisor.submit(tasks::descriptors::call()).expect("accepted").wait().expect("runs");
        for target in &open {
            let expected =
                ["/dev/null", "pipe:", "socket:", "/proc/", "/dev/pts", "/dev/tty", "anon_inode:"]
                    .iter()
                    .any(|start| target.starts_with(start));
            // What is left is the host's own standard error, wherever that goes.
            assert!(expected || !target.contains("/target/"), "{open:?}");
        }
        for name in ["ATASKER_WORKER", "ATASKER_LIFELINE"] {
            let value = supervisor.submit(tasks::environment::call(name)).expect("accepted").wait();
            assert_eq!(value.expect("runs"), None, "{name} must not reach what a task starts");
        }
        let threads =
            supervisor.submit(tasks::environment::call("RAYON_NUM_THREADS")).expect("accepted");
        assert!(
            threads.wait().expect("runs").is_some_and(|threads| threads.parse::<u32>().is_ok())
        );
    });
}

#[test]
fn workers_have_no_supervisors() {
    watched(|| {
        let answer = supervisor().submit(tasks::submit_inside::call()).expect("accepted").wait();
        assert!(answer.expect("runs").contains("this is a worker process"));
    });
}

#[test]
fn logs_of_workers_arrive_in_the_hosts_subscriber() {
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    watched(|| {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .finish();
        // Global, because the records arrive on a thread of the supervisor.
        tracing::subscriber::set_global_default(subscriber).expect("no other test sets one");
        let supervisor = supervisor();
        let task = supervisor.submit(tasks::log_something::call("from afar")).expect("accepted");
        let number = task.id().number();
        task.wait().expect("runs");
        crate::watch::eventually("both records arrive", || {
            let text = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
            let record =
                text.lines().find(|line| line.contains("tasks::log") && line.contains("from afar"));
            let plain =
                text.lines().find(|line| line.contains("tasks::plain") && line.contains("by log"));
            record.is_some_and(|line| {
                line.contains("INFO")
                    && line.contains("42")
                    && line.contains(&format!("task={number}"))
            }) && plain.is_some_and(|line| line.contains("WARN"))
        });
    });
}
