//! Messages through ipc-channel, whole or not at all.
//!
//! A message of more than one fragment that a signal handler interrupts is lost, on either side. So such a
//! message is announced by a small one, and while it is sent or received the thread takes no signals. A small
//! one is simply tried again; blocking signals around each would cost as much as a tenth of a round trip.
//!
//! Both ends wait asleep. Looking again and again for a while first was measured, and loses here: each look
//! is three system calls and an allocation of 200 KiB, taken from the cores that the other side computes on,
//! while a pair that blocks is put on one core by the kernel's synchronous wake-up.

use std::io;

use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender};
use ipc_channel::platform::OsIpcSender;

use super::layout::LARGE_MESSAGE;
use crate::sys::signals::{self, SignalsBlocked};

/// Why no message came: the other side is gone, or the receiver is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// Whether a message of this length is sent at once. A longer one waits for its reader.
pub(super) fn is_small(length: usize) -> bool {
    length <= OsIpcSender::get_max_fragment_size()
}

/// Send one message. A failure means that the other side is gone.
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

/// The same in a host that may not ignore SIGPIPE, as every Rust program does that has not been told
/// otherwise: the death of a worker must not end it.
pub(super) fn send_from_host(sender: &IpcBytesSender, bytes: &[u8]) -> io::Result<()> {
    if signals::is_sigpipe_ignored() {
        return send(sender, bytes);
    }
    let blocked = SignalsBlocked::new();
    let sent = send(sender, bytes);
    if sent.is_err() {
        blocked.swallow_sigpipe();
    }
    sent
}

/// Wait for the next message.
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
