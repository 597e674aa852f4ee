//! Buffers within one process, and the contexts in which they are encoded.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecId};
use crate::registry::shape::{Shapes, digest};
use crate::shm::attachment::Attachment;
use crate::shm::{Blob, BufferError, SealedBlob, SealedSlice, SharedSlice, attachments, pool};

fn encoded<T: Serialize>(value: &T) -> (codec::Bytes, Vec<Attachment>) {
    attachments::collect(|| codec::encode(CodecId::BINARY, value).expect("it is encoded"))
}

fn decoded<T: for<'de> Deserialize<'de>>(
    bytes: &[u8],
    attachments: Vec<Attachment>,
) -> Result<T, String> {
    attachments::with_received(attachments, || {
        codec::decode(CodecId::BINARY, bytes).map_err(|error| error.to_string())
    })
}

#[test]
fn what_is_written_can_be_read() {
    let numbers: Vec<u32> = (0..100_000).collect();
    let mut shared = SharedSlice::from_slice(&numbers).expect("memory");
    assert_eq!(shared.to_vec().expect("here"), numbers);
    shared.write_at(99_999, &[7]).expect("here");
    let mut last = [0; 2];
    shared.read_at(99_998, &mut last).expect("here");
    assert_eq!(last, [99_998, 7]);
    let mut copy = vec![0; 100_000];
    shared.copy_to_slice(&mut copy).expect("here");
    assert_eq!((copy[3], shared.len(), shared.is_empty()), (3, 100_000, false));
    let sealed = shared.seal().expect("memory");
    assert_eq!((sealed.len(), sealed[99_999], sealed.clone()[5]), (100_000, 7, 5));
    let built = SharedSlice::build(10, |numbers| numbers.fill(3_u8)).expect("memory");
    assert_eq!(built.to_vec().expect("here"), [3; 10]);
}

#[test]
fn new_memory_is_zero_whatever_was_there() {
    for _ in 0..8 {
        let mut zeroed = Blob::zeroed(70_000).expect("memory");
        let slice = zeroed.as_mut_slice().expect("it was never sent");
        assert!(slice.iter().all(|byte| *byte == 0));
        slice.fill(0xff);
        assert_eq!(zeroed.as_slice().expect("it was never sent")[69_999], 0xff);
        Blob::build(70_000, |bytes| assert!(bytes.iter().all(|byte| *byte == 0))).expect("memory");
    }
}

#[test]
fn empty_ones_need_nothing() {
    let (bytes, attachments) = encoded(&(
        Blob::zeroed(0).expect("nothing"),
        SealedBlob::from_slice(&[]).expect("nothing"),
    ));
    assert!(attachments.is_empty());
    let (mut blob, sealed): (Blob, SealedBlob) = decoded(&bytes, attachments).expect("nothing");
    assert!(blob.is_empty() && sealed.is_empty());
    assert!(blob.to_vec().expect("here").is_empty());
    assert_eq!(blob.as_mut_slice(), Some(&mut [][..]));
    assert!(blob.as_slice().expect("nothing").is_empty());
    assert!(blob.seal().expect("nothing").is_empty());
}

#[test]
fn what_can_not_be_is_an_error() {
    assert!(matches!(SharedSlice::<u64>::zeroed(usize::MAX / 4), Err(BufferError::TooLong)));
    assert!(matches!(Blob::recycled(usize::MAX), Err(BufferError::TooLong)));
    let blob = Blob::zeroed(4).expect("memory");
    for (start, length) in [(5, 0), (4, 1), (0, 5), (usize::MAX, 1)] {
        let read = AssertUnwindSafe(|| blob.read_at(start, &mut vec![0; length]));
        assert!(catch_unwind(read).is_err(), "{start} {length}");
    }
    blob.read_at(4, &mut []).expect("nothing");
}

#[test]
fn what_was_sent_is_gone_here() {
    let mut blob = Blob::from_slice(b"hello").expect("memory");
    let (bytes, attachments) = encoded(&blob);
    assert!(blob.is_sent() && blob.len() == 5);
    assert!(matches!(blob.to_vec(), Err(BufferError::Sent)));
    assert!(matches!(blob.write_at(0, b"x"), Err(BufferError::Sent)));
    assert!(blob.as_slice().is_none() && blob.as_mut_slice().is_none());
    // SAFETY: there is nothing to read.
    assert!(unsafe { blob.as_slice_unchecked() }.is_none());
    assert!(matches!(blob.seal(), Err(BufferError::Sent)));
    let back: Blob = decoded(&bytes, attachments).expect("it was sent");
    assert_eq!(back.to_vec().expect("here"), b"hello");
}

#[test]
fn a_buffer_goes_only_once() {
    let blob = Blob::from_slice(b"hello").expect("memory");
    let (refused, attachments) =
        attachments::collect(|| codec::encode(CodecId::BINARY, &(&blob, &blob)));
    assert!(refused.expect_err("twice").to_string().contains("no longer here"));
    assert_eq!(attachments.len(), 1);
    let sealed = SealedBlob::from_slice(b"hello").expect("memory");
    let (bytes, attachments) = encoded(&(&sealed, sealed.clone(), vec![sealed.clone()]));
    assert_eq!(attachments.len(), 1, "one attachment for all");
    let (one, two, three): (SealedBlob, SealedBlob, Vec<SealedBlob>) =
        decoded(&bytes, attachments).expect("sealed");
    assert_eq!((&one[..], &two[..], &three[0][..]), (&b"hello"[..], &b"hello"[..], &b"hello"[..]));
}

