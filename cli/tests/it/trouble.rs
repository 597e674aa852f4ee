//! Jobs that fail, each in its own way, and lines that are no jobs.

use std::fs;

use serde_json::{Value, json};

use crate::support::{batch, run};

/// One job fails like this, and the next one is served.
fn check(job: &Value, status: &str, kind: &str, examine: impl FnOnce(&Value)) {
    let next = r#"{"task": "count_primes", "args": [0, 10]}"#;
    let done = batch(&["-j", "1"], &[&job.to_string(), next]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let results = done.results();
    assert_eq!(results.len(), 2, "{done:?}");
    let result = &results[0];
    assert_eq!(result["status"], status, "{result}");
    assert_eq!(result["error"]["kind"], kind, "{result}");
    assert!(result.get("result").is_none(), "{result}");
    examine(result);
    assert_eq!(results[1]["result"], 4);
    let named = format!(
        "  line 1, {}: {}",
        job["task"].as_str().expect("a name"),
        status.replace('_', " ")
    );
    assert!(done.stderr.contains(&named), "{}", done.stderr);
}

fn check_crash(job: &Value, kind: &str, field: &str, value: i32, stderr: &str) {
    check(job, "crashed", kind, |result| {
        let error = result["error"].as_object().expect("an object");
        assert_eq!(error[field], value, "{result}");
        let other = if field == "signal" { "exit_code" } else { "signal" };
        assert!(!error.contains_key(other), "{result}");
        match stderr {
            "" => assert!(!error.contains_key("stderr"), "{result}"),
            part => assert!(
                error["stderr"].as_str().is_some_and(|text| text.contains(part)),
                "{result}"
            ),
        }
        assert_eq!(result["attempts"], 1);
        assert!(result["pid"].as_u64().is_some());
    });
}

#[test]
fn segfault() {
    check_crash(&json!({"task": "segfault"}), "signal", "signal", 11, "");
}

#[test]
fn a_crash_is_told_with_its_cause_and_place() {
    check(&json!({"task": "segfault"}), "crashed", "signal", |result| {
        assert!(result["error"]["crash"].get("backtrace").is_none(), "{result}");
    });
    let job = r#"{"task": "segfault"}"#;
    let done = batch(&["--backtraces"], &[job]);
    let told = |result: &Value| {
        let crash = &result["error"]["crash"];
        let text = |name: &str| crash[name].as_str().unwrap_or_default();
        assert!(text("likely_cause").contains("null pointer"), "{result}");
        assert!(text("address").starts_with("0x") && !text("fault").is_empty(), "{result}");
        let frames = crash["backtrace"].as_array().expect("a list");
        let is_task =
            |frame: &Value| frame.as_str().is_some_and(|frame| frame.contains("segfault"));
        assert!(frames.iter().any(is_task), "{result}");
        assert!(crash["arguments_digest"].is_string() && crash["ran_ms"].is_f64(), "{result}");
    };
    told(&done.results()[0]);
}

#[test]
fn a_timeout_is_told_with_the_place_of_the_soft_one() {
    let job = r#"{"task": "hang", "soft_timeout": 0.3, "timeout": 1.0}"#;
    for (options, shown) in [(&["--backtraces"][..], true), (&[], false)] {
        let result = &batch(options, &[job]).results()[0];
        assert_eq!(result["error"]["kind"], "timeout", "{result}");
        let frames = result["error"]["backtrace"].as_array();
        let is_task = |frame: &Value| frame.as_str().is_some_and(|it| it.contains("hang"));
        assert_eq!(frames.is_some_and(|frames| frames.iter().any(is_task)), shown, "{result}");
    }
}

#[test]
fn abort() {
    check_crash(&json!({"task": "abort"}), "signal", "signal", 6, "");
}

#[test]
fn stack_overflow() {
    check_crash(&json!({"task": "stack_overflow"}), "signal", "signal", 6, "overflowed its stack");
}

#[test]
fn exit() {
    check_crash(&json!({"task": "exit", "args": [42]}), "exit", "exit_code", 42, "");
    check_crash(&json!({"task": "exit", "args": {"code": 0}}), "exit", "exit_code", 0, "");
}

#[test]
fn quarantine() {
    let job = json!({"task": "exit", "args": {"code": 3}, "retries": 9, "crash_limit": 2});
    let mut again = String::new();
    check(&job, "quarantined", "exit", |result| {
        assert_eq!(result["attempts"], 2, "{result}");
        assert_eq!(result["error"]["exit_code"], 3, "{result}");
        let message = result["error"]["message"].as_str().expect("a text");
        assert!(message.contains("2 workers died of it"), "{message}");
        again = result["error"]["job"].to_string();
    });
    // What is kept does the same again.
    let done = batch(&["--retries", "9", "--crash-limit", "1"], &[&again]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let result = &done.results()[0];
    assert_eq!((&result["status"], &result["attempts"]), (&json!("quarantined"), &json!(1)));
    assert_eq!(result["error"]["exit_code"], 3, "{result}");
}

#[test]
fn hang() {
    check(&json!({"task": "hang", "timeout": "300ms"}), "timed_out", "timeout", |result| {
        assert!(result["run_ms"].as_f64() >= Some(300.0), "{result}");
    });
}

#[test]
fn too_much_cpu_time() {
    let job = json!({
        "task": "count_primes", "args": [0, 1_u64 << 60], "cpu_limit": "300ms", "timeout": "1h"
    });
    check(&job, "timed_out", "cpu_limit", |result| {
        let message = result["error"]["message"].as_str().expect("a text");
        assert!(message.contains("used up its CPU time"), "{message}");
    });
}

#[test]
fn too_much_memory() {
    // So much that it is far from done when it is weighed; killed, it never comes to that.
    let job = json!({"task": "hog_memory", "args": [4096]}).to_string();
    let limited =
        json!({"task": "hog_memory", "args": [4096], "memory_limit": "64MiB"}).to_string();
    for (options, job) in [(&["--memory-limit", "64MiB"][..], job), (&[], limited)] {
        let done = batch(options, &[&job]);
        assert_eq!(done.code, Some(1), "{done:?}");
        let result = &done.results()[0];
        assert_eq!(result["status"], "crashed", "{result}");
        let message = result["error"]["message"].as_str().expect("a text");
        assert!(message.contains("more memory than its `memory_limit` ("), "{message}");
        assert!(message.ends_with(" of 64.0 MiB)"), "{message}");
        let crash = &result["error"]["crash"];
        assert_eq!(crash["memory_allowed_bytes"], 64 << 20, "{result}");
        assert!(crash["memory_used_bytes"].as_u64() > Some(64 << 20), "{result}");
        assert_eq!(crash["progress"][1], 4096, "{result}");
    }
}

#[test]
fn panic() {
    check(&json!({"task": "panic", "args": ["out of cheese"]}), "panicked", "panic", |result| {
        let message = result["error"]["message"].as_str().expect("a text");
        assert!(
            message.starts_with("out of cheese (at ") && message.contains("trouble.rs:"),
            "{message}"
        );
    });
}

#[test]
fn returned_errors() {
    check(
        &json!({"task": "sha256_file", "args": ["/no/such/file"]}),
        "failed",
        "returned_error",
        |result| {
            let message = "reading /no/such/file: No such file or directory (os error 2)";
            assert_eq!(result["error"]["message"], message);
        },
    );
}

#[test]
fn a_task_that_waits_too_long_expires() {
    let hang = r#"{"task": "hang", "timeout": "500ms"}"#;
    let late = r#"{"task": "count_primes", "args": [0, 10], "queue_timeout": "20ms"}"#;
    let done = batch(&["-j", "1"], &[hang, late]);
    let result = &done.results()[1];
    assert_eq!(result["status"], "expired", "{result}");
    assert_eq!(result["error"]["kind"], "queue_timeout");
    for field in ["attempts", "run_ms", "pid"] {
        assert!(result.get(field).is_none(), "{result}");
    }
}

#[test]
fn retries_are_counted() {
    let done = batch(&[], &[r#"{"task": "segfault", "retries": 2}"#]);
    let result = &done.results()[0];
    assert_eq!((&result["status"], &result["attempts"]), (&json!("crashed"), &json!(3)));
}

#[test]
fn wrong_arguments_say_which() {
    for (arguments, part) in [
        (json!(["zero", 10]), "argument 1 `from` (u64)"),
        (json!([1]), "missing argument `to` (u64)"),
        (json!([1, 2, 3]), "takes 2"),
        (json!({"from": 1, "too": 2}), "unknown argument `too`"),
    ] {
        check(
            &json!({"task": "count_primes", "args": arguments}),
            "rejected",
            "bad_arguments",
            |result| {
                assert!(
                    result["error"]["message"].as_str().is_some_and(|text| text.contains(part)),
                    "{result}"
                );
                assert!(result.get("attempts").is_none(), "it never ran: {result}");
            },
        );
    }
}

#[test]
fn unknown_tasks_get_near_names() {
    check(&json!({"task": "sha256file", "args": []}), "rejected", "unknown_task", |result| {
        let message = result["error"]["message"].as_str().expect("a text");
        assert!(message.contains("did you mean `sha256_file`"), "{message}");
    });
}

#[test]
fn bad_lines_are_results_and_the_rest_goes_on() {
    let lines = [
        r#"{"task": "count_primes", "args": [0, 10]}"#,
        "no job",
        r#"{"task": "count_primes", "args": [0, 10], "id": "when", "when": "now"}"#,
        r#"["count_primes"]"#,
        r#"{"task": "count_primes", "args": 10}"#,
        r#"{"args": []}"#,
        r#"{"task": "count_primes", "args": [0, 10]}"#,
    ];
    let done = batch(&[], &lines);
    assert_eq!(done.code, Some(1));
    let results = done.results();
    assert_eq!(results.len(), lines.len());
    for (line, part) in [
        (2, "not JSON: "),
        (3, "unknown key `when`; a job may have task, args, id"),
        (4, "a job is a JSON object such as"),
        (5, "`args` must be an array"),
        (6, "`task` is missing"),
    ] {
        let result = &results[line - 1];
        assert_eq!(result["line"], line);
        assert_eq!(
            (&result["status"], &result["error"]["kind"]),
            (&json!("rejected"), &json!("bad_line"))
        );
        assert!(
            result["error"]["message"].as_str().is_some_and(|text| text.starts_with(part)),
            "{result}"
        );
    }
    assert_eq!(results[2]["id"], "when");
    assert_eq!(results[6]["result"], 4);
    assert!(done.stderr.contains("2 completed, 5 failed"), "{}", done.stderr);
}

#[test]
fn many_failures_are_not_all_named() {
    let done = batch(&[], &["x"; 25]);
    assert_eq!(done.stderr.matches("\n  line ").count(), 10, "{}", done.stderr);
    assert!(done.stderr.ends_with("\n  and 15 more\n"), "{}", done.stderr);
}

#[test]
fn what_can_not_run_exits_with_2() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let here = directory.path().display().to_string();
    let missing = format!("{here}/jobs");
    let unwritable = format!("{here}/no/results");
    for (arguments, part) in [
        (vec!["run", &missing], "can't read `"),
        (vec!["run", &here], "is a directory"),
        (vec!["run", "-o", &unwritable], "can't write to `"),
        (vec!["run", "-j", "0"], "invalid value '0' for '--workers <N>'"),
        (vec!["run", "--timeout", "soon"], "`soon` is no duration"),
        (vec!["run", "--frobnicate"], "unexpected argument '--frobnicate'"),
        (vec!["frobnicate"], "unrecognized subcommand"),
    ] {
        let done = run(&arguments, "");
        assert_eq!(done.code, Some(2), "{arguments:?}");
        assert_eq!(done.stdout, "", "{arguments:?}");
        assert!(done.stderr.starts_with("atasker: "), "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{arguments:?}: {}", done.stderr);
    }
    assert!(fs::read_dir(&here).expect("it is there").next().is_none(), "nothing was written");
}
