//! Calls and outcomes.

use super::*;
use crate::transport::{Kill, Staged};

on_every_transport! {
    a_call_comes_back,
    every_kind_of_outcome_arrives,
    payloads_of_many_sizes_cross_both_ways,
    a_signal_handler_does_not_break_a_call,
    a_retired_worker_finishes_what_it_has,
    a_task_knows_itself,
}

fn a_call_comes_back(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, pid) = pool.spawn_ready();
    assert!(is_alive(pid));
    assert_eq!(pool.call(worker, "echo", b"hello"), b"hello");
    assert_eq!(pool.call(worker, "echo", b""), b"");
}

fn every_kind_of_outcome_arrives(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, _) = pool.spawn_ready();
    let outcome = |function| {
        let ticket = pool.stage(worker, function, b"");
        pool.outcome(ticket)
    };
    let error = Some(vec!["top".to_owned(), "cause".to_owned()]);
    assert_eq!(outcome("fail"), Outcome::Returned { value: vec![1].into(), error });
    let location = Some("here:1:1".to_owned());
    assert_eq!(outcome("panicking"), Outcome::Panicked { message: "oh".to_owned(), location });
    assert!(matches!(outcome("no_such"), Outcome::UnknownFunction { .. }));
}

fn payloads_of_many_sizes_cross_both_ways(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, _) = pool.spawn_ready();
    let sizes = if transport.is_ring() { ring_sizes() } else { channel_sizes() };
    for size in sizes {
        let sent: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        assert!(pool.call(worker, "echo", &sent) == sent, "{size} bytes came back changed");
    }
}

/// Around what stands in an entry, and what has a place in a slot.
fn ring_sizes() -> Vec<usize> {
    let area = crate::transport::ring::layout::AREA_BYTES;
    (0..60).chain([255, 256, 257, 4095, 4096, area - 5, area - 4]).collect()
}

/// Around what is sent in one piece.
fn channel_sizes() -> Vec<usize> {
    let fragment = ipc_channel::platform::OsIpcSender::get_max_fragment_size();
    // Head and name take 24 bytes of a call, the head 28 of an outcome.
    let around =
        [fragment - 29, fragment - 28, fragment - 25, fragment - 24, fragment - 23, fragment];
    [1, 127 << 10, 128 << 10, 5 << 20, 40 << 20].into_iter().chain(around).collect()
}

fn a_signal_handler_does_not_break_a_call(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, pid) = pool.spawn_ready();
    pool.call(worker, "interruptible", b"");
    let size = if transport.is_ring() { 16_000 } else { 3 << 20 };
    let sent = vec![7; size];
    for _ in 0..30 {
        let ticket = pool.stage(worker, "echo", &sent);
        for _ in 0..20 {
            send_signal(pid, rustix::process::Signal::USR1);
            std::thread::yield_now();
        }
        assert!(pool.value(ticket) == sent);
    }
}

fn a_retired_worker_finishes_what_it_has(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let large = if transport.is_ring() { 16_000 } else { 8 << 20 };
    for size in [10, large] {
        let (worker, _) = pool.spawn_ready();
        let sent = vec![3; size];
        let ticket = pool.stage(worker, "echo", &sent);
        pool.processes.retire(worker);
        assert!(pool.value(ticket) == sent);
        let exit = pool.exit(worker);
        assert_eq!((exit.death.status, exit.signalled), (ExitCause::Code(0), None));
    }
}

fn a_task_knows_itself(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, _) = pool.spawn_ready();
    let told = pool.call_text(worker, "current", "");
    assert!(
        told.contains("number: 1, attempt: 1, function: \"")
            && told.contains("process::tests::functions::current\""),
        "{told}"
    );
    assert_eq!(crate::worker::current_task(), None);
}

#[test]
fn a_kill_before_the_call_is_sent_over_a_channel_wins() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(Transport::Channel));
    let (worker, _) = pool.spawn_ready();
    let ticket = pool.ticket();
    assert!(matches!(pool.processes.try_kill(worker, ticket), Kill::Won { .. }));
    assert_eq!(pool.stage_as(worker, ticket, "abort", b""), Staged::Quietly);
    assert_eq!(pool.call(worker, "echo", b"alive"), b"alive");
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn lies_over_a_channel_are_told_and_harm_nobody_else() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(Transport::Channel));
    let (neighbour, _) = pool.spawn_ready();
    // A message of ipc-channel: the sizes of the fragment and of the whole, then the bytes.
    let message = |bytes: &[u8]| {
        let mut message = (bytes.len() + 16).to_ne_bytes().to_vec();
        message.extend(bytes.len().to_ne_bytes());
        message.extend(bytes);
        message
    };
    let mut outcome_of_another = vec![3, 1, 0, 0];
    outcome_of_another.resize(28, 9);
    // An end marker, no known kind, an outcome that ends early, one of a task it does not have.
    for lie in [&[4][..], &[77; 10], &[3; 12], &outcome_of_another] {
        let (worker, _) = pool.spawn_ready();
        pool.stage(worker, "garbage", &message(lie));
        pool.recorder.wait_for("word of the lie", |of, told| match told {
            Told::Corrupt(_) if of == worker => Some(()),
            _ => None,
        });
        pool.kill(worker);
        assert_eq!(pool.exit(worker).signalled, Some(SignalReason::Cancelled));
        assert_eq!(pool.call(neighbour, "echo", b"alive"), b"alive");
    }
}

#[test]
fn half_a_message_blocks_only_the_one_who_sent_it() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(Transport::Channel));
    let (neighbour, _) = pool.spawn_ready();
    for half in [&b"x"[..], &[0; 16], &[0xA5; 999], &vec![0x11; 100_000]] {
        let (worker, _) = pool.spawn_ready();
        pool.stage(worker, "garbage", half);
        assert_eq!(pool.call(neighbour, "echo", b"alive"), b"alive");
        pool.kill(worker);
        assert_eq!(pool.exit(worker).signalled, Some(SignalReason::Cancelled));
    }
}
