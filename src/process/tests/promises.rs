//! What every transport promises, see `transport`: each promise against chance.

use super::*;
use crate::transport::{Kill, Revoke};

on_every_transport! {
    of_an_outcome_and_a_kill_exactly_one_wins,
    what_was_taken_back_never_begins,
    what_was_committed_before_a_death_is_delivered_before_the_exit,
    garbage_harms_nobody_else,
}

/// Spend a while that differs from call to call.
struct Jitter(u32);

impl Jitter {
    fn spend(&mut self) {
        for _ in 0..self.0 {
            std::hint::spin_loop();
        }
        self.0 = (self.0 + 97) % 20_000;
    }
}

/// What is neither killed nor delivered would hang; what is both would be delivered to nobody.
fn of_an_outcome_and_a_kill_exactly_one_wins(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (neighbour, _) = pool.spawn_ready();
    let (mut worker, _) = pool.spawn_ready();
    let (mut won, mut lost, mut jitter) = (0, 0, Jitter(0));
    for round in 0..200 {
        let gate = Gate::new();
        let waits = round % 4 < 2;
        let (function, arguments) =
            if waits { ("act", gate.arguments()) } else { ("echo", b"x".to_vec()) };
        let ticket = pool.stage(worker, function, &arguments);
        let mut held = waits.then(|| gate.entered());
        // Left to chance, one of the two might never win: say where there is a single core.
        match round % 20 {
            0 => {}
            1 => {
                held = None;
                wait_until("it is delivered", || pool.is_told_of(ticket));
            }
            _ => {
                held = None;
                jitter.spend();
            }
        }
        match pool.processes.try_kill(worker, ticket) {
            Kill::Won { begun, finished } => {
                assert!(begun == 1 && finished.is_none());
                won += 1;
                pool.kill(worker);
                let (exit, fates) = pool.exit_and_fates(worker);
                assert_eq!(exit.signalled, Some(SignalReason::Cancelled));
                assert!(fates.is_empty(), "its fate was settled by the kill");
                assert!(!pool.is_told_of(ticket), "a killed ticket was delivered");
                (worker, _) = pool.spawn_ready();
            }
            Kill::NotBegun => {
                assert_eq!(pool.call(worker, "echo", b"y"), b"y");
                assert!(!pool.is_told_of(ticket), "what was taken back was delivered");
            }
            Kill::Lost => {
                lost += 1;
                assert_eq!(pool.value(ticket), arguments);
                assert!(matches!(pool.processes.try_kill(worker, ticket), Kill::Lost));
            }
        }
        drop(held);
    }
    assert!(won >= 10 && lost >= 10, "{won} won, {lost} lost");
    assert_eq!(pool.call(neighbour, "echo", b"others do not notice"), b"others do not notice");
}

fn what_was_taken_back_never_begins(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, _) = pool.spawn_ready();
    let notes = Notes::new(&format!("{transport:?}"));
    let (mut begun, mut taken_back, mut jitter) = (0, Vec::new(), Jitter(0));
    for _ in 0..400 {
        let ticket = pool.stage(worker, "act", &notes.arguments());
        jitter.spend();
        match pool.revoke(worker, ticket) {
            Revoke::Revoked => taken_back.push(ticket),
            Revoke::Begun => {
                pool.value(ticket);
                begun += 1;
            }
            Revoke::Split { .. } => panic!("one call has no parts"),
        }
    }
    pool.call(worker, "echo", b"after all of them");
    assert_eq!(notes.count(), begun);
    assert!(taken_back.iter().all(|ticket| !pool.is_told_of(*ticket)));
    if transport == Transport::Channel {
        assert_eq!(begun, 400, "what was sent counts as begun");
    }
}

fn what_was_committed_before_a_death_is_delivered_before_the_exit(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let mut jitter = Jitter(0);
    for _ in 0..20 {
        let (worker, pid) = pool.spawn_ready();
        // Answered at once, so that it looks for calls when the next one comes.
        pool.call(worker, "echo", b"");
        let notes = Notes::new(&format!("{transport:?}-{worker}"));
        let ticket = pool.stage(worker, "act", &notes.arguments());
        jitter.spend();
        send_signal(pid, rustix::process::Signal::KILL);
        let (exit, fates) = pool.exit_and_fates(worker);
        assert_eq!(exit.death.status, ExitCause::Signal(libc::SIGKILL));
        let delivered = pool.is_told_of(ticket);
        let in_doubt = fates.iter().any(|fate| fate.ticket == ticket);
        assert!(!(delivered && in_doubt), "it has ended and is in doubt");
        if delivered {
            assert_eq!(pool.value(ticket), notes.arguments());
        }
        if transport.is_ring() {
            let may_have_begun = delivered || in_doubt;
            assert!(may_have_begun || notes.count() == 0, "it ran, and nobody knows");
        }
        jitter.0 = (jitter.0 + 1_500) % 20_000;
    }
}

/// Into whatever it has open: sockets, and for the ring nothing but the memory, which `ring` scribbles on.
fn garbage_harms_nobody_else(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (neighbour, _) = pool.spawn_ready();
    for garbage in [&b"x"[..], &[0xA5; 999]] {
        let (worker, _) = pool.spawn_ready();
        pool.stage(worker, "garbage", garbage);
        assert_eq!(pool.call(neighbour, "echo", b"alive"), b"alive");
        pool.kill(worker);
        pool.exit(worker);
        assert_eq!(pool.call(neighbour, "echo", b"alive"), b"alive");
    }
}
