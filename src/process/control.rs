//! The coordinator's side of the handshake with one worker, and of what the worker says afterwards: a
//! thread for each, because ipc-channel's receiver can be blocked or made to panic by what it receives.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ipc_channel::IpcError;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};

use super::config::Transport;
use super::incarnation::{Incarnation, Readiness, StartFailure};
use super::processes::Shared;
use super::protocol::{
    ANNOUNCEMENT_BYTES_MAX, Announcement, CRATE_VERSION, FromWorker, PROTOCOL_VERSION, Welcome,
};
use super::spawn::Connection;
use crate::registry::FunctionInfo;
use crate::sys::descriptors::wait_readable;
use crate::transport::channel::{self, Receiver};

/// How often receiving may fail before a control channel is given up.
const FAILURES_MAX: u32 = 16;

/// One worker's control thread.
pub(super) struct Control {
    pub(super) shared: Arc<Shared>,
    pub(super) incarnation: Arc<Incarnation>,
    pub(super) connection: Connection,
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
                if let Stop::Failed(failure) = stop {
                    self.incarnation.fail_start(failure);
                }
                self.incarnation.on_control_ended();
            }
        }
    }

    fn shake_hands(&self) -> Result<(IpcReceiver<FromWorker>, Option<Receiver>), Stop> {
        let server = self.receive_announcement()?;
        let (control_sender, control) = ipc::channel()?;
        let launch = self.shared.launch();
        let (link, receiver, endpoints) = match launch.transport {
            Transport::Ring => (None, None, None),
            Transport::Channel => {
                let (link, receiver, endpoints) = channel::open(self.incarnation.id)?;
                (Some(link), Some(receiver), Some(endpoints))
            }
        };
        let welcome = Welcome {
            worker: self.incarnation.id.0,
            working_directory: launch.working_directory.as_os_str().as_bytes().to_vec(),
            worker_data: launch.worker_data.clone(),
            log_level: self.shared.worker_log().level(),
            with_catalogue: launch.separate,
            control: control_sender.clone(),
            endpoints,
        };
        if self.incarnation.arm(link, control_sender) == Readiness::No {
            return Err(Stop::Died);
        }
        // A failure of these two means that the worker died a moment ago.
        let sender = IpcSender::connect(server).map_err(|_| Stop::Died)?;
        sender.send(welcome).map_err(|_| Stop::Died)?;
        Ok((control, receiver))
    }

    /// Where the worker's one-shot server is. Has no deadline of its own: the monitor kills a worker that
    /// is not ready in time.
    fn receive_announcement(&self) -> Result<String, Stop> {
        let broken = |what: &str| Stop::Failed(StartFailure::Handshake { what: what.to_owned() });
        let Connection { lifeline, child, directory } = &self.connection;
        let ready = wait_readable(&[lifeline.as_fd(), child.as_pidfd()], None)?;
        if !ready[0] {
            return Err(Stop::Died);
        }
        let mut bytes = [0; ANNOUNCEMENT_BYTES_MAX];
        let length = match rustix::io::retry_on_intr(|| rustix::io::read(lifeline, &mut bytes)) {
            // It has closed its end, by dying or otherwise; a live one meets the deadline.
            Ok(0) | Err(_) => return Err(Stop::Died),
            Ok(length) => length,
        };
        let announcement = Announcement::parse(&bytes[..length])
            .ok_or_else(|| broken("its first words are not those of a worker"))?;
        self.incarnation.on_announced();
        let Announcement { protocol, crate_version, .. } = &announcement;
        if *protocol != PROTOCOL_VERSION || crate_version != CRATE_VERSION {
            let crate_version = crate_version.clone();
            return Err(Stop::Failed(StartFailure::Version { protocol: *protocol, crate_version }));
        }
        if !announcement.is_within(directory) {
            return Err(broken("its socket is not where it was told to make it"));
        }
        Ok(announcement.server)
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
        self.shared.wake_monitor();
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("worker", &self.incarnation.id).finish_non_exhaustive()
    }
}
