//! Workers that write garbage over each part of what they share with the coordinator. What is with them may end in any
//! way; nobody else notices.

use std::time::Duration;

use atasker::{Blob, SupervisorBuilder, task};

use super::{Scene, cases};
use crate::scribble::{entry_words, is_end_of_a_liar, ring, segments, write};
use crate::tasks;
use crate::watch::eventually;

cases! {
    on_all_kinds
    on_rings {
        a_header_of_garbage,
        words_of_garbage,
        numbers_of_garbage,
        heads_of_garbage,
        arguments_of_garbage,
        lengths_of_garbage,
        outcomes_of_garbage,
        slots_of_garbage,
        silent_bells,
        bells_without_end,
        a_black_box_of_garbage,
        lent_memory_of_garbage,
    }
}

/// What stands where in an entry, see `transport/ring/layout.rs`.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
enum Part {
    /// From, to within the segment.
    Header(usize, usize),
    /// From, to within each entry.
    Entries(usize, usize),
    /// Behind the entries: arguments and outcomes that do not fit into them.
    Slots,
    /// What the worker leaves word in.
    BlackBox,
}

impl Part {
    fn addresses(self) -> Vec<usize> {
        match self {
            Self::Header(from, to) => (ring().start + from..ring().start + to).collect(),
            Self::Entries(from, to) => {
                entry_words().flat_map(|word| word + from..word + to).collect()
            }
            // The first pages of each half of the first slots.
            Self::Slots => {
                let start = ring().start + 4096 + 1024 * 128;
                (0..16)
                    .flat_map(|half| (0..64).map(move |n| start + half * (16 << 10) + n))
                    .collect()
            }
            Self::BlackBox => {
                let ring = ring();
                let others = segments().into_iter().filter(|one| one.start != ring.start);
                let others: Vec<usize> = others.flatten().collect();
                assert!(!others.is_empty(), "there is one");
                others
            }
        }
    }
}

