//! The worker's end of a channel link.

use std::io;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};

use super::layout::{self, ToWorker};
use super::messages::{self, Closed};
use crate::task::id::Ticket;
use crate::transport::OutcomeFrame;

/// What a worker is sent at its start.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct WorkerEndpoints {
    pub(super) calls: IpcBytesReceiver,
    pub(super) outcomes: IpcBytesSender,
}

/// The worker's end in use.
#[derive(Debug)]
pub(crate) struct WorkerEnd {
    calls: IpcBytesReceiver,
    outcomes: IpcBytesSender,
}

/// What a worker is to do next.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    Call {
        ticket: Ticket,
        codec: u8,
        function: &'a str,
        arguments: &'a [u8],
    },
    /// Nothing more will come.
    Retired,
}

impl From<WorkerEndpoints> for WorkerEnd {
    fn from(endpoints: WorkerEndpoints) -> Self {
        Self { calls: endpoints.calls, outcomes: endpoints.outcomes }
    }
}

impl WorkerEnd {
    /// Wait for the next message and leave it in `buffer`.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut Vec<u8>) -> Incoming<'a> {
        match messages::receive_from_host(&self.calls) {
            Ok(bytes) => *buffer = bytes,
            Err(Closed) => return Incoming::Retired,
        }
        match layout::decode_to_worker(buffer) {
            Ok(ToWorker::Call { ticket, codec, function, arguments }) => {
                Incoming::Call { ticket, codec, function, arguments }
            }
            // A coordinator that sends what a worker of its own version can't read does not exist.
            Ok(ToWorker::Retire) | Err(_) => Incoming::Retired,
        }
    }

    /// Commit an outcome. A failure means that the coordinator is gone, or that a task has closed what
    /// was not its own; in both cases the worker is of no more use.
    pub(crate) fn reply(&self, ticket: Ticket, outcome: &OutcomeFrame) -> io::Result<()> {
        messages::send(&self.outcomes, &layout::encode_outcome(ticket, outcome))
    }
}
