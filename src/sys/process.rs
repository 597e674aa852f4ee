//! Processes as seen from their parent, and what a process does to itself.
#![expect(
    unsafe_code,
    reason = "rustix has no _exit, sysconf, clocks of other processes, getrusage or waitid with usage"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, setrlimit};

/// A child of this process that leads a process group of its own.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    lifeline: Arc<OwnedFd>,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Code(i32),
    Signal(i32),
    /// Somebody else in this process has asked first, and only one may know.
    Unknown,
}

/// What a child has used in all its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The most memory that it had in RAM. At least that of its parent when it was started.
    pub(crate) peak_memory_kib: u64,
    /// On processors.
    pub(crate) cpu_time: Duration,
}

impl Usage {
    fn of(usage: &libc::rusage) -> Self {
        let duration = |time: libc::timeval| {
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            let microseconds = u64::try_from(time.tv_usec).unwrap_or(0);
            Duration::from_secs(seconds).saturating_add(Duration::from_micros(microseconds))
        };
        Self {
            peak_memory_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
            cpu_time: duration(usage.ru_utime).saturating_add(duration(usage.ru_stime)),
        }
    }
}

/// `struct pidfd_info`
#[repr(C)]
struct PidfdInfo {
    mask: u64,
    /// What is not asked for.
    rest: [u32; 13],
    exit_code: i32,
}

