//! How both ends of a channel wait for the next message: asleep.
//!
//! Looking again and again for a while before sleeping was measured, and loses here: each look is three
//! system calls and an allocation of 200 KiB, taken from the two cores that the other side computes on. A
//! blocked pair is placed on one core by the kernel's synchronous wake-up and takes ten microseconds there.

use ipc_channel::ipc::IpcBytesReceiver;

/// Why no message came: the other side is gone, or the receiver is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

#[derive(Debug)]
pub(super) struct Receiving {
    receiver: IpcBytesReceiver,
}

impl Receiving {
    pub(super) fn new(receiver: IpcBytesReceiver) -> Self {
        Self { receiver }
    }

    /// The next message.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, Closed> {
        loop {
            match self.receiver.recv() {
                Ok(bytes) => return Ok(bytes),
                Err(error) if is_interrupt(&error) => {}
                Err(_) => return Err(Closed),
            }
        }
    }
}

fn is_interrupt(error: &ipc_channel::IpcError) -> bool {
    matches!(error, ipc_channel::IpcError::Io(error) if error.kind() == std::io::ErrorKind::Interrupted)
}
