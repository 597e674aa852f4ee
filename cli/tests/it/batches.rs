//! Batches that go well, and what is said about them.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Held, Running, atasker, batch, path_text, results_of, run};

#[test]
fn a_good_batch() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("abc");
    fs::write(&file, "abc").expect("it can be written");
    let hash = json!({"task": "sha256_file", "args": [path_text(&file)], "id": "abc"}).to_string();
    let done = batch(
        &[],
        &[
            &hash,
            r#"{"task": "count_primes", "args": {"to": 100, "from": 0}, "id": 7, "priority": "high"}"#,
            r#"{"task": "primes::count_primes", "args": [0, 10], "label": "few", "timeout": "1m"}"#,
            r#"{"task": "hog_memory", "args": [2], "retries": 1, "queue_timeout": 60, "delay": "1ms"}"#,
        ],
    );
    assert_eq!(done.code, Some(0), "{done:?}");
    let results = done.results();
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let expected = [
        json!({"id": "abc", "line": 1, "task": "sha256_file", "result": digest}),
        json!({"id": 7, "line": 2, "task": "count_primes", "result": 25}),
        json!({"line": 3, "task": "primes::count_primes", "result": 4}),
        json!({"line": 4, "task": "hog_memory", "result": 2}),
    ];
    assert_eq!(results.len(), expected.len());
    for (result, expected) in results.iter().zip(expected) {
        let mut fields = result.as_object().expect("an object").clone();
        assert!(fields.remove("pid").is_some_and(|pid| pid.is_u64()), "{result}");
        for time in ["queued_ms", "run_ms"] {
            assert!(fields.remove(time).is_some_and(|time| time.as_f64() >= Some(0.0)), "{result}");
        }
        assert_eq!(fields.remove("attempts"), Some(json!(1)));
        assert_eq!(fields.remove("status"), Some(json!("completed")));
        assert_eq!(Value::Object(fields), expected);
    }
    assert!(done.stderr.starts_with("4 jobs in "), "{}", done.stderr);
    assert!(done.stderr.contains("4 completed\n"), "{}", done.stderr);
}

#[test]
fn fields_stand_in_their_order() {
    let done = batch(&["-q"], &[r#"{"id": "x", "task": "count_primes", "args": [0, 3]}"#]);
    let fields =
        ["id", "line", "task", "status", "result", "attempts", "queued_ms", "run_ms", "pid"];
    let places = fields.map(|field| done.stdout.find(&format!("\"{field}\":")).expect(field));
    assert!(places.is_sorted(), "{}", done.stdout);
    assert_eq!(done.stderr, "");
}

#[test]
fn blank_lines_and_line_ends_do_not_matter() {
    let input = "\u{feff}\r\n\n{\"task\": \"count_primes\", \"args\": [0, 3]}\r\n  \t\n\
                 {\"task\": \"count_primes\", \"args\": [0, 4]}";
    let done = run(&["run", "-"], input);
    assert_eq!(done.code, Some(0), "{done:?}");
    let lines: Vec<_> = done.results().iter().map(|result| result["line"].as_u64()).collect();
    assert_eq!(lines, [Some(3), Some(5)]);
}

#[test]
fn an_empty_batch_is_all_good() {
    let done = run(&["run"], "");
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), ""));
    assert!(done.stderr.starts_with("0 jobs in "), "{}", done.stderr);
}

#[test]
fn results_go_to_a_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (jobs, results) = (directory.path().join("jobs"), directory.path().join("results"));
    fs::write(&jobs, "{\"task\": \"count_primes\", \"args\": [0, 10]}\n")
        .expect("it can be written");
    fs::write(&results, "of yesterday, and longer than what is written today".repeat(99))
        .expect("so can this");
    let done = run(&["run", path_text(&jobs), "--output", path_text(&results)], "");
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), ""));
    let written = results_of(&fs::read_to_string(&results).expect("it was written"));
    assert_eq!(written.len(), 1);
    assert_eq!(written[0]["result"], 4);
}

