//! A task that writes into the memory that its worker shares with the coordinator.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use atasker::{
    Blob, Call, Limits, SealedBlob, Supervisor, TaskError, TaskHandle, TaskStatus, task,
};

use crate::tasks;
use crate::watch::{eventually, send_signal, watched};

/// Where entries begin in a ring, how far they are apart, and how many there are.
const ENTRIES: (usize, usize, usize) = (4096, 128, 1024);
/// The byte of an entry's word that has its flags.
pub(crate) const FLAGS: usize = 4;
/// The flag of what is done, and that of what is being killed.
pub(crate) const DONE: u8 = 1;
const KILLED: u8 = 2;

/// The memory that this worker shares with the coordinator and can write to, one range for each segment: its ring, its
/// black box, buffers that it was lent or has made.
pub(crate) fn segments() -> Vec<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    let is_shared = |line: &&str| {
        let is_segment = line.contains("/memfd:") || line.contains(crate::watch::NAMED_SEGMENT);
        is_segment && line.contains(" rw-s ")
    };
    let shared = maps.lines().filter(is_shared);
    let range = |line: &str| {
        let (from, to) = line.split_whitespace().next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some(number(from)?..number(to)?)
    };
    shared.filter_map(range).collect()
}

/// Where the worker has its ring: nothing else that it shares is as large while no buffers are about.
pub(crate) fn ring() -> Range<usize> {
    segments().into_iter().max_by_key(Range::len).expect("a worker has a ring")
}

/// Where the words of the ring's entries are.
pub(crate) fn entry_words() -> impl Iterator<Item = usize> {
    let start = ring().start + ENTRIES.0;
    (0..ENTRIES.2).map(move |entry| start + entry * ENTRIES.1)
}

/// Writes random bytes to so many random places within the first `within` bytes of the ring.
#[task]
fn scribble(seed: u64, writes: u32, within: u32) -> u64 {
    let ring = ring();
    let mut random = seed;
    for _ in 0..writes {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x5851_f42d);
        let offset = (random >> 16) as usize % (within as usize).min(ring.len());
        write(ring.start + offset, (random >> 48) as u8);
    }
    seed
}

#[expect(unsafe_code, reason = "that a task does this is what is tested")]
pub(crate) fn read(address: usize) -> u8 {
    let address = std::ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: the address is mapped; that others write there meanwhile is the point.
    unsafe { address.read_volatile() }
}

#[expect(unsafe_code, reason = "that a task does this is what is tested")]
pub(crate) fn write(address: usize, value: u8) {
    let address = std::ptr::with_exposed_provenance_mut::<u8>(address);
    // SAFETY: the address is mapped for writing; that nothing should be written there is the point.
    unsafe { address.write_volatile(value) };
}

pub(crate) fn is_end_of_a_liar<T>(result: &Result<T, TaskError>) -> bool {
    result.as_ref().map_or_else(
        |error| {
            // Of what has completed, the value may be spoilt.
            use TaskStatus::{Completed, Crashed, Panicked, Rejected, TimedOut};
            matches!(error.status(), Completed | Crashed | Panicked | Rejected | TimedOut)
        },
        |_value| true,
    )
}

#[test]
fn scribbling_on_a_ring_costs_what_was_with_its_worker() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = Supervisor::builder()
            .processes(Limits::new(2))
            .claim_deadline(Duration::from_millis(100))
            .restart_limit(1_000_000)
            .start()
            .expect("workers start");
        // A few places in the header and the first entries, many in all entries, and everywhere.
        for (seed, writes, within) in (0..)
            .zip([(4, 5_000), (60, 5_000), (3_000, 40_000), (200_000, 1 << 30)].repeat(5))
            .map(|(seed, (writes, within))| (seed, writes, within))
        {
            let held = folder.path().join(format!("held{seed}"));
            let neighbour = supervisor.submit(tasks::hold::call(&held)).expect("accepted");
            eventually("the neighbour runs", || held.exists());
            // What makes its worker stand still for good is a hang as any other.
            let timeout = Duration::from_millis(500);
            let liar = scribble::call(seed, writes, within).timeout(timeout);
            let liar = supervisor.submit(liar).expect("accepted");
            let behind: Vec<_> = (0..5)
                .map(|n| tasks::add::call(n, 1).timeout(timeout))
                .map(|call| supervisor.submit(call).expect("accepted"))
                .collect();
            let liar = liar.wait();
            assert!(is_end_of_a_liar(&liar), "{liar:?}");
            std::fs::remove_file(&held).expect("it is there");
            neighbour.wait().expect("a neighbour notices nothing");
            for task in behind {
                let result = task.wait();
                assert!(is_end_of_a_liar(&result), "{result:?}");
            }
            // The liar may live on, and be found out at its next task.
            let after: Vec<_> = (0..10)
                .map(|n| tasks::add::call(n, 1).timeout(timeout))
                .map(|call| supervisor.submit(call).expect("accepted").wait())
                .collect();
            assert!(after.iter().all(is_end_of_a_liar), "{after:?}");
            // Or even later: the next neighbour must not be with it.
            let pids = || supervisor.info().workers.into_iter().filter_map(|worker| worker.pid);
            let old: Vec<u32> = pids().collect();
            old.iter().for_each(|&pid| send_signal(pid, libc::SIGKILL));
            eventually("others are in their place", || !pids().any(|pid| old.contains(&pid)));
        }
        eventually("the pool serves again", || {
            (0..20).all(|n| {
                let task = supervisor.submit(tasks::add::call(n, 1)).expect("accepted");
                task.wait().is_ok_and(|sum| sum == n + 1)
            })
        });
    });
}

