//! Shared buffers, between this process and its workers.

use std::path::Path;
use std::time::Duration;

use atasker::{
    Blob, Limits, SealedBlob, SealedSlice, SharedSlice, SubmitError, Supervisor, TaskResult,
    Transport, task,
};
use serde::{Deserialize, Serialize};

use crate::payloads::{bytes, length_and_last};
use crate::tasks;
use crate::watch::{eventually, watched};

/// What fits into a ring, with a header if there are buffers.
const AREA: usize = 16 << 10;

fn supervisor(workers: u32) -> Supervisor {
    Supervisor::builder().processes(Limits::new(workers)).start().expect("workers start")
}

/// Run `body` in a process of its own, if what it counts would be disturbed by other tests.
fn alone(name: &str, body: impl FnOnce()) {
    const ROLE: &str = "ATASKER_TEST_ALONE";
    if std::env::var_os(ROLE).is_some_and(|role| role == name) {
        return watched(body);
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this test binary"))
        .args([&format!("buffers::{name}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, name)
        .output()
        .expect("the test binary starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

/// How often memory that may be a buffer is mapped here.
fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    maps.lines().filter(|line| line.contains("memfd:")).count()
}

#[task]
pub(crate) fn flip(mut blob: Blob) -> Blob {
    for byte in blob.as_mut_slice().expect("a worker may") {
        *byte = !*byte;
    }
    blob
}

#[task]
pub(crate) fn sum(bytes: SealedBlob) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

/// The sum, and how often buffers are mapped in this worker.
#[task]
fn sum_and_mappings(bytes: SealedBlob) -> (u64, usize) {
    (bytes.iter().map(|byte| u64::from(*byte)).sum(), mappings())
}

/// The lengths of all, and the first bytes of the buffers.
#[task]
fn lengths(
    one: Blob,
    bytes: &[u8],
    two: SealedBlob,
    three: Blob,
) -> TaskResult<(Vec<usize>, Vec<u8>)> {
    let first = |blob: &Blob| blob.to_vec().map(|bytes| bytes[0]);
    let firsts = vec![first(&one)?, two[0], first(&three)?];
    Ok((vec![one.len(), bytes.len(), two.len(), three.len()], firsts))
}

#[task]
fn count_mappings() -> usize {
    mappings()
}

#[task]
pub(crate) fn make(length: usize) -> TaskResult<Blob> {
    let mut blob = Blob::zeroed(length)?;
    blob.as_mut_slice().expect("it was never sent").fill(7);
    Ok(blob)
}

#[task]
fn make_sealed(length: usize) -> TaskResult<SealedBlob> {
    Ok(SealedBlob::from_slice(&vec![9; length])?)
}

#[derive(Debug, Serialize, Deserialize)]
struct Series {
    name: String,
    samples: SharedSlice<f64>,
    weights: SealedSlice<f32>,
}

#[task]
fn scale(mut series: Vec<Option<Series>>, factor: f64) -> Vec<Option<Series>> {
    for one in series.iter_mut().flatten() {
        for sample in one.samples.as_mut_slice().expect("a worker may") {
            *sample *= factor * f64::from(one.weights[0]);
        }
        one.name.push('!');
    }
    series
}

#[task]
fn many(blobs: Vec<Blob>) -> (usize, Vec<Blob>) {
    (blobs.len(), blobs)
}

#[task]
fn make_many(count: usize) -> TaskResult<Vec<Blob>> {
    Ok((0..count).map(|_| Blob::from_slice(&[1])).collect::<Result<_, _>>()?)
}

#[task]
fn hold_buffer(blob: Blob, file: &Path) -> usize {
    tasks::hold(file);
    blob.len()
}

#[task]
fn made_and_died(length: usize, also: Blob) -> Blob {
    let _held = (Blob::zeroed(length).expect("memory"), also);
    std::process::abort()
}

/// Fails as `how` says at the first attempt, and changes the buffer in place at the second.
#[task(retries = 1)]
pub(crate) fn second_time(mut blob: Blob, file: &Path, how: &str) -> Result<Blob, String> {
    if !file.exists() {
        std::fs::write(file, "").expect("the test's folder is writable");
        match how {
            "crash" => std::process::abort(),
            "panic" => panic!("as asked"),
            _ => return Err("as asked".to_owned()),
        }
    }
    blob.as_mut_slice().expect("a worker may")[0] += 1;
    Ok(blob)
}

static KEPT: std::sync::Mutex<Vec<Blob>> = std::sync::Mutex::new(Vec::new());

/// Keeps its argument and wants to be tried again.
#[task(retries = 1)]
fn keep(blob: Blob) -> Result<(), String> {
    KEPT.lock().unwrap().push(blob);
    Err("kept".to_owned())
}

#[test]
fn more_than_there_is_is_refused() {
    for bytes in [1 << 45, usize::MAX] {
        // The kernel would begin to give it, and end other programs.
        Blob::zeroed(bytes).expect_err("no machine has so much");
        SharedSlice::<u64>::zeroed(bytes / 8).expect_err("no machine has so much");
    }
}

#[test]
fn a_lent_buffer_is_changed_in_place_and_comes_back() {
    watched(|| {
        let supervisor = supervisor(2);
        for length in [0, 1, 4096, 100_000, 5 << 20] {
            let contents: Vec<u8> = (0..length).map(|n: usize| (n % 251) as u8).collect();
            let blob = Blob::from_slice(&contents).expect("memory");
            let call = flip::call(blob);
            let back = supervisor.submit(call).expect("accepted").wait().expect("runs");
            let flipped: Vec<u8> = contents.iter().map(|byte| !byte).collect();
            assert_eq!(back.to_vec().expect("here"), flipped, "{length}");
        }
    });
}

#[test]
fn buffers_stand_anywhere_in_arguments_and_results() {
    watched(|| {
        let supervisor = supervisor(1);
        let series = |n: usize| Series {
            name: n.to_string(),
            samples: SharedSlice::from_slice(&vec![1.5; n]).expect("memory"),
            weights: SealedSlice::from_slice(&[2.0]).expect("memory"),
        };
        let list = vec![Some(series(10)), None, Some(series(100_000)), Some(series(0))];
        let back =
            supervisor.submit(scale::call(list, 10.0)).expect("accepted").wait().expect("runs");
        let lengths = [Some(10), None, Some(100_000), Some(0)];
        for (series, length) in back.into_iter().zip(lengths) {
            assert_eq!(series.as_ref().map(|series| series.samples.len()), length);
            if let Some(Series { name, samples, weights }) = series {
                assert_eq!(name, format!("{}!", samples.len()));
                assert!(
                    samples
                        .to_vec()
                        .expect("here")
                        .iter()
                        .all(|sample| sample.to_bits() == 30.0_f64.to_bits())
                );
                assert_eq!(weights[0].to_bits(), 2.0_f32.to_bits());
            }
        }
    });
}

#[test]
fn workers_make_buffers() {
    watched(|| {
        let supervisor = supervisor(2);
        for length in [0, 1, 70_000] {
            let made = supervisor.submit(make::call(length)).expect("accepted");
            let made = made.wait().expect("runs").expect("memory");
            assert_eq!(made.to_vec().expect("here"), vec![7; length]);
            // And it may go back, to whichever worker.
            let flipped = supervisor.submit(flip::call(made)).expect("accepted").wait();
            assert_eq!(flipped.expect("runs").to_vec().expect("here"), vec![!7; length]);
            let sealed = supervisor.submit(make_sealed::call(length)).expect("accepted");
            let sealed = sealed.wait().expect("runs").expect("memory");
            assert!(sealed.iter().all(|byte| *byte == 9) && sealed.len() == length);
            let sums =
                [0, 1].map(|_| supervisor.submit(sum::call(sealed.clone())).expect("accepted"));
            for task in sums {
                assert_eq!(task.wait().expect("runs"), 9 * length as u64);
            }
        }
        let calls = (0..200).map(|n| make::call(n + 1));
        for (n, made) in supervisor.map(calls).enumerate() {
            let made = made.expect("runs").expect("memory");
            assert_eq!(made.to_vec().expect("here"), vec![7; n + 1]);
        }
    });
}

#[test]
fn a_sealed_buffer_is_mapped_once_in_each_worker() {
    watched(|| {
        let supervisor = supervisor(2);
        let contents = vec![1; 3 << 20];
        let sealed = SealedBlob::from_slice(&contents).expect("memory");
        let before = supervisor.submit(count_mappings::call()).expect("accepted").wait();
        let before = before.expect("runs");
        for _ in 0..20 {
            let tasks = [0, 1, 2, 3].map(|_| {
                supervisor.submit(sum_and_mappings::call(sealed.clone())).expect("accepted")
            });
            for task in tasks {
                assert_eq!(task.wait().expect("runs"), (3 << 20, before + 1));
            }
        }
        drop(sealed);
    });
}

#[test]
fn what_dead_workers_had_is_reclaimed() {
    alone("what_dead_workers_had_is_reclaimed", || {
        let supervisor = supervisor(2);
        let folder = tempfile::tempdir().expect("a folder");
        let alive =
            || supervisor.info().workers.iter().filter(|worker| worker.pid.is_some()).count();
        eventually("both are there", || alive() == 2);
        drop(Blob::zeroed(100_000).expect("memory"));
        let mut before = None;
        let state = || (descriptors(), mappings());
        for round in 0..13 {
            let file = folder.path().join(round.to_string());
            let blob = Blob::zeroed(100_000).expect("memory");
            let task = supervisor.submit(hold_buffer::call(blob, &file)).expect("accepted");
            eventually("it runs", || file.exists());
            let pid: i32 =
                std::fs::read_to_string(&file).expect("it is written").parse().expect("a pid");
            #[expect(unsafe_code, reason = "signals can only be sent through libc")]
            // SAFETY: kill has no preconditions.
            unsafe {
                libc::kill(pid, libc::SIGKILL)
            };
            let error = task.wait().expect_err("it was killed");
            assert!(error.crash().is_some(), "{error}");
            let task = made_and_died::call(70_000, Blob::zeroed(100_000).expect("memory"));
            let died = supervisor.submit(task).expect("accepted").wait();
            assert!(died.expect_err("it died").crash().is_some());
            // The first rounds warm up. How much is kept idle depends on how soon the deaths were confirmed; ten
            // further rounds would leave twice ten behind.
            if round == 2 {
                eventually("both are there", || alive() == 2);
                before = Some(state());
            }
        }
        let (descriptors, mappings) = before.expect("there were enough rounds");
        eventually("no more than before", || {
            let now = state();
            alive() == 2 && now.0 <= descriptors + 5 && now.1 <= mappings + 5
        });
    });
}

#[test]
fn a_retry_gets_the_buffer_again() {
    watched(|| {
        let supervisor = supervisor(2);
        let folder = tempfile::tempdir().expect("a folder");
        for how in ["crash", "panic", "error"] {
            let blob = Blob::from_slice(&[41]).expect("memory");
            let file = folder.path().join(how);
            let task = supervisor.submit(second_time::call(blob, &file, how)).expect("accepted");
            let back = task.wait().expect("the second attempt returns").expect("a blob");
            assert_eq!(back.to_vec().expect("here"), [42], "{how}");
        }
    });
}

#[test]
fn a_buffer_that_an_attempt_has_kept_is_not_shared_with_the_next() {
    watched(|| {
        let supervisor = supervisor(2);
        let blob = Blob::from_slice(&[1]).expect("memory");
        let error = supervisor.submit(keep::call(blob)).expect("accepted").wait();
        let error = error.expect_err("the second attempt can't have it").to_string();
        assert!(error.contains("an earlier attempt has kept"), "{error}");
    });
}

#[test]
fn handles_dropped_unread_and_cancelled_tasks_leave_nothing() {
    alone("handles_dropped_unread_and_cancelled_tasks_leave_nothing", || {
        let supervisor = supervisor(1);
        let round = || {
            for _ in 0..20 {
                drop(supervisor.submit(make::call(70_000)).expect("accepted"));
                drop(supervisor.submit(bytes::call(70_000)).expect("accepted"));
                drop(supervisor.submit(make_sealed::call(70_000)).expect("accepted"));
                let blob = Blob::from_slice(&vec![0; 70_000]).expect("memory");
                let sealed = SealedBlob::from_slice(&vec![0; 70_000]).expect("memory");
                let long = supervisor.submit(tasks::sleep_ms::call(1)).expect("accepted");
                let staged = supervisor.submit(flip::call(blob)).expect("accepted");
                let also_staged = supervisor.submit(sum::call(sealed)).expect("accepted");
                staged.cancel();
                also_staged.cancel();
                assert_eq!(long.wait().expect("runs"), 1);
            }
            let settle = || supervisor.submit(tasks::nothing::call()).expect("accepted").wait();
            settle().expect("runs");
            settle().expect("runs");
        };
        round();
        round();
        let before = (descriptors(), mappings());
        for _ in 0..5 {
            round();
        }
        eventually("no more than before", || {
            supervisor.submit(tasks::nothing::call()).expect("accepted").wait().expect("runs");
            descriptors() <= before.0 + 4 && mappings() <= before.1 + 4
        });
    });
}

#[test]
fn ten_thousand_round_trips_take_no_more_than_one() {
    alone("ten_thousand_round_trips_take_no_more_than_one", || {
        let supervisor = supervisor(1);
        let mut blob = Blob::zeroed(100_000).expect("memory");
        let mut before = None;
        for round in 0..10_000 {
            blob =
                supervisor.submit(flip_first::call(blob)).expect("accepted").wait().expect("runs");
            if round == 10 {
                before = Some((descriptors(), mappings()));
            } else if round % 1000 == 999 {
                let (descriptors_max, mappings_max) = before.expect("round 10 is over");
                eventually("there is no more than before", || {
                    descriptors() <= descriptors_max && mappings() <= mappings_max
                });
            }
        }
        assert_eq!(blob.to_vec().expect("here")[0], (10_000 % 256) as u8);
    });
}

#[task]
fn flip_first(mut blob: Blob) -> Blob {
    let bytes = blob.as_mut_slice().expect("a worker may");
    bytes[0] = bytes[0].wrapping_add(1);
    blob
}

#[test]
fn buffers_stand_beside_arguments_of_every_length() {
    watched(|| {
        let supervisor = supervisor(1);
        let borders = [
            0,
            1000,
            AREA - 5000,
            AREA - 4000,
            AREA - 100,
            AREA - 80,
            AREA - 60,
            AREA - 40,
            AREA - 20,
            AREA,
            100_000,
        ];
        for length in borders.into_iter().flat_map(|border| border..border + 20) {
            let blob = |byte, length| Blob::from_slice(&vec![byte; length]).expect("memory");
            let sealed = SealedBlob::from_slice(&[2; 20]).expect("memory");
            let call = lengths::call(blob(1, 10), &vec![0; length], sealed, blob(3, 30));
            let seen = supervisor.submit(call).expect("accepted").wait().expect("runs");
            assert_eq!(seen.expect("memory"), (vec![10, length, 20, 30], vec![1, 2, 3]));
        }
    });
}

#[test]
fn too_many_buffers_are_an_error_and_many_are_not() {
    watched(|| {
        let supervisor = supervisor(2);
        let blobs =
            |count| (0..count).map(|_| Blob::from_slice(&[3]).expect("memory")).collect::<Vec<_>>();
        for _ in 0..3 {
            let task = supervisor.submit(many::call(blobs(100))).expect("accepted");
            let (count, back) = task.wait().expect("runs");
            assert_eq!((count, back.len()), (100, 100));
            assert!(back.iter().all(|blob| blob.to_vec().expect("here") == [3]));
        }
        let refused = supervisor.submit(many::call(blobs(300))).expect_err("too many");
        assert!(matches!(refused, SubmitError::Unencodable { .. }), "{refused}");
        assert!(refused.to_string().contains("300 shared buffers"), "{refused}");
        let made = supervisor.submit(make_many::call(128)).expect("accepted").wait();
        assert_eq!(made.expect("runs").expect("memory").len(), 128);
        let error = supervisor.submit(make_many::call(129)).expect("accepted").wait();
        assert!(error.expect_err("too many").to_string().contains("129 shared buffers"));
        // More at once than the socket between the two takes.
        let tasks: Vec<_> =
            (0..12).map(|_| supervisor.submit(make_many::call(120)).expect("accepted")).collect();
        std::thread::sleep(Duration::from_millis(20));
        for task in tasks {
            assert_eq!(task.wait().expect("runs").expect("memory").len(), 120);
        }
        let tasks: Vec<_> =
            (0..5).map(|_| supervisor.submit(many::call(blobs(120))).expect("accepted")).collect();
        for task in tasks {
            assert_eq!(task.wait().expect("runs").0, 120);
        }
    });
}

fn check_in_process(supervisor: &Supervisor) {
    // Memory that no worker has had, of whatever test: it is read in place here.
    let mut blob = Blob::zeroed(2).expect("memory");
    blob.write_at(0, &[1, 2]).expect("they fit");
    let back = supervisor.submit(flip::call(blob)).expect("accepted").wait().expect("runs");
    assert_eq!(back.to_vec().expect("here"), [254, 253]);
    let sealed = SealedBlob::from_slice(&[4; 1000]).expect("memory");
    let sums = [0, 1].map(|_| supervisor.submit(sum::call(sealed.clone())).expect("accepted"));
    for task in sums {
        assert_eq!(task.wait().expect("runs"), 4000);
    }
    let payload = vec![8; 1 << 20];
    let seen = supervisor.submit(length_and_last::call(&payload)).expect("accepted").wait();
    assert_eq!(seen.expect("runs"), (1 << 20, Some(8)));
}

#[test]
fn buffers_stay_where_tasks_run_in_this_process() {
    watched(|| {
        check_in_process(&Supervisor::builder().inline().start().expect("starts"));
        check_in_process(&Supervisor::builder().rayon(Limits::new(2)).start().expect("starts"));
    });
}

#[test]
fn channels_say_that_they_take_no_buffers() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(1)).transport(Transport::Channel);
        let supervisor = builder.start().expect("workers start");
        let blob = Blob::from_slice(&[1]).expect("memory");
        let refused = supervisor.submit(flip::call(blob)).expect_err("no buffers");
        assert!(refused.to_string().contains("Transport::Ring"), "{refused}");
        let error = supervisor.submit(make::call(1)).expect("accepted").wait();
        assert!(error.expect_err("no buffers").to_string().contains("Transport::Ring"));
        let empty = supervisor.submit(make::call(0)).expect("accepted").wait();
        assert!(empty.expect("runs").expect("no memory needed").is_empty());
    });
}
