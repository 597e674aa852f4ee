//! Why a worker died under a task, as far as it can be told.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Condvar, OnceLock};
use std::time::{Duration, Instant};

use super::cause::ExitCause;
use super::error::PanicReport;
use super::info::Progress;
use crate::blackbox::{Backtrace, Stack};
use crate::sync::{Mutex, wait_on};
use crate::sys::fork::is_forked_child;

/// How long a report is waited for.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// `Display` shows so much of what the worker wrote; all of it is in [`CrashReport::stderr`].
const SHOWN_CHARACTERS_MAX: usize = 160;

/// That a task crashed: that its worker process died under it. Why is in the [`CrashReport`] that this derefs to.
///
/// Of a death the caller is told at once. The report can only be written when the kernel is through with the process,
/// some tenths of a millisecond later, or milliseconds if it had much memory: whoever looks into it before waits for
/// that. Then nothing of the process runs any more. But nobody waits longer than five seconds, which pass if a thread of the
/// process hangs in a system call that can't be interrupted: then the cause is [`ExitCause::Unknown`], the words say so, and
/// whoever looks again later finds the report once there is one. In a process that was forked from this one meanwhile,
/// nothing is known. Cheap to clone.
#[derive(Clone)]
pub struct Crash(Arc<Report>);

/// Who writes the report of a [`Crash`] has this.
#[derive(Debug)]
pub(crate) struct Report {
    written: OnceLock<CrashReport>,
    /// What is said as long as there is none.
    overdue: OnceLock<CrashReport>,
    pid: u32,
    ran: Duration,
    /// For who waits: nothing is behind it.
    lock: Mutex<()>,
    changed: Condvar,
}

impl Crash {
    /// That a task has crashed which had run so long in this process. Beside it what is to be written when that can be.
    pub(crate) fn pending(pid: u32, ran: Duration) -> (Self, Arc<Report>) {
        let [written, overdue] = [const { OnceLock::new() }; 2];
        let (lock, changed) = (Mutex::new(()), Condvar::new());
        let report = Arc::new(Report { written, overdue, pid, ran, lock, changed });
        (Self(Arc::clone(&report)), report)
    }

    /// The report if it has been written.
    pub(crate) fn written(&self) -> Option<&CrashReport> {
        self.0.written.get()
    }
}

impl Report {
    /// `false`: it was written before.
    pub(crate) fn write(&self, report: CrashReport) -> bool {
        let is_first = self.written.set(report).is_ok();
        // Whoever has looked before waits by now, or looks once more.
        drop(self.lock.lock());
        self.changed.notify_all();
        is_first
    }

    fn wait(&self, most: Duration) -> &CrashReport {
        let until = Instant::now() + most;
        let mut guard = self.lock.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.written.get().or_else(|| self.overdue.get()) {
                Some(report) => return report,
                None if left.is_zero() => break,
                None => guard = wait_on(&self.changed, guard, Some(left)),
            }
        }
        self.overdue.get_or_init(|| CrashReport {
            pid: self.pid,
            likely_cause: Some(format!(
                "the thread that ran the task has ended, but {most:?} later the kernel was not through with the process: \
                 another thread of it may hang in a system call"
            )),
            ..CrashReport::unknown(self.ran)
        })
    }
}

impl Deref for Crash {
    type Target = CrashReport;

    fn deref(&self) -> &CrashReport {
        static NOTHING_KNOWN: OnceLock<CrashReport> = OnceLock::new();
        match self.written() {
            Some(report) => report,
            // Whoever would write it is in the process that this one was forked from.
            None if is_forked_child() => {
                NOTHING_KNOWN.get_or_init(|| CrashReport::unknown(Duration::ZERO))
            }
            None => self.0.wait(WAIT_MAX),
        }
    }
}

