//! Why a worker has not become ready.

use std::io;
use std::sync::Arc;

use super::config::Launch;
use super::error::WorkerStartError;
use super::exit::Death;
use super::protocol::{CRATE_VERSION, PROTOCOL_VERSION};

/// What went wrong before a worker was ready.
#[derive(Debug)]
pub(super) enum StartFailure {
    Spawn(io::Error),
    Resources(io::Error),
    TimedOut,
    Version { protocol: u32, crate_version: String },
    Initialiser { reason: String },
    Handshake { what: String },
}

/// Why a worker that ended so has not become ready. `was_silent`: it had not said a word.
pub(super) fn start_error(
    launch: &Launch,
    failure: Option<StartFailure>,
    was_silent: bool,
    death: &Death,
) -> WorkerStartError {
    let program = launch.name.clone();
    let stderr = death.stderr.all.clone();
    match failure {
        Some(StartFailure::Spawn(source)) => {
            let program = launch.path.display().to_string();
            WorkerStartError::Spawn { program, source: Arc::new(source) }
        }
        Some(StartFailure::Resources(source)) => {
            WorkerStartError::Resources { source: Arc::new(source) }
        }
        Some(StartFailure::TimedOut) => {
            WorkerStartError::TimedOut { program, waited: launch.start_timeout, stderr }
        }
        Some(StartFailure::Version { protocol, crate_version }) => WorkerStartError::Version {
            program,
            ours: format!("{CRATE_VERSION} (protocol {PROTOCOL_VERSION})"),
            theirs: format!("{crate_version} (protocol {protocol})"),
        },
        Some(StartFailure::Initialiser { reason }) => {
            WorkerStartError::Initialiser { program, reason, stderr }
        }
        Some(StartFailure::Handshake { what }) => {
            WorkerStartError::Handshake { program, what, stderr }
        }
        None if was_silent => {
            WorkerStartError::NotAWorker { program, status: death.status, stderr }
        }
        None => WorkerStartError::Died { program, status: death.status, stderr },
    }
}
