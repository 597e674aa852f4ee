//! Buffers between two processes that behave.

use rustix::fs::{FallocateFlags, SealFlags};
use rustix::io::Errno;

use super::{Link, ToCoordinator, ToWorker, pool_to_oneself};
use crate::codec::{self, CodecId};
use crate::shm::attachment::{Attachment, Parcel};
use crate::shm::peer::Notice;
use crate::shm::{Blob, SealedBlob, SealedSlice, SharedSlice, attachments};

#[test]
fn a_lent_buffer_goes_there_is_changed_in_place_and_comes_back() {
    let link = Link::new();
    let mut blob = Blob::from_slice(&vec![1; 100_000]).expect("memory");
    for round in 0..3 {
        let (mut there, descriptors) =
            link.with_descriptors_of(|| link.pass::<Blob>(ToWorker, &blob));
        assert_eq!(descriptors, usize::from(round == 0), "it stays mapped there");
        for byte in there.as_mut_slice().expect("a worker trusts its coordinator") {
            *byte += 1;
        }
        let (back, descriptors) = link.with_descriptors_of(|| link.pass(ToCoordinator, &there));
        assert_eq!(descriptors, 0, "it never left");
        blob = back;
    }
    assert_eq!(blob.to_vec().expect("here"), vec![4; 100_000]);
    assert!(blob.as_slice().is_none(), "the worker might go mad");
    // SAFETY: it has not.
    assert_eq!(unsafe { blob.as_slice_unchecked() }.expect("here")[99_999], 4);
    link.worker.on_died();
    assert_eq!(blob.as_slice().expect("the worker is dead")[99_999], 4);
}

#[test]
fn what_its_maker_has_back_is_not_sent_again() {
    let link = Link::new();
    let made = Blob::from_slice(&vec![5; 100_000]).expect("memory");
    let here: Blob = link.pass(ToCoordinator, &made);
    let encode = || codec::encode(CodecId::BINARY, &here).expect("it is encoded");
    let (_bytes, sent) = attachments::collect(encode);
    let copy = sent[0].copy_of_leased().expect("memory").expect("it is the worker's");
    link.send_attachment(ToWorker, &sent[0]);
    let again = link.worker.lend(&sent[0], |_, _| unreachable!("it has the descriptor"));
    let error = again.expect_err("the maker may use it for something else");
    assert!(error.to_string().contains("its maker has back"), "{error}");
    // Unless it was never begun there.
    link.worker.take_back(&sent[0]);
    link.send_attachment(ToWorker, &sent[0]);
    assert!(copy.copy_of_leased().expect("not needed").is_none());
    let mut bytes = Vec::new();
    copy.copy_out(0..100_000, &mut bytes).expect("it has them");
    assert_eq!(bytes, vec![5; 100_000]);
    for _ in 0..2 {
        link.send_attachment(ToWorker, &copy);
        link.worker.take_back(&copy);
    }
}

#[test]
fn a_buffer_remembers_only_the_living_that_it_was_sent_to() {
    let blob = SealedBlob::from_slice(&[1; 100]).expect("memory");
    let encode = || codec::encode(CodecId::BINARY, &blob).expect("it is encoded");
    let (_bytes, sent) = attachments::collect(encode);
    for _ in 0..100 {
        let link = Link::new();
        link.send_attachment(ToWorker, &sent[0]);
        drop(link.worker.on_died());
    }
    let known = sent[0].buffer().exposures().known();
    assert!(known <= 2, "{known} of 100");
}

/// Who is refused does not release it for the next.
#[test]
fn a_lent_buffer_has_one_handle_however_often_it_is_asked_for() {
    let blob = Blob::from_slice(&[1; 100]).expect("memory");
    let encode = || codec::encode(CodecId::BINARY, &blob).expect("it is encoded");
    let (bytes, sent) = attachments::collect(encode);
    let decode = || {
        let decoded = || codec::decode::<Blob>(CodecId::BINARY, &bytes);
        attachments::with_received(sent.clone(), decoded)
    };
    let first = decode().expect("the first has it");
    for _ in 0..3 {
        decode().expect_err("the first has it still");
    }
    drop(first);
    decode().expect("it is free again");
}