#[test]
fn a_batch_file_is_not_overwritten_by_its_results() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let jobs = directory.path().join("jobs");
    let text = "{\"task\": \"count_primes\", \"args\": [0, 10]}\n";
    fs::write(&jobs, text).expect("it can be written");
    let done = run(&["run", path_text(&jobs), "-o", path_text(&jobs)], "");
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("it is the batch file itself"), "{}", done.stderr);
    let appended = fs::OpenOptions::new().append(true).open(&jobs).expect("it is there");
    let done = atasker(&["run", path_text(&jobs)]).stdout(appended).output().expect("it runs");
    assert_eq!(done.status.code(), Some(2));
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(told.contains("standard output: it is the batch file itself"), "{told}");
    assert_eq!(fs::read_to_string(&jobs).expect("it is still there"), text);
    // By another name, and as standard input.
    let link = directory.path().join("link");
    fs::hard_link(&jobs, &link).expect("a second name");
    let done = run(&["run", path_text(&jobs), "-o", path_text(&link)], "");
    assert_eq!(done.code, Some(2), "{done:?}");
    let mut command = atasker(&["run", "-o", path_text(&jobs)]);
    let input = fs::File::open(&jobs).expect("it is there");
    let done = command.stdin(input).output().expect("the command starts");
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert_eq!(fs::read_to_string(&jobs).expect("it is still there"), text);
}

/// Results come while the input is still open: nothing waits for a full buffer on either side.
#[test]
fn standard_input_is_a_stream() {
    let mut running = Running::start(&mut atasker(&["run"]));
    for to in [10, 100, 1000] {
        running.send(&format!("{{\"task\": \"count_primes\", \"args\": [0, {to}]}}\n"));
        let result = running.result();
        assert_eq!(result["status"], "completed", "{result}");
    }
    running.close_stdin();
    assert_eq!(running.finish().code, Some(0));
}

/// One worker, and low jobs before high ones: the high ones wait for none of the low ones.
#[test]
fn urgent_jobs_go_first() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let job = Held::new(directory.path(), "pipe");
    let mut running = Running::start(&mut atasker(&["run", "-j", "1"]));
    running.send(&job.line());
    let held = job.wait_for_its_begin();
    running.send(&"{\"task\": \"hog_memory\", \"args\": [1], \"priority\": \"low\"}\n".repeat(20));
    let high = "{\"task\": \"count_primes\", \"args\": [0, 10], \"priority\": \"high\"}\n";
    running.send(&high.repeat(2));
    // It has its result when it is read, and so have been those before it.
    running.send("no job\n");
    assert_eq!(running.result()["line"], 24);
    drop(held);
    let done = running.finish();
    let lines: Vec<Value> =
        done.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let order = lines.iter().filter_map(|result| result["line"].as_u64());
    assert!(order.eq([1, 22, 23].into_iter().chain(2..=21)), "{done:?}");
}

/// With every ordinary place held by a low job, the reserve still serves a normal one.
#[test]
fn reserves_are_kept_for_their_class() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let jobs = ["one", "other"].map(|name| Held::new(directory.path(), name));
    let jobs = jobs.map(|job| job.with("priority", "low"));
    let mut running = Running::start(&mut atasker(&["run", "-j", "1", "--reserve-normal", "1"]));
    for job in &jobs {
        running.send(&job.line());
    }
    running.send("{\"task\": \"count_primes\", \"args\": [0, 10]}\n");
    assert_eq!(running.result()["line"], 3);
    jobs.into_iter().for_each(Held::release);
    let done = running.finish();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(done.results().len(), 2);
}

#[test]
fn defaults_hold_where_a_line_says_nothing() {
    let done = batch(
        &["--timeout", "100ms", "--retries", "2"],
        &[r#"{"task": "hang"}"#, r#"{"task": "hang", "timeout": "200ms", "retries": 0}"#],
    );
    let results = done.results();
    assert_eq!(results[0]["attempts"], 3);
    assert_eq!(results[1]["attempts"], 1);
    assert!(results[1]["run_ms"].as_f64() >= Some(200.0), "{}", results[1]);
}

#[test]
fn the_shipped_batch_shows_every_fate() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let file = fs::read_to_string(format!("{root}/examples/batch.jsonl")).expect("it is shipped");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let picture = directory.path().join("m.png");
    let file = file.replace("target/mandelbrot.png", path_text(&picture));
    let mut command = atasker(&["run"]);
    let done = Running::start(command.current_dir(root)).write(&file).finish();
    assert_eq!(done.code, Some(1));
    let results = done.results();
    assert_eq!(results.len(), file.lines().filter(|line| !line.is_empty()).count());
    for status in ["completed", "failed", "panicked", "crashed", "timed_out", "rejected"] {
        assert!(results.iter().any(|result| result["status"] == status), "{status}");
    }
    assert!(fs::read(picture).expect("it was drawn").starts_with(b"\x89PNG"));
}
