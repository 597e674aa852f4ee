//! What coordinator and worker say to each other before and beside the calls. README.md has the order.

use std::path::{Path, PathBuf};

use ipc_channel::ipc::IpcSender;

use crate::registry::FunctionInfo;
use crate::transport::channel::WorkerEndpoints;

/// Raised with every change of anything that crosses.
pub(crate) const PROTOCOL_VERSION: u32 = 8;
pub(crate) const CRATE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The variable that makes a process a worker.
pub(crate) const MARKER_VARIABLE: &str = "ATASKER_WORKER";

/// What a worker exits with that can't become one. The reason is on its standard error.
pub(crate) const CANNOT_START: i32 = 70;

/// How long a worker's announcement can be.
pub(crate) const ANNOUNCEMENT_BYTES_MAX: usize = 512;

/// The longest path of a socket: `sun_path` less its final zero.
pub(crate) const SOCKET_PATH_MAX: usize = 107;

/// The first message on the lifeline, which waits there when the worker starts: what comes with it. That is the
/// black box, with a ring its memory and a socket for the descriptors of buffers behind, and the data for initialisers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstMessage<'a> {
    Channel,
    /// Its memory is to be opened by the name, if it has one.
    Ring {
        name: Option<&'a str>,
    },
}

/// How long a first message can be: the longest name of shared memory, and a word.
pub(crate) const FIRST_MESSAGE_BYTES_MAX: usize = 300;

impl<'a> FirstMessage<'a> {
    pub(crate) fn to_text(self) -> String {
        match self {
            Self::Channel => "channel".to_owned(),
            Self::Ring { name: None } => "ring".to_owned(),
            Self::Ring { name: Some(name) } => format!("ring {name}"),
        }
    }

    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        match std::str::from_utf8(bytes).ok()? {
            "channel" => Some(Self::Channel),
            "ring" => Some(Self::Ring { name: None }),
            text => Some(Self::Ring { name: Some(text.strip_prefix("ring ")?) }),
        }
    }
}

/// The value of [`MARKER_VARIABLE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) protocol: u32,
    /// The process that a worker belongs to.
    pub(crate) coordinator: u32,
    /// Where the worker is to make its one-shot server: a name that nobody has used, not yet created.
    pub(crate) directory: PathBuf,
}

impl Marker {
    pub(crate) fn to_text(&self) -> String {
        format!("{} {} {}", self.protocol, self.coordinator, self.directory.display())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ' ');
        let protocol = parts.next()?.parse().ok()?;
        let coordinator = parts.next()?.parse().ok()?;
        let directory = PathBuf::from(parts.next()?);
        directory.is_absolute().then_some(Self { protocol, coordinator, directory })
    }
}

/// A worker's first word, over the lifeline. Text, so that workers of every version can be told apart. With it
/// comes the server's listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) protocol: u32,
    pub(crate) crate_version: String,
    /// Of the one-shot server's socket. Empty if the worker speaks another version.
    pub(crate) server: String,
}

impl Announcement {
    pub(crate) fn to_text(&self) -> String {
        format!("atasker {} {} {}", self.protocol, self.crate_version, self.server)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.splitn(4, ' ');
        if parts.next()? != "atasker" {
            return None;
        }
        let protocol = parts.next()?.parse().ok()?;
        let crate_version = parts.next()?.to_owned();
        let server = parts.next()?.to_owned();
        Some(Self { protocol, crate_version, server })
    }

    /// Whether the server stands where the worker was told to put it.
    pub(crate) fn is_within(&self, directory: &Path) -> bool {
        self.server.len() <= SOCKET_PATH_MAX
            && !self.server.contains('\0')
            && !self.server.contains("/../")
            && Path::new(&self.server).starts_with(directory)
    }
}

/// The first message to a worker over ipc-channel: everything else that it needs. Small: who sends a long one, of which its
/// reader dies, waits for ever.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Welcome {
    pub(crate) worker: u64,
    /// In bytes, because a path need not be UTF-8.
    pub(crate) working_directory: Vec<u8>,
    pub(crate) worker_data: Option<WorkerData>,
    pub(crate) limits: ProcessLimits,
    /// The most verbose level that the host's subscriber may want, as `tracing_core::LevelFilter`'s number.
    pub(crate) log_level: u8,
    /// Whether the coordinator wants to know the worker's functions.
    pub(crate) with_catalogue: bool,
    pub(crate) control: IpcSender<FromWorker>,
    /// If calls come over channels.
    pub(crate) endpoints: Option<WorkerEndpoints>,
}

/// What a worker allows itself.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct ProcessLimits {
    /// In bytes.
    pub(crate) address_space: Option<u64>,
    /// Whether a crash may leave a core dump.
    pub(crate) core_dumps: bool,
}

/// What the initialisers get. The bytes themselves were sent ahead.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct WorkerData {
    pub(crate) type_name: String,
    pub(crate) length: usize,
}

/// What a worker says over its control channel.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) enum FromWorker {
    /// It calls itself a worker of this version, with these functions.
    Hello {
        crate_version: String,
        catalogue: Option<Vec<FunctionInfo>>,
    },
    /// It waits for calls.
    Ready,
    /// It can't be one, and ends.
    StartFailed {
        reason: String,
    },
    Log(LogRecord),
    /// Never sent by a worker: the coordinator says it to itself behind a dead one's last message.
    End,
}

/// One event of a worker's log.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct LogRecord {
    /// As `tracing_core::LevelFilter`'s number: 1 is an error, 5 a trace.
    pub(crate) level: u8,
    pub(crate) target: String,
    pub(crate) message: String,
    pub(crate) module_path: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    /// The task that was running.
    pub(crate) task: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_survives_its_text() {
        let marker =
            Marker { protocol: 7, coordinator: 42, directory: "/tmp/with a space/x".into() };
        assert_eq!(Marker::parse(&marker.to_text()), Some(marker));
        for wrong in ["", "1", "1 2", "1 2 relative", "x 2 /tmp"] {
            assert_eq!(Marker::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_first_message_survives_its_text() {
        let ring = |name| FirstMessage::Ring { name };
        for message in [FirstMessage::Channel, ring(None), ring(Some("/atasker-1-2"))] {
            assert_eq!(FirstMessage::parse(message.to_text().as_bytes()), Some(message));
        }
        for wrong in [&b""[..], b"rings", b"Ring", b"channel ", b"\xff"] {
            assert_eq!(FirstMessage::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_announcement_survives_its_text_and_may_not_point_elsewhere() {
        let announcement = Announcement {
            protocol: 1,
            crate_version: "0.1.0".into(),
            server: "/tmp/d d/x/socket".into(),
        };
        assert_eq!(
            Announcement::parse(announcement.to_text().as_bytes()),
            Some(announcement.clone())
        );
        assert!(announcement.is_within(Path::new("/tmp/d d")));
        assert!(!announcement.is_within(Path::new("/tmp/d")));
        let sly = Announcement { server: "/tmp/d d/../../run/x".into(), ..announcement };
        assert!(!sly.is_within(Path::new("/tmp/d d")));
        assert_eq!(Announcement::parse(b"\xff\xfe"), None);
    }
}