/// Says in every entry of the ring that its worker is being killed.
#[task]
fn say_killed() {
    for word in entry_words() {
        write(word + FLAGS, read(word + FLAGS) | KILLED);
    }
}

#[test]
fn a_worker_that_waits_in_vain_to_be_killed_ends_by_itself() {
    watched(|| {
        let supervisor =
            Supervisor::builder().processes(Limits::new(1)).start().expect("a worker starts");
        // Nothing has a timeout.
        let liar = supervisor.submit(say_killed::call()).expect("accepted");
        let error = liar.wait().expect_err("its outcome can't be committed");
        assert_eq!(error.status(), TaskStatus::Crashed, "{error}");
        let sum = supervisor.submit(tasks::add::call(1, 2)).expect("accepted").wait();
        assert_eq!(sum.expect("by another worker"), 3);
    });
}

/// The next of a row of numbers that looks like chance.
fn next(random: &mut u64) -> u64 {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

/// Writes random bytes into every segment that is shared, in bursts, for so many microseconds: all over it, and with
/// `near` more often where entries and headers are. If it comes to its end, its worker goes on with what it has spoilt.
///
/// Before, it leaves its process's number in the folder: what it writes over may be what says that it has begun, and then
/// it begins again elsewhere.
#[task]
fn scribble_everywhere(folder: &Path, seed: u64, microseconds: u64, near: bool) -> u64 {
    std::fs::write(folder.join(std::process::id().to_string()), "").expect("it can be written");
    // A call of this worker's may become one of another function, on a path of junk.
    let elsewhere = std::env::set_current_dir(std::env::temp_dir());
    elsewhere.expect("there is such a folder");
    let until = Instant::now() + Duration::from_micros(microseconds);
    let mut random = seed;
    while Instant::now() < until {
        for segment in segments() {
            let within = if near { segment.len().min(160 << 10) } else { segment.len() };
            for _ in 0..=next(&mut random) % 64 {
                let offset = next(&mut random) as usize % within;
                write(segment.start + offset, next(&mut random) as u8);
            }
        }
    }
    seed
}

/// What a worker makes of the bytes that it was given: nobody would write that by chance.
fn mixed(bytes: &[u8]) -> u64 {
    // FNV-1a, by Fowler, Noll and Vo.
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[task]
fn mix(bytes: &[u8]) -> (u64, Vec<u8>) {
    (mixed(bytes), bytes.iter().rev().copied().collect())
}

/// The same of a buffer that is lent, changed in place.
#[task]
fn mix_in_place(mut bytes: Blob) -> (u64, Blob) {
    let all = bytes.as_mut_slice().expect("a worker may");
    let hash = mixed(all);
    all.reverse();
    (hash, bytes)
}

#[task]
fn mix_sealed(bytes: SealedBlob) -> (u64, Vec<u8>) {
    (mixed(&bytes), bytes.iter().rev().copied().collect())
}

/// How a task is given its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Copied,
    Sealed,
    /// Spoilt if it was given to a scribbler before, begun or not, and then to another.
    Lent,
}

/// A task with what it was given, and what becomes of it.
struct Mixing {
    way: Way,
    bytes: Vec<u8>,
    pid: Option<u32>,
    result: Result<(u64, Vec<u8>), TaskError>,
}

/// Hand these to a worker as bytes, lent and sealed.
fn mix_all(supervisor: &Supervisor, payloads: Vec<Vec<u8>>) -> Vec<Box<dyn FnOnce() -> Mixing>> {
    fn submit<T: 'static>(
        supervisor: &Supervisor,
        call: Call<T>,
        (way, bytes): (Way, Vec<u8>),
        read: impl FnOnce(T) -> (u64, Vec<u8>) + 'static,
    ) -> Box<dyn FnOnce() -> Mixing> {
        let task = supervisor.submit(call.timeout(Duration::from_secs(2))).expect("accepted");
        Box::new(move || {
            eventually("it has ended", || task.is_done());
            let pid = task.info().pid;
            Mixing { way, bytes, pid, result: task.wait().map(read) }
        })
    }
    let any = |(n, bytes): (usize, Vec<u8>)| match n % 4 {
        0 => {
            // Of memory that no other worker has had.
            let mut lent = Blob::zeroed(bytes.len()).expect("memory");
            lent.as_mut_slice().expect("it is private").copy_from_slice(&bytes);
            let read = |(hash, bytes): (u64, Blob)| (hash, bytes.to_vec().expect("it is here"));
            submit(supervisor, mix_in_place::call(lent), (Way::Lent, bytes), read)
        }
        1 => {
            let sealed = SealedBlob::from_slice(&bytes).expect("memory");
            submit(supervisor, mix_sealed::call(sealed), (Way::Sealed, bytes), |mixed| mixed)
        }
        _ => submit(supervisor, mix::call(&bytes), (Way::Copied, bytes), |mixed| mixed),
    };
    payloads.into_iter().enumerate().map(any).collect()
}

