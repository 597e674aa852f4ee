//! What every test needs: a watchdog, waiting for a condition, and counting what a process holds.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use atasker::{Limits, Supervisor, Transport};

pub(crate) const TRANSPORTS: [Transport; 2] = [Transport::Ring, Transport::Channel];

/// Run `body` over every transport, with what starts a supervisor of so many workers.
pub(crate) fn each_transport(body: impl Fn(&dyn Fn(u32) -> Supervisor)) {
    for transport in TRANSPORTS {
        let start = |workers| {
            let builder = Supervisor::builder().transport(transport);
            builder.processes(Limits::new(workers)).start().expect("workers start")
        };
        eprintln!("over {transport:?}");
        watched(|| body(&start));
    }
}

/// Run `body` in a process of its own, if what it counts would be disturbed by other tests. `test`: its full name.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    const ROLE: &str = "ATASKER_TEST_ALONE";
    if std::env::var_os(ROLE).is_some_and(|role| role == test) {
        return watched(body);
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this test binary"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, test)
        .output()
        .expect("the test binary starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "no test is called {test}");
}

/// What this process holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    descriptors: usize,
    threads: usize,
    /// Mappings of shared memory.
    segments: usize,
    children: Vec<u32>,
}

impl Held {
    pub(crate) fn count() -> Self {
        let count =
            |kind: &str| std::fs::read_dir(format!("/proc/self/{kind}")).expect("procfs").count();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            segments: maps.lines().filter(|line| line.contains("memfd:")).count(),
            children: children(),
        }
    }

    /// Wait until it holds this again, and no more.
    pub(crate) fn assert_again(&self) {
        let deadline = Instant::now() + PATIENCE / 2;
        loop {
            let now = Self::count();
            let Self { descriptors, threads, segments, children } = self;
            // Some may have been about to end.
            if now.descriptors <= *descriptors
                && now.threads <= *threads
                && now.segments <= *segments
                && now.children == *children
            {
                return;
            }
            assert!(Instant::now() < deadline, "{self:?} before, but now {now:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

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

#[expect(unsafe_code, reason = "signals can only be sent through libc")]
pub(crate) fn send_signal(pid: u32, signal: i32) {
    // SAFETY: kill has no preconditions.
    unsafe { libc::kill(pid as i32, signal) };
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z')
}

/// The state of a process, as ps(1) has it.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
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
