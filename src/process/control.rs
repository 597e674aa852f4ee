//! The coordinator's side of the handshake with one worker, and of what the worker says afterwards: a
//! thread for each, because ipc-channel's receiver can be blocked or made to panic by what it receives.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use ipc_channel::{IpcError, platform};

use super::config::Transport;
use super::incarnation::Incarnation;
use super::life::Readiness;
use super::processes::Shared;
use super::protocol::{
    ANNOUNCEMENT_BYTES_MAX, Announcement, CRATE_VERSION, FromWorker, PROTOCOL_VERSION, Welcome,
    WorkerData,
};
use super::spawn::Connection;
use super::start_failure::StartFailure;
use crate::registry::FunctionInfo;
use crate::sys::descriptors::{
    IfNotReady, packet_sockets, receive_with_descriptors, wait_readable,
};
use crate::transport::channel::{self, Receiver};

/// How often receiving may fail before a control channel is given up.
const FAILURES_MAX: u32 = 16;

/// Have ipc-channel look up what it looks up once in a process: if that fails, it fails for ever, and with a panic.
pub(super) fn look_up_once() -> io::Result<()> {
    static FOUND: OnceLock<()> = OnceLock::new();
    if FOUND.get().is_some() {
        return Ok(());
    }
    // What it takes. Then it is there, but for a moment in which another thread could take it.
    drop(packet_sockets()?);
    catch_unwind(platform::OsIpcSender::get_max_fragment_size).map_err(|_panic| {
        io::Error::other(
            "this process had no descriptor left when ipc-channel looked at its sockets, which it does but once: start \
             the program again, with a higher `ulimit -n`",
        )
    })?;
    let _ = FOUND.set(());
    Ok(())
}

/// One worker's control thread.
pub(super) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) incarnation: Arc<Incarnation>,
    pub(super) connection: Connection,
}

/// A worker's one-shot server.
struct Server {
    name: String,
    /// While it is open here somebody can connect, whether the worker lives or not.
    listening: OwnedFd,
}

impl Server {
    /// To be called while its directory stands.
    ///
    /// That the worker has died meanwhile does not make this fail, only sending afterwards. It must not, for
    /// ipc-channel leaves a socket open for good that could not be connected.
    fn connect(self) -> io::Result<IpcSender<Welcome>> {
        let Self { name, listening } = self;
        let sender = IpcSender::connect(name);
        // Not before; and not after sending, which would wait for a dead worker.
        drop(listening);
        sender
    }
}

/// Why a handshake went no further.
enum Stop {
    /// It is dead, and the monitor knows more.
    Died,
    Failed(StartFailure),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(StartFailure::Resources(error))
    }
}

/// Why the worker could not be welcomed: it died a moment ago, or this process lacks something.
fn unsent(error: io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::NotConnected
        | io::ErrorKind::NotFound => Stop::Died,
        // ipc-channel does not look whether it has got a socket.
        _ if error.raw_os_error() == Some(libc::EBADF) => {
            Stop::from(io::Error::from(rustix::io::Errno::MFILE))
        }
        _ => Stop::from(error),
    }
}

impl Control {
    pub(super) fn run(self) {
        match self.shake_hands() {
            Ok((control, receiver)) => {
                let Self { shared, incarnation, connection } = self;
                // The monitor holds the lifeline as long as the worker lives.
                drop(connection);
                let listening = Listening { shared, incarnation, receiver, catalogue: None };
                listening.run(&control);
            }
            Err(stop) => {
                let Self { incarnation, connection, .. } = self;
                if let Stop::Failed(failure) = stop {
                    incarnation.fail_start(failure);
                }
                // With its directory, if the worker is dead already, before its exit is told.
                drop(connection);
                incarnation.on_control_ended();
            }
        }
    }

    fn shake_hands(&self) -> Result<(IpcReceiver<FromWorker>, Option<Receiver>), Stop> {
        let server = self.receive_announcement()?;
        let (control_sender, control) = ipc::channel()?;
        let launch = self.shared.launch();
        let (link, receiver, endpoints) = match launch.transport {
            Transport::Channel => {
                let (link, receiver, endpoints) = channel::open(self.incarnation.id)?;
                (Some(link), Some(receiver), Some(endpoints))
            }
            _on_rings => (None, None, None),
        };
        let welcome = Welcome {
            worker: self.incarnation.id.0,
            working_directory: launch.working_directory.as_os_str().as_bytes().to_vec(),
            worker_data: launch.worker_data.as_ref().map(|(type_name, data)| WorkerData {
                type_name: type_name.clone(),
                length: data.length(),
            }),
            limits: launch.limits,
            log_level: self.shared.worker_log().level(),
            with_catalogue: launch.separate,
            control: control_sender.clone(),
            endpoints,
        };
        if self.incarnation.arm(link, control_sender) == Readiness::No {
            return Err(Stop::Died);
        }
        let sender = server.connect().map_err(unsent)?;
        sender.send(welcome).map_err(|error| match error {
            IpcError::Io(error) => unsent(error),
            _ => Stop::Died,
        })?;
        Ok((control, receiver))
    }

