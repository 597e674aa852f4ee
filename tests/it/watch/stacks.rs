//! Where everything stands when something hangs: the stack of each thread of this process, and what procfs tells of
//! its children.

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The signal to which a thread answers with its stack. Nothing in the tests uses it for something else.
const TELL: libc::c_int = libc::SIGUSR2;

/// How many threads have told.
static TOLD: AtomicU32 = AtomicU32::new(0);

/// Print it all to standard error. For a process that is about to abort: where the answer of a thread needs a lock that
/// it holds itself, it never comes.
pub(super) fn dump() {
    for child in super::children() {
        say(format_args!("process {child}: {}", state_of(Path::new(&format!("/proc/{child}")))));
        threads_of(child)
            .for_each(|(thread, state)| say(format_args!("  thread {thread}: {state}")));
    }
    let this = std::process::id();
    let threads: Vec<_> = threads_of(this).collect();
    for (thread, state) in &threads {
        say(format_args!("thread {thread}: {state}"));
    }
    handle_tell();
    for (thread, state) in threads {
        let told = TOLD.load(Ordering::SeqCst);
        say(format_args!("stack of thread {thread}, {state}:"));
        tell(this, thread);
        let deadline = Instant::now() + Duration::from_secs(10);
        while TOLD.load(Ordering::SeqCst) == told {
            if Instant::now() > deadline {
                say("  it does not answer");
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Print a line where it is seen: what the macros print, the test's harness keeps until the test ends, which this one
/// never does.
pub(super) fn say(line: impl Display) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// The threads of a process, each with its state.
fn threads_of(pid: u32) -> impl Iterator<Item = (u32, String)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| {
        let number = thread.file_name().to_str()?.parse().ok()?;
        Some((number, state_of(&thread.path())))
    })
}

/// Its name, state, system call with arguments, and where the kernel has it wait.
fn state_of(of: &Path) -> String {
    let text = |file| std::fs::read_to_string(of.join(file)).unwrap_or_default();
    let status = text("status");
    let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or("State: gone");
    let (name, syscall, wchan) = (text("comm"), text("syscall"), text("wchan"));
    let (state, wchan, syscall) = (state.replace('\t', " "), wchan.trim(), syscall.trim());
    format!("{} {state} in {wchan} ({syscall})", name.trim())
}

extern "C" fn on_tell(_signal: libc::c_int) {
    say(std::backtrace::Backtrace::force_capture());
    TOLD.fetch_add(1, Ordering::SeqCst);
}

#[expect(unsafe_code, reason = "handlers can only be set through libc")]
fn handle_tell() {
    let handler: extern "C" fn(libc::c_int) = on_tell;
    // SAFETY: the handler is a function for this purpose, which does what no handler should; this process ends
    // right after.
    unsafe { libc::signal(TELL, handler as libc::sighandler_t) };
}

#[expect(unsafe_code, reason = "signals can only be sent through libc")]
fn tell(process: u32, thread: u32) {
    // SAFETY: tgkill has no preconditions.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, TELL) };
}

/// Where the test below hangs.
#[inline(never)]
fn stand_still() {
    loop {
        std::thread::park();
    }
}

#[test]
fn the_watchdog_tells_where_a_test_hangs() {
    const ROLE: &str = "ATASKER_TEST_HANGS";
    if std::env::var_os(ROLE).is_some() {
        // It ends by itself, when the watchdog has long ended this process.
        let null = std::process::Stdio::null;
        let mut sleep = std::process::Command::new("sleep");
        #[expect(clippy::zombie_processes, reason = "this process does not live to wait for it")]
        let child = sleep.arg("60").stdout(null()).stderr(null()).spawn().expect("it is there");
        while super::state_of(child.id()) != Some('S') {
            std::thread::yield_now();
        }
        return super::watched(stand_still);
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this test binary"))
        .args(["watch::stacks::the_watchdog_tells_where_a_test_hangs", "--exact"])
        .env(ROLE, "1")
        .env(super::IMPATIENT, "500")
        .output()
        .expect("the test binary starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    for expected in ["hangs", "stand_still", "sleep State: S"] {
        assert!(text.contains(expected), "`{expected}` is missing: {text}");
    }
}
