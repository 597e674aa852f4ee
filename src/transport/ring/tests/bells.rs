//! Whom a worker rings, and what it says with that.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::bell;
use super::super::layout::ENTRIES;
use super::super::sleep::{self, Listener};
use super::*;
use crate::sys::clock;
use crate::transport::Link;

/// A listener that is about to sleep, and the bell as it has read it.
type Sleeper = (Listener, u32);

/// Whoever sleeps on a bell that promised no silence must have been rung.
fn check(link: &RingLink, sleeper: Option<Sleeper>) {
    let Some((who, heard)) = sleeper else { return };
    let now = link.bell(who).load(Ordering::Acquire);
    assert!(now != heard || bell::is_silent(heard), "{who:?} sleeps, and was told of no silence");
}

#[test]
fn a_listener_is_rung_or_knows_that_it_may_not_be() {
    watched(|| {
        let (here, there) = mappings();
        let link = link_of(here);
        let inside = Arc::clone(&link);
        let serve = move || {
            // Shorter and longer than what outcomes are put off for, in every order.
            let lengths = [0, 0, 4000, 0, 1500, 0, 0, 1500, 4000, 4000, 0, 500, 500].into_iter();
            let mut lengths = lengths.map(Duration::from_micros).cycle();
            let mut sleeper = None;
            RingEnd::new(there.segment, there.parcels, || {}).serve(|call, _| {
                check(&inside, sleeper.take());
                let start = Instant::now();
                let length = lengths.next().expect("without end");
                while start.elapsed() < length {
                    std::hint::spin_loop();
                }
                let who = match call.number % 7 {
                    0 => return Ran::Plain,
                    1..=3 => Listener::Waiter,
                    _ => Listener::Collector,
                };
                sleep::stop_listening(inside.listening());
                let heard = inside.bell(who).load(Ordering::Acquire);
                if call.number % 2 == 0 {
                    inside.say_taken(who, clock::monotonic_ns());
                }
                sleep::listen(inside.listening(), who);
                sleeper = Some((who, heard));
                Ran::Plain
            });
            sleeper
        };
        let worker = std::thread::spawn(serve);
        for round in 0..16 {
            // Few and many, so that it runs low and dry.
            let calls = if round % 3 == 0 { 2 } else { ENTRIES as u64 / 8 };
            for call in 0..calls {
                let _watched = link.stage(ticket(1 + round * ENTRIES as u64 + call), single(&[]));
            }
            link.wake(true);
            let mut deliveries = Vec::new();
            while deliveries.len() < calls as usize && !worker.is_finished() {
                link.drain(false, &mut deliveries).expect("no lies");
                std::thread::yield_now();
            }
        }
        link.retire();
        check(&link, worker.join().expect("it does not panic"));
    });
}

/// What a worker has said about its commits is not changed by others who ring.
#[test]
fn a_ring_changes_the_bell_and_only_the_worker_what_it_says() {
    let bell = crate::sync::atomic::AtomicU32::new(u32::MAX - 4);
    for round in 0..64u32 {
        let silent = round % 3 == 0;
        let before = bell.load(Ordering::Relaxed);
        bell::ring_and_say(&bell, silent);
        let said = bell.load(Ordering::Relaxed);
        assert_ne!(said, before);
        assert_eq!(bell::is_silent(said), silent);
        bell::ring(&bell);
        assert_ne!(bell.load(Ordering::Relaxed), said);
        assert_eq!(bell::is_silent(bell.load(Ordering::Relaxed)), silent);
    }
}
