//! Processes as seen from their parent, and what a process does to itself.
#![expect(unsafe_code, reason = "rustix has no _exit, no sysconf and no clocks of other processes")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, setrlimit,
};

/// A child of this process that leads a process group of its own.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Code(i32),
    Signal(i32),
    /// Somebody else in this process has asked first, and only one may know.
    Unknown,
}

impl Child {
    /// Take charge of a child that was just started. If that fails, it is killed.
    pub(crate) fn adopt(child: &mut std::process::Child) -> io::Result<Self> {
        let raw = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = raw.ok_or_else(|| io::Error::other("a child without a pid"))?;
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Readable as soon as the child has ended.
    pub(crate) fn as_pidfd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The CPU time of all threads of the child, ended ones too. `None` once it has ended.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let mut clock = 0;
        // SAFETY: the place that it writes to lives.
        let failed =
            unsafe { libc::clock_getcpuclockid(self.pid.as_raw_nonzero().get(), &raw mut clock) };
        let used = (failed == 0).then(|| read_clock(clock)).flatten()?;
        // Its number may belong to another process only once the pidfd says that it has ended.
        let mut ended = [rustix::event::PollFd::new(&self.pidfd, rustix::event::PollFlags::IN)];
        let now = Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 });
        let has_ended = rustix::event::poll(&mut ended, now).map_or(true, |ready| ready > 0);
        (!has_ended).then_some(used)
    }

    /// SIGKILL to the child and everything in its group.
    ///
    /// To be called before `reap` only: until then its number, which is the group's as well, can't
    /// belong to anybody else. Should somebody else have reaped it, the pidfd knows and nothing is sent.
    pub(crate) fn kill_group(&self) {
        if rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL).is_ok() {
            // The child may have left its group; its pidfd was signalled above.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// How the child ended, of which the pidfd has told. Never waits.
    pub(crate) fn reap(&self) -> Status {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options)
        }) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Status::Code(code),
                (None, Some(signal)) => Status::Signal(signal),
                (None, None) => Status::Unknown,
            },
            Ok(None) | Err(_) => Status::Unknown,
        }
    }
}

/// The CPU time of all threads of this process.
pub(crate) fn cpu_time() -> Duration {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID).expect("every process has this clock")
}

fn read_clock(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place that it writes to lives.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    (failed == 0).then_some(Duration::new(seconds.ok()?, nanoseconds.ok()?))
}

/// How many cores a process can use at the most, whatever it may use now.
pub(crate) fn cores_max() -> u32 {
    // SAFETY: sysconf has no preconditions.
    let cores = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    u32::try_from(cores).unwrap_or(0).max(1)
}

/// The process that started this one, or that has taken it over.
pub(crate) fn parent_pid() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

/// Die when the thread that started this process ends. To be followed by a look at `parent_pid`: the
/// parent may have ended before.
pub(crate) fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Have no crash of this process leave a core dump.
///
/// A soft limit of one byte, not of none: too little for a file, and, unlike zero, it also keeps the kernel from starting
/// a program that takes dumps from a pipe (core(5); `do_coredump` in the kernel). To be not dumpable at all
/// (`PR_SET_DUMPABLE`) would give the process's entries in procfs to root, which hides it from its coordinator.
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    let maximum = getrlimit(Resource::Core).maximum;
    let current = Some(maximum.map_or(1, |maximum| maximum.min(1)));
    Ok(setrlimit(Resource::Core, Rlimit { current, maximum })?)
}

/// Let allocations fail with which this process would have more than so many bytes of address space. What is there
/// already stays.
pub(crate) fn limit_address_space(bytes: u64) -> io::Result<()> {
    let maximum = getrlimit(Resource::As).maximum;
    let current = Some(maximum.map_or(bytes, |maximum| maximum.min(bytes)));
    Ok(setrlimit(Resource::As, Rlimit { current, maximum: current })?)
}

/// The process whose socket is at the other end of the standard input, if that is a socket at all.
pub(crate) fn peer_of_stdin() -> Option<u32> {
    let peer = rustix::net::sockopt::socket_peercred(rustix::stdio::stdin()).ok()?;
    Some(peer.pid.as_raw_nonzero().get().unsigned_abs())
}

/// SIGKILL to the own process group, this process included. Allocates nothing and takes no locks.
pub(crate) fn kill_own_group() -> ! {
    let _ = rustix::process::kill_current_process_group(Signal::KILL);
    exit_now(1)
}

/// End at once: no exit handlers, nothing flushed.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions; nothing of this process runs after it.
    unsafe { libc::_exit(code) }
}