#[test]
fn what_is_being_read_stays() {
    let blob = Blob::zeroed(5).expect("memory");
    let (one, two) = (blob.as_slice().expect("private"), blob.as_slice().expect("private"));
    let (refused, _) = attachments::collect(|| codec::encode(CodecId::BINARY, &blob));
    assert!(refused.expect_err("in use").to_string().contains("being read"));
    assert_eq!((&one[..], &two[..]), (&[0; 5][..], &[0; 5][..]));
    drop((one, two));
    let (_, attachments) = encoded(&blob);
    assert_eq!(attachments.len(), 1);
}

#[test]
fn nobody_gets_what_another_attempt_has_kept() {
    let (bytes, attachments) = encoded(&Blob::zeroed(5).expect("memory"));
    let kept: Blob = decoded(&bytes, attachments.clone()).expect("the first attempt");
    let refused = decoded::<Blob>(&bytes, attachments.clone()).expect_err("the second");
    assert!(refused.contains("in use"), "{refused}");
    drop(kept);
    decoded::<Blob>(&bytes, attachments).expect("the third");
}

#[test]
fn outside_of_tasks_they_do_not_cross() {
    let blob = Blob::zeroed(5).expect("memory");
    let refused = codec::encode(CodecId::BINARY, &blob).expect_err("not a task");
    assert!(
        refused.to_string().contains("only be sent to a worker as an argument or result"),
        "{refused}"
    );
    let (bytes, attachments) = encoded(&blob);
    drop(attachments);
    let refused = codec::decode::<Blob>(CodecId::BINARY, &bytes).expect_err("not a task");
    assert!(refused.to_string().contains("argument or result of a task"), "{refused}");
    #[cfg(feature = "json")]
    {
        let blob = Blob::zeroed(5).expect("memory");
        let (refused, _) = attachments::collect(|| codec::encode(CodecId::Json, &blob));
        assert!(refused.expect_err("text").to_string().contains("JSON"));
        assert!(!blob.is_sent());
    }
}

#[test]
fn contexts_are_restored() {
    let send = || drop(codec::encode(CodecId::BINARY, &Blob::zeroed(5).expect("memory")));
    let ((), attachments) = attachments::collect(|| {
        send();
        let ((), inner) = attachments::collect(send);
        assert_eq!(inner.len(), 1);
        attachments::with_received(Vec::new(), || ());
        let panicked = catch_unwind(|| attachments::collect(|| panic!("inside")));
        assert!(panicked.is_err());
        send();
    });
    assert_eq!(attachments.len(), 2);
    let refused = codec::encode(CodecId::BINARY, &Blob::zeroed(5).expect("memory"));
    refused.expect_err("outside again");
}

#[test]
fn all_binary_codecs_carry_them() {
    #[cfg(feature = "bincode")]
    {
        let blob = Blob::from_slice(b"hello").expect("memory");
        let (bytes, attachments) = attachments::collect(|| {
            codec::encode(CodecId::Bincode, &Some(blob)).expect("it is encoded")
        });
        let back = attachments::with_received(attachments, || {
            codec::decode::<Option<Blob>>(CodecId::Bincode, &bytes).expect("it was sent")
        });
        assert_eq!(back.expect("some").to_vec().expect("here"), b"hello");
    }
}

#[test]
fn types_with_buffers_are_traced_to_their_end() {
    #[derive(Deserialize)]
    struct Frame<B, N> {
        _pixels: B,
        _number: N,
    }
    let of = |trace: fn(&mut Shapes)| digest("f", trace);
    let digests = [
        of(Shapes::trace::<Frame<Blob, u32>>),
        of(Shapes::trace::<Frame<Blob, u64>>),
        of(Shapes::trace::<Frame<SealedBlob, u64>>),
        of(Shapes::trace::<Vec<Frame<Blob, u64>>>),
    ];
    let distinct: std::collections::HashSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len(), "{digests:?}");
    assert_eq!(of(Shapes::trace::<Frame<Blob, u32>>), digests[0]);
}

#[test]
fn the_pool_is_bounded() {
    let _alone = super::pool_to_oneself();
    let (count_max, bytes_max) = pool::LIMITS;
    let many: Vec<_> = (0..count_max + 10).map(|_| Blob::recycled(1).expect("memory")).collect();
    drop(many);
    let large: Vec<_> = (0..5).map(|_| Blob::recycled(bytes_max / 4).expect("memory")).collect();
    drop(large);
    let (count, bytes) = pool::idle();
    assert!(count <= count_max && bytes <= bytes_max, "{count} with {bytes} bytes");
}

#[test]
fn elements_are_aligned_wherever_they_come_from() {
    #[repr(C, align(64))]
    #[derive(Clone, Copy)]
    struct Line([u8; 64]);
    // SAFETY: bytes, all of which are valid as zero.
    unsafe impl bytemuck::Zeroable for Line {}
    // SAFETY: bytes without padding.
    unsafe impl bytemuck::Pod for Line {}
    let lines = SealedSlice::from_slice(&[Line([1; 64]); 3]).expect("memory");
    assert!(lines.as_ptr().is_aligned() && lines[2].0 == [1; 64]);
}
