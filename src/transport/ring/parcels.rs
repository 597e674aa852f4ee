//! What crosses beside a ring: the descriptors of buffers, and what is said about buffers. PARCELS.md has the
//! protocol.
//!
//! An *extended* call or outcome has a header in front, which announces its buffers. The descriptors have been
//! sent through a socket before, each once for each worker.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::codec::encoded::ATTACHMENTS_MAX;
use crate::codec::{self, Bytes, CodecId};
use crate::shm::Books;
use crate::shm::attachment::Attachment;
use crate::shm::buffer::{Announced, BufferId};
use crate::shm::peer::{Notice, Peer, Trust};
use crate::sys::descriptors::{
    IfNotReady, Received, receive_with_descriptors, send_with_descriptors,
};

/// At most so many notices go with one message.
const NOTICES_MAX: usize = 128;
/// No message through the socket is longer.
const MESSAGE_BYTES_MAX: usize = 2048;
/// More are never read in one go: the socket holds some hundreds, and they are read faster than made.
const MESSAGES_MAX: usize = 4096;
/// So many buffers that could not be taken are remembered until their messages come.
const LOST_MAX: usize = 1024;
/// What a header takes, at most: for each announcement a grade and three numbers of at most ten bytes, for each
/// notice one of them, and a few bytes besides.
pub(super) const HEADER_BYTES_MAX: usize = (ATTACHMENTS_MAX + 1) * 31 + NOTICES_MAX * 11 + 32;
/// What a header with a few buffers takes.
pub(super) const HEADER_BYTES_USUAL: usize = 256;

const _: () = assert!(HEADER_BYTES_MAX < super::layout::AREA_BYTES / 2);
const _: () = assert!(NOTICES_MAX * 11 + 16 < MESSAGE_BYTES_MAX);

/// What stands in front of an extended call or outcome.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Header {
    /// In the order of their numbers.
    pub(super) attachments: Vec<Announced>,
    /// Where the encoded value is, and its length, if it is not behind this header.
    pub(super) parcel: Option<(Announced, u64)>,
    /// Of the worker's. The coordinator's go through the socket, because a call can be taken back.
    pub(super) notices: Vec<Notice>,
}

/// A message through the socket.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Message {
    /// With a descriptor.
    Descriptor(Announced),
    Notices(Vec<Notice>),
}

/// What an extended call or outcome came with.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) attachments: Vec<Attachment>,
    /// And how long the encoded value is that is in it.
    pub(super) parcel: Option<(Attachment, usize)>,
}

/// The other side's buffers could not be had.
#[derive(Debug)]
pub(super) enum Fault {
    /// It says what can't be.
    Lie(String),
    /// This process lacks memory or descriptors.
    Lack(String),
}

/// What came through the socket and waits for something.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Announced, with descriptors that this process could not take, and why.
    lost: Vec<(BufferId, String)>,
    /// To be [applied](Parcels::apply) once all that was committed before is read.
    pub(super) heard: Vec<Notice>,
    /// What has ended, and is to be dropped without a lock.
    pub(super) ended: Vec<Books>,
}

impl Inbox {
    /// What comes with it can't be had, but nothing else is lost. An error is a lie: nobody has so much on its way.
    fn lose(&mut self, id: BufferId, why: String) -> Result<(), String> {
        self.lost.retain(|(lost, _)| *lost != id);
        if self.lost.len() >= LOST_MAX {
            return Err("too many buffers that can't be taken".to_owned());
        }
        self.lost.push((id, why));
        Ok(())
    }
}

/// One side's end of the socket, and its books about the other side.
#[derive(Debug)]
pub(super) struct Parcels {
    socket: OwnedFd,
    peer: Peer,
}

impl Header {
    /// Append it, behind its length.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        let mut header = Bytes::with_room(HEADER_BYTES_USUAL);
        codec::encode_to(CodecId::BINARY, self, &mut header).map_err(|error| error.to_string())?;
        let length = u16::try_from(header.len()).map_err(|_| "too many buffers".to_owned())?;
        bytes.extend(length.to_le_bytes());
        bytes.extend_from_slice(&header);
        Ok(())
    }

    /// Take it off, and what stands behind it.
    pub(super) fn split(bytes: &[u8]) -> Result<(Self, &[u8]), String> {
        let short = || "a header that ends before its end".to_owned();
        let (length, rest) = bytes.split_first_chunk().ok_or_else(short)?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (header, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        let header: Self =
            codec::decode(CodecId::BINARY, header).map_err(|error| error.to_string())?;
        if header.attachments.len() > ATTACHMENTS_MAX {
            return Err("more buffers than can be sent together".to_owned());
        }
        Ok((header, rest))
    }
}