/// The next of a row of numbers, see Knuth, "The Art of Computer Programming", 3.3.4.
fn next(random: &mut u64) -> u64 {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

/// Overwrites the part, every byte or one in so many.
#[task]
fn overwrite(part: Part, seed: u64, one_in: u64) -> u64 {
    let mut random = seed;
    for address in part.addresses() {
        if next(&mut random).is_multiple_of(one_in) {
            write(address, next(&mut random) as u8);
        }
    }
    seed
}

/// Who does not take up what it was given is soon found out; on a busy machine others may be taken for such, too.
fn impatient(scene: &Scene) -> SupervisorBuilder {
    scene.builder().claim_deadline(Duration::from_millis(100)).restart_limit(1_000_000)
}

/// Overwrite a part in one worker while the other runs something, and see that nobody else notices.
fn overwrite_in_each(scene: &Scene, part: Part) {
    scene.start(impatient(scene));
    let timeout = Duration::from_millis(200);
    let folder = tempfile::tempdir().expect("a folder");
    for (seed, one_in) in [(1, 1), (2, 5), (3, 50), (4, 500)] {
        let held = folder.path().join(seed.to_string());
        let neighbour = scene.submit(tasks::hold::call(&held)).expect("accepted");
        eventually("the neighbour runs", || held.exists());
        let liar = overwrite::call(part, seed, one_in).timeout(timeout);
        let liar = scene.submit(liar).expect("accepted");
        let behind: Vec<_> = (0..4)
            .map(|n| tasks::add::call(n, 1).timeout(timeout))
            .map(|call| scene.submit(call).expect("accepted"))
            .collect();
        let liar = liar.wait();
        assert!(is_end_of_a_liar(&liar), "{liar:?}");
        for task in behind {
            let result = task.wait();
            assert!(is_end_of_a_liar(&result), "{result:?}");
        }
        std::fs::remove_file(&held).expect("it is there");
        neighbour.wait().expect("a neighbour notices nothing");
        retire_liars(scene);
    }
}

/// A liar may live on, and be found out at a later task.
pub(super) fn retire_liars(scene: &Scene) {
    let liars = scene.pids();
    for &pid in &liars {
        crate::watch::send_signal(pid, libc::SIGKILL);
    }
    // What is given to one before its death is noticed may cost a task.
    eventually("they are gone", || !scene.pids().iter().any(|pid| liars.contains(pid)));
    eventually("others are there", || {
        let call = tasks::add::call(1, 1).timeout(Duration::from_secs(1));
        scene.run(call).is_ok_and(|sum| sum == 2)
    });
}

fn a_header_of_garbage(scene: &Scene) {
    overwrite_in_each(scene, Part::Header(0, 4096));
}

/// State, limit, flags, generation.
fn words_of_garbage(scene: &Scene) {
    overwrite_in_each(scene, Part::Entries(0, 8));
}

fn numbers_of_garbage(scene: &Scene) {
    overwrite_in_each(scene, Part::Entries(8, 16));
}

/// Functions, codecs, lengths of arguments, and where these stand.
fn heads_of_garbage(scene: &Scene) {
    overwrite_in_each(scene, Part::Entries(16, 40));
}

fn arguments_of_garbage(scene: &Scene) {
    overwrite_in_each(scene, Part::Entries(40, 64));
}

fn lengths_of_garbage(scene: &Scene) {
    overwrite_in_each(scene, Part::Entries(72, 80));
}

fn outcomes_of_garbage(scene: &Scene) {
    overwrite_in_each(scene, Part::Entries(80, 128));
}

fn slots_of_garbage(scene: &Scene) {
    overwrite_in_each(scene, Part::Slots);
}

fn a_black_box_of_garbage(scene: &Scene) {
    overwrite_in_each(scene, Part::BlackBox);
}

/// Writes over all that it was ever lent, and dies with what that is then.
#[task]
fn spoil_what_was_lent(blob: Blob, how: &str) -> Blob {
    let ring = ring();
    let others = segments().into_iter().filter(|one| one.start != ring.start);
    others.flatten().for_each(|address| write(address, 0xff));
    if how != "return" {
        tasks::die(how);
    }
    blob
}

/// What comes back of it is anything, and of the right length.
fn lent_memory_of_garbage(scene: &Scene) {
    scene.keep_memory();
    scene.start(impatient(scene));
    for how in ["return", "abort", "segfault"].repeat(3) {
        let length = 100_000;
        let blob = Blob::zeroed(length).expect("memory");
        let task = scene.submit(spoil_what_was_lent::call(blob, how)).expect("accepted");
        let result = task.wait();
        assert!(is_end_of_a_liar(&result), "{result:?}");
        assert!(result.is_ok_and(|blob| blob.len() == length) == (how == "return"));
        retire_liars(scene);
    }
}

/// Has a thread that says again and again that nobody sleeps and nobody listens, or rings and wakes who does not.
#[task]
fn lie_about_bells(silent: bool) {
    let start = ring().start;
    std::thread::spawn(move || {
        let mut turn = 0_u8;
        loop {
            turn = turn.wrapping_add(1);
            if silent {
                [64, 128].into_iter().for_each(|flag| write(start + flag, 0));
            } else {
                [64, 128, 132, 136].into_iter().for_each(|word| write(start + word, turn));
            }
            std::thread::yield_now();
        }
    });
}

fn lie_and_go_on(scene: &Scene, silent: bool) {
    scene.start(impatient(scene));
    // Where nobody is told, somebody looks when the claim deadline comes.
    scene.run(lie_about_bells::call(silent)).expect("it runs");
    let add = |n| scene.submit(tasks::add::call(n, 1)).expect("accepted");
    let tasks: Vec<_> = (0..50).map(add).collect();
    for (n, task) in (0..).zip(tasks) {
        let result = task.wait();
        assert!(result.as_ref().is_ok_and(|sum| *sum == n + 1) || is_end_of_a_liar(&result));
    }
    for n in 0..20 {
        let result = add(n).wait();
        assert!(result.as_ref().is_ok_and(|sum| *sum == n + 1) || is_end_of_a_liar(&result));
    }
    retire_liars(scene);
}

/// Every wake-up is lost.
fn silent_bells(scene: &Scene) {
    lie_and_go_on(scene, true);
}

fn bells_without_end(scene: &Scene) {
    lie_and_go_on(scene, false);
}
