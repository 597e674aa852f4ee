//! What is done to worker processes from outside: SIGKILL, SIGSTOP, SIGCONT.
//!
//! Through a pidfd whose process was seen to be a child of this one after it was opened: numbers are used again
//! quickly, and nobody else's process may be hit.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A child of this process.
#[derive(Debug)]
pub(crate) struct Victim {
    pub(crate) pid: u32,
    handle: OwnedFd,
}

impl Victim {
    /// `None`: it is gone.
    pub(crate) fn open(pid: u32) -> Option<Self> {
        let handle = pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()?;
        let (state, parent) = state_and_parent(pid)?;
        (parent == std::process::id() && state != 'Z').then_some(Self { pid, handle })
    }

    /// Whether it was still there.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        pidfd_send_signal(&self.handle, signal).is_ok()
    }
}

/// The state of a process, as ps(1) has it, and its parent.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The children of this process, ready or not, dead or not.
pub(crate) fn children() -> Vec<u32> {
    let mut children = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").expect("procfs").flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    children
}

/// What stands still, and until when.
#[derive(Debug, Default)]
pub(crate) struct Stopped(Vec<(Instant, Victim)>);

impl Stopped {
    /// Stop it for so long.
    pub(crate) fn stop(&mut self, victim: Victim, time: Duration) {
        if victim.signal(Signal::STOP) {
            self.0.push((Instant::now() + time, victim));
        }
    }

    /// They are gone.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// Continue those whose time has come; their processes.
    pub(crate) fn continue_due(&mut self) -> Vec<u32> {
        let now = Instant::now();
        let due = self.0.extract_if(.., |(until, _)| *until <= now);
        due.map(|(_, victim)| {
            victim.signal(Signal::CONT);
            victim.pid
        })
        .collect()
    }
}