impl Parcels {
    pub(super) fn new(socket: OwnedFd, other: Trust) -> Self {
        Self { socket, peer: Peer::new(other) }
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Let the other side have the use of these, or of none.
    pub(super) fn lend<'a>(
        &self,
        attachments: impl IntoIterator<Item = &'a Attachment> + Clone,
        if_full: IfNotReady,
    ) -> io::Result<Vec<Announced>> {
        let mut announced = Vec::new();
        for attachment in attachments.clone() {
            let send = |announced, descriptor: BorrowedFd<'_>| {
                self.send(&Message::Descriptor(announced), &[descriptor], if_full)
            };
            match self.peer.lend(attachment, send) {
                Ok(one) => announced.push(one),
                Err(error) => {
                    self.take_back(attachments.into_iter().take(announced.len()));
                    return Err(error);
                }
            }
        }
        Ok(announced)
    }

    /// What announced these was never begun.
    pub(super) fn take_back<'a>(&self, attachments: impl IntoIterator<Item = &'a Attachment>) {
        for attachment in attachments {
            self.peer.take_back(attachment);
        }
    }

    /// Tell what is to be told, through the socket. Whether anything was.
    pub(super) fn tell(&self) -> bool {
        let mut told = false;
        while self.peer.has_notices() {
            let notices = self.peer.take_notices(NOTICES_MAX);
            let message = Message::Notices(notices);
            if notices_of(&message).is_empty() {
                break;
            }
            if self.send(&message, &[], IfNotReady::Fail).is_err() {
                // The other side is busy or gone. They go with what is sent next.
                self.peer.put_notices_back(notices_of(&message).to_vec());
                break;
            }
            told = true;
        }
        told
    }

    /// What to tell with the next message.
    pub(super) fn take_notices(&self) -> Vec<Notice> {
        if self.peer.has_notices() { self.peer.take_notices(NOTICES_MAX) } else { Vec::new() }
    }

    /// Read all that is in the socket. An error is a lie.
    pub(super) fn read(&self, inbox: &mut Inbox) -> Result<(), String> {
        self.read_up_to(MESSAGES_MAX, inbox)
    }

    fn read_up_to(&self, messages_max: usize, inbox: &mut Inbox) -> Result<(), String> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        for _ in 0..messages_max {
            let socket = self.socket.as_fd();
            let received = match receive_with_descriptors(socket, &mut bytes, 1, IfNotReady::Fail) {
                // The other side is gone, or has closed its end.
                Ok(Received { length: 0, .. }) => return Ok(()),
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(error.to_string());
                }
                Err(_nothing) => return Ok(()),
            };
            let message = codec::decode(CodecId::BINARY, &bytes[..received.length]);
            match (
                message.map_err(|error| error.to_string())?,
                received.descriptors.into_iter().next(),
            ) {
                (Message::Descriptor(announced), Some(descriptor)) => {
                    self.adopt(inbox, announced, descriptor)?;
                }
                (Message::Descriptor(Announced { id, .. }), None) if received.is_short => {
                    inbox.lose(id, "this process has no descriptor left".to_owned())?;
                }
                (Message::Notices(notices), None) => inbox.heard.extend(notices),
                _ => return Err("a message with a descriptor too few or too many".to_owned()),
            }
        }
        Err("messages about buffers without end".to_owned())
    }

    /// Read what a message needs. Most have buffers that are known already, and no system call is needed.
    ///
    /// Before the other side's buffer is forgotten everything: it must not be found in the socket afterwards.
    pub(super) fn read_for(&self, inbox: &mut Inbox, header: &Header) -> Result<(), String> {
        let parcel = header.parcel.iter().map(|(parcel, _)| parcel);
        let all_known =
            header.attachments.iter().chain(parcel).all(|one| self.peer.has_sent(one.id));
        let forgets = header.notices.iter().any(|notice| matches!(notice, Notice::Forget(_)));
        if all_known && !forgets { Ok(()) } else { self.read(inbox) }
    }

    fn adopt(
        &self,
        inbox: &mut Inbox,
        announced: Announced,
        descriptor: OwnedFd,
    ) -> Result<(), String> {
        inbox.lost.retain(|(id, _)| *id != announced.id);
        match self.peer.adopt(announced, descriptor) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(error.to_string()),
            Err(error) => inbox.lose(announced.id, error.to_string()),
        }
    }

    /// Take what a message announces: its attachments and its parcel, or none of them.
    pub(super) fn receive(&self, inbox: &mut Inbox, header: &Header) -> Result<Taken, Fault> {
        let mut lack = None;
        let mut receive = |announced: Announced| {
            if let Some((id, why)) = inbox.lost.iter().find(|(id, _)| *id == announced.id) {
                self.peer.on_lost(*id);
                lack = Some(why.clone());
                return Ok(None);
            }
            self.peer.receive(announced).map(Some).map_err(|error| Fault::Lie(error.to_string()))
        };
        let mut attachments = Vec::with_capacity(header.attachments.len());
        for announced in &header.attachments {
            attachments.extend(receive(*announced)?);
        }
        let parcel = match header.parcel {
            Some((announced, length)) => {
                let length =
                    usize::try_from(length).map_err(|error| Fault::Lie(error.to_string()))?;
                if length as u64 > announced.committed {
                    return Err(Fault::Lie("a parcel with less in it than announced".to_owned()));
                }
                receive(announced)?.map(|parcel| (parcel, length))
            }
            None => None,
        };
        match lack {
            Some(why) => Err(Fault::Lack(why)),
            None => Ok(Taken { attachments, parcel }),
        }
    }

    /// What has ended by that, to be dropped.
    pub(super) fn apply(&self, notices: Vec<Notice>) -> Vec<Books> {
        notices.into_iter().filter_map(|notice| self.peer.on_notice(notice)).collect()
    }

    fn send(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
        if_full: IfNotReady,
    ) -> io::Result<()> {
        let bytes = codec::encode(CodecId::BINARY, message).map_err(io::Error::other)?;
        send_with_descriptors(self.socket.as_fd(), &bytes, descriptors, if_full)
    }
}