#[test]
fn what_the_worker_lets_go_is_recycled_and_not_before() {
    let _alone = pool_to_oneself();
    let link = Link::new();
    let blob = Blob::zeroed(3 << 20).expect("memory");
    let message = link.send(ToWorker, &blob);
    let id = message.announced[0].id;
    let there: Blob = link.receive(ToWorker, message);
    drop(blob);
    let recycled = |bytes| {
        let parcel = Parcel::from_bytes(&vec![0; bytes], &link.worker).expect("memory");
        parcel.id() == id
    };
    assert!(!recycled(3 << 20), "the worker has it");
    drop(there);
    assert!(!recycled(3 << 20), "nobody knows yet");
    assert!(link.coordinator.has_notices());
    link.flush(ToCoordinator);
    assert!(!link.coordinator.has_notices());
    assert!(recycled(3 << 20));
}

#[test]
fn what_a_dead_worker_had_is_free() {
    let _alone = pool_to_oneself();
    let link = Link::new();
    let blob = Blob::zeroed(5 << 20).expect("memory");
    let message = link.send(ToWorker, &blob);
    let id = message.announced[0].id;
    link.worker.on_died();
    let again = Link::new();
    let parcel = Parcel::from_bytes(&vec![0; 5 << 20], &again.worker).expect("memory");
    assert_eq!(parcel.id(), id);
}

#[test]
fn a_sealed_buffer_is_mapped_once_and_read_by_all() {
    let (one, two) = (Link::new(), Link::new());
    let table: SealedSlice<u32> =
        SharedSlice::from_slice(&vec![7; 50_000]).and_then(SharedSlice::seal).expect("memory");
    for link in [&one, &two, &one] {
        let (there, descriptors): (SealedSlice<u32>, _) =
            link.with_descriptors_of(|| link.pass(ToWorker, &table));
        assert_eq!(&there[..], &table[..]);
        assert!(descriptors <= 1);
        let back: SealedSlice<u32> = link.pass(ToCoordinator, &there);
        assert_eq!(back.as_ptr(), table.as_ptr(), "it is the same");
    }
    assert_eq!((one.descriptors.get(), two.descriptors.get()), (1, 1));
    two.flush(ToCoordinator);
    // Still used there when the coordinator has no use for it any more.
    let message = one.send(ToWorker, &table);
    let id = message.announced[0].id;
    let there: SealedSlice<u32> = one.receive(ToWorker, message);
    drop(table);
    one.flush(ToCoordinator);
    assert!(!one.worker.has_notices(), "the worker has it");
    assert_eq!(there[49_999], 7);
    let kept = there.clone();
    drop(there);
    one.flush(ToCoordinator);
    assert!(!one.worker.has_notices(), "the worker has it");
    drop(kept);
    one.flush(ToCoordinator);
    assert_eq!(one.worker.take_notices(usize::MAX), [Notice::Forget(id)]);
    assert!(one.coordinator.has_sent(id));
    one.coordinator.on_notice(Notice::Forget(id));
    assert!(!one.coordinator.has_sent(id));
}

#[test]
fn a_sealed_buffer_can_not_be_written_or_resized() {
    let sealed = SealedBlob::from_slice(&[1; 100]).expect("memory");
    let ((), attachments) = attachments::collect(|| drop(codec::encode(CodecId::BINARY, &sealed)));
    let file = attachments[0].buffer().descriptor();
    let length = attachments[0].announced().length;
    assert_eq!(rustix::fs::ftruncate(file, length - 1), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(file, length + 1), Err(Errno::PERM));
    assert_eq!(rustix::io::pwrite(file, b"x", 0), Err(Errno::PERM));
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    assert_eq!(rustix::fs::fallocate(file, punch, 0, 4096), Err(Errno::PERM));
    assert_eq!(rustix::fs::fcntl_add_seals(file, SealFlags::FUTURE_WRITE), Err(Errno::PERM));
    let protection = rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE;
    let shared = rustix::mm::MapFlags::SHARED;
    // SAFETY: a mapping at an address of the kernel's choice, which is refused at that.
    let mapped =
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, protection, shared, file, 0) };
    assert_eq!(mapped.expect_err("sealed"), Errno::PERM);
    assert_eq!(&sealed[..], [1; 100]);
}