    /// Where the worker's one-shot server is. Has no deadline of its own: the monitor kills a worker that
    /// is not ready in time.
    fn receive_announcement(&self) -> Result<Server, Stop> {
        let broken = |what: &str| Stop::Failed(StartFailure::Handshake { what: what.to_owned() });
        let Connection { lifeline, child, directory } = &self.connection;
        let ready = wait_readable(&[lifeline.as_fd(), child.as_pidfd()], None)?;
        if !ready[0] {
            return Err(Stop::Died);
        }
        let mut bytes = [0; ANNOUNCEMENT_BYTES_MAX];
        let received = receive_with_descriptors(lifeline.as_fd(), &mut bytes, 1, IfNotReady::Fail);
        let received = match received {
            Ok(received) if received.length > 0 => received,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(broken("its first words are too long"));
            }
            // It has closed its end, by dying or otherwise; a live one meets the deadline.
            Ok(_) | Err(_) => return Err(Stop::Died),
        };
        let announcement = Announcement::parse(&bytes[..received.length])
            .ok_or_else(|| broken("its first words are not those of a worker"))?;
        self.incarnation.on_announced();
        let Announcement { protocol, crate_version, .. } = &announcement;
        if *protocol != PROTOCOL_VERSION || crate_version != CRATE_VERSION {
            let crate_version = crate_version.clone();
            return Err(Stop::Failed(StartFailure::Version { protocol: *protocol, crate_version }));
        }
        if !announcement.is_within(directory.path()) {
            return Err(broken("its socket is not where it was told to make it"));
        }
        if received.is_short {
            return Err(io::Error::from(rustix::io::Errno::MFILE).into());
        }
        let mut descriptors = received.descriptors.into_iter();
        let listening =
            descriptors.next().ok_or_else(|| broken("its socket did not come along"))?;
        Ok(Server { name: announcement.server, listening })
    }
}

/// After the handshake's first half.
struct Listening {
    shared: Arc<Shared>,
    incarnation: Arc<Incarnation>,
    /// Of a channel, until the worker is ready.
    receiver: Option<Receiver>,
    catalogue: Option<Vec<FunctionInfo>>,
}

impl Listening {
    /// Until the end marker, which the monitor sends behind the last word of a dead worker.
    fn run(mut self, control: &IpcReceiver<FromWorker>) {
        let mut failures = 0;
        loop {
            match catch_unwind(AssertUnwindSafe(|| control.recv())) {
                Ok(Ok(FromWorker::End)) if self.incarnation.has_died() => break,
                Ok(Ok(message)) => self.on_message(message),
                Ok(Err(IpcError::Io(error))) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(_)) | Err(_) => {
                    // A message cut off by its sender's death, or a lie; the marker follows either way.
                    failures += 1;
                    if failures > FAILURES_MAX {
                        self.incarnation.on_corrupt("a control channel full of garbage".to_owned());
                        break;
                    }
                }
            }
        }
        self.incarnation.on_control_ended();
    }

    fn on_message(&mut self, message: FromWorker) {
        match message {
            FromWorker::Hello { crate_version, catalogue } if crate_version == CRATE_VERSION => {
                self.catalogue = catalogue;
            }
            FromWorker::Hello { crate_version, .. } => {
                let failure = StartFailure::Version { protocol: PROTOCOL_VERSION, crate_version };
                self.incarnation.fail_start(failure);
            }
            FromWorker::Ready => self.on_ready(),
            FromWorker::StartFailed { reason } => self.incarnation.on_start_failed(reason),
            FromWorker::Log(record) => self.shared.worker_log().emit(self.incarnation.id, &record),
            FromWorker::End => self.incarnation.on_corrupt("an end marker".to_owned()),
        }
    }

    fn on_ready(&mut self) {
        if self.shared.launch().separate && self.catalogue.is_none() {
            let what = "it has not said what functions it has".to_owned();
            return self.incarnation.fail_start(StartFailure::Handshake { what });
        }
        if self.incarnation.on_ready() == Readiness::No {
            return;
        }
        if let Some(receiver) = self.receiver.take() {
            let sink = Arc::clone(&self.incarnation);
            let name = format!("receive-{}", self.incarnation.id);
            if let Err(error) = self.shared.threads().spawn(&name, move || receiver.run(&*sink)) {
                self.incarnation.on_no_receiver();
                self.incarnation.fail_start(StartFailure::Resources(error));
                return;
            }
        }
        self.incarnation.announce_ready(self.catalogue.take());
        // The monitor has a deadline less to wait for.
        self.shared.wake().now();
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("worker", &self.incarnation.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

    use super::*;
    use crate::process::protocol::{ProcessLimits, WorkerData};
    use crate::process::spawn::StartDirectory;
    use crate::sys::descriptors::listening_at;

    #[test]
    fn connecting_to_a_dead_worker_works_and_sending_fails() {
        let directory = StartDirectory::unused();
        std::fs::create_dir(directory.path()).expect("it is unused");
        let path = directory.path().join("socket");
        let (unix, packets) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let of_worker = rustix::net::socket_with(unix, packets, SocketFlags::CLOEXEC, None);
        let of_worker = of_worker.expect("a socket");
        let address = SocketAddrUnix::new(&path).expect("a short path");
        rustix::net::bind(&of_worker, &address).expect("nobody else is there");
        assert!(listening_at(&path).is_err(), "it does not listen yet");
        rustix::net::listen(&of_worker, 10).expect("it is bound");
        let listening = listening_at(&path).expect("it listens");
        drop(of_worker);
        let name = path.to_str().expect("text").to_owned();
        let sender = Server { name, listening }.connect().expect("it is still there");
        let (control, _receiver) = ipc::channel().expect("a channel");
        // More than a socket holds: with somebody still listening this would wait for ever.
        let worker_data = WorkerData { type_name: "x".repeat(4 << 20), length: 0 };
        let welcome = Welcome {
            worker: 1,
            working_directory: Vec::new(),
            worker_data: Some(worker_data),
            limits: ProcessLimits::default(),
            log_level: 0,
            with_catalogue: false,
            control,
            endpoints: None,
        };
        // A child that another test has just started may have its copy until it runs its program.
        let _ = sender.send(welcome).expect_err("nobody listens");
    }
}