fn notices_of(message: &Message) -> &[Notice] {
    match message {
        Message::Notices(notices) => notices,
        Message::Descriptor(_) => &[],
    }
}

/// Whether sending failed only because of what is on its way already.
pub(super) fn is_crowded(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error().map(Errno::from_raw_os_error) == Some(Errno::TOOMANYREFS)
}

/// Whether sending failed because nobody is there any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::attachment::Parcel;
    use crate::sys::descriptors::packet_sockets;

    /// The worker as the coordinator sees it, and the coordinator as the worker does.
    fn pair() -> (Parcels, Parcels) {
        let (here, there) = packet_sockets().expect("sockets");
        (Parcels::new(here, Trust::MayGoMad), Parcels::new(there, Trust::Trusted))
    }

    /// One that the worker has made, lent to the coordinator.
    fn made(worker: &Parcels) -> (Attachment, Announced) {
        let parcel = Parcel::from_bytes(b"hello", worker.peer()).expect("memory");
        let lent = worker.lend([&parcel], IfNotReady::Fail).expect("room");
        (parcel, lent[0])
    }

    fn in_parcel(announced: Announced, length: u64) -> Header {
        Header { parcel: Some((announced, length)), ..Header::default() }
    }

    /// It is read under locks.
    #[test]
    fn who_never_ends_what_it_says_lies() {
        let (coordinator, worker) = pair();
        let mut inbox = Inbox::default();
        let say = |times: usize| {
            for _ in 0..times {
                let nothing = Message::Notices(Vec::new());
                worker.send(&nothing, &[], IfNotReady::Fail).expect("room for so few");
            }
        };
        say(20);
        coordinator.read_up_to(21, &mut inbox).expect("it has said all");
        say(21);
        coordinator.read_up_to(21, &mut inbox).expect_err("there may be more");
    }

    #[test]
    fn headers_of_every_size_survive_and_fit() {
        let (_coordinator, worker) = pair();
        let (_parcel, announced) = made(&worker);
        let largest = Announced { length: u64::MAX, committed: u64::MAX, ..announced };
        for count in [0, 1, ATTACHMENTS_MAX] {
            let header = Header {
                attachments: vec![largest; count],
                parcel: Some((largest, u64::MAX)),
                notices: vec![Notice::Released(announced.id); NOTICES_MAX],
            };
            let mut bytes = Vec::new();
            header.append_to(&mut bytes).expect("it fits");
            assert!(bytes.len() <= HEADER_BYTES_MAX);
            bytes.push(7);
            let (read, behind) = Header::split(&bytes).expect("it is whole");
            assert_eq!((read.attachments, behind), (header.attachments, &[7][..]));
            assert_eq!((read.parcel, read.notices), (header.parcel, header.notices));
            assert!((0..bytes.len() - 1).all(|length| Header::split(&bytes[..length]).is_err()));
        }
        let mut bytes = Vec::new();
        let header =
            Header { attachments: vec![announced; ATTACHMENTS_MAX + 1], ..Header::default() };
        header.append_to(&mut bytes).expect("it can be written");
        Header::split(&bytes).expect_err("more than anybody sends");
    }

    #[test]
    fn a_parcel_comes_and_its_release_is_told() {
        let (coordinator, worker) = pair();
        let (parcel, announced) = made(&worker);
        let mut inbox = Inbox::default();
        coordinator.read(&mut inbox).expect("no lie");
        let taken = coordinator.receive(&mut inbox, &in_parcel(announced, 5)).expect("it was sent");
        let (received, length) = taken.parcel.expect("one");
        assert_eq!(codec::encoded::fetch(&received, length).expect("memory"), b"hello");
        assert!(!coordinator.tell());
        drop(received);
        assert!(coordinator.tell());
        worker.read(&mut inbox).expect("no lie");
        assert_eq!(inbox.heard, [Notice::Released(parcel.id())]);
        worker.apply(std::mem::take(&mut inbox.heard));
        worker.lend([&parcel], IfNotReady::Fail).expect("nobody has it any more");
    }

    #[test]
    fn what_could_not_be_taken_is_sent_again() {
        let (coordinator, worker) = pair();
        let (parcel, announced) = made(&worker);
        let lost = vec![(announced.id, "no descriptor left".to_owned())];
        let mut inbox = Inbox { lost, ..Inbox::default() };
        let taken = coordinator.receive(&mut inbox, &in_parcel(announced, 5));
        assert!(matches!(taken, Err(Fault::Lack(_))), "{taken:?}");
        assert!(coordinator.tell());
        worker.read(&mut inbox).expect("no lie");
        worker.apply(std::mem::take(&mut inbox.heard));
        worker.lend([&parcel], IfNotReady::Fail).expect("the other side has not got it");
        coordinator.read(&mut inbox).expect("no lie");
        let taken = coordinator.receive(&mut inbox, &in_parcel(announced, 5));
        assert!(taken.expect("it was sent").parcel.is_some());
    }

    #[test]
    fn so_many_that_could_not_be_taken_are_a_lie() {
        let mut inbox = Inbox::default();
        let mut lose = |number: usize| {
            // As it is written.
            let id = codec::encode(CodecId::BINARY, &number).expect("a number");
            let id = codec::decode(CodecId::BINARY, &id).expect("any number is one");
            inbox.lose(id, "no descriptor left".to_owned())
        };
        for number in 0..LOST_MAX {
            lose(number).expect("they may be on their way");
        }
        lose(0).expect("it is known already");
        lose(LOST_MAX).expect_err("nobody has so many on their way");
    }

    #[test]
    fn what_is_forgotten_does_not_come_afterwards() {
        let (coordinator, worker) = pair();
        let (parcel, announced) = made(&worker);
        // What announced it was never committed, and the buffer is dropped.
        worker.take_back([&parcel]);
        let notices = vec![Notice::Forget(announced.id)];
        let header = Header { notices, ..Header::default() };
        let mut inbox = Inbox::default();
        coordinator.read_for(&mut inbox, &header).expect("no lie");
        coordinator.apply(header.notices);
        coordinator.read(&mut inbox).expect("no lie");
        assert!(!coordinator.peer().has_sent(announced.id), "it would be mapped for ever");
    }

    #[test]
    fn lies_are_found_out() {
        let (coordinator, worker) = pair();
        let mut inbox = Inbox::default();
        let null = || std::fs::File::open("/dev/null").expect("it is there");
        let (_parcel, announced) = made(&worker);
        coordinator.read(&mut inbox).expect("no lie");
        for header in [in_parcel(announced, announced.committed + 1), {
            let id = made(&worker).1.id;
            in_parcel(Announced { id, ..announced }, 1)
        }] {
            let taken = coordinator.receive(&mut inbox, &header);
            assert!(matches!(taken, Err(Fault::Lie(_))), "{taken:?}");
        }
        let notices = Message::Notices(Vec::new());
        for (message, descriptors) in
            [(Message::Descriptor(announced), 0), (notices, 1), (Message::Descriptor(announced), 2)]
        {
            coordinator.read(&mut Inbox::default()).expect("empty");
            let null = null();
            let sent = vec![null.as_fd(); descriptors];
            worker.send(&message, &sent, IfNotReady::Fail).expect("room");
            coordinator.read(&mut inbox).expect_err("nobody sends that");
        }
        for junk in [&[0xff; 9][..], &[0; MESSAGE_BYTES_MAX + 1]] {
            let socket = worker.socket.as_fd();
            send_with_descriptors(socket, junk, &[], IfNotReady::Fail).expect("room");
            coordinator.read(&mut inbox).expect_err("nobody sends that");
        }
        let file = null();
        let made_up = Announced { id: made(&worker).1.id, ..announced };
        coordinator.read(&mut Inbox::default()).expect("no lie");
        let (_here, other) = pair();
        let (parcel, _) = made(&other);
        let made_up = Announced { id: parcel.id(), ..made_up };
        let message = Message::Descriptor(made_up);
        worker.send(&message, &[file.as_fd()], IfNotReady::Fail).expect("room");
        coordinator.read(&mut inbox).expect_err("no shared memory at all");
    }
}
