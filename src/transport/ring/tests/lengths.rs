//! Arguments and outcomes of every length around every limit.

use super::super::layout::{AREA_BYTES, ARGUMENTS_INLINE, OUTCOMES_INLINE};
use super::super::outcomes::HEAD_BYTES;
use super::*;
use crate::codec::small::FEW;
use crate::transport::{Link, Outcomes};

fn lengths() -> impl Iterator<Item = usize> {
    let around = |limit: usize| limit.saturating_sub(6)..=limit + 6;
    around(FEW)
        .chain(around(ARGUMENTS_INLINE))
        .chain(around(OUTCOMES_INLINE))
        .chain(around(256))
        .chain(around(4096))
        .chain(around(AREA_BYTES))
        .chain([0, 1, AREA_BYTES + HEAD_BYTES, 2 * AREA_BYTES, 300 * AREA_BYTES])
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

fn outcome(delivery: Delivery) -> Outcome {
    let Outcomes::OfCall(frame) = delivery.outcomes else { panic!("{delivery:?}") };
    frame.outcome
}

#[test]
fn what_fits_comes_back_and_what_does_not_is_told() {
    watched(|| {
        let (here, there) = mappings();
        let link = link_of(here);
        let worker = Worker::start(there, usize::MAX);
        // Neighbours behind it in the ring, and so in the slots behind its own.
        let (before, behind) = (bytes(AREA_BYTES - HEAD_BYTES), bytes(100));
        for (number, length) in (1..).map(|step| 10 * step).zip(lengths()) {
            let sent = bytes(length);
            for (offset, arguments) in [(0, &before), (1, &sent), (2, &behind)] {
                let _watched = link.stage(ticket(number + offset), single(arguments));
            }
            link.wake(true);
            let mut deliveries = drain_until(&link, 3);
            deliveries.sort_by_key(|delivery| delivery.ticket);
            let [first, second, third] = deliveries.try_into().expect("three");
            let returned =
                |value: &[u8]| Outcome::Returned { value: value.to_vec().into(), error: None };
            assert_eq!(outcome(first), returned(&before));
            match outcome(second) {
                Outcome::BadArguments { .. } => assert!(length > AREA_BYTES, "{length}"),
                Outcome::Unencodable { .. } => {
                    assert!((AREA_BYTES - HEAD_BYTES + 1..=AREA_BYTES).contains(&length));
                }
                value => assert!(value == returned(&sent), "{length} bytes came back changed"),
            }
            assert_eq!(outcome(third), returned(&behind));
        }
        worker.finish(&link);
    });
}

#[test]
fn calls_of_a_pack_have_every_length() {
    watched(|| {
        let (here, there) = mappings();
        let link = link_of(here);
        let worker = Worker::start(there, usize::MAX);
        let calls: Vec<_> = (0..120).map(bytes).collect();
        let arguments = packed(&calls);
        let pack = pack(&arguments, 120);
        let _awake = link.stage(ticket(1), pack);
        link.wake(true);
        let [delivery] = drain_until(&link, 1).try_into().expect("one");
        assert_eq!(delivery.begun, Some(120));
        let Outcomes::OfPack(outcomes) = delivery.outcomes else { panic!("a pack") };
        let mut offset = 0;
        for call in calls {
            let (read, next) = outcomes.read(offset).expect("it was counted");
            assert!(matches!(read, crate::transport::Read::Value(value) if value == call));
            offset = next;
        }
        worker.finish(&link);
    });
}

/// A memory that can't be had is told like an outcome, and whoever sleeps is rung.
#[test]
fn a_call_without_memory_is_refused() {
    let (here, _there) = mappings();
    let link = link_of(here);
    let listener = super::super::sleep::Listener::Waiter;
    let before = link.bell(listener).load(std::sync::atomic::Ordering::Relaxed);
    let _quiet = link.stage(ticket(1), single(&bytes(AREA_BYTES + 1)));
    assert!(link.has_news() && link.is_outstanding());
    assert_ne!(link.bell(listener).load(std::sync::atomic::Ordering::Relaxed), before);
    let [delivery] = drain_until(&link, 1).try_into().expect("one");
    assert!(matches!(outcome(delivery), Outcome::BadArguments { .. }));
    assert!(!link.has_news() && !link.is_outstanding());
}
