//! What a process gone mad may say.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::{Link, ToCoordinator, ToWorker};
use crate::codec::{self, CodecId};
use crate::shm::attachment::{Attachment, Parcel};
use crate::shm::attachments::{self, Written};
use crate::shm::buffer::{Announced, Grade};
use crate::shm::peer::{Notice, Peer, Trust};
use crate::shm::{Blob, SealedBlob, SealedSlice, SharedSlice, memfd};
use crate::sys;

fn assert_lie<T>(result: io::Result<T>, what: &str) {
    let Err(error) = result else { panic!("believed: {what}") };
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: {error}");
}

/// A buffer of somebody else's, as it is announced.
fn parcel(bytes: usize) -> (Announced, OwnedFd) {
    let parcel = Parcel::from_bytes(&vec![1; bytes], &Peer::new(Trust::Trusted)).expect("memory");
    let file = parcel.buffer().descriptor().try_clone_to_owned().expect("a descriptor");
    // It must not be recycled while the test has it.
    std::mem::forget(parcel.clone());
    (parcel.announced(), file)
}

#[test]
fn a_buffer_must_be_as_announced() {
    let worker = Peer::new(Trust::MayGoMad);
    let (truth, file) = parcel(10_000);
    let adopt = |announced, file: &OwnedFd| worker.adopt(announced, file.try_clone()?);
    for length in [0, 1, truth.length - 1, truth.length + 1, u64::MAX] {
        assert_lie(adopt(Announced { length, ..truth }, &file), "a length");
    }
    for committed in [truth.length + 1, u64::MAX] {
        assert_lie(adopt(Announced { committed, ..truth }, &file), "beyond the end");
    }
    assert_lie(adopt(Announced { grade: Grade::Sealed, ..truth }, &file), "not sealed");
    let unsealed = memfd::create(1 << 16).expect("memory");
    assert_lie(adopt(truth, &unsealed), "not even against resizing");
    let sparse = memfd::create(1 << 40).expect("no memory");
    memfd::seal(sparse.as_fd(), memfd::IMMUTABLE).expect("it is ours");
    let huge = Announced { length: 1 << 40, committed: 1 << 40, grade: Grade::Sealed, ..truth };
    assert_lie(adopt(huge, &sparse), "no memory in it");
    let endless = memfd::create(1 << 46).expect("no memory");
    memfd::seal(endless.as_fd(), memfd::IMMUTABLE).expect("it is ours");
    let huge = Announced { length: 1 << 46, committed: 0, grade: Grade::Sealed, ..truth };
    assert_lie(adopt(huge, &endless), "addresses for more than there is");
    assert_lie(
        adopt(truth, &std::fs::File::open("/dev/null").expect("it is there").into()),
        "null",
    );
    adopt(truth, &file).expect("the truth");
    adopt(truth, &file).expect("again");
    assert_lie(adopt(Announced { grade: Grade::Sealed, ..truth }, &file), "something else");
}

#[test]
fn only_what_was_sent_can_be_used() {
    let worker = Peer::new(Trust::MayGoMad);
    let (truth, file) = parcel(10_000);
    assert_lie(worker.receive(truth), "no descriptor came");
    worker.adopt(truth, file).expect("the truth");
    for lie in [
        Announced { length: truth.length * 2, ..truth },
        Announced { grade: Grade::Sealed, ..truth },
        Announced { committed: truth.length + 1, ..truth },
    ] {
        assert_lie(worker.receive(lie), "another than was sent");
    }
    let received = worker.receive(truth).expect("the truth");
    assert_lie(worker.receive(truth), "it is here already");
    drop(received);
    worker.receive(truth).expect("it was released");
}

#[test]
fn nothing_comes_back_that_was_not_lent() {
    let link = Link::new();
    let blob = Blob::zeroed(5).expect("memory");
    let message = link.send(ToWorker, &blob);
    let announced = message.announced[0];
    let there: Blob = link.receive(ToWorker, message);
    assert_lie(
        link.worker.receive(Announced { grade: Grade::Sealed, ..announced }),
        "of another grade",
    );
    let other = Peer::new(Trust::MayGoMad);
    assert_lie(other.receive(announced), "lent to somebody else");
    let _back: Blob = link.pass(ToCoordinator, &there);
    assert_lie(link.worker.receive(announced), "twice");
    for notice in [Notice::Released(announced.id), Notice::Forget(announced.id)] {
        // Nothing to release or to forget any more, or never.
        drop((link.worker.on_notice(notice), other.on_notice(notice)));
    }
}

