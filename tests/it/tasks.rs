//! The tasks that the tests run in workers, good and bad.

use std::path::Path;
use std::time::Duration;

use atasker::{TaskResult, task, worker_init};
use serde::{Deserialize, Serialize};

#[task]
pub(crate) fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[task]
pub(crate) fn shout(text: &str) -> String {
    text.to_uppercase()
}

#[task]
pub(crate) fn length(path: &Path) -> usize {
    path.as_os_str().len()
}

#[task]
pub(crate) fn reverse(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

#[task]
pub(crate) fn nothing() {}

#[task]
pub(crate) fn pid() -> u32 {
    std::process::id()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: u32,
    pub(crate) lines: Vec<(String, f64)>,
    pub(crate) note: Option<String>,
}

#[task]
pub(crate) fn total(order: Order) -> (Order, f64) {
    let sum = order.lines.iter().map(|(_, price)| price).sum();
    (order, sum)
}

#[task]
pub(crate) fn read_file(path: &Path) -> TaskResult<String> {
    Ok(std::fs::read_to_string(path)?)
}

#[task]
pub(crate) fn fail(message: &str) -> Result<u32, String> {
    Err(message.to_owned())
}

#[task(io)]
pub(crate) fn speak(text: &str) {
    tracing::info!("{text}");
}

/// For collections.
#[task]
pub(crate) fn checked_pid(how: &str) -> TaskResult<u32> {
    match how {
        "abort" => std::process::abort(),
        "fail" => Err(atasker::TaskFailure::new("as asked").context("checking")),
        _ => Ok(std::process::id()),
    }
}

#[task]
pub(crate) fn sleep_ms(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Writes its process id to the file, then waits for the file's removal.
#[task]
pub(crate) fn hold(file: &Path) {
    publish(file, std::process::id());
    while file.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[task]
pub(crate) fn hold_and_fail(file: &Path) -> Result<(), String> {
    hold(file);
    Err("it was held".to_owned())
}

/// Write a process id to a file that is there only when all of it is.
pub(crate) fn publish(file: &Path, pid: u32) {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, pid.to_string()).expect("the test's folder is writable");
    std::fs::rename(&draft, file).expect("the test's folder is writable");
}

/// Appends a line to the file, then does what `how` says.
#[task]
pub(crate) fn note_and(file: &Path, how: &str) -> Result<u32, String> {
    use std::io::Write;
    let mut notes = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .expect("the test's folder is writable");
    notes.write_all(b"begun\n").expect("the test's folder is writable");
    match how {
        "abort" => std::process::abort(),
        "panic" => panic!("as asked"),
        "fail" => Err("as asked".to_owned()),
        "hang" => loop {
            std::thread::park();
        },
        _ => Ok(7),
    }
}

/// Appends a line to the file.
#[task]
pub(crate) fn note(file: &Path, line: &str) {
    use std::io::Write;
    let mut notes = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .expect("the test's folder is writable");
    notes.write_all(format!("{line}\n").as_bytes()).expect("the test's folder is writable");
}

/// Returns `n`, unless that is `bad`.
#[task]
pub(crate) fn die_at(n: i64, bad: i64) -> i64 {
    if n == bad {
        std::process::abort();
    }
    n
}

/// Small enough to be packed: notes the line, and waits while it says so.
#[task]
pub(crate) fn step(folder: &Path, line: &str) {
    if line == "hold" {
        return hold(&folder.join("held"));
    }
    note(&folder.join("notes"), line);
}

#[task]
pub(crate) fn die(how: &str) {
    eprintln!("about to {how}");
    match how {
        "segfault" => raise(libc::SIGSEGV),
        "null write" => null_write(),
        "abort" => std::process::abort(),
        "kill" => raise(libc::SIGKILL),
        "illegal" => raise(libc::SIGILL),
        "bus" => raise(libc::SIGBUS),
        "exit 0" => std::process::exit(0),
        "exit 42" => std::process::exit(42),
        "stack overflow" => {
            std::hint::black_box(overflow(0));
        }
        "panic" => panic!("as {}", "asked"),
        "panic with a number" => std::panic::panic_any(5_u8),
        "hang" => loop {
            std::thread::park();
        },
        other => panic!("no such death: {other}"),
    }
}

/// Appends what it was told to the file, and dies.
#[task]
pub(crate) fn note_and_die(file: &Path, how: &str) {
    note(file, how);
    std::process::abort();
}

/// Notes that it has begun, and goes on until it is asked to end. Whether it was.
#[task]
pub(crate) fn until_asked(file: &Path) -> bool {
    note(file, "begun");
    while !atasker::current().is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Uses so much CPU time, in so many threads each, and then a little more than none if it is to sleep for ever.
#[task]
pub(crate) fn burn(ms: u64, threads: u32) -> u64 {
    let burning: Vec<_> = (0..threads).map(|_| std::thread::spawn(move || burn_here(ms))).collect();
    burning.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
    ms
}

fn burn_here(ms: u64) {
    let used_ns = || {
        let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("procfs");
        let first = times.split_whitespace().next().expect("the first is the time on a core");
        first.parse::<u64>().expect("a number")
    };
    while used_ns() / 1_000_000 < ms {
        for n in 0..10_000_u64 {
            std::hint::black_box(n);
        }
    }
}

/// The same, and fails then.
#[task]
pub(crate) fn asked_then_fails(file: &Path) -> Result<(), String> {
    until_asked(file);
    Err("asked to end".to_owned())
}

#[task(soft_timeout = "100ms")]
pub(crate) fn patient(file: &Path) -> bool {
    until_asked(file)
}

#[task(cpu_limit = "100ms")]
pub(crate) fn frugal() {
    burn_here(u64::MAX);
}

/// Whether a process that it starts can be waited for.
#[task]
pub(crate) fn starts_a_process() -> Result<bool, String> {
    let status = std::process::Command::new("true").status();
    status.map(|status| status.success()).map_err(|error| error.to_string())
}

/// Declared to be borne twice.
#[task(retries = 9, retry_on(crash), crash_limit = 2)]
pub(crate) fn poison() {
    std::process::abort();
}

#[task]
pub(crate) fn die_of(numbers: atasker::SealedSlice<u64>) {
    assert_eq!(numbers.len(), 1000, "they arrive");
    std::process::abort();
}

#[expect(unsafe_code, reason = "a real null write is what is tested")]
fn null_write() {
    // SAFETY: none; the crash is the purpose.
    unsafe { std::ptr::null_mut::<u8>().write_volatile(1) };
}

#[expect(unsafe_code, reason = "signals can only be raised through libc")]
fn raise(signal: i32) {
    // Twice: at the first, the handler that Rust has for stack overflows only restores the default.
    for _ in 0..2 {
        // SAFETY: raise has no preconditions.
        unsafe { libc::raise(signal) };
    }
}

#[expect(unconditional_recursion, reason = "it is to overflow")]
fn overflow(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 512]);
    overflow(depth + 1) + page[3]
}

#[task(io)]
pub(crate) fn on_thread(a: u32, text: &str) -> String {
    format!("{text}{a} {}", std::process::id())
}

#[task(io, retries = 2, retry_on(panic, error))]
pub(crate) fn flaky(file: std::path::PathBuf, good_at: u32) -> Result<u32, String> {
    let count =
        std::fs::read_to_string(&file).map_or(0, |text| text.parse().expect("a number")) + 1;
    std::fs::write(&file, count.to_string()).expect("the test's folder is writable");
    if count < good_at { Err(format!("attempt {count}")) } else { Ok(count) }
}

/// Declared retryable, and impatient.
#[task(retries = 2, retry_on(timeout), timeout = "100ms", label = "declared")]
pub(crate) fn impatient(file: &Path) {
    drop(note_and(file, "hang"));
}

static GREETING: std::sync::OnceLock<String> = std::sync::OnceLock::new();

#[worker_init]
fn greet(data: Option<String>) -> TaskResult<()> {
    let data = data.unwrap_or_default();
    if data == "refuse" {
        return Err("the initialiser was told to refuse".into());
    }
    let broken = data.strip_prefix("die if ").is_some_and(|file| Path::new(file).exists());
    if data == "die" || broken {
        eprintln!("the initialiser dies");
        std::process::abort();
    }
    assert_ne!(data, "panic", "the initialiser panics");
    if let Some(file) = data.strip_prefix("wait for ").map(Path::new) {
        std::fs::write(file.with_extension("reached"), "")?;
        while !file.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    if data == "hang" {
        loop {
            std::thread::park();
        }
    }
    let _ = GREETING.set(data);
    Ok(())
}

#[task]
pub(crate) fn greeting() -> String {
    GREETING.get().cloned().unwrap_or_default()
}

#[task]
pub(crate) fn log_something(text: &str) {
    tracing::info!(target: "tasks::log", answer = 42, "{text}");
    log::warn!(target: "tasks::plain", "{text} by log");
}

#[task]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The open descriptors of the worker, by what they are.
#[task]
pub(crate) fn descriptors() -> Vec<String> {
    std::fs::read_dir("/proc/self/fd")
        .expect("procfs")
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|target| target.display().to_string())
        .collect()
}

#[task]
pub(crate) fn submit_inside() -> String {
    match atasker::Supervisor::builder().start() {
        Ok(_) => "started".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Says where it runs.
#[task]
pub(crate) async fn later(number: u32, text: &str) -> String {
    tokio::task::yield_now().await;
    format!("{text}{number} {}", std::thread::current().name().unwrap_or_default())
}

/// Fails until it has been called so often.
#[task(retries = 2, retry_on(error))]
pub(crate) async fn flaky_later(
    text: &str,
    counted: std::sync::Arc<std::sync::atomic::AtomicU32>,
    calls: u32,
) -> Result<String, String> {
    tokio::task::yield_now().await;
    let call = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
    if call < calls { Err(format!("attempt {call}")) } else { Ok(format!("{text} {call}")) }
}

/// Hangs in the first attempt that begins; which that is depends on how busy the machine is. Panics if two attempts
/// overlap.
#[task(timeout = "50ms", retries = 1000, retry_on(timeout))]
pub(crate) async fn hangs_once(
    counted: std::sync::Arc<std::sync::atomic::AtomicU32>,
    alive: std::sync::Arc<std::sync::atomic::AtomicU32>,
) -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    struct Alive(std::sync::Arc<AtomicU32>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    assert_eq!(alive.fetch_add(1, Ordering::SeqCst), 0, "attempts never overlap");
    let _alive = Alive(alive);
    let attempt = counted.fetch_add(1, Ordering::SeqCst) + 1;
    if attempt == 1 {
        std::future::pending::<()>().await;
    }
    attempt
}

/// Memory that is really there: every page is written to.
fn touched(bytes: u64) -> Vec<u8> {
    let mut block = Vec::with_capacity(bytes as usize);
    while (block.len() as u64) < bytes {
        let more = bytes.min(block.len() as u64 + (1 << 20));
        block.resize(more as usize, 1);
    }
    block
}

/// Take so much memory, and hold it for so long.
#[task]
pub(crate) fn eat(bytes: u64, milliseconds: u64) -> usize {
    let block = touched(bytes);
    std::thread::sleep(Duration::from_millis(milliseconds));
    std::hint::black_box(&block).len()
}

#[task(memory_limit = 100_000_000)]
pub(crate) fn eat_limited(bytes: u64, milliseconds: u64) -> usize {
    eat(bytes, milliseconds)
}

/// Take so much memory and never give it back.
#[task]
pub(crate) fn leak(bytes: u64) -> u32 {
    std::mem::forget(std::hint::black_box(touched(bytes)));
    std::process::id()
}
