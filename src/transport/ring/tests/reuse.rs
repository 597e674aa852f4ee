//! What is used again: entries more often than a generation can count, and descriptors.

use std::os::fd::AsFd;

use super::*;
use crate::shm::{Blob, SealedBlob, attachments};
use crate::sys::descriptors::{IfNotReady, receive_with_descriptors};
use crate::transport::{Kill, Link, Outcomes, Revoke};

/// The first of the generations that come again: the field in the word has 28 bits.
const WRAPPED: u32 = 1 << 28;

/// Around both ends: of the field in the word, and of the count of the coordinator.
#[test]
fn a_generation_that_wraps_around_is_as_good_as_any() {
    watched(|| {
        for last in [WRAPPED - 1, u32::MAX] {
            let (here, there) = mappings();
            let link = link_of(here);
            link.lock().records.set_generation(last - 8);
            let worker = Worker::start(there, 0);
            let mut ends = Vec::new();
            for number in 1..=12 {
                // The first runs until it may end, so that all others stand behind it.
                let first = 100 * number;
                let _asleep = link.stage(ticket(first), pack(&packed(&vec![vec![1]; 3]), 3));
                let _asleep = link.stage(ticket(first + 10), single(b"x"));
                let _asleep = link.stage(ticket(first + 20), single(b"x"));
                link.wake(true);
                while !link.has_begun(ticket(first)) {
                    std::thread::yield_now();
                }
                assert_eq!(link.split(ticket(first), 2), Some(2));
                assert_eq!(link.revoke(ticket(first + 10)), Revoke::Revoked, "from the middle");
                let killed = link.try_kill(ticket(first + 20));
                assert!(matches!(killed, Kill::NotBegun), "from the end: {killed:?}");
                worker.permit(2);
                for delivery in drain_until(&link, 1) {
                    let Outcomes::OfPack(outcomes) = delivery.outcomes else { panic!("a pack") };
                    ends.push((delivery.ticket.task.number, outcomes.count()));
                }
            }
            assert_eq!(ends, (1..=12).map(|number| (100 * number, 2)).collect::<Vec<_>>());
            assert!(!link.is_outstanding(), "the worker passes over what is skipped");
            let begun: Vec<_> =
                (1..=12).flat_map(|number| [100 * number, 100 * number + 1]).collect();
            assert_eq!(worker.finish(&link), begun);
        }
    });
}

/// A descriptor goes to a worker with the first call that carries its buffer, and with no other.
#[test]
fn a_descriptor_is_sent_once() {
    let (here, there) = mappings();
    let link = link_of(here);
    let sent = || {
        let (socket, mut bytes) = (there.parcels.as_fd(), [0; 4096]);
        std::iter::from_fn(|| {
            receive_with_descriptors(socket, &mut bytes, 1, IfNotReady::Fail).ok()
        })
        .map(|received| received.descriptors.len())
        .sum::<usize>()
    };
    let sealed = SealedBlob::from_slice(&[1; 100]).expect("memory");
    let lent = Blob::from_slice(&[1; 100]).expect("memory");
    let (encoded, both) = attachments::collect(|| {
        crate::codec::encode(CodecId::BINARY, &(sealed, lent)).expect("it is encoded")
    });
    let frame = CallFrame { attachments: &both, ..single(&encoded) };
    let _asleep = link.stage(ticket(1), frame);
    assert_eq!(sent(), 2);
    // Otherwise the lent one could not be sent again.
    assert_eq!(link.revoke(ticket(1)), Revoke::Revoked);
    let _asleep = link.stage(ticket(2), frame);
    let _asleep = link.stage(ticket(3), CallFrame { attachments: &both[..1], ..frame });
    assert_eq!(link.lock().records.len(), 2, "both stand in the ring");
    assert_eq!(sent(), 0, "the worker has them");
}
