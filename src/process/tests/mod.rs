//! Worker processes in earnest: the test binary starts itself.
//!
//! What holds for every transport is tested over every transport: the tests named in
//! `on_every_transport!` are the suite that a new one has to pass. `ring` has what only the ring can do.

mod functions;
mod pool;
mod recorder;

mod calls;
mod deaths;
mod logs;
mod promises;
mod ring;
mod starts;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use pool::{Pool, config};
use recorder::{Recorder, Told};

use super::*;
use crate::codec::CodecId;
use crate::core::SignalReason;
use crate::registry::FunctionInfo;
use crate::sync::Mutex;
use crate::task::cause::ExitCause;
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::transport::frame::Outcome;
use crate::transport::{CallFrame, Fate, Link, OutcomeFrame};

crate::test_worker!();

/// Longer than anything here takes, however slow the machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// All that this build has.
const TRANSPORTS: &[Transport] = &[
    Transport::Ring,
    Transport::Channel,
    #[cfg(feature = "named-shm")]
    Transport::NamedRing,
];

/// Makes tests of these functions, one for each transport.
macro_rules! on_every_transport {
    ($($test:ident),* $(,)?) => {
        mod over_ring {
            $(#[test]
            fn $test() {
                super::$test(crate::Transport::Ring);
            })*
        }

        mod over_channel {
            $(#[test]
            fn $test() {
                super::$test(crate::Transport::Channel);
            })*
        }

        #[cfg(feature = "named-shm")]
        mod over_named_ring {
            $(#[test]
            fn $test() {
                super::$test(crate::Transport::NamedRing);
            })*
        }
    };
}
use on_every_transport;

/// Ends the process if a test hangs.
pub(super) struct Watchdog {
    /// Its end tells that the test has ended.
    _alive: std::sync::mpsc::Sender<()>,
}

impl Watchdog {
    #[track_caller]
    pub(super) fn new() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let place = std::panic::Location::caller();
        std::thread::spawn(move || {
            if receiver.recv_timeout(Duration::from_mins(5))
                == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                eprintln!("the test at {place} hangs");
                std::process::abort();
            }
        });
        Self { _alive: sender }
    }
}

/// Wait for something that nobody tells of.
#[track_caller]
pub(super) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a process is there, and not just waiting to be reaped.
pub(super) fn is_alive(pid: u32) -> bool {
    state_of(pid).is_some_and(|state| state != 'Z')
}

/// As ps(1) has it.
pub(super) fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

pub(super) fn send_signal(pid: u32, signal: rustix::process::Signal) {
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(raw, signal).expect("it lives");
}

/// Where a call of `functions::act` waits until it is let on.
pub(super) struct Gate {
    path: PathBuf,
}

impl Gate {
    pub(super) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("atasker-gate-{}-{count}", std::process::id()));
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).expect("a fifo");
        Self { path }
    }

    /// The arguments of the call that waits here.
    pub(super) fn arguments(&self) -> Vec<u8> {
        format!("wait {}", self.path.display()).into_bytes()
    }

    /// Wait until a call has come here. It goes on when the answer is dropped.
    pub(super) fn entered(&self) -> File {
        // Opening the end for writing waits for a reader.
        File::options().write(true).open(&self.path).expect("a reader comes")
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A file to which calls of `functions::act` add a line each.
pub(super) struct Notes {
    path: PathBuf,
}

impl Notes {
    pub(super) fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("atasker-notes-{}-{name}", std::process::id()));
        File::create(&path).expect("a file");
        Self { path }
    }

    /// The arguments of a call that notes that it began.
    pub(super) fn arguments(&self) -> Vec<u8> {
        format!("note {}", self.path.display()).into_bytes()
    }

    pub(super) fn count(&self) -> usize {
        lines(&self.path)
    }
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).expect("it is there").lines().count()
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
