//! Arguments and results of every length.

use atasker::{Blob, BufferError, Limits, Supervisor, TaskErrorKind, task};

use crate::buffers::{flip, make};
use crate::tasks;
use crate::watch::{eventually, skipped, watched};

/// What fits into a ring.
const AREA: usize = 16 << 10;

fn supervisor(workers: u32) -> Supervisor {
    Supervisor::builder().processes(Limits::new(workers)).start().expect("workers start")
}

fn available_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("procfs");
    let line = text.lines().find(|line| line.starts_with("MemAvailable:")).expect("it is told");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
}

#[task]
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    vec![3; length]
}

#[task]
pub(crate) fn length_and_last(bytes: &[u8]) -> (usize, Option<u8>) {
    (bytes.len(), bytes.last().copied())
}

/// How many calls of this function came before in this worker.
#[task]
fn turn(_bytes: &[u8]) -> usize {
    static TURN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    TURN.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// Every short length, with its number, which is different for each.
fn short(n: usize) -> Vec<u8> {
    (0..n % 50).map(|at| (n + at) as u8).collect()
}

#[task]
fn reversed_twice(bytes: Vec<u8>) -> Vec<u8> {
    bytes.iter().rev().chain(&bytes).copied().collect()
}

/// A few bytes are kept in another way than more, and in packs as many are copied as there may be.
#[test]
fn short_payloads_that_travel_together_cross() {
    watched(|| {
        let supervisor = supervisor(2);
        let expected = |n| reversed_twice(short(n));
        let calls = (0..20_000).map(|n| reversed_twice::call(short(n)));
        for (n, result) in supervisor.map(calls).enumerate() {
            assert_eq!(result.expect("runs"), expected(n), "{n}");
        }
        let singles = (0..20_000).map(|n| supervisor.submit(reversed_twice::call(short(n))));
        let singles: Vec<_> = singles.collect::<Result<_, _>>().expect("accepted");
        for (n, task) in singles.into_iter().enumerate() {
            assert_eq!(task.wait().expect("runs"), expected(n), "{n}");
        }
    });
}

#[test]
fn payloads_of_every_border_cross() {
    watched(|| {
        let supervisor = supervisor(1);
        let borders = [24, 48, 1024, AREA - 4100, AREA, 64 << 10, 1 << 20];
        let around = borders.iter().flat_map(|&border| border - 8..border + 9);
        for size in around.chain([0, 64 << 20]) {
            let payload: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
            let back = supervisor.submit(tasks::reverse::call(&payload)).expect("accepted").wait();
            assert!(back.expect("runs").iter().rev().eq(&payload), "{size}");
        }
        // Unread ones stay where they are, and are read later.
        let unread: Vec<_> =
            (0..100).map(|_| supervisor.submit(bytes::call(2 << 20)).expect("accepted")).collect();
        for task in unread {
            assert_eq!(task.wait().expect("runs").len(), 2 << 20);
        }
    });
}

#[test]
fn short_calls_do_not_overtake_long_ones() {
    watched(|| {
        let supervisor = supervisor(1);
        let long = vec![0; 3 << 20];
        let submit = |n| {
            let bytes = if n % 3 == 0 { &long[..] } else { &[] };
            supervisor.submit(turn::call(bytes)).expect("accepted")
        };
        let tasks: Vec<_> = (0..60).map(submit).collect();
        for (n, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.wait().expect("runs"), n);
        }
    });
}

#[test]
fn many_long_calls_go_in_their_order_and_can_be_taken_back() {
    watched(|| {
        let supervisor = supervisor(1);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let held = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        eventually("it runs", || file.exists());
        let payload = vec![1; 3 << 20];
        let submit = |_| supervisor.submit(length_and_last::call(&payload)).expect("accepted");
        let tasks: Vec<_> = (0..20).map(submit).collect();
        for task in tasks.iter().step_by(2) {
            assert!(task.cancel());
        }
        std::fs::remove_file(&file).expect("it is there");
        held.wait().expect("runs");
        for (n, task) in tasks.into_iter().enumerate() {
            match task.wait() {
                Ok(seen) => assert_eq!((n % 2, seen), (1, (3 << 20, Some(1)))),
                Err(error) => assert!(
                    n % 2 == 0 && matches!(error.kind(), TaskErrorKind::Cancelled),
                    "{error}"
                ),
            }
        }
    });
}