#[test]
fn a_peer_can_not_take_all_descriptors() {
    let worker = Peer::new(Trust::MayGoMad);
    let refused = (0..10_000).find_map(|_| {
        let file = memfd::create(1 << 16).expect("memory");
        memfd::seal(file.as_fd(), memfd::SIZE).expect("it is ours");
        let (some, _) = parcel(1);
        worker.adopt(Announced { length: 1 << 16, committed: 0, ..some }, file).err()
    });
    assert_lie::<()>(Err(refused.expect("there is a limit")), "too many");
}

#[test]
fn a_peer_can_not_take_all_addresses() {
    let worker = Peer::new(Trust::MayGoMad);
    let length = (sys::memory::total().expect("it is told") / 4) & !0xffff;
    // There is no memory behind them.
    let mut answers = (0..20).map(|_| {
        let file = memfd::create(length as usize).expect("no memory");
        memfd::seal(file.as_fd(), memfd::SIZE).expect("it is ours");
        let (some, _) = parcel(1);
        worker.adopt(Announced { length, committed: 0, ..some }, file)
    });
    assert!(answers.by_ref().take(4).all(|answer| answer.is_ok()), "what the machine has");
    assert_lie::<()>(Err(answers.find_map(Result::err).expect("a limit")), "more than there is");
}

#[test]
fn the_dead_send_nothing() {
    let worker = Peer::new(Trust::MayGoMad);
    worker.on_died();
    let (truth, file) = parcel(10_000);
    worker.adopt(truth, file).expect("it is dropped");
    assert_lie(worker.receive(truth), "by nobody");
    let blob = Parcel::from_bytes(b"for nobody", &worker).expect("memory");
    worker.lend(&blob, |_, _| Ok(())).expect("nobody has it");
    assert!(blob.into_buffer().is_ok(), "it is in no book");
}

fn decode<T: for<'de> serde::Deserialize<'de>>(
    written: Written,
    attachment: Attachment,
) -> Result<T, String> {
    // A newtype struct is what is in it.
    let bytes = codec::encode(CodecId::BINARY, &written).expect("numbers");
    attachments::with_received(vec![attachment], || {
        codec::decode(CodecId::BINARY, &bytes).map_err(|error| error.to_string())
    })
}

#[test]
fn every_number_in_the_bytes_is_checked() {
    let sent = |grade| {
        let parcel = Parcel::from_bytes(&[1; 1000], &Peer::new(Trust::Trusted)).expect("memory");
        match grade {
            Grade::Lent => parcel,
            Grade::Sealed => {
                let sealed = SealedBlob::from_slice(&[1; 1000]).expect("memory");
                let encode = || codec::encode(CodecId::BINARY, &sealed);
                attachments::collect(encode).1.pop().expect("one")
            }
        }
    };
    let truth =
        Written { attachment: Some(0), start: 8, length: 100, element_size: 8, element_align: 8 };
    let committed = sent(Grade::Lent).announced().committed;
    let lies = [
        Written { attachment: Some(1), ..truth },
        Written { attachment: Some(u32::MAX), ..truth },
        Written { attachment: None, ..truth },
        Written { start: 4, ..truth },
        Written { start: u64::MAX - 7, ..truth },
        Written { start: committed, ..truth },
        Written { length: committed / 8, ..truth },
        Written { length: u64::MAX, ..truth },
        Written { length: u64::MAX / 8, ..truth },
        Written { length: 1 << 61, ..truth },
        Written { element_size: 4, ..truth },
        Written { element_size: 0, ..truth },
        Written { element_align: 1, ..truth },
    ];
    for lie in lies {
        decode::<SharedSlice<u64>>(lie, sent(Grade::Lent)).expect_err("a lie");
        decode::<SealedSlice<u64>>(lie, sent(Grade::Sealed)).expect_err("a lie");
    }
    decode::<SharedSlice<u64>>(truth, sent(Grade::Sealed)).expect_err("the other grade");
    decode::<SealedSlice<u64>>(truth, sent(Grade::Lent)).expect_err("the other grade");
    let lent: SharedSlice<u64> = decode(truth, sent(Grade::Lent)).expect("the truth");
    assert_eq!(lent.to_vec().expect("here")[..10], [0x0101_0101_0101_0101; 10]);
    let sealed: SealedSlice<u64> = decode(truth, sent(Grade::Sealed)).expect("the truth");
    assert_eq!(sealed[..10], [0x0101_0101_0101_0101; 10]);
}

#[test]
fn a_lent_buffer_is_taken_once() {
    let blob = Blob::zeroed(5).expect("memory");
    let (bytes, attachments) =
        attachments::collect(|| codec::encode(CodecId::BINARY, &blob).expect("it is encoded"));
    let twice = [&bytes[..], &bytes[..]].concat();
    let decoded = attachments::with_received(attachments, || {
        codec::decode::<(Blob, Blob)>(CodecId::BINARY, &twice).map_err(|error| error.to_string())
    });
    assert!(decoded.expect_err("twice").contains("twice"));
}
