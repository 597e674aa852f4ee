//! Messages through ipc-channel, whole or not at all.
//!
//! A small message is sent at once, and simply tried again if a signal handler interrupts; blocking signals around each
//! would cost as much as a tenth of a round trip. For a long one, which is of several fragments, ipc-channel makes a
//! channel of its own, and that has two faults:
//!
//! - If the receiver dies, the sender waits for ever, because it holds the other end of that channel itself. So the
//!   coordinator, which outlives its workers, sends a long call as *parts*: small messages, announced by one that tells
//!   their sum. They are not mixed with others, because a link has one call under way.
//! - If a signal handler interrupts, the message is lost. So a worker announces a long outcome by a small message, and
//!   while it is sent or received the thread takes no signals. (Parts won't do there: a worker may die between two of
//!   them, and what the coordinator sends to itself comes the same way.)
//!
//! Both ends wait asleep. Looking again and again for a while first was measured, and loses here: each look
//! is three system calls and an allocation of 200 KiB, taken from the cores that the other side computes on,
//! while a pair that blocks is put on one core by the kernel's synchronous wake-up.

use std::io;

use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use ipc_channel::platform::OsIpcSender;

use super::layout::{self, LARGE_MESSAGE};
use crate::sys::signals::{self, SignalsBlocked};

/// Why no message came: the other side is gone, or the receiver is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// Whether a message of this length is sent at once. A longer one waits for its reader.
pub(super) fn is_small(length: usize) -> bool {
    length <= OsIpcSender::get_max_fragment_size()
}

/// Send one message from a worker. A failure means that the coordinator is gone.
pub(super) fn send(sender: &IpcBytesSender, bytes: &[u8]) -> io::Result<()> {
    if is_small(bytes.len()) {
        return send_small(sender, bytes);
    }
    send_small(sender, &LARGE_MESSAGE)?;
    let _blocked = SignalsBlocked::new();
    sender.send(bytes)
}

fn send_small(sender: &IpcBytesSender, bytes: &[u8]) -> io::Result<()> {
    loop {
        match sender.send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent,
        }
    }
}

/// Send one message from the coordinator. A failure means that the worker is gone.
///
/// The host may not ignore SIGPIPE, as every Rust program does that has not been told otherwise: the death of a worker
/// must not end it.
pub(super) fn send_from_host(sender: &IpcBytesSender, bytes: &[u8]) -> io::Result<()> {
    if signals::is_sigpipe_ignored() {
        return send_in_parts(sender, bytes);
    }
    let blocked = SignalsBlocked::new();
    let sent = send_in_parts(sender, bytes);
    if sent.is_err() {
        blocked.swallow_sigpipe();
    }
    sent
}

fn send_in_parts(sender: &IpcBytesSender, bytes: &[u8]) -> io::Result<()> {
    if is_small(bytes.len()) {
        return send_small(sender, bytes);
    }
    send_small(sender, &layout::encode_parts(bytes.len() as u64))?;
    let mut parts = bytes.chunks(OsIpcSender::get_max_fragment_size());
    parts.try_for_each(|part| send_small(sender, part))
}

/// In a worker: wait for the next message of the coordinator's.
pub(super) fn receive_from_host(receiver: &IpcBytesReceiver) -> Result<Vec<u8>, Closed> {
    let first = receive_uninterrupted(receiver)?;
    let Some(length) = layout::decode_parts(&first) else { return Ok(first) };
    let mut bytes = Vec::with_capacity(length as usize);
    while (bytes.len() as u64) < length {
        bytes.extend_from_slice(&receive_uninterrupted(receiver)?);
    }
    Ok(bytes)
}

/// In the coordinator: wait for the next message.
pub(super) fn receive(receiver: &IpcBytesReceiver) -> Result<Vec<u8>, Closed> {
    let bytes = receive_uninterrupted(receiver)?;
    if bytes != LARGE_MESSAGE {
        return Ok(bytes);
    }
    let _blocked = SignalsBlocked::new();
    receive_uninterrupted(receiver)
}

fn receive_uninterrupted(receiver: &IpcBytesReceiver) -> Result<Vec<u8>, Closed> {
    loop {
        match receiver.recv() {
            Ok(bytes) => return Ok(bytes),
            Err(IpcError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Closed),
        }
    }
}
