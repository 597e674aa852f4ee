//! A worker gone mad, see `ring::hostile`.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::super::hostile::play;
use super::super::layout::Entry;
use super::*;
use crate::transport::Link;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_worker_writes_harms_only_its_own_calls(moves in prop::collection::vec(any::<u8>(), 0..600)) {
        watched(|| play(&moves));
    }
}

/// Writes that come at the very moment of the coordinator's looks.
#[test]
fn writes_at_any_moment_bring_no_panic() {
    watched(|| (0..50).for_each(|_| disturb()));
}

/// Until the lie is found out.
fn disturb() {
    let (here, there) = mappings();
    let link = link_of(here);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = std::ptr::from_ref(&link).addr() as u64;
            while !over.load(Ordering::Relaxed) {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let entry = Entry::at(random >> 60);
                let flags = random >> 20 & 0xf_0003_0003;
                let _before = match random >> 50 & 7 {
                    7 => there.u64_at(entry.short()).swap(random & 0x1f, Ordering::Relaxed),
                    6 => there.u64_at(entry.arguments()).swap(random & 0xff, Ordering::Relaxed),
                    0 => there.u64_at(entry.word()).swap(flags, Ordering::Relaxed),
                    1 => there.u64_at(entry.word()).fetch_xor(flags, Ordering::Relaxed),
                    2 => there.u64_at(entry.outcomes_length()).swap(random, Ordering::Relaxed),
                    _ => there.u64_at(entry.outcomes()).swap(random & 0xff, Ordering::Relaxed),
                };
            }
        });
        let mut deliveries = Vec::new();
        for number in (1..4000).step_by(4) {
            let _asleep = link.stage(ticket(number), pack(&packed(&vec![vec![1]; 3]), 3));
            let _any = link.split(ticket(number), 2);
            let _asleep = link.stage(ticket(number + 3), single(b"x"));
            let drained = link.drain(true, &mut deliveries);
            let _any = link.revoke(ticket(number + 3));
            let _any = link.revoke(ticket(number));
            let _any = link.try_kill(ticket(number));
            if drained.is_err() {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        link.on_worker_died(&mut deliveries);
    });
}
