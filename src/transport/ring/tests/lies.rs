//! One lie after the other: each is found out, and costs what was with the liar.

use std::sync::atomic::Ordering;

use super::super::layout::{AREA_BYTES, ARGUMENTS_INLINE, Entry, OUTCOMES_INLINE, Short};
use super::super::outcomes::head;
use super::super::word::{self, Begin};
use super::*;
use crate::transport::{Fate, Kill, Link, Revoke, outcome};

const DONE: u64 = 1 << 32;
const KILLED: u64 = 2 << 32;
const SKIPPED: u64 = 4 << 32;

/// What is made of a word.
type Lie = fn(u64) -> u64;

/// A ring in which a pack of three is staged, and a call behind it. The worker has begun two calls of the
/// pack, and so finished one.
fn begun_pack() -> (Arc<RingLink>, Half) {
    let (here, there) = mappings();
    let link = link_of(here);
    let _asleep = link.stage(ticket(1), pack(&packed(&vec![vec![1]; 3]), 3));
    let _asleep = link.stage(ticket(9), single(b"x"));
    let at = there.u64_at(Entry::at(0).word());
    for _ in 0..2 {
        let Begin::Begun(_) = word::begin(at, word::look(at)) else { panic!("it was staged") };
    }
    there.copy_in(Entry::at(0).outcomes(), &head(outcome::RETURNED, 0));
    there.u32_at(Entry::at(0).outcomes_length()).store(4, Ordering::Relaxed);
    (link, there)
}

fn change(segment: &Segment, position: u64, change: impl Fn(u64) -> u64) {
    let at = segment.u64_at(Entry::at(position).word());
    at.store(change(at.load(Ordering::Relaxed)), Ordering::Relaxed);
}

/// Both calls may have begun.
fn assert_all_in_doubt(link: &RingLink) {
    let mut deliveries = Vec::new();
    let fates = link.on_worker_died(&mut deliveries).expect("it is closed once");
    let expected = [Fate { ticket: ticket(1), begun: 3 }, Fate { ticket: ticket(9), begun: 1 }];
    assert_eq!(fates, expected);
    assert!(deliveries.is_empty());
}

fn assert_found_out(what: &str, partly: bool, lie: impl Fn(&Segment)) {
    let (link, there) = begun_pack();
    lie(&there);
    let mut deliveries = Vec::new();
    assert!(link.drain(partly, &mut deliveries).is_err(), "{what}");
    assert!(deliveries.is_empty(), "{what}");
    assert!(!link.has_news() && !link.is_outstanding(), "{what}: it is over");
    assert_all_in_doubt(&link);
}

#[test]
fn no_entry_is_in_a_state_that_no_worker_puts_it_in() {
    let lies: [(&str, Lie); 8] = [
        ("another generation", |word| word ^ (1 << 40)),
        ("a raised limit", |word| word + (1 << 16)),
        ("a lowered limit", |word| word - (1 << 16)),
        ("more begun than staged", |word| word + 2),
        ("skipped", |word| word | SKIPPED),
        ("killed", |word| word | KILLED),
        ("nothing", |_| 0),
        ("everything", |_| u64::MAX),
    ];
    for (what, lie) in lies {
        for partly in [false, true] {
            assert_found_out(what, partly, |there| change(there, 0, lie));
            assert_found_out(what, partly, |there| change(there, 0, |word| lie(word) | DONE));
        }
    }
    let unbegun = |word: u64| word & !0xffff | DONE;
    assert_found_out("done without a beginning", false, |there| change(there, 0, unbegun));
}

#[test]
fn no_outcome_is_longer_than_its_place_or_other_than_whole() {
    let entry = Entry::at(0);
    let with = |length: usize, in_slot: u32, bytes: &'static [u8]| {
        move |there: &Segment| {
            let at = if in_slot == 0 { entry.outcomes() } else { Entry::at(9).word() };
            there.copy_in(at, bytes);
            there.u32_at(entry.outcomes_length()).store(length as u32, Ordering::Relaxed);
            there.u32_at(entry.outcomes_in_slot()).store(in_slot, Ordering::Relaxed);
            change(there, 0, |word| word | DONE);
        }
    };
    assert_found_out("longer than an entry's place", false, with(OUTCOMES_INLINE + 1, 0, b""));
    assert_found_out("longer than a slot's place", false, with(AREA_BYTES + 1, 1, b""));
    assert_found_out("as long as can be", false, with(u32::MAX as usize, 7, b""));
    assert_found_out("one too few", false, with(4, 0, b"\x01\0\0\0"));
    assert_found_out("of no known kind", false, with(8, 0, b"\x01\0\0\0\x0f\0\0\0"));
    assert_found_out("longer than the rest", false, with(8, 0, b"\x01\0\0\0\xf1\0\0\0"));
    assert_found_out("no text", false, with(13, 0, b"\x01\0\0\0\x55\0\0\0\x01\0\0\0\xff"));
}