#[test]
fn what_a_worker_has_made_is_the_workers_again_when_it_is_not_used() {
    let _alone = pool_to_oneself();
    let link = Link::new();
    let message = link.send(ToCoordinator, &Blob::from_slice(&vec![5; 9 << 20]).expect("memory"));
    let id = message.announced[0].id;
    let here: Blob = link.receive(ToCoordinator, message);
    assert_eq!(here.to_vec().expect("here"), vec![5; 9 << 20]);
    assert!(here.as_slice().is_none(), "the worker might go mad");
    drop(here);
    link.flush(ToWorker);
    let parcel = Parcel::from_bytes(&vec![6; 9 << 20], &link.coordinator).expect("memory");
    assert_eq!(parcel.id(), id, "recycled by the worker");
    let (announced, descriptors) =
        link.with_descriptors_of(|| link.send_attachment(ToCoordinator, &parcel));
    assert_eq!(descriptors, 0, "it stays mapped here");
    let received = link.worker.receive(announced).expect("it was sent");
    let mut bytes = Vec::new();
    received.copy_out(0..9 << 20, &mut bytes).expect("so long");
    assert_eq!(bytes, vec![6; 9 << 20]);
    received.copy_out(0..(16 << 20) + 1, &mut bytes).expect_err("not so long");
}

#[test]
fn a_buffer_goes_from_worker_to_worker_and_home() {
    let (one, two) = (Link::new(), Link::new());
    let made_there = Blob::from_slice(b"made by one").expect("memory");
    let here: Blob = one.pass(ToCoordinator, &made_there);
    let mut at_two: Blob = two.pass(ToWorker, &here);
    at_two.as_mut_slice().expect("a worker may")[8..].copy_from_slice(b"two");
    let here: Blob = two.pass(ToCoordinator, &at_two);
    let (at_one, descriptors): (Blob, _) = one.with_descriptors_of(|| one.pass(ToWorker, &here));
    assert_eq!(descriptors, 0, "it is its own");
    assert_eq!(at_one.to_vec().expect("here"), b"made by two");
    assert!(!one.worker.has_notices(), "the return itself tells");
}

#[test]
fn what_was_never_begun_is_taken_back() {
    let link = Link::new();
    let blob = Blob::from_slice(&[1; 17]).expect("memory");
    let (bytes, attachments) =
        attachments::collect(|| codec::encode(CodecId::BINARY, &blob).expect("it is encoded"));
    let announced = link.send_attachment(ToWorker, &attachments[0]);
    link.worker.take_back(&attachments[0]);
    let lie = link.worker.receive(announced).expect_err("the worker has not got it");
    assert_eq!(lie.kind(), std::io::ErrorKind::InvalidData);
    // Another attempt, at another worker.
    let other = Link::new();
    let announced = other.send_attachment(ToWorker, &attachments[0]);
    let received: Vec<Attachment> = vec![other.coordinator.receive(announced).expect("sent")];
    let there: Blob = attachments::with_received(received, || {
        codec::decode(CodecId::BINARY, &bytes).expect("it was sent")
    });
    assert_eq!(there.to_vec().expect("here"), [1; 17]);
}

/// In a process of its own, because other tests open descriptors too.
#[test]
fn no_descriptor_is_left_open() {
    let child = std::process::Command::new(std::env::current_exe().expect("it runs"))
        .args(["--exact", "shm::tests::exchange::child_that_counts", "--ignored"])
        .output()
        .expect("it can be started");
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[test]
#[ignore = "run by `no_descriptor_is_left_open`"]
fn child_that_counts() {
    let open = || std::fs::read_dir("/proc/self/fd").expect("it is there").count();
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("it is there");
        maps.lines().filter(|line| line.contains("memfd:atasker")).count()
    };
    let before = open();
    let link = Link::new();
    let round = || {
        let sealed = SealedBlob::from_slice(&[1; 9]).expect("memory");
        let there: (Blob, SealedBlob) =
            link.pass(ToWorker, &(Blob::zeroed(9).expect("memory"), sealed));
        let back: (Blob, SealedBlob) = link.pass(ToCoordinator, &there);
        drop((there, back));
        let made: (Blob, SealedBlob) = link.pass(
            ToCoordinator,
            &(Blob::zeroed(9).expect("memory"), SealedBlob::from_slice(&[1; 9]).expect("memory")),
        );
        drop(made);
        link.flush(ToWorker);
        link.flush(ToCoordinator);
        link.flush(ToWorker);
    };
    let after = |rounds| {
        (0..rounds).for_each(|_| round());
        open()
    };
    // Until as many are idle as may be, each mapped by both sides.
    let full = after(150);
    assert!(after(150) <= full, "it grows");
    drop(link);
    let idle = crate::shm::pool::idle().0;
    assert_eq!(open(), before + idle);
    assert_eq!(mapped(), idle);
}