/// What procfs tells of a process. `None` if it is gone, or procfs counts processes otherwise than this one does: as
/// it stands in a new pid namespace in which it was not mounted anew.
pub(crate) fn read_proc(pid: u32, file: &str) -> Option<String> {
    if !counts_as_procfs() {
        return None;
    }
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

/// Whether procfs is mounted where everybody looks for it.
pub(crate) fn has_procfs() -> bool {
    std::fs::symlink_metadata("/proc/self/exe").is_ok()
}

/// Whether a process has the same number in procfs as here.
pub(crate) fn counts_as_procfs() -> bool {
    static SAME: LazyLock<bool> = LazyLock::new(|| {
        let own = std::fs::read_link("/proc/self");
        own.is_ok_and(|own| own.as_os_str() == &*std::process::id().to_string())
    });
    *SAME
}

impl Child {
    /// Take charge of a child that was just started. If that fails, it is killed.
    ///
    /// `lifeline`: a socket at whose end the child kills itself, with its group.
    pub(crate) fn adopt(
        child: &mut std::process::Child,
        lifeline: Arc<OwnedFd>,
    ) -> io::Result<Self> {
        let raw = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = raw.ok_or_else(|| io::Error::other("a child without a pid"))?;
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd, lifeline }),
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
        (self.has_ended() == Some(false)).then_some(used)
    }

    /// Whether the child has ended. `None`: the kernel does not say.
    pub(crate) fn has_ended(&self) -> Option<bool> {
        let mut ended = [rustix::event::PollFd::new(&self.pidfd, rustix::event::PollFlags::IN)];
        let now = Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 });
        rustix::event::poll(&mut ended, now).ok().map(|ready| ready > 0)
    }

    /// Whether the kernel has begun to end the child because of a signal, one of whose threads is known to have ended. To
    /// be called before `reap` only.
    pub(crate) fn signal_death(&self) -> SignalDeath {
        signal_death(&self.stat())
    }

    /// `proc_pid_stat(5)`. Empty if it can't be read.
    fn stat(&self) -> String {
        read_proc(self.pid(), "stat").unwrap_or_default()
    }

    /// Whether somebody had stopped the child by a signal. It goes on now. A debugger that holds it goes on holding it.
    pub(crate) fn continue_if_stopped(&self) -> bool {
        // Not of another process with its number: that would have to be another child of this one, which would have to
        // be stopped, and what is sent goes by the pidfd.
        let stat = self.stat();
        // After the name, which may have anything in it (proc(5)).
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        state == Some('T') && rustix::process::pidfd_send_signal(&self.pidfd, Signal::CONT).is_ok()
    }

    /// SIGKILL to the child and everything in its group.
    ///
    /// To be called before `reap` only: until then its number, which is the group's as well, can't
    /// belong to anybody else. Should somebody else have reaped it, the pidfd knows, by which alone the group is named then
    /// (from Linux 6.9 on; before, nothing is sent).
    ///
    /// A host that has given up its rights since may send nothing to a child that has them still. That one has to do it
    /// itself.
    pub(crate) fn kill_group(&self) {
        // The child may have left its group.
        let killed = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        if killed == Err(Errno::PERM) {
            let _ = rustix::net::shutdown(&self.lifeline, rustix::net::Shutdown::Both);
        }
        let is_ours = killed.is_ok();
        if !self.kill_group_by_pidfd() && is_ours {
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// `pidfd_send_signal(2)` with `PIDFD_SIGNAL_PROCESS_GROUP`. `false`: the kernel does not know that.
    fn kill_group_by_pidfd(&self) -> bool {
        /// linux/pidfd.h
        const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;
        // SAFETY: the pidfd is open, and no structure is handed over.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                libc::SIGKILL,
                std::ptr::null::<libc::siginfo_t>(),
                PIDFD_SIGNAL_PROCESS_GROUP,
            )
        };
        result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL)
    }

    /// A signal to one thread of the child, if that has it and handles that signal: it would die of it otherwise. To be
    /// called before `reap` only.
    pub(crate) fn signal_thread(&self, thread: u32, signal: libc::c_int) {
        if self.handles(signal) {
            // SAFETY: a signal to a thread of a process that is this one's child and not reaped; if the thread is
            // another's, nothing is sent.
            unsafe {
                libc::syscall(libc::SYS_tgkill, self.pid.as_raw_nonzero().get(), thread, signal)
            };
        }
    }

    /// `SigCgt` of `proc_pid_status(5)`.
    fn handles(&self, signal: libc::c_int) -> bool {
        let caught = read_proc(self.pid(), "status").and_then(|status| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        });
        caught.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    }

    /// How the child ended, of which the pidfd has told, and what it has used. Never waits.
    ///
    /// Should somebody else in this process have asked first, the pidfd may know (from Linux 6.15 on), but not what
    /// was used.
    pub(crate) fn reap(&self) -> (Status, Option<Usage>) {
        match self.wait() {
            Some((status, usage)) => (status, Some(usage)),
            None => (self.exit_information().unwrap_or(Status::Unknown), None),
        }
    }

    /// waitid(2) with the fifth argument that libc leaves out.
    fn wait(&self) -> Option<(Status, Usage)> {
        let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: both structures are this frame's, and the kernel keeps neither.
        let result = unsafe {
            libc::syscall(
                libc::SYS_waitid,
                libc::P_PIDFD,
                self.pidfd.as_raw_fd(),
                information.as_mut_ptr(),
                libc::WEXITED | libc::WNOHANG,
                usage.as_mut_ptr(),
            )
        };
        if result != 0 {
            return None;
        }
        // SAFETY: zeroed ones are valid, and the kernel wrote over them.
        let information = unsafe { information.assume_init() };
        // SAFETY: as above.
        let usage = unsafe { usage.assume_init() };
        // SAFETY: what the union has not is read as other bytes of it.
        let status = unsafe { information.si_status() };
        let status = match information.si_code {
            libc::CLD_EXITED => Status::Code(status),
            libc::CLD_KILLED | libc::CLD_DUMPED => Status::Signal(status),
            _ => return None,
        };
        Some((status, Usage::of(&usage)))
    }

    /// `PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`, linux/pidfd.h.
    fn exit_information(&self) -> Option<Status> {
        const PIDFD_INFO_EXIT: u64 = 1 << 3;
        /// In its first version.
        const PIDFD_GET_INFO: libc::Ioctl = libc::_IOWR::<PidfdInfo>(0xff, 11);
        let mut information = PidfdInfo { mask: PIDFD_INFO_EXIT, rest: [0; 13], exit_code: 0 };
        // SAFETY: the structure is this frame's and of the size that the request says.
        let result =
            unsafe { libc::ioctl(self.pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut information) };
        if result != 0 || information.mask & PIDFD_INFO_EXIT == 0 {
            return None;
        }
        // As wait(2) has it.
        let (signal, code) = (information.exit_code & 0x7f, information.exit_code >> 8 & 0xff);
        Some(if signal == 0 { Status::Code(code) } else { Status::Signal(signal) })
    }
}