/// Takes nine gigabytes of memory and some ten seconds.
#[test]
fn more_than_two_gigabytes_cross() {
    if available_bytes() < 11 << 30 {
        skipped("there is too little memory");
        return;
    }
    watched(|| {
        let supervisor = supervisor(1);
        let length = (2 << 30) + (100 << 20);
        let payload = vec![5; length];
        let call = length_and_last::call(&payload);
        drop(payload);
        let seen = supervisor.submit(call).expect("accepted").wait().expect("runs");
        assert_eq!(seen, (length, Some(5)));
        let made = supervisor.submit(make::call(length)).expect("accepted").wait();
        let made = made.expect("runs").expect("memory");
        let mut last = [0];
        made.read_at(length - 1, &mut last).expect("here");
        assert_eq!((made.len(), last), (length, [7]));
    });
}

#[test]
fn a_lack_of_memory_is_an_error() {
    watched(|| {
        let supervisor = supervisor(1);
        let too_much = 1 << 50;
        let refused = Blob::zeroed(too_much).expect_err("nobody has so much");
        assert!(
            matches!(
                refused,
                BufferError::OutOfMemory { .. } | BufferError::TooLong | BufferError::System { .. }
            ),
            "{refused:?}"
        );
        let failed = supervisor.submit(make::call(too_much)).expect("accepted").wait();
        let failure = failed.expect("runs").expect_err("nobody has so much");
        assert!(failure.to_string().contains("shared buffer"), "{failure}");
        let flipped = supervisor.submit(flip::call(Blob::from_slice(&[0]).expect("memory")));
        assert_eq!(flipped.expect("accepted").wait().expect("runs").to_vec().expect("here"), [255]);
    });
}

#[test]
fn a_payload_that_takes_longer_to_send_than_its_worker_may_take() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(1));
        let builder = builder.claim_deadline(std::time::Duration::from_millis(20));
        let supervisor = builder.start().expect("workers start");
        let payload = vec![5; 800 << 20];
        let seen = supervisor.submit(length_and_last::call(&payload)).expect("accepted").wait();
        assert_eq!(seen.expect("runs"), (800 << 20, Some(5)));
    });
}

/// Long arguments that are given to a worker by threads for which others wait: the timer's, and whoever collects. (By whom they
/// are copied is tested with the ring.)
#[test]
fn long_payloads_are_copied_for_calls_that_begin_later() {
    watched(|| {
        let supervisor = supervisor(1);
        let payload = vec![7; 64 << 20];
        let held = tempfile::tempdir().expect("a folder");
        let file = held.path().join("held");
        let hold = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        let soon = std::time::Duration::from_millis(5);
        let later: Vec<_> = (0..4)
            .map(|_| supervisor.submit(length_and_last::call(&payload).delay(soon)))
            .collect::<Result<_, _>>()
            .expect("accepted");
        let given_up = supervisor.submit(length_and_last::call(&payload).delay(soon));
        let given_up = given_up.expect("accepted");
        eventually("it runs", || file.exists());
        std::thread::sleep(2 * soon);
        assert!(given_up.cancel());
        std::fs::remove_file(&file).expect("it is there");
        hold.wait().expect("it runs");
        for task in later {
            assert_eq!(task.wait().expect("runs"), (64 << 20, Some(7)));
        }
        assert_eq!(given_up.wait().expect_err("given up").status(), atasker::TaskStatus::Cancelled);
    });
}

const LARGE: u64 = 500;

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u64")]
struct Small(u64);

impl TryFrom<u64> for Small {
    type Error = &'static str;

    fn try_from(n: u64) -> Result<Self, Self::Error> {
        if n < LARGE { Ok(Self(n)) } else { Err("it is large") }
    }
}

#[task]
fn small(n: Small) -> u64 {
    n.0
}

/// What the worker can't read has not begun.
#[test]
fn calls_that_can_not_be_read_have_not_run_in_packs_either() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(1));
        let supervisor = builder.start().expect("a worker starts");
        let read = |n| small::call(Small(n));
        for (result, n) in supervisor.map((0..1000).map(read)).zip(0..) {
            match result {
                Ok(small) => assert!(small < LARGE && small == n),
                Err(error) => {
                    assert!(n >= LARGE);
                    assert_eq!(error.status(), atasker::TaskStatus::Rejected, "{error}");
                    assert!(!error.may_have_run() && error.attempts() == 0, "{error}");
                }
            }
        }
    });
}
