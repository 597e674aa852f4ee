//! Calls that wait for a place in the ring.

use super::super::layout::ENTRIES;
use super::*;
use crate::transport::{Link, Outcomes, Revoke};

/// The number of the call behind a full ring.
const BEHIND: u64 = 1 << 20;

/// A ring without a place, which nobody serves yet, and a pack of five calls behind it.
fn full() -> (Arc<RingLink>, Half, Ticket) {
    let (here, there) = mappings();
    let link = link_of(here);
    for number in 1..=ENTRIES as u64 {
        let _asleep = link.stage(ticket(number), single(b"x"));
    }
    let behind = ticket(BEHIND);
    let _asleep = link.stage(behind, pack(&packed(&vec![vec![7]; 5]), 5));
    assert!(
        link.lock().pending.iter().any(|call| call.ticket == behind),
        "there is no place for it"
    );
    (link, there, behind)
}

/// What the worker begins of the pack, and how many outcomes of it there are.
fn served(link: &RingLink, there: Half) -> (Vec<u64>, u32) {
    let worker = Worker::start(there, usize::MAX);
    link.wake(true);
    let mut outcomes_of_pack = 0;
    while link.is_outstanding() {
        let mut deliveries = Vec::new();
        link.drain(false, &mut deliveries).expect("no lies");
        for delivery in deliveries {
            if let Outcomes::OfPack(outcomes) = delivery.outcomes {
                outcomes_of_pack += outcomes.count();
            }
        }
        std::thread::yield_now();
    }
    let mut begun = worker.finish(link);
    begun.retain(|number| *number >= BEHIND);
    (begun, outcomes_of_pack)
}

#[test]
fn a_pack_that_waits_is_split() {
    watched(|| {
        let (link, there, behind) = full();
        assert_eq!(link.split(behind, 5), None, "it has no more");
        assert_eq!(link.split(behind, 3), Some(3));
        assert_eq!(link.split(behind, 3), None, "no more than that is left");
        assert_eq!(link.split(behind, 2), Some(2));
        assert_eq!(served(&link, there), (vec![BEHIND, BEHIND + 1], 2));
    });
}

#[test]
fn of_a_pack_that_waits_one_call_is_left() {
    watched(|| {
        let (link, there, behind) = full();
        assert_eq!(link.split(behind, 0), Some(1), "all of it would be taken back");
        assert_eq!(served(&link, there), (vec![BEHIND], 1));
    });
}

#[test]
fn what_waits_is_taken_back_as_a_whole() {
    watched(|| {
        let (link, there, behind) = full();
        assert_eq!(link.split(behind, 2), Some(2));
        assert_eq!(link.revoke(behind), Revoke::Revoked);
        assert_eq!(link.split(behind, 1), None, "it is not there any more");
        assert_eq!(served(&link, there), (vec![], 0));
    });
}

/// Who is waited for has long arguments copied by another thread, one for all of them.
#[test]
fn long_arguments_are_copied_by_another_thread() {
    watched(|| {
        let (here, there) = mappings();
        let given = Arc::new(Mutex::new(Vec::<Box<dyn FnOnce() + Send>>::new()));
        let taken = Arc::clone(&given);
        let link = link_with(
            here,
            Helper::new(move |body| {
                taken.lock().push(body);
                true
            }),
        );
        let arguments = Arc::new(Bytes::from(vec![7; 5 << 20]));
        for number in 1..=2 {
            let frame = CallFrame { shared: Some(&arguments), ..single(&arguments) };
            let _asleep = link.stage(ticket(number), frame);
            link.wake(false);
            assert!(link.is_preparing(ticket(number)), "nothing was copied here");
        }
        let bodies = std::mem::take(&mut *given.lock());
        assert_eq!(bodies.len(), 1, "one thread is enough");
        for body in bodies {
            body();
        }
        assert!(!link.is_preparing(ticket(1)) && !link.is_preparing(ticket(2)));
        // It has ended: the next needs another.
        let frame = CallFrame { shared: Some(&arguments), ..single(&arguments) };
        let _asleep = link.stage(ticket(3), frame);
        link.wake(false);
        assert_eq!(given.lock().len(), 1);
        drop(there);
    });
}

/// Locks are held around what takes it back, and memory of any size takes long to free.
#[test]
fn what_is_not_needed_any_more_is_kept_until_it_may_be_freed() {
    let arguments = Arc::new(Bytes::from(vec![7; 5 << 20]));
    let stage = |link: &RingLink, patient| {
        let frame = CallFrame { shared: Some(&arguments), ..single(&arguments) };
        let _asleep = link.stage(ticket(1), frame);
        link.wake(patient);
        assert!(!link.has_discards());
    };
    let lets_go = |link: &RingLink| {
        let kept = link.has_discards();
        link.let_go();
        kept && !link.has_discards() && Arc::strong_count(&arguments) == 1
    };
    watched(|| {
        let (here, _there) = mappings();
        let link = link_with(here, Helper::new(|_| true));
        stage(&link, false);
        assert_eq!(link.revoke(ticket(1)), Revoke::Revoked);
        assert!(Arc::strong_count(&arguments) > 1 && lets_go(&link), "before it was copied");
        let (here, _there) = mappings();
        let link = link_of(here);
        stage(&link, true);
        assert_eq!(link.revoke(ticket(1)), Revoke::Revoked);
        assert!(lets_go(&link), "taken back");
        for dies in [false, true] {
            let (here, there) = mappings();
            let link = link_of(here);
            let worker = Worker::start(there, usize::from(!dies));
            stage(&link, true);
            if dies {
                worker.abandon(1);
                let fates = link.on_worker_died(&mut Vec::new()).expect("not before");
                assert_eq!(fates.len(), 1);
            } else {
                drain_until(&link, 1);
                worker.finish(&link);
            }
            assert!(lets_go(&link), "used, and the worker has died: {dies}");
        }
    });
}