/// By what the kernel calls itself. Where it does not, it is taken for older.
pub(crate) fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.trim().parse().ok());
    let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found >= (major, minor)
}

/// The current thread's, as the kernel numbers them. Safe in a signal handler.
pub(crate) fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// The most memory that this process has had in RAM so far, in KiB. (Of a process that was just started that is its
/// parent's: see `setmax_mm_hiwater_rss` in the kernel's `exec_mmap`.)
pub(crate) fn peak_memory_kib() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the usage is this frame's.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: a zeroed usage is valid, and the kernel wrote over it.
    let usage = unsafe { usage.assume_init() };
    u64::try_from(usage.ru_maxrss).unwrap_or(0)
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

/// Have the current thread never take a core from another only because it was woken (`SCHED_BATCH`, sched(7)), unless it
/// runs in a special way already.
pub(crate) fn never_preempt() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: no preconditions.
    let present = unsafe { libc::sched_getscheduler(0) };
    if present == libc::SCHED_OTHER {
        // SAFETY: the parameters are this frame's. A failure leaves the thread as it is.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    }
}

/// Die when the thread that started this process ends, with all of the own process group. To be followed by a look at
/// `parent_pid`: the parent may have ended before.
///
/// Not by SIGKILL, which would leave the group behind. A program that this process becomes (`exec`) has no handler, and
/// dies of the signal alone.
pub(crate) fn die_with_parent() -> io::Result<()> {
    extern "C" fn on_parent_gone(
        _signal: libc::c_int,
        _about: *mut libc::siginfo_t,
        _context: *mut libc::c_void,
    ) {
        kill_own_group();
    }
    // In the middle, beside the one that inquires.
    let number = libc::SIGRTMIN() + 14;
    super::crash::handle(number, on_parent_gone, libc::SA_RESTART)?;
    // SAFETY: no preconditions.
    let failed = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, number) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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

/// Whether a signal ends a process that is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalDeath {
    No,
    /// It ends the first thread, perhaps because another is about to run a new program in its place.
    Possible,
    Certain,
}

/// The flag of a thread that a signal ends (`PF_SIGNALED` in the kernel).
const SIGNALED: u32 = 0x400;

/// Whether a signal ends the process that this is the `proc_pid_stat(5)` of.
fn signal_death(stat: &str) -> SignalDeath {
    // After the name, which may have anything in it.
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    // `exit_code`, the last field. It stands before the thread gives anything up (`do_exit` in the kernel), and is zero for
    // those who may not trace the process.
    let code = fields.last().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default() & 0x7f;
    // Of a process that is stopped it is the signal which did that. None of these ends anything.
    let stops = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let flags = fields.get(6).and_then(|flags| flags.parse::<u32>().ok()).unwrap_or_default();
    if code != 0 && !stops.contains(&code) {
        SignalDeath::Certain
    } else if flags & SIGNALED != 0 {
        SignalDeath::Possible
    } else {
        SignalDeath::No
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_that_is_stopped_does_not_die_of_that() {
        let mut command = Command::new("sleep").arg("60").spawn().expect("there is such a program");
        let (lifeline, _its_end) = crate::sys::descriptors::packet_sockets().expect("sockets");
        let child = Child::adopt(&mut command, Arc::new(lifeline));
        let child = child.expect("it is this process's");
        assert_eq!(child.signal_death(), SignalDeath::No, "it sleeps");
        let send = |signal| rustix::process::kill_process(child.pid, signal).expect("it lives");
        send(Signal::STOP);
        while !child.stat().contains(") T ") {
            std::thread::yield_now();
        }
        assert_eq!(child.signal_death(), SignalDeath::No, "it is stopped");
        assert_eq!(signal_death(""), SignalDeath::No, "it can't be read");
        send(Signal::KILL);
        while !child.stat().contains(") Z ") {
            std::thread::yield_now();
        }
        assert_eq!(child.signal_death(), SignalDeath::Certain);
        // What is seen by who may not trace it.
        let stat = child.stat();
        let (fields, _code) = stat.trim_end().rsplit_once(' ').expect("there are many");
        assert_eq!(signal_death(&format!("{fields} 0\n")), SignalDeath::Possible, "{stat}");
        command.wait().expect("it was killed");
    }
}
