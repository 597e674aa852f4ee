//! Batches that end before their time: by the user, by failures, because nobody reads, by force.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::support::{
    Held, Running, atasker, batch, children_of, path_text, results_of, state_of, wait_until,
    watched,
};

const PRIMES: &str = "{\"task\": \"count_primes\", \"args\": [0, 10]}\n";

/// One worker has finished a job, and another runs until the file is dropped; many jobs wait.
fn start_held(directory: &Path) -> (Running, File) {
    let job = Held::new(directory, "pipe");
    let mut running = Running::start(&mut atasker(&["run", "-j", "1"]));
    running.send(PRIMES);
    assert_eq!(running.result()["status"], "completed");
    running.send(&job.line());
    let held = job.wait_for_its_begin();
    running.send(&PRIMES.repeat(20));
    // It has its result when it is read, and so have been those before it.
    running.send("no job\n");
    assert_eq!(running.result()["line"], 23);
    (running, held)
}

fn statuses(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["status"].as_str().expect("a status")).collect()
}

#[test]
fn the_first_signal_lets_finish_what_runs() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (mut running, held) = start_held(directory.path());
        running.signal(signal);
        running.stderr_until("interrupted: finishing what runs");
        let waiting: Vec<Value> = (0..20).map(|_| running.result()).collect();
        drop(held);
        let done = running.finish();
        assert_eq!(done.code, Some(130), "{done:?}");
        let results = done.results();
        assert_eq!(results[0]["line"], 2, "what ran is the next after the one that was read");
        assert_eq!(statuses(&results), ["completed"], "{done:?}");
        assert_eq!(statuses(&waiting), ["cancelled"; 20], "{waiting:?}");
        for result in waiting {
            assert!(result.get("attempts").is_none(), "it never began: {result}");
        }
    }
}

#[test]
fn the_second_signal_kills_what_runs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut running, _held) = start_held(directory.path());
    let workers = children_of(running.pid());
    assert!(!workers.is_empty());
    running.signal(Signal::INT);
    running.stderr_until("interrupted: finishing what runs");
    running.signal(Signal::INT);
    let done = running.finish();
    assert_eq!(done.code, Some(130), "{done:?}");
    let results = done.results();
    assert_eq!(results[0]["status"], "cancelled", "{}", results[0]);
    assert_eq!(results[0]["attempts"], 1, "it had begun: {}", results[0]);
    for worker in workers {
        wait_until("the worker dies", || kill_process(worker, Signal::CONT).is_err());
    }
}

/// The shell of a terminal that goes away says so, and then the kernel.
#[test]
fn a_second_hangup_kills_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut running, held) = start_held(directory.path());
    running.signal(Signal::HUP);
    running.stderr_until("interrupted: finishing what runs");
    running.signal(Signal::HUP);
    let waiting: Vec<Value> = (0..20).map(|_| running.result()).collect();
    assert_eq!(statuses(&waiting), ["cancelled"; 20], "{waiting:?}");
    // It would have been killed by now.
    std::thread::sleep(Duration::from_millis(300));
    drop(held);
    let done = running.finish();
    assert_eq!(done.code, Some(130), "{done:?}");
    assert_eq!(statuses(&done.results()), ["completed"], "{done:?}");
}

/// It is finishing by itself: only Ctrl-C is said to kill then.
#[test]
fn a_hangup_after_the_failures_kills_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let job = Held::new(directory.path(), "pipe");
    let mut running = Running::start(&mut atasker(&["run", "-j", "2", "--max-fails", "1"]));
    running.send(&job.line());
    let held = job.wait_for_its_begin();
    running.send("{\"task\": \"segfault\"}\n");
    running.stderr_until("stopping after a failure (--max-fails)");
    running.signal(Signal::HUP);
    running.signal(Signal::HUP);
    assert_eq!(running.result()["status"], "crashed");
    // It would have been killed by now.
    std::thread::sleep(Duration::from_millis(300));
    drop(held);
    let done = running.finish();
    assert_eq!(done.code, Some(130), "{done:?}");
    assert_eq!(statuses(&done.results()), ["completed"], "{done:?}");
}

