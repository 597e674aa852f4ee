//! What only the ring can do: staging ahead, taking back, packs.

use rustix::process::Signal;

use super::pool::value_of;
use super::recorder::unpacked;
use super::*;
use crate::transport::ring::layout::ENTRIES;
use crate::transport::{Kill, PackOutcomes, Revoke, Staged};

fn pool() -> Pool {
    Pool::new(config(Transport::Ring))
}

/// A worker that is held up by its first call, until the answer's last part is dropped.
fn held_worker(pool: &Pool, gate: &Gate) -> (WorkerId, Ticket, File) {
    let (worker, _) = pool.spawn_ready();
    let ticket = pool.stage(worker, "act", &gate.arguments());
    (worker, ticket, gate.entered())
}

/// Stop a worker, as Ctrl-Z would.
fn stop(pid: u32) {
    send_signal(pid, Signal::STOP);
    wait_until("it is stopped", || state_of(pid) == Some('T'));
}

#[test]
fn what_is_staged_ahead_runs_in_its_order() {
    let _watchdog = Watchdog::new();
    let (pool, gate) = (pool(), Gate::new());
    let (worker, first, held) = held_worker(&pool, &gate);
    let ahead: Vec<_> = (0..20_u8).map(|n| pool.stage(worker, "act", &[n])).collect();
    let link = pool.link(worker);
    assert!(link.has_begun(first));
    assert!(ahead.iter().all(|ticket| !link.has_begun(*ticket)));
    drop(held);
    pool.value(first);
    for (n, ticket) in (0..20_u8).zip(&ahead) {
        let next = pool.recorder.wait_for("an outcome", |_, told| match told {
            Told::Outcome(ticket, frame) => Some((*ticket, frame.outcome.clone())),
            _ => None,
        });
        assert_eq!((next.0, value_of(next.1)), (*ticket, vec![n]));
    }
}

#[test]
fn a_worker_that_goes_on_without_its_serving_thread_is_doomed_and_killed() {
    let _watchdog = Watchdog::new();
    let (pool, gate) = (pool(), Gate::new());
    let (worker, first, held) = held_worker(&pool, &gate);
    let last = pool.stage(worker, "end_thread", b"");
    pool.stage(worker, "act", b"never begun");
    drop(held);
    pool.value(first);
    wait_until("it is doomed", || pool.recorder.doomed(worker).is_some());
    let (exit, fates) = pool.exit_and_fates(worker);
    assert_eq!(fates, [Fate { ticket: last, begun: 1 }]);
    assert_eq!(exit.death.status, ExitCause::Signal(libc::SIGKILL));
    assert_eq!(exit.signalled, Some(SignalReason::Deserted));
}

#[test]
fn a_death_by_anything_else_is_not_called_desertion() {
    let _watchdog = Watchdog::new();
    let pool = pool();
    for (function, arguments, cause) in [
        ("abort", &b""[..], ExitCause::Signal(libc::SIGABRT)),
        ("exit", b"0", ExitCause::Code(0)),
        ("hang", b"", ExitCause::Signal(libc::SIGKILL)),
    ] {
        let (worker, pid) = pool.spawn_ready();
        let ticket = pool.stage(worker, function, arguments);
        let link = pool.link(worker);
        if function == "hang" {
            wait_until("it hangs", || link.has_begun(ticket));
            send_signal(pid, Signal::KILL);
        }
        // On a busy machine the process may be gone before anybody has looked at the mark of its thread.
        wait_until("it is doomed or dead", || {
            pool.recorder.doomed(worker).is_some() || pool.recorder.has_exited(worker)
        });
        // The first thing it hears, and too late.
        pool.kill(worker);
        let exit = pool.exit(worker);
        assert_eq!((exit.death.status, exit.signalled), (cause, None), "{function}");
    }
}

