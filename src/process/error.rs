//! Why a worker did not start.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::protocol::CANNOT_START;
use crate::sys::process::has_procfs;
use crate::task::cause::ExitCause;

/// Why worker processes can't be started, or why one of them ended before it was ready.
///
/// ```
/// # use atasker::WorkerStartError;
/// fn advise(error: &WorkerStartError) -> &'static str {
///     match error {
///         WorkerStartError::NoEntry => "the program needs one more line",
///         WorkerStartError::Initialiser { .. } => "a #[worker_init] function failed",
///         _ => "see the message",
///     }
/// }
/// # assert_eq!(advise(&WorkerStartError::NoEntry), "the program needs one more line");
/// ```
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerStartError {
    /// The program would not become a worker if it started itself again.
    #[error(
        "this program can't start itself as a worker, because it does not say where it becomes one: make \
         `atasker::worker::run_if_spawned();` the first line of `main`, or put `#[atasker::main]` on it; \
         under `cargo test` write `atasker::test_worker!();` once in the test crate"
    )]
    NoEntry,
    /// This process is a worker itself, and workers start no workers.
    #[error(
        "a worker process can't start workers of its own: submit from the program that started it"
    )]
    InsideWorker,
    /// The operating system did not start the program.
    #[error("can't start the worker program `{program}`: {source}{}", advice(source))]
    Spawn {
        /// The program.
        program: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The program ended, or did something else, without ever becoming a worker.
    #[error("`{program}` {status} without becoming a worker{}{}", why_not(*status), tail(stderr))]
    NotAWorker {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitCause,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// It was not ready in time, and was killed.
    #[error(
        "`{program}` was not ready as a worker after {waited:?}: if it never becomes one, make \
         `atasker::worker::run_if_spawned();` the first line of its `main`; if its initialisers take that long, \
         raise `start_timeout`{}",
        tail(stderr)
    )]
    TimedOut {
        /// The program.
        program: String,
        /// The deadline that passed.
        waited: Duration,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// It became a worker and ended before it was ready.
    #[error("the worker `{program}` {status} while it was starting{}", tail(stderr))]
    Died {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitCause,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// The program was built with another version of this library.
    #[error(
        "`{program}` was built with atasker {theirs}, this program with atasker {ours}: build both with the \
         same version"
    )]
    Version {
        /// The program.
        program: String,
        /// The version of this library here, and its protocol's.
        ours: String,
        /// The version of the library in the program, and its protocol's.
        theirs: String,
    },
    /// An initialiser failed or panicked, or the worker could not be set up.
    #[error("the worker `{program}` could not be initialised: {reason}{}", tail(stderr))]
    Initialiser {
        /// The program.
        program: String,
        /// What it said.
        reason: String,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// What came back was no handshake.
    #[error("`{program}` broke the handshake of a worker: {what}{}", tail(stderr))]
    Handshake {
        /// The program.
        program: String,
        /// What was wrong.
        what: String,
        /// The end of what it wrote to its standard error.
        stderr: String,
    },
    /// This process lacks threads, descriptors or memory for one more worker.
    #[error("no resources for one more worker: {source}{}", advice(source))]
    Resources {
        /// What the operating system said.
        source: Arc<io::Error>,
    },
}

/// What the status tells of a program that has not become a worker.
fn why_not(status: ExitCause) -> &'static str {
    match status {
        ExitCause::Code(CANNOT_START) => ", which it tried: what it lacked stands below",
        _ => ": is `atasker::worker::run_if_spawned();` the first line of its `main`?",
    }
}

fn advice(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    let number = Errno::from_io_error(error);
    if number == Some(Errno::TOOBIG) {
        return "; the environment and the arguments of this program are too large to be handed on: no variable may have \
                more than 128 KiB, and all together no more than a quarter of `ulimit -s`";
    }
    if number == Some(Errno::NOENT) && !has_procfs() {
        return "; it is found in /proc, which is not mounted here";
    }
    if number == Some(Errno::MFILE) {
        return "; this process has too many files open: use fewer workers, or raise `ulimit -n`";
    }
    if number == Some(Errno::NFILE) {
        return "; the machine has too many files open: use fewer workers, or raise `fs.file-max`";
    }
    match error.kind() {
        io::ErrorKind::NotFound => "; is it built, and is the path right?",
        io::ErrorKind::PermissionDenied => "; may it be executed?",
        io::ErrorKind::WouldBlock => {
            "; there are too many processes or threads: use fewer workers, or raise `ulimit -u` or the limit of \
             the control group (`pids.max`)"
        }
        io::ErrorKind::OutOfMemory => "; there is too little memory: use fewer workers",
        io::ErrorKind::Unsupported => {
            "; the kernel, or what stands before it (a sandbox, Valgrind), lacks what worker processes need: `atasker \
             doctor` says what"
        }
        _ => "",
    }
}

/// What is said of the end of a standard error.
pub(super) fn tail(stderr: &str) -> String {
    match stderr.trim_end() {
        "" => String::new(),
        stderr => format!("; its standard error ends with:\n{stderr}"),
    }
}

/// The message: `unwrap` and a `main` that returns it print this form.
impl std::fmt::Debug for WorkerStartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_is_lacking_is_told_with_what_to_do() {
        for (errno, advice) in [
            (Errno::MFILE, "`ulimit -n`"),
            (Errno::NFILE, "`fs.file-max`"),
            (Errno::AGAIN, "`ulimit -u`"),
            (Errno::NOMEM, "too little memory"),
            (Errno::NOENT, "is the path right"),
            (Errno::TOOBIG, "128 KiB"),
            (Errno::ACCESS, "may it be executed"),
            (Errno::NOSYS, "`atasker doctor` says"),
        ] {
            let source = Arc::new(io::Error::from(errno));
            let spawn =
                WorkerStartError::Spawn { program: "x".into(), source: Arc::clone(&source) };
            let resources = WorkerStartError::Resources { source };
            for text in [spawn.to_string(), resources.to_string()] {
                assert!(text.contains(advice), "{text}");
            }
        }
    }
}
