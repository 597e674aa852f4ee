//! Starting one worker process.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

use super::config::{Launch, Output, OutputStream, Transport};
use super::protocol::{FirstMessage, MARKER_VARIABLE, Marker, PROTOCOL_VERSION, SOCKET_PATH_MAX};
use crate::blackbox::BlackBox;
use crate::shm::Segment;
use crate::sync::Mutex;
use crate::sys::descriptors::{self, IfNotReady, send_with_descriptors};
use crate::sys::process::Child;
use crate::transport::ring::layout::{COMMITTED, SEGMENT_BYTES};

/// A process that was just started.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) connection: Connection,
    pub(super) blackbox: BlackBox,
    /// What it shares with this process, if calls go over a ring.
    pub(super) ring: Option<Ring>,
    /// Reading ends. Standard error is always among them.
    pub(super) pipes: Vec<(OutputStream, OwnedFd)>,
}

/// This side of a ring.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) segment: Segment,
    /// By which descriptors of buffers cross.
    pub(super) parcels: OwnedFd,
}

/// What ties this process to a worker.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) child: Arc<Child>,
    /// This side's end. Its closing ends the worker.
    pub(super) lifeline: Arc<OwnedFd>,
    /// Where the worker makes its one-shot server.
    pub(super) directory: Arc<StartDirectory>,
}

/// The directory of a handshake. The worker makes it, and removes it when it has no more need of it; one that
/// died before has left it to this side, where it stands until nobody can be on the way to the socket in it.
#[derive(Debug)]
pub(super) struct StartDirectory(PathBuf);

impl StartDirectory {
    /// A name that nobody has used, and with which the path of the worker's socket is not too long.
    pub(super) fn unused() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // The hasher is seeded at random, which is all that a name needs.
        let nonce = RandomState::new().hash_one(COUNT.fetch_add(1, Ordering::Relaxed));
        let name = format!("atasker-{}-{nonce:016x}", std::process::id());
        // What `tempfile`, within ipc-channel, puts below.
        let below = "/.tmp123456/socket".len();
        let fits = |parent: &Path| {
            let length = parent.as_os_str().len() + 1 + name.len() + below;
            parent.is_absolute() && parent.to_str().is_some() && length <= SOCKET_PATH_MAX
        };
        let parent = Some(std::env::temp_dir())
            .filter(|parent| fits(parent))
            .unwrap_or_else(|| "/tmp".into());
        Self(parent.join(name))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StartDirectory {
    fn drop(&mut self) {
        remove_directories([std::mem::take(&mut self.0)]);
    }
}

/// Remove these directories, most of which are not there any more, and those that could not be removed before.
pub(super) fn remove_directories(directories: impl IntoIterator<Item = PathBuf>) {
    /// Removing one takes a descriptor, which may be what was lacking.
    static LEFT: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let mut left = LEFT.lock();
    left.extend(directories);
    left.retain(|directory| {
        let removed = std::fs::remove_dir_all(directory);
        removed.is_err_and(|error| {
            let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
            Errno::from_io_error(&error).is_some_and(|error| lacking.contains(&error))
        })
    });
}

/// Start the program. To be called from one thread that lives as long as the workers: the parent-death
/// signal comes when the *thread* ends.
///
/// Nothing here makes the standard library fork this process, which would cost milliseconds for each
/// hundred megabytes of it: no `pre_exec`, no search in a changed `PATH`, no ids to change.
pub(super) fn spawn(launch: &Launch) -> io::Result<Spawned> {
    let (lifeline, worker_lifeline) = descriptors::packet_sockets()?;
    let (blackbox, worker_blackbox) = BlackBox::create()?;
    let segment = match launch.transport {
        Transport::Ring => Some(Segment::create(SEGMENT_BYTES, COMMITTED)?),
        #[cfg(feature = "named-shm")]
        Transport::NamedRing => Some(Segment::create_named(SEGMENT_BYTES)?),
        Transport::Channel => None,
    };
    let data = launch.worker_data.as_ref().map(|(_, data)| data.descriptor());
    let ring = send_ahead(&lifeline, &worker_blackbox, segment, data)?;
    let (stderr, worker_stderr) = descriptors::pipe()?;
    let mut pipes = vec![(OutputStream::Stderr, stderr)];
    let worker_stdout = match &launch.output {
        // What libtest prints is for nobody; the worker puts its output on standard error instead.
        _ if launch.test_entry => Stdio::null(),
        Output::Silent => Stdio::null(),
        Output::Inherit => match rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3) {
            Ok(stderr) => stderr.into(),
            // This process has closed its standard error.
            Err(_) => Stdio::null(),
        },
        Output::Captured(_) => {
            let (stdout, worker_stdout) = descriptors::pipe()?;
            pipes.push((OutputStream::Stdout, stdout));
            worker_stdout.into()
        }
    };
    let directory = StartDirectory::unused();
    let marker = Marker {
        protocol: PROTOCOL_VERSION,
        coordinator: std::process::id(),
        directory: directory.path().to_owned(),
    };
    let mut child = Command::new(&launch.path)
        .arg0(format!("atasker-worker {}", launch.name))
        .args(&launch.arguments)
        .env_clear()
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .env(MARKER_VARIABLE, marker.to_text())
        .process_group(0)
        .stdin(worker_lifeline)
        .stdout(worker_stdout)
        .stderr(worker_stderr)
        .spawn()?;
    let lifeline = Arc::new(lifeline);
    let child = Arc::new(Child::adopt(&mut child, Arc::clone(&lifeline))?);
    let connection = Connection { child, lifeline, directory: Arc::new(directory) };
    Ok(Spawned { connection, blackbox, ring, pipes })
}

/// What waits in the socket for the worker to start. This side of the ring, if there is to be one.
fn send_ahead(
    lifeline: &OwnedFd,
    blackbox: &OwnedFd,
    segment: Option<Segment>,
    data: Option<BorrowedFd<'_>>,
) -> io::Result<Option<Ring>> {
    let send = |message: FirstMessage<'_>, sent: &[BorrowedFd<'_>]| {
        let text = message.to_text();
        send_with_descriptors(lifeline.as_fd(), text.as_bytes(), sent, IfNotReady::Fail)
    };
    let Some(segment) = segment else {
        let sent: Vec<_> = [blackbox.as_fd()].into_iter().chain(data).collect();
        send(FirstMessage::Channel, &sent)?;
        return Ok(None);
    };
    let (parcels, worker_parcels) = descriptors::packet_sockets()?;
    let sent = [blackbox.as_fd(), segment.descriptor(), worker_parcels.as_fd()];
    let sent: Vec<_> = sent.into_iter().chain(data).collect();
    send(FirstMessage::Ring { name: segment.name() }, &sent)?;
    Ok(Some(Ring { segment, parcels }))
}
