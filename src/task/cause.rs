//! How a process came to its end: plain data, for reports and errors.

use std::fmt;

/// How a process ended.
///
/// ```
/// use atasker::ExitCause;
/// assert_eq!(ExitCause::Signal(11).to_string(), "was killed by signal 11 (SIGSEGV)");
/// assert_eq!(ExitCause::Code(3).to_string(), "exited with code 3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitCause {
    /// A signal killed it.
    Signal(i32),
    /// It exited with a code.
    Code(i32),
    /// Nobody can tell: something else in this process has waited for all children, the process was not gone in time, or
    /// this is a fork.
    Unknown,
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was killed by signal {signal} ({name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Unknown => f.write_str("ended for an unknown cause"),
        }
    }
}

/// The usual name of a signal. The numbers are those of Linux on x86-64, ARM, RISC-V and POWER (signal(7)).
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}