#[test]
fn a_signal_while_nothing_runs_ends_it_at_once() {
    let mut running = Running::start(&mut atasker(&["run"]));
    running.send(PRIMES);
    assert_eq!(running.result()["status"], "completed");
    running.signal(Signal::TERM);
    // Standard input stays open: nobody waits for it.
    running.stderr_until("1 job in ");
    running.stderr_until("stopped at line 1");
    assert_eq!(running.finish().code, Some(130));
}

/// As after `nohup atasker run`.
#[test]
fn a_signal_that_was_ignored_from_the_start_stays_ignored() {
    let mut command = Command::new("sh");
    let atasker = env!("CARGO_BIN_EXE_atasker");
    command.args(["-c", "trap '' HUP; exec \"$0\" run", atasker]);
    let mut running = Running::start(&mut command);
    running.send(PRIMES);
    assert_eq!(running.result()["status"], "completed");
    running.signal(Signal::HUP);
    running.send(PRIMES);
    assert_eq!(running.result()["status"], "completed");
    assert_eq!(running.finish().code, Some(0));
}

/// As Ctrl-Z and `fg` do.
#[test]
fn the_workers_are_suspended_and_go_on_with_the_command() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let job = Held::new(directory.path(), "pipe");
    let mut running = Running::start(&mut atasker(&["run", "-j", "1", "--timeout", "60s"]));
    running.send(PRIMES);
    assert_eq!(running.result()["status"], "completed");
    running.send(&job.line());
    let held = job.wait_for_its_begin();
    let mut all = children_of(running.pid());
    assert_eq!(all.len(), 1, "there is one worker");
    all.push(running.pid());
    for _ in 0..2 {
        running.signal(Signal::TSTP);
        wait_until("all are stopped", || all.iter().all(|pid| state_of(*pid) == Some('T')));
        running.signal(Signal::CONT);
        wait_until("all go on", || all.iter().all(|pid| state_of(*pid) != Some('T')));
    }
    drop(held);
    assert_eq!(running.result()["status"], "completed");
    running.send(PRIMES);
    assert_eq!(running.result()["status"], "completed", "a new one too");
    assert_eq!(running.finish().code, Some(0));
}

/// Suspended for longer than the job may run.
#[test]
fn no_job_times_out_because_the_command_was_suspended() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let job = Held::new(directory.path(), "pipe").with("timeout", "5s");
    let mut running = Running::start(&mut atasker(&["run", "-j", "2"]));
    running.send(PRIMES);
    assert_eq!(running.result()["status"], "completed");
    running.send(&job.line());
    let held = job.wait_for_its_begin();
    running.signal(Signal::TSTP);
    // After its workers, but for one that may still be starting.
    wait_until("it is stopped", || state_of(running.pid()) == Some('T'));
    // Not to wait for something: it is what the command is to sleep through.
    std::thread::sleep(Duration::from_secs(6));
    running.signal(Signal::CONT);
    // When this has ended, what is due has come to pass.
    running.send(PRIMES);
    assert_eq!(running.result()["line"], 3);
    drop(held);
    let result = running.result();
    assert_eq!(result["status"], "completed", "{result}");
}

#[test]
fn a_signal_while_it_is_suspended_is_answered_afterwards() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut running, _held) = start_held(directory.path());
    let worker = children_of(running.pid())[0];
    running.signal(Signal::TSTP);
    wait_until("it is stopped", || state_of(running.pid()) == Some('T'));
    running.signal(Signal::TERM);
    running.signal(Signal::CONT);
    running.stderr_until("interrupted: finishing what runs");
    running.signal(Signal::TERM);
    assert_eq!(running.finish().code, Some(130));
    wait_until("the worker dies", || kill_process(worker, Signal::CONT).is_err());
}