#[test]
fn what_is_taken_back_from_behind_leaves_its_place_to_others() {
    let _watchdog = Watchdog::new();
    let (pool, gate, notes) = (pool(), Gate::new(), Notes::new("behind"));
    let (worker, first, held) = held_worker(&pool, &gate);
    assert_eq!(pool.revoke(worker, first), Revoke::Begun);
    // More often than there are positions.
    for _ in 0..ENTRIES {
        let one = pool.stage(worker, "act", &notes.arguments());
        let two = pool.stage(worker, "act", &notes.arguments());
        assert_eq!(pool.revoke(worker, two), Revoke::Revoked);
        assert_eq!(pool.revoke(worker, one), Revoke::Revoked);
        assert_eq!(pool.revoke(worker, one), Revoke::Begun, "it is not there any more");
    }
    let last = pool.stage(worker, "act", b"last");
    drop(held);
    pool.value(first);
    assert_eq!(pool.value(last), b"last");
    assert_eq!(notes.count(), 0);
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn what_is_taken_back_from_between_is_passed_over() {
    let _watchdog = Watchdog::new();
    let (pool, gate, notes) = (pool(), Gate::new(), Notes::new("between"));
    let (worker, first, held) = held_worker(&pool, &gate);
    let staged: Vec<_> = (0..9).map(|_| pool.stage(worker, "act", &notes.arguments())).collect();
    for index in [3, 4, 1, 7] {
        assert_eq!(pool.revoke(worker, staged[index]), Revoke::Revoked);
    }
    // With it those before it that were passed over so far are free as well.
    assert_eq!(pool.revoke(worker, staged[8]), Revoke::Revoked);
    let last = pool.stage(worker, "act", b"last");
    drop(held);
    pool.value(first);
    for index in [0, 2, 5, 6] {
        pool.value(staged[index]);
    }
    assert_eq!(pool.value(last), b"last");
    assert_eq!(notes.count(), 4);
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn a_worker_is_woken_by_what_is_staged() {
    let _watchdog = Watchdog::new();
    let pool = pool();
    let (worker, _) = pool.spawn_ready();
    let mut woken = 0;
    wait_until("it slept ten times", || {
        let ticket = pool.ticket();
        let asleep = pool.stage_as(worker, ticket, "act", b"x") == Staged::Asleep;
        assert_eq!(pool.value(ticket), b"x");
        woken += u32::from(asleep);
        woken == 10
    });
}

#[test]
fn more_than_the_ring_holds_waits_for_a_place() {
    let _watchdog = Watchdog::new();
    let (pool, gate, notes) = (pool(), Gate::new(), Notes::new("pending"));
    let (worker, first, held) = held_worker(&pool, &gate);
    let calls = 2 * ENTRIES + 50;
    let staged: Vec<_> =
        (0..calls).map(|_| pool.stage(worker, "act", &notes.arguments())).collect();
    let link = pool.link(worker);
    let mut kept = 0;
    for (index, ticket) in staged.iter().enumerate() {
        match index % 7 {
            3 => assert_eq!(pool.revoke(worker, *ticket), Revoke::Revoked),
            5 => assert!(matches!(link.try_kill(*ticket), Kill::NotBegun)),
            _ => kept += 1,
        }
    }
    drop(held);
    pool.value(first);
    for (_, ticket) in staged.iter().enumerate().filter(|(index, _)| ![3, 5].contains(&(index % 7)))
    {
        pool.value(*ticket);
    }
    assert_eq!(notes.count(), kept);
    assert!(pool.recorder.rest().is_empty());
}

/// Nobody drains a ring in which nothing is left, so whoever empties it has to see to what waits.
#[test]
fn what_waits_for_a_place_gets_one_by_a_revocation() {
    let _watchdog = Watchdog::new();
    let pool = pool();
    let (worker, pid) = pool.spawn_ready();
    stop(pid);
    let in_ring: Vec<_> = (0..ENTRIES).map(|_| pool.stage(worker, "act", b"")).collect();
    let waiting = pool.stage(worker, "act", b"waits");
    for ticket in in_ring.iter().rev() {
        assert_eq!(pool.revoke(worker, *ticket), Revoke::Revoked);
    }
    send_signal(pid, Signal::CONT);
    assert_eq!(pool.value(waiting), b"waits");
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn a_retired_worker_runs_dry_first() {
    let _watchdog = Watchdog::new();
    let (pool, gate) = (pool(), Gate::new());
    let (worker, first, held) = held_worker(&pool, &gate);
    let staged: Vec<_> = (0..100_u8).map(|n| pool.stage(worker, "act", &[n])).collect();
    pool.processes.retire(worker);
    drop(held);
    pool.value(first);
    for (n, ticket) in (0..100).zip(staged) {
        assert_eq!(pool.value(ticket), [n]);
    }
    let (exit, fates) = pool.exit_and_fates(worker);
    assert_eq!((exit.death.status, fates), (ExitCause::Code(0), Vec::new()));
}

#[test]
fn only_what_has_begun_is_in_doubt_after_a_death() {
    let _watchdog = Watchdog::new();
    let (pool, gate, notes) = (pool(), Gate::new(), Notes::new("doubt"));
    let (worker, first, held) = held_worker(&pool, &gate);
    let second = pool.stage(worker, "act", b"second");
    let dying = pool.stage(worker, "act", b"abort");
    for _ in 0..10 {
        pool.stage(worker, "act", &notes.arguments());
    }
    drop(held);
    pool.value(first);
    assert_eq!(pool.value(second), b"second");
    let (_, fates) = pool.exit_and_fates(worker);
    assert_eq!(fates, [Fate { ticket: dying, begun: 1 }]);
    assert_eq!(notes.count(), 0);
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn a_stopped_worker_begins_nothing() {
    let _watchdog = Watchdog::new();
    let (pool, notes) = (pool(), Notes::new("stopped"));
    let (worker, pid) = pool.spawn_ready();
    stop(pid);
    let link = pool.link(worker);
    let taken_back = pool.stage(worker, "act", &notes.arguments());
    let killed = pool.stage(worker, "act", &notes.arguments());
    let kept = pool.stage(worker, "act", b"kept");
    assert!([taken_back, killed, kept].iter().all(|ticket| !link.has_begun(*ticket)));
    assert_eq!(pool.revoke(worker, taken_back), Revoke::Revoked);
    assert!(matches!(link.try_kill(killed), Kill::NotBegun));
    send_signal(pid, Signal::CONT);
    assert_eq!(pool.value(kept), b"kept");
    assert_eq!(notes.count(), 0);
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn a_pack_is_delivered_as_it_goes() {
    let _watchdog = Watchdog::new();
    let (pool, gate) = (pool(), Gate::new());
    let (worker, _) = pool.spawn_ready();
    let waits = gate.arguments();
    let ticket = pool.stage_pack(worker, &[b"one", b"two", &waits, b"four"]);
    let held = gate.entered();
    // Together, or one after the other.
    let mut early = Vec::new();
    while early.len() < 2 {
        let part = pool.recorder.wait_for("a part", |_, told| match told {
            Told::Part(of, outcomes, None) if *of == ticket => Some(outcomes.clone()),
            _ => None,
        });
        early.extend(part.into_iter().map(value_of));
    }
    assert_eq!(early, [b"one", b"two"]);
    drop(held);
    assert_eq!(pool.pack_values(ticket), (vec![waits, b"four".to_vec()], 4));
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn the_rest_of_a_pack_is_taken_back() {
    let _watchdog = Watchdog::new();
    let (pool, gate, notes) = (pool(), Gate::new(), Notes::new("rest"));
    let (worker, _) = pool.spawn_ready();
    let (waits, noting) = (gate.arguments(), notes.arguments());
    for (keep, kept) in [(0, 2), (1, 2), (3, 3), (4, 4)] {
        let calls: [&[u8]; 6] = [b"one", &waits, b"three", b"four", &noting, &noting];
        let ticket = pool.stage_pack(worker, &calls);
        let held = gate.entered();
        let link = pool.link(worker);
        assert_eq!(link.split(ticket, keep), Some(kept), "what has begun is kept");
        assert_eq!(link.split(ticket, 5), None, "there is nothing more to take");
        assert_eq!(pool.revoke(worker, ticket), Revoke::Begun);
        drop(held);
        let (values, begun) = pool.pack_values(ticket);
        assert_eq!((values.len(), begun), (kept as usize, kept));
        assert!(values.iter().zip(calls).all(|(value, call)| value == call));
    }
    assert_eq!(notes.count(), 0);
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn a_pack_that_has_not_begun_is_split_or_taken_back() {
    let _watchdog = Watchdog::new();
    let (pool, gate, notes) = (pool(), Gate::new(), Notes::new("staged-pack"));
    let (worker, first, held) = held_worker(&pool, &gate);
    let noting = notes.arguments();
    let split = pool.stage_pack(worker, &[b"one", b"two", &noting]);
    let taken_back = pool.stage_pack(worker, &[&noting, &noting]);
    let killed = pool.stage_pack(worker, &[&noting, &noting]);
    let link = pool.link(worker);
    assert_eq!(link.split(split, 2), Some(2));
    assert_eq!(pool.revoke(worker, taken_back), Revoke::Revoked);
    assert!(matches!(link.try_kill(killed), Kill::NotBegun));
    drop(held);
    pool.value(first);
    assert_eq!(pool.pack_values(split), (vec![b"one".to_vec(), b"two".to_vec()], 2));
    assert_eq!(notes.count(), 0);
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn a_killed_pack_keeps_what_it_had_finished() {
    let _watchdog = Watchdog::new();
    for _ in 0..10 {
        let (pool, gate, notes) = (pool(), Gate::new(), Notes::new("killed-pack"));
        let (worker, _) = pool.spawn_ready();
        let (waits, noting) = (gate.arguments(), notes.arguments());
        let ticket = pool.stage_pack(worker, &[b"one", b"two", &waits, &noting]);
        let behind = pool.stage(worker, "act", &noting);
        let held = gate.entered();
        let Kill::Won { begun, finished } = pool.link(worker).try_kill(ticket) else {
            panic!("it hangs");
        };
        assert_eq!(begun, 3);
        assert_eq!(pool.revoke(worker, behind), Revoke::Revoked);
        // It finds out, and begins nothing more.
        drop(held);
        pool.kill(worker);
        let (_, fates) = pool.exit_and_fates(worker);
        assert_eq!(fates, []);
        // Before the kill the first ones may have been delivered already.
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (_, told) in pool.recorder.rest() {
            let Told::Part(of, part, None) = told else { panic!("{told:?}") };
            assert_eq!(of, ticket);
            outcomes.extend(part);
        }
        outcomes.extend(finished.iter().flat_map(unpacked));
        let values: Vec<_> = outcomes.into_iter().map(value_of).collect();
        assert_eq!(values, [b"one", b"two"]);
        assert_eq!(notes.count(), 0);
    }
}

#[test]
fn a_crash_in_a_pack_leaves_what_was_finished_and_tells_how_far_it_came() {
    let _watchdog = Watchdog::new();
    let (pool, notes) = (pool(), Notes::new("crashed-pack"));
    let noting = notes.arguments();
    for _ in 0..5 {
        let (worker, _) = pool.spawn_ready();
        let ticket = pool.stage_pack(worker, &[b"one", b"two", b"abort", &noting, &noting]);
        pool.stage(worker, "act", &noting);
        let (exit, fates) = pool.exit_and_fates(worker);
        assert_eq!(exit.death.status, ExitCause::Signal(libc::SIGABRT));
        assert_eq!(fates, [Fate { ticket, begun: 3 }]);
        let mut values = Vec::new();
        while pool.is_told_of(ticket) {
            let part = pool.recorder.wait_for("a part", |_, told| match told {
                Told::Part(of, outcomes, None) if *of == ticket => Some(outcomes.clone()),
                _ => None,
            });
            values.extend(part.into_iter().map(value_of));
        }
        assert_eq!(values, [b"one", b"two"]);
        assert_eq!(notes.count(), 0);
    }
}

/// The worker stops beginning calls when its place for outcomes is nearly full.
#[test]
fn a_pack_with_more_outcomes_than_have_room_ends_early() {
    let _watchdog = Watchdog::new();
    let pool = pool();
    let (worker, _) = pool.spawn_ready();
    // Each takes 30 bytes as an argument and 32 as an outcome, so only the arguments have room.
    let call = [b'x'; 28];
    let calls = vec![&call[..]; crate::transport::ring::layout::AREA_BYTES / 30];
    let ticket = pool.stage_pack(worker, &calls);
    let (values, begun) = pool.pack_values(ticket);
    assert_eq!(values.len(), begun as usize);
    assert!((1..calls.len()).contains(&values.len()), "{begun} of {}", calls.len());
    assert!(values.iter().all(|value| value == &call));
    assert_eq!(pool.call(worker, "act", b"next"), b"next");
}

#[test]
fn a_pack_may_have_as_many_calls_as_can_be_counted() {
    let _watchdog = Watchdog::new();
    let pool = pool();
    let (worker, _) = pool.spawn_ready();
    let calls = vec![&b""[..]; PackOutcomes::CALLS_MAX as usize];
    let ticket = pool.stage_pack(worker, &calls);
    let (values, begun) = pool.pack_values(ticket);
    assert_eq!((values.len(), begun), (calls.len(), PackOutcomes::CALLS_MAX));
}

#[test]
fn an_outcome_that_has_no_room_in_the_ring_comes_in_a_parcel() {
    let _watchdog = Watchdog::new();
    let pool = pool();
    let (worker, _) = pool.spawn_ready();
    let area = crate::transport::ring::layout::AREA_BYTES;
    for size in [area - 4, area - 3, area, 40 << 20] {
        let produced = pool.call(worker, "produce", size.to_string().as_bytes());
        assert!(produced.len() == size && produced.iter().all(|byte| *byte == 9), "{size}");
    }
}
