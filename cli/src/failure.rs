//! What stops the command, and the codes it exits with.

use std::io;
use std::process::ExitCode;

/// The command did what it was asked to do.
pub(crate) const ALL_GOOD: u8 = 0;
/// Some jobs have failed.
pub(crate) const SOME_FAILED: u8 = 1;
/// The command could not do its work: bad options, no such file, no worker.
pub(crate) const COULD_NOT_RUN: u8 = 2;
/// Interrupted by Ctrl-C or SIGTERM.
pub(crate) const INTERRUPTED: u8 = 130;
/// Whoever read the output is gone: what a shell shows for other tools that SIGPIPE ends.
const BROKEN_PIPE: u8 = 141;

/// Why the command could not go on.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was wrong, where, and what to do.
    Told(String),
    /// Nobody reads standard output any more. Like other Unix tools, say nothing.
    BrokenPipe,
}

impl Failure {
    /// `what` could not be written.
    pub(crate) fn write(what: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Told(format!("can't write {what}: {error}"))
    }

    /// Say it on standard error.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Told(text) => {
                complain(&text);
                ExitCode::from(COULD_NOT_RUN)
            }
            Self::BrokenPipe => ExitCode::from(BROKEN_PIPE),
        }
    }
}

impl From<atasker::StartError> for Failure {
    fn from(error: atasker::StartError) -> Self {
        Self::Told(error.to_string())
    }
}

impl From<atasker::SubmitError> for Failure {
    fn from(error: atasker::SubmitError) -> Self {
        Self::Told(error.to_string())
    }
}

impl From<atasker::TaskError> for Failure {
    fn from(error: atasker::TaskError) -> Self {
        Self::Told(error.to_string())
    }
}

/// Write `text` to standard error, as coming from this command.
pub(crate) fn complain(text: &str) {
    use std::io::Write as _;
    // If standard error is gone, there is nobody left to tell.
    let _ = writeln!(io::stderr(), "atasker: {text}");
}
