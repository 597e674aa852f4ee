//! What every test needs: a watchdog, waiting for a condition, and counting what a process holds.

use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Run `body`; if it has not returned in two minutes, abort the whole test binary with a message, because a
/// hang is a failure too.
pub(crate) fn watched<R>(body: impl FnOnce() -> R) -> R {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let (done, ended) = mpsc::channel::<()>();
    let dog = std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("watchdog: {name} hangs");
            for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
                let text =
                    |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
                eprintln!("  {} {}", text("comm").trim(), text("wchan").trim());
            }
            std::process::abort();
        }
    });
    let answer = body();
    drop(done);
    dog.join().expect("the watchdog does not panic");
    answer
}

/// Wait until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not so after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim().starts_with('Z')))
}

/// The children of this process, by pid.
pub(crate) fn children() -> Vec<u32> {
    let mut children = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").expect("procfs").flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    children
}
