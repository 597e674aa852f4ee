//! The worker's part in extended calls and outcomes. PARCELS.md has the protocol.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bell;
use super::layout::{self, ANSWERING, CALLING, Entry, Slot};
use super::outcomes::{EXTENDED, HEAD_BYTES};
use super::parcels::{Fault, Header, Taken, is_crowded};
use super::sleep::Listener;
use super::worker_end::{NO_MEMORY, Place, RingEnd};
use crate::codec::encoded::fetch_into;
use crate::shm::attachment::{Attachment, Parcel};
use crate::shm::buffer::Announced;
use crate::shm::peer::Notice;
use crate::sys::descriptors::IfNotReady;
use crate::sys::futex;
use crate::transport::frame::Outcome;
use crate::transport::outcome;

/// After an extended outcome in a pack the next is expected to need as much room at most.
const ROOM_MIN_EXTENDED: usize = super::parcels::HEADER_BYTES_MAX + 64;
/// How often, and how far apart, it is tried to send what others leave no room for.
const CROWDED_MAX: u32 = 1000;
const CROWDED_APART: Duration = Duration::from_millis(1);

/// An outcome with more than its bytes.
struct Extended<'a> {
    variant: u8,
    body: &'a [u8],
    attachments: &'a [Attachment],
    notices: Vec<Notice>,
}

impl RingEnd {
    /// Take the header off the arguments, fetch them if they are in a parcel, and take their buffers.
    #[cold]
    pub(super) fn unpack_arguments(&mut self) -> Result<Vec<Attachment>, String> {
        let (header, behind) = Header::split(&self.arguments)?;
        let header_length = self.arguments.len() - behind.len();
        self.parcels.read_for(&mut self.inbox, &header)?;
        let received = self.parcels.receive(&mut self.inbox, &header);
        self.parcels.apply(std::mem::take(&mut self.inbox.heard));
        let Taken { attachments, parcel } = received.map_err(|fault| match fault {
            Fault::Lie(what) | Fault::Lack(what) => format!("the buffers in the arguments: {what}"),
        })?;
        match parcel {
            None => drop(self.arguments.drain(..header_length)),
            Some((parcel, length)) => {
                self.arguments.clear();
                fetch_into(&parcel, length, &mut self.arguments)
                    .map_err(|error| format!("no memory for the arguments: {error}"))?;
            }
        }
        Ok(attachments)
    }

    /// The coordinator has said something about buffers.
    #[cold]
    pub(super) fn hear(&mut self) {
        // Pairs with the stores in `extended`: what was sent before is found.
        self.segment.u32_at(CALLING).swap(0, Ordering::SeqCst);
        // The coordinator does not lie. A task may have closed the socket, which costs memory only.
        let _ = self.parcels.read(&mut self.inbox);
        self.parcels.apply(std::mem::take(&mut self.inbox.heard));
    }

    /// Going to sleep: the coordinator is told what it would otherwise hear with the next outcome.
    #[cold]
    pub(super) fn tell_before_sleep(&self) {
        if self.parcels.tell() {
            self.segment.u32_at(ANSWERING).store(1, Ordering::SeqCst);
            // It may have nothing else to do, and memory to give back.
            let bell = self.segment.u32_at(layout::bell(Listener::Collector));
            bell::ring(bell);
            futex::wake_all(bell);
        }
    }

    /// Write an outcome with buffers or notices, or one that has no place in a ring.
    #[cold]
    pub(super) fn write_extended(
        &mut self,
        entry: Entry,
        place: &mut Place,
        slot: Slot,
        variant: u8,
        body: &[u8],
        attachments: &[Attachment],
    ) {
        place.room_min = ROOM_MIN_EXTENDED;
        let notices = self.parcels.take_notices();
        let said = !notices.is_empty();
        let mut outcome = Extended { variant, body, attachments, notices };
        let mut written = self.write_with(entry, place, slot, &mut outcome);
        if written.is_err() && said {
            // They may have been what was too much.
            if attachments.is_empty() && self.has_room(place, slot, HEAD_BYTES + body.len()) {
                return self.append(entry, place, variant, &[body]);
            }
            written = self.write_with(entry, place, slot, &mut outcome);
        }
        if let Err(message) = written {
            self.write_unencodable(entry, place, slot, message);
        }
    }

