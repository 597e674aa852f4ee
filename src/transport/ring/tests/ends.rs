//! How the two ends part.

use super::super::layout::ENTRIES;
use super::*;
use crate::transport::{Fate, Kill, Link, Revoke};

fn wait_until_begun(link: &RingLink, number: u64) {
    while !link.has_begun(ticket(number)) {
        std::thread::yield_now();
    }
}

#[test]
fn a_call_taken_back_while_the_worker_waits_does_not_end_it() {
    watched(|| {
        let (here, there) = mappings();
        let link = link_of(here);
        let worker = Worker::start(there, usize::MAX);
        let mut expected = 0;
        // Kept where both come first as often.
        let mut spins = 100_u64;
        for number in (1..20_000).step_by(2) {
            let _awake = link.stage(ticket(number), single(b"x"));
            // Every other time with another behind it.
            if number % 4 == 1 {
                let _awake = link.stage(ticket(number + 1), single(b"x"));
                expected += 1;
            }
            link.wake(true);
            (0..spins).for_each(|_| std::hint::spin_loop());
            let step = 1 + number % 7;
            if link.revoke(ticket(number)) == Revoke::Revoked {
                spins = (spins + step).min(20_000);
            } else {
                expected += 1;
                spins = spins.saturating_sub(step);
            }
            link.drain(false, &mut Vec::new()).expect("no lies");
        }
        while link.is_outstanding() {
            assert!(!worker.thread.is_finished(), "it was not retired");
            link.drain(false, &mut Vec::new()).expect("no lies");
            std::thread::yield_now();
        }
        assert_eq!(worker.finish(&link).len(), expected);
    });
}

/// Else a ring would fill up with what was taken back, while its worker runs a long call.
#[test]
fn positions_at_the_tail_are_used_again() {
    let (here, _there) = mappings();
    let link = link_of(here);
    for number in 1..=4 {
        let _asleep = link.stage(ticket(number), single(b"x"));
    }
    for (number, tail) in [(2, 4), (3, 4), (4, 1), (1, 0)] {
        assert_eq!(link.revoke(ticket(number)), Revoke::Revoked);
        assert_eq!(link.lock().records.tail(), tail);
    }
}

#[test]
fn after_a_death_nothing_is_delivered() {
    watched(|| {
        let (here, there) = mappings();
        let link = link_of(here);
        let worker = Worker::start(there, 1);
        for number in 1..=3 {
            let _awake = link.stage(ticket(number), single(b"x"));
        }
        link.wake(true);
        wait_until_begun(&link, 2);
        assert_eq!(worker.die(&link), [1, 2]);
        let mut deliveries = Vec::new();
        let fates = link.on_worker_died(&mut deliveries).expect("it is closed once");
        assert_eq!(deliveries.len(), 1, "what it had committed");
        assert_eq!(fates, [Fate { ticket: ticket(2), begun: 1 }]);
        let _dropped = link.stage(ticket(4), single(b"x"));
        assert_eq!(link.drain(true, &mut deliveries), Ok(()));
        assert_eq!(deliveries.len(), 1);
        assert!(!link.is_outstanding() && !link.has_news());
    });
}

/// Whoever writes over the mark of a thread that lives has the ring closed under it.
#[test]
fn what_is_said_not_to_have_begun_never_begins() {
    watched(|| {
        // In the middle of a call, or wherever it is by then.
        let permits = (0..400).map(|round| if round < 10 { 3 } else { usize::MAX });
        for (round, permits) in permits.enumerate() {
            let (here, there) = mappings();
            let link = link_of(here);
            let worker = Worker::start(there, permits);
            let calls = 32;
            for number in 1..=calls {
                let _awake = link.stage(ticket(number), single(b"x"));
            }
            link.wake(true);
            wait_until_begun(&link, if permits == 3 { 4 } else { 1 });
            (0..round * 5).for_each(|_| std::hint::spin_loop());
            let mut deliveries = Vec::new();
            let fates = link.close(&mut deliveries).expect("it is closed once");
            let told = u64::try_from(deliveries.len() + fates.len()).expect("few");
            assert!(permits > 3 || told == 4, "{told}");
            let begun = worker.finish(&link);
            // They begin in their order.
            assert!(begun.into_iter().all(|number| number <= told), "{told} were told");
        }
    });
}

#[test]
fn a_worker_that_finds_itself_killed_begins_nothing_more() {
    watched(|| {
        let (here, there) = mappings();
        let link = link_of(here);
        let worker = Worker::start(there, 0);
        for number in 1..=2 {
            let _awake = link.stage(ticket(number), single(b"x"));
        }
        link.wake(true);
        wait_until_begun(&link, 1);
        assert!(matches!(link.try_kill(ticket(1)), Kill::Won { begun: 1, finished: None }));
        assert!(matches!(link.try_kill(ticket(1)), Kill::Won { begun: 1, finished: None }));
        // It goes on, sees, and stays where it is for ever: its thread is left behind.
        worker.permit(usize::MAX);
        while worker.shared.state.lock().permits == usize::MAX {
            std::thread::yield_now();
        }
        let mut deliveries = Vec::new();
        assert_eq!(link.drain(true, &mut deliveries), Ok(()));
        assert_eq!(link.on_worker_died(&mut deliveries), Some(Vec::new()));
        assert!(deliveries.is_empty());
        assert_eq!(worker.shared.state.lock().begun, [1]);
    });
}

#[test]
fn what_comes_after_the_death_was_never_begun() {
    watched(|| {
        let (half, _of_the_dead) = mappings();
        let link = link_of(half);
        // As much as fits, and more, which is kept until there is room.
        let before = u64::try_from(ENTRIES).expect("few") + 2;
        for number in 1..=before {
            let _quietly = link.stage(ticket(number), single(b"x"));
        }
        let mut deliveries = Vec::new();
        assert_eq!(link.on_worker_died(&mut deliveries), Some(Vec::new()));
        let _quietly = link.stage(ticket(before + 1), single(b"x"));
        for number in [before + 1, before, before - 1, 1] {
            assert_eq!(link.revoke(ticket(number)), Revoke::Revoked, "task {number}");
        }
        let _quietly = link.stage(ticket(before + 2), single(b"x"));
        assert!(matches!(link.try_kill(ticket(before + 2)), Kill::NotBegun));
    });
}
