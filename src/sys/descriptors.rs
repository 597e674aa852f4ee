//! Descriptors: the bell and the alarm that wake a thread from `poll`, pipes, the lifeline's sockets.
#![expect(
    unsafe_code,
    reason = "rustix has neither close_range nor signals of descriptors, and does not look for them"
)]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

/// No message carries more descriptors (`SCM_MAX_FD`, unix(7)).
pub(crate) const DESCRIPTORS_MAX: usize = 253;

/// What a socket does that has no room, or no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfNotReady {
    Wait,
    /// With [`io::ErrorKind::WouldBlock`].
    Fail,
}

/// Wakes a thread that polls. Rings that nobody heard yet are one ring.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(rustix::event::eventfd(0, flags)?))
    }

    pub(crate) fn ring(&self) {
        // The only possible failure is a counter at its limit, and then the bell is ringing already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Stop ringing. To be called before looking for the reason, so that a later ring is not lost.
    pub(crate) fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Wakes a thread that polls, but not before its time.
#[derive(Debug)]
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Instead of what it was set to before.
    pub(crate) fn set(&self, within: Duration) {
        // Zero would put it off.
        self.set_to(within.max(Duration::from_nanos(1)));
    }

    /// It neither rings nor will, unless it is set again. To be called before looking for the reason.
    pub(crate) fn silence(&self) {
        self.set_to(Duration::ZERO);
    }

    fn set_to(&self, within: Duration) {
        let [it_interval, it_value] = [Duration::ZERO, within].map(timespec);
        let value = Itimerspec { it_interval, it_value };
        // What it is set to is a time, and it is a timer.
        let _ = rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &value);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Wait until one of `fds` can be read, or has come to its end, or `until` is reached (`None`: for ever).
/// Says of each whether it is ready.
pub(crate) fn wait_readable(
    fds: &[BorrowedFd<'_>],
    until: Option<Instant>,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    loop {
        let timeout = until.map(|until| timespec(until.saturating_duration_since(Instant::now())));
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) => return Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// A pipe whose reading end does not block. The writing end does, since its writer expects so.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&read, OFlags::NONBLOCK)?;
    Ok((read, write))
}

/// Two connected sockets that keep the borders of messages.
pub(crate) fn packet_sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Send one message with descriptors through one of [`packet_sockets`]. The receiver gets duplicates. Never
/// raises SIGPIPE: a receiver that is gone is an error.
///
/// Fails with `ETOOMANYREFS` if more descriptors are on their way than this process may have open.
///
/// # Panics
///
/// If there are more than [`DESCRIPTORS_MAX`] descriptors.
pub(crate) fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    if_full: IfNotReady,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let flags = SendFlags::NOSIGNAL
        | match if_full {
            IfNotReady::Wait => SendFlags::empty(),
            IfNotReady::Fail => SendFlags::DONTWAIT,
        };
    rustix::io::retry_on_intr(|| {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
            assert!(fits, "more descriptors than one message carries");
        }
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
    })?;
    // Such a socket takes a message whole or not at all.
    Ok(())
}

/// A message that was received.
#[derive(Debug)]
pub(crate) struct Received {
    /// 0 if the other side is gone.
    pub(crate) length: usize,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// There were more descriptors, which this process could not take: it has as many as it may.
    pub(crate) is_short: bool,
}

/// Receive one message with at most `descriptors_max` descriptors.
///
/// A message that is longer, or carries more descriptors, is lost and an error; no descriptor is leaked.
pub(crate) fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors_max: usize,
    if_empty: IfNotReady,
) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let flags = RecvFlags::CMSG_CLOEXEC
        | match if_empty {
            IfNotReady::Wait => RecvFlags::empty(),
            IfNotReady::Fail => RecvFlags::DONTWAIT,
        };
    let mut descriptors = Vec::new();
    let mut receive = || {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(bytes)];
        let received = rustix::net::recvmsg(socket, &mut parts, &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                descriptors.extend(sent);
            }
        }
        Ok(received)
    };
    // Who closes such a socket with something unread in it resets it. The other side is told that once, and before
    // what had been sent to it, which can still be received.
    let received = loop {
        match receive() {
            Err(Errno::INTR | Errno::CONNRESET) => {}
            received => break received?,
        }
    };
    if received.flags.contains(ReturnFlags::TRUNC) || descriptors.len() > descriptors_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message longer than expected, or with more descriptors",
        ));
    }
    // There is room for all that a message can carry, so nothing else makes the kernel drop any (recvmsg(2)).
    let is_short = received.flags.contains(ReturnFlags::CTRUNC);
    Ok(Received { length: received.bytes, descriptors, is_short })
}

/// Move the standard input to a descriptor that no program inherits, and put /dev/null in its place.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let taken = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(taken)
}