    /// Append the outcome. If there is no room for it, its notices are to be told later, and no more with it.
    fn write_with(
        &mut self,
        entry: Entry,
        place: &mut Place,
        slot: Slot,
        outcome: &mut Extended<'_>,
    ) -> Result<(), String> {
        let Extended { variant, body, attachments, ref mut notices } = *outcome;
        let notices = std::mem::take(notices);
        let mut header = Header { attachments: Vec::new(), parcel: None, notices };
        let mut parcel = None;
        let written = self.lend(attachments).and_then(|announced| {
            header.attachments = announced;
            self.write_behind(entry, place, slot, (variant, body), &mut header, &mut parcel)
        });
        if written.is_err() {
            if header.attachments.len() == attachments.len() {
                self.parcels.take_back(attachments);
            }
            if header.parcel.is_some() {
                self.parcels.take_back(&parcel);
            }
            self.parcels.peer().put_notices_back(header.notices);
        }
        written
    }

    /// Append the header and the body, or the body in a parcel.
    fn write_behind(
        &mut self,
        entry: Entry,
        place: &mut Place,
        slot: Slot,
        (variant, body): (u8, &[u8]),
        header: &mut Header,
        parcel: &mut Option<Attachment>,
    ) -> Result<(), String> {
        let mut front = vec![variant];
        header.append_to(&mut front)?;
        if self.has_room(place, slot, HEAD_BYTES + front.len() + body.len()) {
            self.append(entry, place, EXTENDED, &[&front, body]);
            return Ok(());
        }
        let made =
            Parcel::from_bytes(body, self.parcels.peer()).map_err(|error| error.to_string())?;
        let made = parcel.insert(made).clone();
        let announced = self.lend(std::slice::from_ref(&made))?.pop();
        header.parcel = announced.map(|announced| (announced, body.len() as u64));
        front.truncate(1);
        header.append_to(&mut front)?;
        if !self.has_room(place, slot, HEAD_BYTES + front.len()) {
            return Err(NO_MEMORY.to_owned());
        }
        self.append(entry, place, EXTENDED, &[&front]);
        Ok(())
    }

    /// Say that there is no outcome to be had.
    pub(super) fn write_unencodable(
        &mut self,
        entry: Entry,
        place: &mut Place,
        slot: Slot,
        message: String,
    ) {
        let mut body = Vec::new();
        let mut variant = outcome::encode(&Outcome::Unencodable { message }, &mut body);
        if !self.has_room(place, slot, HEAD_BYTES + body.len()) {
            body.clear();
            let message = NO_MEMORY.to_owned();
            variant = outcome::encode(&Outcome::Unencodable { message }, &mut body);
        }
        self.append(entry, place, variant, &[&body]);
    }

    /// Let the coordinator have the use of these. Waits until it has read what is on its way already.
    fn lend(&mut self, attachments: &[Attachment]) -> Result<Vec<Announced>, String> {
        let mut lent = self.parcels.lend(attachments, IfNotReady::Fail);
        for _ in 0..CROWDED_MAX {
            let Err(error) = &lent else { break };
            if !is_crowded(error) {
                break;
            }
            // It would never come to that if nobody told it.
            self.segment.u32_at(ANSWERING).store(1, Ordering::SeqCst);
            self.announce(true);
            if error.kind() != io::ErrorKind::WouldBlock {
                std::thread::sleep(CROWDED_APART);
            }
            lent = self.parcels.lend(attachments, IfNotReady::Wait);
        }
        lent.map_err(|error| format!("its buffers can't be sent: {error}"))
    }
}