impl fmt::Debug for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Everything known about why a worker died under a task.
///
/// `Display` is one paragraph: what happened, the likely cause, where, and what the worker said last.
///
/// ```no_run
/// # fn show(error: &atasker::TaskError) {
/// if let Some(crash) = error.crash() {
///     eprintln!("{crash}");
///     if let Some(backtrace) = crash.backtrace() {
///         eprintln!("{backtrace}");
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashReport {
    /// What ended the process.
    pub cause: ExitCause,
    /// The process.
    pub pid: u32,
    /// How long the task had run.
    pub ran: Duration,
    /// Why the pool itself killed the worker, if it did. `None`: it died without the pool's doing.
    pub killed_because: Option<&'static str>,
    /// By what it had too much memory, if that was why.
    pub memory_excess: Option<MemoryExcess>,
    /// What it most likely died of, in words: `it used a null pointer (address 0x8)`. `None` if nothing can be said
    /// beyond [`cause`](Self::cause).
    pub likely_cause: Option<String>,
    /// The fault or signal that a thread of it was stopped by, if it is one that is caught: not that of SIGKILL.
    /// When the stack overflows it is the fault; the process then dies by the SIGABRT that follows.
    pub fault: Option<Fault>,
    /// Panics of the task that nobody has caught, the first first: where a panic aborts.
    pub panics: Vec<PanicReport>,
    /// What the worker wrote to its standard error since the task began, at most the last 16 KiB. What was
    /// written in the last moments before may be among it: it is cut where this process reads it.
    pub stderr: String,
    /// The last of what the task left by [`breadcrumb!`](crate::breadcrumb), the oldest first.
    pub breadcrumbs: Vec<String>,
    /// The last of what the task told [`progress`](crate::progress).
    pub progress: Option<Progress>,
    /// The arguments, to be told from others.
    pub arguments: Option<ArgumentsInfo>,
    /// The most memory, in bytes, that the worker had in RAM, in all its life. `None` if the kernel does not tell: of a
    /// process that was killed it does only if that had more than this program had when it was started.
    pub peak_memory: Option<u64>,
    /// What the worker used of processors in all its life, on whatever tasks.
    pub cpu_time: Option<Duration>,
    /// The stack of the thread that crashed, if that left a [`fault`](Self::fault).
    pub stack: Option<Stack>,
}

/// What a thread was stopped by before its process died.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The number of the signal.
    pub signal: i32,
    /// What kind of fault it was, in words: `nothing is mapped at the address`. `None` if it says no more than
    /// the signal.
    pub kind: Option<&'static str>,
    /// Of a fault of memory: the address that was used. Of another fault: that of the instruction.
    pub address: Option<u64>,
    /// The process that sent the signal, if one did.
    pub sender: Option<u32>,
    /// The name of the thread.
    pub thread: String,
}

/// By what a limit of memory was exceeded, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryExcess {
    /// The limit.
    pub allowed: u64,
    /// What the worker was found to have; for a task's limit, what it had taken since the task began.
    pub used: u64,
}

/// The arguments of a call, as far as a report has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArgumentsInfo {
    /// Their length when encoded, without shared buffers.
    pub bytes: u64,
    /// A digest (FNV-1a) of their length and their first MiB, by which equal ones are recognised.
    pub digest: u64,
}

impl ArgumentsInfo {
    pub(crate) fn of(arguments: &[u8]) -> Self {
        const DIGESTED_BYTES_MAX: usize = 1 << 20;
        let bytes = arguments.len() as u64;
        let digested = &arguments[..arguments.len().min(DIGESTED_BYTES_MAX)];
        let all = bytes.to_le_bytes().into_iter().chain(digested.iter().copied());
        let digest = all.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { bytes, digest }
    }
}

impl CrashReport {
    /// Of a worker of which nothing is known any more.
    pub(crate) fn unknown(ran: Duration) -> Self {
        Self {
            cause: ExitCause::Unknown,
            pid: 0,
            ran,
            killed_because: None,
            memory_excess: None,
            likely_cause: None,
            fault: None,
            panics: Vec::new(),
            stderr: String::new(),
            breadcrumbs: Vec::new(),
            progress: None,
            arguments: None,
            peak_memory: None,
            cpu_time: None,
            stack: None,
        }
    }

    /// The functions on the stack of the thread that crashed, the innermost first, down to the task's. See
    /// [`Stack::backtrace`] for what the first call costs.
    pub fn backtrace(&self) -> Option<&Backtrace> {
        self.stack.as_ref().map(Stack::backtrace)
    }

