//! What of the kernel this library builds on is there.

use std::fmt;
use std::sync::Once;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::process::memory_kills;
use crate::say::say;
use crate::sys;
use crate::sys::process::{counts_as_procfs, has_procfs};

/// Something that the kernel does for worker processes, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facility {
    /// What it is called.
    pub name: &'static str,
    /// The first Linux that has it. It may be switched off in a later one, or be forbidden where this program runs.
    pub since: &'static str,
    /// Whether it is there.
    pub is_there: bool,
    /// What is different where it is not.
    pub without: &'static str,
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, since, is_there, without } = self;
        if *is_there {
            write!(f, "{name} is there")
        } else {
            write!(f, "{name} (Linux {since}) is missing: {without}")
        }
    }
}

/// Look what this library builds on is there, and what it means where something is not.
///
/// A supervisor with worker processes does this when the first one starts, and logs what is missing as a warning. The
/// command shows it: `atasker doctor`. Costs a few system calls.
///
/// ```
/// for facility in atasker::probe() {
///     println!("{facility}");
/// }
/// ```
pub fn probe() -> Vec<Facility> {
    let facility = |name, since, is_there, without| Facility { name, since, is_there, without };
    vec![
        facility(
            "pidfd_open",
            "5.3",
            has_pidfds(),
            "no worker process can be watched, so none is started",
        ),
        facility(
            "memfd_create with seals",
            "3.17",
            has_sealed_memory(),
            "there are no rings and no shared buffers; no worker process can be started",
        ),
        facility("/proc", "2.0", has_procfs(), "no worker process can start this program again"),
        facility(
            "/proc of this pid namespace",
            "2.6.24",
            counts_as_procfs(),
            "the memory and the state of worker processes can't be seen, so no limit on them holds (mount it anew, as \
             `unshare --mount-proc` does)",
        ),
        facility(
            "futex_waitv",
            "5.16",
            sys::futex::has_wait_any(),
            "a pool with workers looks at its rings every millisecond instead of sleeping",
        ),
        facility(
            "PIDFD_SIGNAL_PROCESS_GROUP",
            "6.9",
            sys::process::kernel_is_at_least(6, 9),
            "if this program reaps our workers itself, what their tasks have started lives on when they die",
        ),
        facility(
            "the exit code in PIDFD_GET_INFO",
            "6.15",
            sys::process::kernel_is_at_least(6, 15),
            "if this program reaps our workers itself, what they died of is unknown",
        ),
        facility(
            "process_vm_readv",
            "3.2",
            sys::snapshot::can_copy_own_memory(),
            "crash reports have no stack",
        ),
        facility(
            "counts of kills for memory (memory.events, /proc/vmstat)",
            "4.18",
            memory_kills::can_be_told(),
            "a kill by the kernel for lack of memory can't be told from another",
        ),
    ]
}

/// Say what is missing, once in a process.
pub(crate) fn warn_of_what_is_missing() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        for facility in probe().into_iter().filter(|facility| !facility.is_there) {
            say!(warn, target: "atasker::supervisor", "{facility}");
        }
    });
}

fn has_pidfds() -> bool {
    pidfd_open(getpid(), PidfdFlags::empty()).is_ok()
}

fn has_sealed_memory() -> bool {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let sealed = rustix::fs::memfd_create(c"atasker-probe", flags)
        .and_then(|memory| rustix::fs::fcntl_add_seals(memory, SealFlags::GROW));
    sealed.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_says_what_that_means() {
        let missing = Facility {
            name: "futex_waitv",
            since: "5.16",
            is_there: false,
            without: "it looks every millisecond",
        };
        assert_eq!(
            missing.to_string(),
            "futex_waitv (Linux 5.16) is missing: it looks every millisecond"
        );
        assert_eq!(Facility { is_there: true, ..missing }.to_string(), "futex_waitv is there");
    }

    #[test]
    fn what_the_other_tests_need_is_found() {
        let is_there = |name: &str| {
            probe().iter().any(|facility| facility.name.starts_with(name) && facility.is_there)
        };
        assert!(is_there("pidfd_open") && is_there("memfd_create") && is_there("/proc"));
    }
}
