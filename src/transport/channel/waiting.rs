//! How both ends of a channel wait for the next message.
//!
//! To wake a sleeping process on another core costs fifty microseconds, to look again costs one. So a
//! wait begins with looks, between which the core is offered to whoever can use it, and sleeps when
//! nothing came for [`LOOKING`]. Where waits have lately been long, it sleeps at once: the looks would
//! only take time from those who compute.

use std::time::{Duration, Instant};

use ipc_channel::TryRecvError;
use ipc_channel::ipc::IpcBytesReceiver;

/// For how long to look before sleeping.
const LOOKING: Duration = Duration::from_micros(50);
/// Looks pay while the average wait is shorter than this.
const WORTH_LOOKING: Duration = Duration::from_micros(100);
/// The share of the newest wait in the average is one in this many.
const INERTIA: u32 = 8;
/// A wait counts at most this much, so that one long pause does not outweigh the next hundred short waits.
const COUNTED_MAX: Duration = Duration::from_micros(400);

/// Why no message came: the other side is gone, or the receiver is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// A receiver and what is known of how long it waits.
#[derive(Debug)]
pub(super) struct Receiving {
    receiver: IpcBytesReceiver,
    average: Duration,
}

impl Receiving {
    pub(super) fn new(receiver: IpcBytesReceiver) -> Self {
        Self {
            receiver,
            average: Duration::ZERO,
        }
    }

    /// The next message.
    pub(super) fn next(&mut self) -> Result<Vec<u8>, Closed> {
        let started = Instant::now();
        if self.average < WORTH_LOOKING {
            while started.elapsed() < LOOKING {
                // First of all, because whoever is to answer may be waiting for this core.
                std::thread::yield_now();
                match self.receiver.try_recv() {
                    Ok(bytes) => {
                        self.learn(started.elapsed());
                        return Ok(bytes);
                    }
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::IpcError(error)) if is_interrupt(&error) => {}
                    Err(TryRecvError::IpcError(_)) => return Err(Closed),
                }
            }
        }
        loop {
            match self.receiver.recv() {
                Ok(bytes) => {
                    self.learn(started.elapsed());
                    return Ok(bytes);
                }
                Err(error) if is_interrupt(&error) => {}
                Err(_) => return Err(Closed),
            }
        }
    }

    fn learn(&mut self, waited: Duration) {
        self.average = (self.average * (INERTIA - 1) + waited.min(COUNTED_MAX)) / INERTIA;
    }
}

fn is_interrupt(error: &ipc_channel::IpcError) -> bool {
    matches!(error, ipc_channel::IpcError::Io(error) if error.kind() == std::io::ErrorKind::Interrupted)
}
