//! Many jobs: none is lost, whatever the others do, and their number costs no memory.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::support::{Running, atasker, run};

/// The ways to die. The last field says what becomes of the job.
const DEATHS: [(&str, &str); 7] = [
    (r#"{"task": "segfault"}"#, "crashed"),
    (r#"{"task": "abort"}"#, "crashed"),
    (r#"{"task": "stack_overflow"}"#, "crashed"),
    (r#"{"task": "exit", "args": [0]}"#, "crashed"),
    (r#"{"task": "exit", "args": [3]}"#, "crashed"),
    (r#"{"task": "panic", "args": ["one of a hundred"]}"#, "panicked"),
    (r#"{"task": "hang", "timeout": "200ms"}"#, "timed_out"),
];

#[test]
fn of_ten_thousand_jobs_a_hundred_die_and_none_is_lost() {
    let mut jobs = String::new();
    let mut expected = HashMap::new();
    for line in 1..=10_000_usize {
        if line % 100 == 50 {
            let (job, status) = DEATHS[line / 100 % DEATHS.len()];
            jobs.push_str(job);
            expected.insert(line, status);
        } else {
            write!(jobs, r#"{{"task": "count_primes", "args": [0, {line}], "id": {line}}}"#)
                .expect("it is a text");
        }
        jobs.push('\n');
    }
    let done = run(&["run"], &jobs);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let results = done.results();
    assert_eq!(results.len(), 10_000, "each job has one result");
    let mut primes = 0;
    for (result, line) in results.iter().zip(1..) {
        assert_eq!(result["line"], line, "no line twice, and none missing");
        let status = expected.get(&line).copied().unwrap_or("completed");
        assert_eq!(result["status"], status, "{result}");
        assert_eq!(result["attempts"], 1, "nothing that was not to be retried ran twice: {result}");
        if status == "completed" {
            assert_eq!(result["id"], line);
            // The one before may have died, so the count may have grown by two.
            let count = result["result"].as_u64().expect("a number");
            assert!((primes..=primes + 2).contains(&count), "{result}");
            primes = count;
        } else {
            assert!(
                result["error"]["message"].as_str().is_some_and(|text| !text.is_empty()),
                "{result}"
            );
        }
    }
    assert_eq!(primes, 1229, "below 10,000");
    assert!(done.stderr.contains("9,900 completed, 100 failed"), "{}", done.stderr);
}

/// The most memory that the process has had, in KiB.
fn memory_after(jobs: usize) -> u64 {
    let mut running = Running::start(&mut atasker(&["run", "-q"]));
    // Not more at once than two pipes hold, as nobody reads while this writes.
    for _ in 0..jobs / 100 {
        running.send(&"{\"task\": \"count_primes\", \"args\": [0, 10]}\n".repeat(100));
        for _ in 0..100 {
            assert_eq!(running.result()["result"], 4);
        }
    }
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("it runs");
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is in proc(5)");
    let peak = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert_eq!(running.finish().code, Some(0));
    peak
}

#[test]
fn memory_does_not_depend_on_the_number_of_jobs() {
    let (few, many) = (memory_after(2_000), memory_after(30_000));
    // Less than 20 bytes for each further job: nothing of any of them is kept.
    assert!(many < few + 512, "{few} KiB for 2,000 jobs, {many} KiB for 30,000");
}