#[test]
fn max_fails_cancels_the_rest() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let job = Held::new(directory.path(), "pipe");
    let jobs = directory.path().join("jobs");
    let text = "{\"task\": \"segfault\"}\n".repeat(3) + &job.line() + &PRIMES.repeat(2000);
    fs::write(&jobs, text).expect("it can be written");
    let arguments = ["run", "-j", "1", "--max-fails", "3", path_text(&jobs)];
    let mut running = Running::start(&mut atasker(&arguments));
    running.stderr_until("stopping after 3 failures (--max-fails)");
    let mut results: Vec<Value> = (0..4).map(|_| running.result()).collect();
    assert_eq!(statuses(&results), ["crashed", "crashed", "crashed", "cancelled"]);
    // All are cancelled that waited then.
    job.release();
    let done = running.finish();
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("; what follows was not run"), "{done:?}");
    results.extend(done.results());
    assert!(results.len() < 2000, "what follows is not even read");
    for result in &results[3..] {
        // The held one may have begun.
        let is_right = result["status"] == "cancelled" || result["line"] == 4;
        assert!(is_right, "{result}");
    }
}

#[test]
fn fewer_failures_than_max_fails_change_nothing() {
    let done = batch(&["--max-fails", "3"], &["x", "x", PRIMES.trim(), PRIMES.trim()]);
    assert_eq!(statuses(&done.results()), ["rejected", "rejected", "completed", "completed"]);
}

/// As `atasker run | head -1` does.
#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let jobs = directory.path().join("jobs");
    fs::write(&jobs, PRIMES.repeat(50_000)).expect("it can be written");
    let mut running = Running::start(&mut atasker(&["run", path_text(&jobs)]));
    running.result();
    running.close_stdout();
    let done = running.finish();
    assert_eq!((done.code, done.stderr.as_str()), (Some(141), ""));
}

#[test]
fn a_worker_killed_from_outside_is_a_crash() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let job = Held::new(directory.path(), "pipe");
    let mut running = Running::start(&mut atasker(&["run", "-j", "1"]));
    running.send(&job.line());
    // A worker killed before it has begun the job costs nothing.
    let _held = job.wait_for_its_begin();
    for worker in children_of(running.pid()) {
        kill_process(worker, Signal::KILL).expect("it runs");
    }
    let done = running.finish();
    assert_eq!(done.code, Some(1), "{done:?}");
    let results = done.results();
    assert_eq!(results[0]["status"], "crashed", "{done:?}");
    assert_eq!(results[0]["error"]["signal"], 9);
}

/// What had finished is in the output even if the command itself is killed, and nothing outlives it.
#[test]
fn sigkill_leaves_the_results_and_no_process() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let output = directory.path().join("results");
    let mut running = Running::start(&mut atasker(&["run", "-j", "2", "-o", path_text(&output)]));
    running.send(&PRIMES.repeat(20));
    running.send("{\"task\": \"hang\"}\n");
    let lines = || fs::read_to_string(&output).map_or(0, |text| text.lines().count());
    wait_until("the results are written", || lines() == 20);
    let workers = children_of(running.pid());
    assert!(!workers.is_empty());
    running.signal(Signal::KILL);
    assert_eq!(running.finish().code, None);
    for worker in workers {
        wait_until("the worker dies", || kill_process(worker, Signal::CONT).is_err());
    }
    let results = results_of(&fs::read_to_string(&output).expect("it was written"));
    assert_eq!(statuses(&results), ["completed"; 20]);
}

/// Nobody reads log records any more: results come all the same.
#[test]
fn a_log_that_nobody_reads_costs_no_results() {
    let (read, write) = std::io::pipe().expect("a pipe");
    drop(read);
    let mut command = atasker(&["run"]);
    command.env("ATASKER_LOG", "debug").stderr(write).stdin(std::process::Stdio::piped());
    let mut running = command.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    let mut input = running.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut input, PRIMES.repeat(200).as_bytes()).expect("it reads");
    drop(input);
    let done = watched(move || running.wait_with_output().expect("it ends"));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(results_of(&String::from_utf8(done.stdout).expect("text")).len(), 200);
}