#[test]
fn no_short_outcome_is_longer_than_its_place_or_other_than_whole() {
    let drained = |short: u64, bytes: &[u8]| {
        let (here, there) = mappings();
        let link = link_of(here);
        let _asleep = link.stage(ticket(1), single(b"as long as it may be"));
        let at = there.u64_at(Entry::at(0).word());
        let Begin::Begun(_) = word::begin(at, word::look(at)) else { panic!("it was staged") };
        there.copy_in(Entry::at(0).arguments(), bytes);
        there.u64_at(Entry::at(0).short()).store(short, Ordering::Relaxed);
        change(&there, 0, |word| word | DONE);
        let mut deliveries = Vec::new();
        link.drain(false, &mut deliveries).map(|()| deliveries)
    };
    let whole = [&head(outcome::RETURNED, 20)[..], &[7; 20]].concat();
    let deliveries = drained(Short::new(whole.len(), 5).0, &whole).expect("it is no lie");
    assert!(matches!(deliveries[..], [Delivery { ran_ns: 5, begun: Some(1), .. }]));
    let empty = &head(outcome::RETURNED, 0);
    for (what, length, bytes) in [
        ("longer than its place", ARGUMENTS_INLINE + 1, &whole[..]),
        ("as long as can be", 255, &whole),
        ("not even a head", 3, &whole),
        ("one too few", whole.len() - 1, &whole),
        ("one too many", 5, empty),
        ("of no known kind", 4, b"\x0f\0\0\0"),
    ] {
        assert!(drained(Short::new(length, 5).0, bytes).is_err(), "{what}");
    }
}

#[test]
fn a_pack_has_no_short_outcome() {
    let (link, there) = begun_pack();
    there.u64_at(Entry::at(0).short()).store(u64::MAX, Ordering::Relaxed);
    let mut deliveries = Vec::new();
    link.drain(true, &mut deliveries).expect("nobody looks at it");
    assert_eq!(deliveries.len(), 1);
}

#[test]
fn what_was_delivered_early_has_begun_whatever_is_said_afterwards() {
    let unbegun = |word: u64| word & !0xffff;
    let begun_pack = || {
        let (link, there) = begun_pack();
        let mut deliveries = Vec::new();
        link.drain(true, &mut deliveries).expect("no lie yet");
        assert_eq!(deliveries.len(), 1);
        change(&there, 0, unbegun);
        (link, there)
    };
    let (link, _there) = begun_pack();
    assert_eq!(link.revoke(ticket(1)), Revoke::Begun);
    let (link, _there) = begun_pack();
    assert_eq!(link.split(ticket(1), 1), None, "that would be before the one that runs");
    let (link, _there) = begun_pack();
    let Kill::Won { begun: 3, finished: None } = link.try_kill(ticket(1)) else { panic!("a lie") };
    let (link, _there) = begun_pack();
    assert_all_in_doubt(&link);
}

/// Else a call with a timeout would wait for ever for an outcome of a worker that has lost it.
#[test]
fn a_kill_is_won_against_a_word_that_nobody_can_finish() {
    let lies: [Lie; 3] = [|word| word ^ (1 << 40), |_| 0, |_| u64::MAX];
    for lie in lies {
        let (link, there) = begun_pack();
        change(&there, 0, lie);
        assert!(matches!(link.try_kill(ticket(1)), Kill::Won { begun: 3, finished: None }));
    }
}

/// It is behind the one that runs, so an honest worker can't have begun it. A mad one can.
#[test]
fn a_lie_about_any_entry_puts_all_in_doubt() {
    let (link, there) = begun_pack();
    change(&there, 1, |word| word ^ (1 << 40));
    assert_eq!(link.drain(false, &mut Vec::new()), Ok(()), "it is not looked at yet");
    let mut deliveries = Vec::new();
    let fates = link.on_worker_died(&mut deliveries).expect("it is closed once");
    assert_eq!(deliveries.len(), 1, "what came before the lie counts");
    let expected = [Fate { ticket: ticket(1), begun: 3 }, Fate { ticket: ticket(9), begun: 1 }];
    assert_eq!(fates, expected);
}
