//! Worker programs: this one, others, and those that are none. And what they have, listed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Held, Running, atasker, children_of, path_text, run, wait_until};

const PRIMES: &str = "{\"task\": \"count_primes\", \"args\": [0, 10]}\n";
const STOCK: [&str; 10] = [
    "sha256_file",
    "mandelbrot",
    "count_primes",
    "abort",
    "exit",
    "hang",
    "hog_memory",
    "panic",
    "segfault",
    "stack_overflow",
];

#[test]
fn a_separate_worker_program() {
    // This program is a worker like any other, with the stock tasks.
    let done = run(&["run", "--worker", env!("CARGO_BIN_EXE_atasker")], PRIMES);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.results()[0]["result"], 4);
}

#[test]
fn programs_that_are_no_workers() {
    for (program, part) in [
        ("/no/such/program", "can't start the worker program `/no/such/program`"),
        (
            "no-such-program-in-the-path",
            "can't start the worker program `no-such-program-in-the-path`",
        ),
        ("/etc/passwd", "may it be executed?"),
        ("/bin/true", "exited with code 0 without becoming a worker"),
    ] {
        for subcommand in ["run", "list"] {
            let done = run(&[subcommand, "--worker", program], PRIMES);
            assert_eq!(done.code, Some(2), "{program}: {done:?}");
            assert_eq!(done.stdout, "", "{program}");
            assert!(done.stderr.starts_with("atasker: "), "{program}: {}", done.stderr);
            assert!(done.stderr.contains(part), "{program}: {}", done.stderr);
        }
    }
}

#[test]
fn results_of_yesterday_survive_a_worker_that_does_not_start() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = directory.path().join("results");
    std::fs::write(&output, "precious").expect("it can be written");
    let done = run(&["run", "--worker", "/no/such", "-o", path_text(&output)], PRIMES);
    assert_eq!(done.code, Some(2));
    assert_eq!(std::fs::read_to_string(&output).expect("it is there"), "precious");
}

/// A batch with a worker program that can be removed meanwhile.
fn with_own_program(directory: &Path, workers: &str) -> (PathBuf, Running) {
    let program = directory.join("worker");
    std::fs::copy(env!("CARGO_BIN_EXE_atasker"), &program).expect("it can be copied");
    let arguments = ["run", "-j", workers, "--worker", path_text(&program)];
    let running = Running::start(&mut atasker(&arguments));
    (program, running)
}

/// The program is gone when workers have died and others should take their places.
#[test]
fn a_pool_that_gives_up_is_no_failure_of_the_jobs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (program, mut running) = with_own_program(directory.path(), "1");
    running.send(PRIMES);
    assert_eq!(running.result()["status"], "completed");
    std::fs::remove_file(&program).expect("it can be removed");
    running.send("{\"task\": \"segfault\"}\n");
    running.send(PRIMES);
    let done = running.finish();
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(
        done.stderr.lines().last().is_some_and(|line| line.starts_with("atasker: ")),
        "{done:?}"
    );
    assert!(done.stderr.contains("given up starting workers"), "{done:?}");
    let results = done.results();
    assert_eq!(results[0]["status"], "crashed", "{done:?}");
    assert_eq!(results[1]["error"]["kind"], "no_workers", "{done:?}");
}

/// What is left of it serves.
#[test]
fn a_pool_does_not_give_up_while_an_older_worker_runs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (program, mut running) = with_own_program(directory.path(), "2");
    let held = Held::new(directory.path(), "pipe");
    running.send(&held.line());
    let begun = held.wait_for_its_begin();
    std::fs::remove_file(&program).expect("it can be removed");
    running.send("{\"task\": \"segfault\"}\n");
    assert_eq!(running.result()["status"], "crashed");
    running.send(PRIMES);
    // Otherwise it would have given up by now.
    std::thread::sleep(Duration::from_secs(3));
    drop(begun);
    let done = running.finish();
    assert_eq!(done.code, Some(1), "{done:?}");
    let results = done.results();
    assert!(results.iter().all(|result| result["status"] == "completed"), "{done:?}");
    assert_eq!(results.len(), 2);
}

/// The workers but these.
fn others(running: &Running, known: &[Pid]) -> Vec<Pid> {
    children_of(running.pid()).into_iter().filter(|worker| !known.contains(worker)).collect()
}

