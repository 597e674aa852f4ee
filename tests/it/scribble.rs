//! A task that writes into the memory that its worker shares with the coordinator.

use std::time::Duration;

use atasker::{Limits, Supervisor, TaskError, TaskStatus, task};

use crate::tasks;
use crate::watch::{eventually, watched};

/// Where the worker has its ring.
fn ring() -> std::ops::Range<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    let line =
        maps.lines().find(|line| line.contains("memfd:atasker")).expect("a worker has a ring");
    let range = line.split_whitespace().next().expect("it begins with addresses");
    let (from, to) = range.split_once('-').expect("two addresses");
    let number = |text| usize::from_str_radix(text, 16).expect("hexadecimal");
    number(from)..number(to)
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
fn write(address: usize, value: u8) {
    let address = std::ptr::with_exposed_provenance_mut::<u8>(address);
    // SAFETY: the address is mapped for writing; that nothing should be written there is the point.
    unsafe { address.write_volatile(value) };
}

fn is_end_of_a_liar<T>(result: &Result<T, TaskError>) -> bool {
    result.as_ref().map_or_else(
        |error| {
            use TaskStatus::{Crashed, Panicked, Rejected, TimedOut};
            matches!(error.status(), Crashed | Panicked | Rejected | TimedOut)
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
    /// Where entries begin, how far they are apart, and how many there are.
    const ENTRIES: (usize, usize, usize) = (4096, 128, 1024);
    /// The byte of an entry's word that has its flags, and the flag.
    const FLAG: (usize, u8) = (4, 2);
    let start = ring().start + ENTRIES.0 + FLAG.0;
    for entry in 0..ENTRIES.2 {
        add_bits(start + entry * ENTRIES.1, FLAG.1);
    }
}

#[expect(unsafe_code, reason = "that a task does this is what is tested")]
fn add_bits(address: usize, bits: u8) {
    let address = std::ptr::with_exposed_provenance_mut::<u8>(address);
    // SAFETY: as in `write`.
    let before = unsafe { address.read_volatile() };
    // SAFETY: as in `write`.
    unsafe { address.write_volatile(before | bits) };
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
