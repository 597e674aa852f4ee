//! What every test needs: a watchdog, waiting for a condition, and counting what a process holds.

mod stacks;

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
    apart(test, || watched(body));
}

/// Like [`alone`], but with no other watchdog than what `body` has.
pub(crate) fn apart(test: &str, body: impl FnOnce()) {
    const ROLE: &str = "ATASKER_TEST_ALONE";
    if std::env::var_os(ROLE).is_some_and(|role| role == test) {
        return body();
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this test binary"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, test)
        // The end of what a worker has written is looked at, and backtraces are long.
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("the test binary starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("1 passed"), "no test is called {test}");
}

/// Where the memory of a ring stands that has a name; behind this comes the number of the coordinator.
pub(crate) const NAMED_SEGMENT: &str = "/dev/shm/atasker-";

/// What this process holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    descriptors: usize,
    threads: usize,
    /// Mappings of shared memory.
    segments: usize,
    /// What workers need for their start in the folder for temporary files, and names of shared memory.
    files: usize,
    children: Vec<u32>,
}

impl Held {
    pub(crate) fn count() -> Self {
        let count =
            |kind: &str| std::fs::read_dir(format!("/proc/self/{kind}")).expect("procfs").count();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
        let own = format!("atasker-{}-", std::process::id());
        let folders = [std::env::temp_dir(), "/dev/shm".into()];
        let files =
            folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("it is there"));
        let is_segment = |line: &str| line.contains("memfd:") || line.contains(NAMED_SEGMENT);
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            segments: maps.lines().filter(|line| is_segment(line)).count(),
            files: files
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(&own))
                .count(),
            children: children(),
        }
    }

    /// With so many more pieces of memory, each of which has a descriptor.
    pub(crate) fn with_memory(&self, pieces: usize) -> Self {
        let Self { descriptors, segments, .. } = *self;
        let children = self.children.clone();
        Self { descriptors: descriptors + pieces, segments: segments + pieces, children, ..*self }
    }

    /// Wait until it holds this again, and no more.
    pub(crate) fn assert_again(&self) {
        let deadline = Instant::now() + patience() / 2;
        loop {
            let now = Self::count();
            let Self { descriptors, threads, segments, files, children } = self;
            // Some may have been about to end.
            if now.descriptors <= *descriptors
                && now.threads <= *threads
                && now.segments <= *segments
                && now.files <= *files
                && now.children.iter().all(|child| children.contains(child))
            {
                return;
            }
            assert!(Instant::now() < deadline, "{self:?} before, but now {now:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// Changes [`PATIENCE`], in milliseconds, for the test of the watchdog itself.
const IMPATIENT: &str = "ATASKER_TEST_PATIENCE_MS";

fn patience() -> Duration {
    let chosen = std::env::var(IMPATIENT).ok().and_then(|text| text.parse().ok());
    chosen.map_or(PATIENCE, Duration::from_millis)
}

/// How often each case of the catalogue is to be repeated: `ATASKER_TEST_ROUNDS`, once unless said.
pub(crate) fn rounds() -> u32 {
    std::env::var("ATASKER_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Say that the present test can't be done here, and why: also in the file that `ATASKER_TEST_SKIPPED` names, since what a
/// test prints that passes is lost.
pub(crate) fn skipped(why: &str) {
    use std::io::Write as _;
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped: {name}: {why}");
    if let Some(file) = std::env::var_os("ATASKER_TEST_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
        writeln!(file.expect("it can be written to"), "skipped: {name}: {why}").expect("so it can");
    }
}

/// Run `body`; if it has not returned in five minutes, say where every thread stands and abort the whole test
/// binary, because a hang is a failure too.
pub(crate) fn watched<R>(body: impl FnOnce() -> R) -> R {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let (done, ended) = mpsc::channel::<()>();
    let dog = std::thread::spawn(move || {
        if ended.recv_timeout(patience()) == Err(mpsc::RecvTimeoutError::Timeout) {
            stacks::say(format_args!("watchdog: {name} hangs"));
            stacks::dump();
            std::process::abort();
        }
    });
    let answer = body();
    drop(done);
    dog.join().expect("the watchdog does not panic");
    answer
}

/// Try with a longer and longer time that is to pass, until what has to come before has come within it: on a loaded
/// machine that needs more. `attempt` answers what it has seen then, and checks in any case what always holds.
pub(crate) fn long_enough<R>(mut attempt: impl FnMut(Duration) -> Option<R>) -> R {
    let times = [50, 500, 5_000, 50_000].map(Duration::from_millis);
    times.into_iter().find_map(&mut attempt).expect("it comes so far in the longest time")
}

/// Wait until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience();
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not so in time");
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
