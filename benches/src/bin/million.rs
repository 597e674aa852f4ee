//! What a queued task takes: a million of them behind one that keeps the only worker busy, then all of their
//! results. `cargo run --release -p atasker-benches --bin million`

use std::time::Duration;

use atasker::{TaskHandle, wait_all};
use atasker_benches::ours::{self, Transport};
use atasker_benches::work::seconds;

const TASKS: u64 = 1_000_000;
/// Longer than it takes to submit them all.
const HELD: Duration = Duration::from_secs(4);

#[atasker::main]
fn main() {
    let supervisor = ours::supervisor(1, Transport::Ring);
    let warm_up = supervisor.submit(ours::increment::call(1)).expect("accepted");
    warm_up.wait().expect("it runs");
    let ms = u64::try_from(HELD.as_millis()).expect("some seconds");
    let held = supervisor.submit(ours::hold::call(1, ms)).expect("accepted");

    let handles: Vec<TaskHandle<u64>> = Vec::with_capacity(TASKS as usize);
    let before = resident();
    let mut handles = handles;
    let submitting = seconds(|| {
        for n in 0..TASKS {
            handles.push(supervisor.submit(ours::increment::call(n)).expect("accepted"));
        }
    });
    let each = (resident() - before) / TASKS;
    assert!(!held.is_done(), "the worker is free too early for this figure");
    println!(
        "{TASKS} tasks, submitted in {submitting:.2} s: {each} bytes each, their arguments and a handle of {} \
         bytes included",
        size_of::<TaskHandle<u64>>()
    );

    held.wait().expect("it runs");
    let waiting = seconds(|| {
        for (n, result) in (0..).zip(wait_all(handles, None).expect("nothing ends it early")) {
            assert_eq!(result.expect("it runs"), n + 1);
        }
    });
    println!("all of them run by one worker within {waiting:.2} s");
}

/// The physical memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc(5)");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("proc(5)");
    let kib: u64 = line.trim_end_matches("kB").trim().parse().expect("a number");
    kib * 1024
}