    /// What `Display` says before it looks at the stack: for logs, whose threads must not read debug information.
    pub(crate) fn without_place(&self) -> impl fmt::Display {
        fmt::from_fn(|f| self.write(f, None))
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, place: Option<&dyn fmt::Display>) -> fmt::Result {
        let Self { pid, cause, ran, .. } = self;
        write!(f, "crashed: its worker process {pid} {cause} after {ran:.1?}")?;
        if let Some(why) = self.killed_because {
            write!(f, ", by the pool itself, because {why}")?;
        }
        if let Some(MemoryExcess { allowed, used }) = self.memory_excess {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            write!(f, " ({:.1} of {:.1} MiB)", mib(used), mib(allowed))?;
        }
        if let Some(likely) = &self.likely_cause {
            write!(f, ": {likely}")?;
        }
        if let Some(place) = place {
            write!(f, ", in {place}")?;
        }
        if let Some(Progress { done, total }) = self.progress {
            write!(f, "; it had done {done} of {total}")?;
        }
        if let Some(crumb) = self.breadcrumbs.last() {
            write!(f, "; its last breadcrumb: {}", one_line(crumb))?;
        }
        match last_line(&self.stderr) {
            Some(line) => write!(f, "; the last it wrote: {}", one_line(line)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for CrashReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let culprit = self.backtrace().and_then(Backtrace::culprit);
        self.write(f, culprit.map(|frame| frame as &dyn fmt::Display))
    }
}

fn last_line(text: &str) -> Option<&str> {
    // What Rust says below every panic is no news.
    let is_news = |line: &&str| !line.is_empty() && !line.starts_with("note: ");
    text.lines().map(str::trim).rfind(is_news)
}

/// What a stranger wrote, so that it can't take more of a paragraph than is its due.
fn one_line(text: &str) -> String {
    let mut characters = flat(text);
    let mut shown: String = characters.by_ref().take(SHOWN_CHARACTERS_MAX).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// The text on one line: one space for each row of spaces, of line breaks, and of what a terminal would obey.
pub(super) fn flat(text: &str) -> impl Iterator<Item = char> {
    let blank = |character: char| character.is_whitespace() || character.is_control();
    let words = text.split(blank).filter(|word| !word.is_empty());
    words
        .enumerate()
        .flat_map(|(index, word)| (index > 0).then_some(' ').into_iter().chain(word.chars()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::faults;

    #[test]
    fn a_fork_does_not_wait_for_a_report() {
        crate::sys::fork::watch();
        let (crash, report) = Crash::pending(1, Duration::ZERO);
        assert!(faults::ask_fork(|| crash.cause == ExitCause::Unknown));
        let cause = ExitCause::Code(3);
        let written = report.write(CrashReport { cause, ..CrashReport::unknown(Duration::ZERO) });
        assert!(written && crash.cause == cause);
        assert!(faults::ask_fork(|| crash.cause == cause));
    }

    #[test]
    fn a_report_is_not_waited_for_without_end() {
        let (crash, report) = Crash::pending(7, Duration::from_secs(3));
        let overdue = crash.0.wait(Duration::from_millis(10));
        assert_eq!((overdue.cause, overdue.pid), (ExitCause::Unknown, 7));
        // Nobody waits a second time.
        let said = crash.to_string();
        assert!(said.starts_with("crashed: its worker process 7 ended"), "{said}");
        assert!(said.contains("10ms later the kernel was not through with the process"), "{said}");
        let cause = ExitCause::Code(3);
        let (other, written_later) = Crash::pending(8, Duration::ZERO);
        let writer = std::thread::spawn(move || {
            // So that it is waited for by then.
            std::thread::sleep(Duration::from_millis(20));
            written_later.write(CrashReport { cause, ..CrashReport::unknown(Duration::ZERO) })
        });
        assert_eq!(other.cause, cause);
        assert!(writer.join().expect("it does not panic"));
        assert!(report.write(CrashReport { cause, ..CrashReport::unknown(Duration::ZERO) }));
        assert_eq!(crash.cause, cause, "it is found once it is there");
    }

    #[test]
    fn what_is_not_to_be_printed_is_a_space() {
        let cases =
            [("a\n  b", "a b"), ("\u{7}a\tb\r\n", "a b"), ("a\n\n\nb c", "a b c"), ("é", "é")];
        for (text, shown) in cases {
            assert_eq!(flat(text).collect::<String>(), shown, "{text:?}");
        }
    }

    #[test]
    fn a_report_is_one_paragraph_whatever_was_written() {
        let report = CrashReport {
            cause: ExitCause::Signal(11),
            pid: 7,
            likely_cause: Some("it used a null pointer (address 0x8)".to_owned()),
            stderr: format!("many\nlines\n\u{7}{}\nnote: run with\n\n", "long".repeat(100)),
            breadcrumbs: vec!["one".to_owned(), "two\nlines".to_owned()],
            progress: Some(Progress { done: 3, total: 4 }),
            ..CrashReport::unknown(Duration::from_millis(1500))
        };
        assert_eq!(
            report.to_string(),
            format!(
                "crashed: its worker process 7 was killed by signal 11 (SIGSEGV) after 1.5s: it used a null \
                 pointer (address 0x8); it had done 3 of 4; its last breadcrumb: two lines; the last it wrote: {}…",
                "long".repeat(40)
            )
        );
    }

    #[test]
    fn arguments_are_told_apart_by_length_and_content() {
        let digests =
            [&b""[..], b"\0", b"a", b"b", b"ab"].map(|bytes| ArgumentsInfo::of(bytes).digest);
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
        assert_eq!(ArgumentsInfo::of(b"ab"), ArgumentsInfo::of(b"ab"));
    }
}