#[test]
fn what_runs_when_a_pool_gives_up_runs_to_its_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (program, mut running) = with_own_program(directory.path(), "2");
    running.send(PRIMES);
    assert_eq!(running.result()["status"], "completed");
    wait_until("both have started", || children_of(running.pid()).len() == 2);
    // Then none is older than the first death that counts, of one that had run nothing.
    let mut killed = Vec::new();
    for _ in 0..2 {
        let living = others(&running, &killed);
        for worker in &living {
            kill_process(*worker, Signal::KILL).expect("it waits for work");
        }
        killed.extend(living);
        wait_until("others have started", || others(&running, &killed).len() == 2);
    }
    let held = Held::new(directory.path(), "pipe");
    running.send(&held.line());
    let begun = held.wait_for_its_begin();
    std::fs::remove_file(&program).expect("it can be removed");
    let runs = |worker: &Pid| {
        let files = std::fs::read_dir(format!("/proc/{}/fd", worker.as_raw_nonzero()));
        let mut targets = files.into_iter().flatten().flatten().map(|it| it.path().read_link());
        targets.any(|target| target.is_ok_and(|target| target == directory.path().join("pipe")))
    };
    let idle = others(&running, &killed).into_iter().find(|worker| !runs(worker));
    kill_process(idle.expect("the other one"), Signal::KILL).expect("it waits for work");
    // The first waits until the pool gives up, the second comes afterwards.
    for _ in 0..2 {
        running.send(PRIMES);
        assert_eq!(running.result()["error"]["kind"], "no_workers");
    }
    drop(begun);
    let done = running.finish();
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("given up starting workers"), "{done:?}");
    assert_eq!(done.results().last().expect("one is left")["status"], "completed", "{done:?}");
}

#[test]
fn log_records_are_shown_as_asked() {
    let with = |level: &str| {
        let mut command = atasker(&["run", "-q"]);
        Running::start(command.env("ATASKER_LOG", level)).write(PRIMES).finish()
    };
    let done = with("debug");
    assert_eq!(done.code, Some(0));
    assert!(
        done.stderr.contains("DEBUG atasker::process: worker ready worker="),
        "{}",
        done.stderr
    );
    assert_eq!(with("warn").stderr, "");
    let wrong = with("loud");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.starts_with("atasker: ATASKER_LOG is `loud`; it must be"), "{wrong:?}");
}

#[test]
#[ignore = "takes half a minute and wants the machine for itself"]
fn the_benchmark_measures_four_kinds() {
    let done = run(&["bench", "--json"], "");
    assert_eq!(done.code, Some(0), "{done:?}");
    let report: Value = serde_json::from_str(&done.stdout).expect("an object");
    let sizes = report["sizes"].as_array().expect("an array");
    assert_eq!(sizes.len(), 6);
    let peers = ["threads", "rayon", "ring", "channel"];
    for (size, peer) in sizes.iter().flat_map(|size| peers.map(|peer| (size, peer))) {
        for figure in ["round_trip_us", "tasks_per_second"] {
            assert!(size[peer][figure].as_f64() > Some(0.0), "{size}");
        }
    }
}

#[test]
fn the_doctor_says_what_is_there_and_what_is_not() {
    let done = run(&["doctor"], "");
    let missing = done.stdout.lines().filter(|line| line.contains(" is missing: ")).count();
    assert_eq!(done.code, Some(i32::from(missing > 0)), "{done:?}");
    assert!(done.stdout.contains("pidfd_open is there\n"), "{done:?}");
    assert!(done.stdout.lines().count() >= 7, "{done:?}");
}

#[test]
fn the_list_shows_signatures_and_docs() {
    let done = run(&["list"], "");
    assert_eq!(done.code, Some(0), "{done:?}");
    for part in [
        "sha256_file(path: &Path) -> TaskResult<String>\n    The SHA-256 digest of a file's bytes",
        "count_primes(from: u64, to: u64) -> u64\n    Count the prime numbers",
        "mandelbrot(output: &Path, width: u32, height: u32) -> TaskResult<Picture>\n",
        "panic(message: &str)\n    Panic with this message.",
    ] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
}

#[test]
fn the_list_as_json() {
    for arguments in
        [&["list", "--json"][..], &["list", "--json", "--worker", env!("CARGO_BIN_EXE_atasker")]]
    {
        let done = run(arguments, "");
        assert_eq!(done.code, Some(0), "{done:?}");
        let tasks: Vec<Value> = serde_json::from_str(&done.stdout).expect("an array");
        let mut names: Vec<_> =
            tasks.iter().map(|task| task["name"].as_str().expect("a name")).collect();
        names.sort_unstable();
        let mut stock = STOCK;
        stock.sort_unstable();
        assert_eq!(names, stock);
        let exit = tasks.iter().find(|task| task["name"] == "exit").expect("it is there");
        assert_eq!(exit["path"], "atasker_worker::trouble::exit");
        assert_eq!(exit["signature"], "exit(code: i32)");
        assert_eq!(exit["parameters"], serde_json::json!([{"name": "code", "type": "i32"}]));
        assert!(exit["docs"].as_str().is_some_and(|docs| docs.starts_with("End the process")));
    }
}

#[test]
fn help_explains_jobs_and_exit_codes() {
    for arguments in [&["help", "run"][..], &["run", "--help"]] {
        let done = run(arguments, "");
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
        for part in ["\"priority\": \"high\"", "--max-fails <N>", "Exit codes:", "Examples:"] {
            assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
        }
        for line in done.stdout.lines() {
            assert!(line.chars().count() <= 80, "too long for a terminal: {line}");
        }
    }
    let version = run(&["--version"], "");
    assert_eq!(version.stdout, format!("atasker {}\n", env!("CARGO_PKG_VERSION")));
    let nothing = run(&[], "");
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(2), ""));
    assert!(nothing.stderr.contains("Usage: atasker <COMMAND>"), "{}", nothing.stderr);
}