/// Whatever a worker has left of itself can be read.
fn read_all(task: TaskHandle<u64>) {
    let (_any, info) = (task.progress(), format!("{:?}", task.info()));
    assert!(!info.is_empty());
    if let Err(error) = task.wait() {
        let report = format!("{error} {error:?}");
        let backtrace = error.crash().and_then(|crash| crash.backtrace().map(ToString::to_string));
        assert!(report.len() + backtrace.map_or(0, |it| it.len()) < 4 << 20, "{report}");
    }
}

/// Run both kinds of tasks, mixed, for so long: what ends otherwise than it should was with a worker that has scribbled.
fn scribble_for(duration: Duration, seed: u64) {
    let supervisor = Supervisor::builder()
        .processes(Limits::new(4))
        .claim_deadline(Duration::from_millis(300))
        .restart_limit(1_000_000)
        .start()
        .expect("workers start");
    let until = Instant::now() + duration;
    let mut random = seed;
    let folder = tempfile::tempdir().expect("a folder");
    let liars = || -> HashSet<u32> {
        let files = std::fs::read_dir(folder.path()).expect("it is there");
        files.flatten().filter_map(|file| file.file_name().to_str()?.parse().ok()).collect()
    };
    let (mut good, mut spoilt) = (0_u64, 0_u64);
    while Instant::now() < until {
        watched(|| {
            let payloads: Vec<Vec<u8>> = (0..40)
                .map(|_| {
                    let longest = [10, 60, 2_000, 20_000, 300_000][next(&mut random) as usize % 5];
                    (0..next(&mut random) % longest).map(|n| (n ^ random >> 20) as u8).collect()
                })
                .collect();
            let scribbling: Vec<_> = (0..3)
                .map(|_| {
                    let microseconds = next(&mut random) % 20_000;
                    let near = next(&mut random).is_multiple_of(2);
                    let seed = next(&mut random);
                    let call = scribble_everywhere::call(folder.path(), seed, microseconds, near);
                    supervisor.submit(call.timeout(Duration::from_millis(500))).expect("accepted")
                })
                .collect();
            let mixing = mix_all(&supervisor, payloads);
            eventually("they have ended", || scribbling.iter().all(TaskHandle::is_done));
            scribbling.into_iter().for_each(read_all);
            for end in mixing {
                let Mixing { way, bytes, pid, result } = end();
                match result {
                    Ok((hash, reversed))
                        if hash == mixed(&bytes) && reversed.iter().rev().eq(&bytes) =>
                    {
                        good += 1;
                    }
                    // A machine may be too busy for any time.
                    Err(error) if error.status() == TaskStatus::TimedOut => spoilt += 1,
                    other => {
                        let is_liars = pid.is_some_and(|pid| liars().contains(&pid));
                        let other = other.map(|_| "wrong");
                        let is_excused = is_liars || (way == Way::Lent && other.is_ok());
                        assert!(is_excused, "{way:?}: {other:?} of {pid:?}, no liar");
                        spoilt += 1;
                    }
                }
            }
        });
    }
    let ended = supervisor.info().ended;
    eprintln!("{good} right, {spoilt} spoilt, {} workers scribbled: {ended:?}", liars().len());
    assert!(good > 0, "nobody was left to be checked");
    watched(|| {
        eventually("the pool serves again", || {
            (0..20).all(|n| {
                let call = tasks::add::call(n, 1).timeout(Duration::from_secs(2));
                supervisor.submit(call).expect("accepted").wait().is_ok_and(|sum| sum == n + 1)
            })
        });
    });
}

/// For two seconds, or as many as `ATASKER_TEST_SCRIBBLE_S` says, from a seed that is printed and can be given. With
/// `AddressSanitizer`, in a folder of its own:
///
/// ```text
/// ATASKER_TEST_SCRIBBLE_S=600 RUSTFLAGS=-Zsanitizer=address cargo +nightly test --target x86_64-unknown-linux-gnu
///     --target-dir target/asan -p atasker-tests --test it scribble::scribbling_for_a_while -- --exact --nocapture
/// ```
#[test]
fn scribbling_for_a_while() {
    let chosen = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = chosen("ATASKER_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("scribbling with ATASKER_TEST_SEED={seed}");
    scribble_for(Duration::from_secs(chosen("ATASKER_TEST_SCRIBBLE_S").unwrap_or(2)), seed);
}
