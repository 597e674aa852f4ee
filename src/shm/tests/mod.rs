//! Both sides of every exchange are in this process, with a mapping each.
#![expect(unsafe_code, reason = "what is unsafe for users is tested too")]

mod buffers;
mod exchange;
mod lies;
mod segments;

use std::cell::Cell;
use std::os::fd::BorrowedFd;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attachment::Attachment;
use super::attachments;
use super::buffer::Announced;
use super::peer::{Notice, Peer, Trust};
use crate::codec::{self, CodecId};

/// For tests that look at what is idle, which other tests would disturb.
fn pool_to_oneself() -> impl Drop {
    static POOL: crate::sync::Mutex<()> = crate::sync::Mutex::new(());
    POOL.lock()
}

/// What one side knows of the other.
struct Link {
    /// The worker, as the coordinator sees it.
    worker: Peer,
    /// The coordinator, as the worker sees it.
    coordinator: Peer,
    /// So many descriptors went over so far.
    descriptors: Cell<usize>,
}

/// What goes over.
struct Message {
    bytes: codec::Bytes,
    announced: Vec<Announced>,
    notices: Vec<Notice>,
}

#[derive(Clone, Copy)]
enum Way {
    ToWorker,
    ToCoordinator,
}

use Way::{ToCoordinator, ToWorker};

impl Link {
    fn new() -> Self {
        Self {
            worker: Peer::new(Trust::MayGoMad),
            coordinator: Peer::new(Trust::Trusted),
            descriptors: Cell::new(0),
        }
    }

    /// The receiver as its sender knows it, and the sender as the receiver does.
    fn ends(&self, way: Way) -> (&Peer, &Peer) {
        match way {
            ToWorker => (&self.worker, &self.coordinator),
            ToCoordinator => (&self.coordinator, &self.worker),
        }
    }

    fn send_attachment(&self, way: Way, attachment: &Attachment) -> Announced {
        let (receiver, sender) = self.ends(way);
        let send = |announced: Announced, descriptor: BorrowedFd<'_>| {
            self.descriptors.set(self.descriptors.get() + 1);
            sender.adopt(announced, descriptor.try_clone_to_owned()?)
        };
        receiver.lend(attachment, send).expect("it can be sent")
    }

    fn send<T: Serialize>(&self, way: Way, value: &T) -> Message {
        let (bytes, attachments) =
            attachments::collect(|| codec::encode(CodecId::BINARY, value).expect("it is encoded"));
        let announced =
            attachments.iter().map(|attachment| self.send_attachment(way, attachment)).collect();
        let notices = self.ends(way).0.take_notices(usize::MAX);
        Message { bytes, announced, notices }
    }

    fn receive<T: DeserializeOwned>(&self, way: Way, message: Message) -> T {
        let sender = self.ends(way).1;
        let attachments = message
            .announced
            .into_iter()
            .map(|announced| sender.receive(announced).expect("it was sent"))
            .collect();
        for notice in message.notices {
            sender.on_notice(notice);
        }
        attachments::with_received(attachments, || {
            codec::decode(CodecId::BINARY, &message.bytes).expect("it is decoded")
        })
    }

    fn pass<T: Serialize + DeserializeOwned>(&self, way: Way, value: &T) -> T {
        self.receive(way, self.send(way, value))
    }

    /// Pass notices only.
    fn flush(&self, way: Way) {
        self.receive::<()>(way, self.send(way, &()));
    }

    fn with_descriptors_of<T>(&self, what: impl FnOnce() -> T) -> (T, usize) {
        let before = self.descriptors.get();
        (what(), self.descriptors.get() - before)
    }
}