/// Have the kernel kill the own process group when nobody holds the other end of `socket` any more. It needs nothing from
/// this process for that, which may be stopped. A message over `socket` would do the same.
pub(crate) fn kill_own_group_at_end_of(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// `asm-generic/fcntl.h`; libc has no name for it.
    const F_SETSIG: libc::c_int = 10;
    let group = rustix::process::getpgrp().as_raw_nonzero().get();
    let set = |command, value: libc::c_int| {
        // SAFETY: the descriptor is open, and the commands below take a number.
        let failed = unsafe { libc::fcntl(socket.as_raw_fd(), command, value) } < 0;
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // Which signal, to whom (a group has a negative number), and from now on: "Managing signals" in fcntl(2).
    set(F_SETSIG, libc::SIGKILL)?;
    set(libc::F_SETOWN, -group)?;
    let flags = rustix::fs::fcntl_getfl(socket)?.bits().cast_signed();
    set(libc::F_SETFL, flags | libc::O_ASYNC)
}

/// Close every descriptor but the standard ones.
///
/// To be called first thing in a process, when what is open was inherited and nothing here owns it.
pub(crate) fn close_inherited() {
    // SAFETY: the process has opened nothing yet whose closing could be noticed; the numbers are valid.
    let closed = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    if closed == 0 {
        return;
    }
    // Kernels before 5.9.
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> =
        open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: as above; that with which they were listed is closed already.
        unsafe { libc::close(number) };
    }
}

/// A duplicate of the socket that listens at `path` in this process, whoever owns it.
///
/// To be called early in a process that has few descriptors: looks at the first [`LISTENING_MAX`] only.
pub(crate) fn listening_at(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    for raw in 3..LISTENING_MAX {
        // SAFETY: used for system calls that fail on a closed descriptor and change nothing, and not kept.
        let descriptor = unsafe { BorrowedFd::borrow_raw(raw) };
        let is_it = rustix::net::sockopt::socket_acceptconn(descriptor).unwrap_or(false)
            && rustix::net::getsockname(descriptor)
                .is_ok_and(|name| SocketAddrUnix::try_from(name).as_ref() == Ok(&address));
        if is_it {
            return Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, 3)?);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Where a descriptor is not looked for any more.
const LISTENING_MAX: RawFd = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").expect("it is there").into()
    }

    #[test]
    fn messages_carry_descriptors() {
        let (here, there) = packet_sockets().expect("sockets");
        let null = null();
        for count in [0, 1, 5, DESCRIPTORS_MAX] {
            let sent = vec![null.as_fd(); count];
            send_with_descriptors(here.as_fd(), b"hello", &sent, IfNotReady::Fail).expect("room");
            let mut bytes = [0; 8];
            let received =
                receive_with_descriptors(there.as_fd(), &mut bytes, count, IfNotReady::Wait)
                    .expect("a message");
            assert!(!received.is_short);
            let (length, received) = (received.length, received.descriptors);
            assert_eq!((&bytes[..length], received.len()), (&b"hello"[..], count));
            let closes = |fd: &OwnedFd| {
                rustix::io::fcntl_getfd(fd).expect("open").contains(rustix::io::FdFlags::CLOEXEC)
            };
            assert!(received.iter().all(closes), "none is inherited");
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let (here, there) = packet_sockets().expect("sockets");
        let null = null();
        let mut bytes = [0; 4];
        for (message, count) in [(&b"long message"[..], 1), (b"ok", 3), (b"ok", DESCRIPTORS_MAX)] {
            let sent = vec![null.as_fd(); count];
            send_with_descriptors(here.as_fd(), message, &sent, IfNotReady::Fail).expect("room");
            let refused = receive_with_descriptors(there.as_fd(), &mut bytes, 2, IfNotReady::Fail);
            assert_eq!(
                refused.expect_err("too much").kind(),
                io::ErrorKind::InvalidData,
                "{message:?} with {count}"
            );
        }
    }

    #[test]
    fn nothing_waits_that_need_not_and_the_end_is_told() {
        let (here, there) = packet_sockets().expect("sockets");
        let mut bytes = [0; 4];
        let mut receive =
            || receive_with_descriptors(there.as_fd(), &mut bytes, 0, IfNotReady::Fail);
        let nothing = receive().expect_err("nothing was sent");
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        let full = loop {
            let sent = send_with_descriptors(here.as_fd(), &[0; 4], &[], IfNotReady::Fail);
            if let Err(full) = sent {
                break full;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        while receive().is_ok() {}
        drop(here);
        // A child that another test has just started may have its copy until it runs its program.
        let end = receive_with_descriptors(there.as_fd(), &mut bytes, 0, IfNotReady::Wait);
        assert_eq!(end.expect("the end").length, 0);
    }

    #[test]
    fn what_was_sent_before_the_end_is_received_though_the_sender_had_not_read_all() {
        let (here, there) = packet_sockets().expect("sockets");
        send_with_descriptors(there.as_fd(), b"news", &[], IfNotReady::Fail).expect("room");
        let null = null();
        send_with_descriptors(here.as_fd(), b"last", &[null.as_fd()], IfNotReady::Fail)
            .expect("room");
        drop(here);
        let mut bytes = [0; 4];
        let received = receive_with_descriptors(there.as_fd(), &mut bytes, 1, IfNotReady::Fail);
        assert_eq!(received.expect("the last message").descriptors.len(), 1);
        assert_eq!(&bytes, b"last");
        let end = receive_with_descriptors(there.as_fd(), &mut bytes, 0, IfNotReady::Wait);
        assert_eq!(end.expect("the end").length, 0);
    }

    #[test]
    fn a_receiver_that_is_gone_is_an_error_only() {
        let (here, there) = packet_sockets().expect("sockets");
        drop(there);
        // A child that another test has just started may have its copy until it runs its program.
        let gone = loop {
            let sent = send_with_descriptors(here.as_fd(), b"hello", &[], IfNotReady::Wait);
            if let Err(gone) = sent {
                break gone;
            }
        };
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }
}
