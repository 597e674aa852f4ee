//! Starting the command, watching over it, and reading what it says.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Whatever takes longer hangs, on a busy machine too.
pub(crate) const WATCHDOG: Duration = Duration::from_mins(5);

/// The command has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// `None`: it died of a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// The results, by line of the batch file.
    pub(crate) fn results(&self) -> Vec<Value> {
        results_of(&self.stdout)
    }
}

/// Results, by line of the batch file.
pub(crate) fn results_of(text: &str) -> Vec<Value> {
    let mut results: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    results.sort_by_key(|result| result["line"].as_u64());
    results
}

/// Whoever started the tests in the background may have ignored signals, which the command would inherit and keep.
#[expect(unsafe_code, reason = "only libc sets what a signal does")]
fn ignore_no_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGTSTP] {
        // SAFETY: the default is no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The command, not started yet.
pub(crate) fn atasker(arguments: &[&str]) -> Command {
    ignore_no_signals();
    let mut command = Command::new(env!("CARGO_BIN_EXE_atasker"));
    // What a developer has set must not change what is tested.
    command
        .args(arguments)
        .env("RUST_BACKTRACE", "0")
        .env_remove("ATASKER_LOG")
        .env_remove("ATASKER_INLINE");
    command
}

/// Run it to its end, with this on standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Finished {
    Running::start(&mut atasker(arguments)).write(input).finish()
}

/// Run a batch of these lines.
pub(crate) fn batch(arguments: &[&str], lines: &[&str]) -> Finished {
    run(&[&["run"], arguments].concat(), &lines.join("\n"))
}

/// The command while it runs. Killed if the test fails.
pub(crate) struct Running {
    child: Child,
    /// Its number may belong to another process by now.
    over: Arc<AtomicBool>,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the command starts");
        let pid = pid_of(&child);
        let over = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&over);
        // Reads below would hang as long as it does.
        std::thread::spawn(move || {
            std::thread::sleep(WATCHDOG);
            if !watched.load(Ordering::SeqCst) {
                kill_process(pid, Signal::KILL).ok();
            }
        });
        Self {
            over,
            stdin: child.stdin.take(),
            stdout: child.stdout.take().map(BufReader::new),
            stderr: child.stderr.take().map(BufReader::new),
            child,
        }
    }

    /// Write all of standard input in a thread of its own: it may be more than the pipes hold.
    pub(crate) fn write(mut self, input: &str) -> Self {
        let mut stdin = self.stdin.take().expect("standard input is open");
        let input = input.to_owned();
        std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        self
    }

    /// Write something that the pipe can hold.
    pub(crate) fn send(&mut self, input: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        // A command that does not want it says so by its exit code.
        stdin.write_all(input.as_bytes()).and_then(|()| stdin.flush()).ok();
    }

    pub(crate) fn result(&mut self) -> Value {
        let line = read_line(self.stdout.as_mut().expect("standard output is open"));
        serde_json::from_str(&line).expect(&line)
    }

    /// Read standard error until a line has this in it.
    pub(crate) fn stderr_until(&mut self, part: &str) {
        let stderr = self.stderr.as_mut().expect("standard error is open");
        while !read_line(stderr).contains(part) {}
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    pub(crate) fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// Wait for its end.
    pub(crate) fn finish(mut self) -> Finished {
        self.stdin = None;
        let stdout = read_all(self.stdout.take());
        let stderr = read_all(self.stderr.take());
        let started = Instant::now();
        // Its output ends when it does, unless it left something behind that holds it.
        let stdout = stdout.recv_timeout(WATCHDOG);
        let stderr = stderr.recv_timeout(WATCHDOG.saturating_sub(started.elapsed()));
        let (Ok(stdout), Ok(stderr)) = (stdout, stderr) else { panic!("the command hangs") };
        self.over.store(true, Ordering::SeqCst);
        let status = self.child.wait().expect("it can be waited for");
        Finished { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn pid_of(child: &Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process has a number")
}

fn read_line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("text");
    assert!(!line.is_empty(), "the output has ended");
    line
}

fn read_all(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(mut from) = from {
            from.read_to_string(&mut text).expect("text");
        }
        send.send(text).ok();
    });
    receive
}

/// The processes that this one has started and that still run.
pub(crate) fn children_of(pid: Pid) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").expect("/proc is there");
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|child| parent_of(*child) == Some(pid.as_raw_nonzero().get()))
        .filter_map(Pid::from_raw)
        .collect()
}

/// The state of a process, as ps(1) has it.
pub(crate) fn state_of(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// `None` also for a process that is dead and only waits to be noticed.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may have anything in it: the state, then the parent (proc(5)).
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| state != "Z")
}

/// Do something that may hang.
pub(crate) fn watched<T: Send + 'static>(doing: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || send.send(doing()).ok());
    receive.recv_timeout(WATCHDOG).expect("it fails or hangs")
}

/// Look again and again until it is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WATCHDOG;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A job that reads from a pipe, and so goes on until somebody has opened and closed the other end, see fifo(7).
pub(crate) struct Held {
    pipe: PathBuf,
    job: Value,
}

impl Held {
    /// A pipe of this name.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let pipe = directory.join(name);
        let made = Command::new("mkfifo").arg(&pipe).status().expect("there is mkfifo");
        assert!(made.success());
        let job = json!({"task": "sha256_file", "args": [path_text(&pipe)]});
        Self { pipe, job }
    }

    /// Say more of the job.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.job[key] = value.into();
        self
    }

    pub(crate) fn line(&self) -> String {
        format!("{}\n", self.job)
    }

    /// Wait until it runs. It goes on until the file is dropped.
    pub(crate) fn wait_for_its_begin(&self) -> File {
        let pipe = self.pipe.clone();
        watched(move || File::options().write(true).open(pipe).expect("the job opens it"))
    }

    /// Let it end, should it ever begin.
    pub(crate) fn release(self) {
        std::thread::spawn(move || File::options().write(true).open(self.pipe));
    }
}

pub(crate) fn path_text(path: &Path) -> &str {
    path.to_str().expect("temporary files have plain names")
}
