//! Calls and outcomes.

use super::*;
use crate::transport::Kill;

#[test]
fn a_call_comes_back() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    let (worker, pid) = pool.spawn_ready();
    assert!(is_alive(pid));
    assert_eq!(pool.call(worker, "echo", b"hello"), b"hello");
    assert_eq!(pool.call(worker, "echo", b""), b"");
}

#[test]
fn every_kind_of_outcome_arrives() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    let (worker, _) = pool.spawn_ready();
    let outcome = |function| {
        let ticket = pool.stage(worker, function, b"");
        pool.outcome(ticket)
    };
    let error = Some(vec!["top".to_owned(), "cause".to_owned()]);
    assert_eq!(outcome("fail"), Outcome::Returned { value: vec![1], error });
    let location = Some("here:1:1".to_owned());
    assert_eq!(outcome("panicking"), Outcome::Panicked { message: "oh".to_owned(), location });
    assert!(matches!(outcome("no_such"), Outcome::UnknownFunction { .. }));
}

#[test]
fn payloads_of_many_sizes_cross_both_ways() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    let (worker, _) = pool.spawn_ready();
    let fragment = ipc_channel::platform::OsIpcSender::get_max_fragment_size();
    // Head and name take 24 bytes of a call, the head 28 of an outcome.
    let around =
        [fragment - 29, fragment - 28, fragment - 25, fragment - 24, fragment - 23, fragment];
    for size in [1, 127 << 10, 128 << 10, 5 << 20, 40 << 20].into_iter().chain(around) {
        let sent: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        assert!(pool.call(worker, "echo", &sent) == sent, "{size} bytes came back changed");
    }
}

#[test]
fn a_signal_handler_does_not_break_a_large_call() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    let (worker, pid) = pool.spawn_ready();
    pool.call(worker, "interruptible", b"");
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    let sent = vec![7; 3 << 20];
    for _ in 0..30 {
        let ticket = pool.stage(worker, "echo", &sent);
        for _ in 0..20 {
            rustix::process::kill_process(raw, rustix::process::Signal::USR1).expect("it lives");
            std::thread::yield_now();
        }
        assert!(pool.outcome(ticket) == Outcome::Returned { value: sent.clone(), error: None });
    }
}

/// What is neither killed nor delivered would hang; what is both would be delivered to nobody.
#[test]
fn of_an_outcome_and_a_kill_exactly_one_wins() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    let (worker, _) = pool.spawn_ready();
    let (mut won, mut lost) = (0, 0);
    while won < 20 {
        let (worker, _) = pool.spawn_ready();
        let mut spins = 0;
        loop {
            let ticket = pool.stage(worker, "echo", b"x");
            for _ in 0..spins {
                std::hint::spin_loop();
            }
            spins = (spins + 97) % 20_000;
            if pool.processes.try_kill(worker, ticket) == Kill::Won {
                won += 1;
                pool.kill(worker);
                assert_eq!(pool.exit(worker).signalled, Some(SignalReason::Cancelled));
                let late = pool
                    .recorder
                    .rest()
                    .into_iter()
                    .any(|(_, told)| matches!(told, Told::Outcome(of, _) if of == ticket));
                assert!(!late, "a killed ticket was delivered");
                break;
            }
            lost += 1;
            assert_eq!(
                pool.outcome(ticket),
                Outcome::Returned { value: b"x".to_vec(), error: None }
            );
            assert_eq!(pool.processes.try_kill(worker, ticket), Kill::Lost);
            if lost % 50 == 0 {
                spins = 0;
            }
        }
    }
    assert_eq!(pool.call(worker, "echo", b"others do not notice"), b"others do not notice");
}

#[test]
fn a_kill_before_the_call_is_sent_wins() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    let (worker, _) = pool.spawn_ready();
    let ticket = pool.ticket();
    assert_eq!(pool.processes.try_kill(worker, ticket), Kill::Won);
    let call = CallFrame {
        function: "process::tests::functions::abort",
        codec: CodecId::Postcard,
        arguments: b"",
    };
    pool.processes.stage(worker, ticket, call);
    assert_eq!(pool.call(worker, "echo", b"alive"), b"alive");
    assert!(pool.recorder.rest().is_empty());
}

#[test]
fn a_retired_worker_finishes_what_it_has() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    for size in [10, 8 << 20] {
        let (worker, _) = pool.spawn_ready();
        let sent = vec![3; size];
        let ticket = pool.stage(worker, "echo", &sent);
        pool.processes.retire(worker);
        assert!(pool.outcome(ticket) == Outcome::Returned { value: sent, error: None });
        let exit = pool.exit(worker);
        assert_eq!((exit.status, exit.signalled), (ExitCause::Code(0), None));
    }
}

#[test]
fn a_task_knows_itself() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
    let (worker, _) = pool.spawn_ready();
    let told = pool.call_text(worker, "current", "");
    assert_eq!(
        told,
        r#"Some(CurrentTask { number: 1, attempt: 1, function: "process::tests::functions::current" })"#
    );
    assert_eq!(crate::worker::current_task(), None);
}

#[test]
fn lies_of_a_worker_are_told_and_harm_nobody_else() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config());
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
    let pool = Pool::new(config());
    let (neighbour, _) = pool.spawn_ready();
    for half in [&b"x"[..], &[0; 16], &[0xA5; 999], &vec![0x11; 100_000]] {
        let (worker, _) = pool.spawn_ready();
        pool.stage(worker, "garbage", half);
        assert_eq!(pool.call(neighbour, "echo", b"alive"), b"alive");
        pool.kill(worker);
        assert_eq!(pool.exit(worker).signalled, Some(SignalReason::Cancelled));
    }
    // And the threads that it blocked are released.
    let started = Instant::now();
    drop(pool);
    assert!(started.elapsed() < Duration::from_secs(5), "a thread did not end");
}
