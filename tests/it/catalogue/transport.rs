//! Deaths and crowds on the way between coordinator and worker.

use std::time::Duration;

use atasker::{Blob, SealedBlob, TaskStatus, task, wait_all};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Scene, cases};
use crate::scribble::{DONE, FLAGS, entry_words, read};
use crate::tasks;
use crate::watch::{children, eventually, send_signal, state_of};

cases! {
    on_all_kinds
    everywhere {
        death_between_the_begin_and_the_run,
        death_in_the_middle_of_an_outcome,
        deaths_at_any_moment,
        full_in_both_directions,
        more_calls_than_entries_again_and_again,
        a_large_call_then_death,
        a_large_result_then_death,
        wake_ups_for_nothing,
    }
    on_rings {
        death_right_after_an_outcome_is_published,
        death_with_a_lent_buffer,
        death_with_a_shared_buffer,
    }
}

/// Kills its process where a worker decodes it, or in the middle of being encoded there.
#[derive(Debug)]
struct Deadly {
    when_decoded: bool,
    filler: Vec<u64>,
}

fn is_worker() -> bool {
    atasker::worker::current_task().is_some()
}

fn die() {
    send_signal(std::process::id(), libc::SIGKILL);
}

impl Serialize for Deadly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(&self.when_decoded)?;
        tuple.serialize_element(&self.filler)?;
        if is_worker() {
            die();
        }
        tuple.serialize_element(&self.filler)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (when_decoded, filler, _again) =
            <(bool, Vec<u64>, Vec<u64>)>::deserialize(deserializer)?;
        if when_decoded && is_worker() {
            die();
        }
        Ok(Self { when_decoded, filler })
    }
}

#[task]
fn take_deadly(deadly: Deadly) -> usize {
    deadly.filler.len()
}

#[task]
fn make_deadly(length: usize) -> Deadly {
    Deadly { when_decoded: false, filler: vec![7; length] }
}

/// From a few bytes to more than a slot holds.
const LENGTHS: [usize; 3] = [1, 500, 300_000];

fn death_between_the_begin_and_the_run(scene: &Scene) {
    scene.keep_memory();
    for length in LENGTHS {
        let deadly = Deadly { when_decoded: true, filler: vec![7; length] };
        scene.crash(take_deadly::call(deadly));
    }
}

fn death_in_the_middle_of_an_outcome(scene: &Scene) {
    scene.keep_memory();
    for length in LENGTHS {
        scene.crash(make_deadly::call(length));
    }
}

/// How often.
const KILLS: u64 = 12;

/// While small and large tasks go to and fro, their workers are killed again and again.
fn deaths_at_any_moment(scene: &Scene) {
    scene.keep_memory();
    // They may all come before anything has begun.
    scene.start(scene.builder().restart_limit(1_000_000));
    let large = vec![3; 200_000];
    let done = std::sync::atomic::AtomicBool::new(false);
    let supervisor: &atasker::Supervisor = scene;
    let (mut completed, mut crashed) = (0, 0);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut jitter = 0_u64;
            for _ in 0..KILLS {
                let mut found = None;
                eventually("there is a worker", || {
                    let workers = supervisor.info().workers;
                    found = workers.iter().filter_map(|worker| worker.pid).next_back();
                    found.is_some()
                });
                // At another moment each time.
                jitter = (jitter + 1777) % 20_000;
                (0..jitter).for_each(|_| std::hint::spin_loop());
                send_signal(found.expect("just seen"), libc::SIGKILL);
                eventually("it is missed", || {
                    supervisor.info().workers.iter().all(|worker| worker.pid != found)
                });
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let small: Vec<_> = (0..20)
                .map(|n| supervisor.submit(tasks::add::call(n, 5)).expect("accepted"))
                .collect();
            let reversed = supervisor.submit(tasks::reverse::call(&large)).expect("accepted");
            for (n, task) in (0..).zip(small) {
                match task.wait() {
                    Ok(value) => {
                        assert_eq!(value, n + 5);
                        completed += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.status(), TaskStatus::Crashed, "{error}");
                        crashed += 1;
                    }
                }
            }
            match reversed.wait() {
                Ok(value) => {
                    assert!(value == large);
                    completed += 1;
                }
                Err(error) => {
                    assert_eq!(error.status(), TaskStatus::Crashed, "{error}");
                    crashed += 1;
                }
            }
        }
    });
    let ended = scene.info().ended;
    assert_eq!((ended.completed, ended.crashed), (completed, crashed));
    assert!(crashed <= KILLS, "a death costs at most the task that ran: {crashed}");
}

/// Kills its process as soon as its outcome stands in the ring, while its thread goes on to tell of it.
#[task]
fn die_when_it_is_published() -> u32 {
    // The entry that has begun and is not done is this task's.
    let word = entry_words().find(|&word| {
        let begun = u16::from_le_bytes([read(word), read(word + 1)]);
        begun > 0 && read(word + FLAGS) & DONE == 0
    });
    let word = word.expect("it runs");
    std::thread::spawn(move || {
        while read(word + FLAGS) & DONE == 0 {
            std::hint::spin_loop();
        }
        die();
    });
    // By then whoever waits for it sleeps, and does not find it by looking.
    std::thread::sleep(Duration::from_millis(5));
    std::process::id()
}

/// What is committed counts, whoever could not say so any more.
fn death_right_after_an_outcome_is_published(scene: &Scene) {
    for _ in 0..20 {
        let pid = scene.run(die_when_it_is_published::call()).expect("it was published");
        eventually("its death is noticed", || !scene.pids().contains(&pid));
    }
}

#[task]
fn hold_lent(blob: Blob, file: &std::path::Path) -> Blob {
    tasks::hold(file);
    blob
}

#[task]
fn hold_sealed(blob: SealedBlob, file: &std::path::Path) -> u64 {
    tasks::hold(file);
    blob.iter().map(|byte| u64::from(*byte)).sum()
}

fn death_with_a_lent_buffer(scene: &Scene) {
    scene.keep_memory();
    let folder = tempfile::tempdir().expect("a folder");
    for length in [10, 100_000] {
        let file = folder.path().join(length.to_string());
        let blob = Blob::from_slice(&vec![5; length]).expect("memory");
        let task = scene.submit(hold_lent::call(blob, &file)).expect("accepted");
        eventually("it runs", || file.exists());
        let pid = std::fs::read_to_string(&file).expect("written").parse().expect("a pid");
        send_signal(pid, libc::SIGKILL);
        assert_eq!(task.wait().expect_err("killed").status(), TaskStatus::Crashed);
        // What comes next does not get the memory of the dead with what stands in it.
        let next = Blob::zeroed(length).expect("memory");
        assert!(next.to_vec().expect("here").iter().all(|byte| *byte == 0));
    }
}

/// Two workers read one buffer, and one of them dies.
fn death_with_a_shared_buffer(scene: &Scene) {
    scene.keep_memory();
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["one", "two"].map(|name| folder.path().join(name));
    let blob = SealedBlob::from_slice(&vec![3; 100_000]).expect("memory");
    let [dying, living] = files
        .each_ref()
        .map(|file| scene.submit(hold_sealed::call(blob.clone(), file)).expect("accepted"));
    eventually("both run", || files.iter().all(|file| file.exists()));
    let pid = std::fs::read_to_string(&files[0]).expect("written").parse().expect("a pid");
    send_signal(pid, libc::SIGKILL);
    assert_eq!(dying.wait().expect_err("killed").status(), TaskStatus::Crashed);
    assert!(blob.iter().all(|byte| *byte == 3), "it is as it was, here");
    std::fs::remove_file(&files[1]).expect("it is there");
    assert_eq!(living.wait().expect("it goes on"), 300_000);
}

/// Everything that fits into a ring, with arguments and results that fill their places, while a worker stands
/// still, and results that nobody reads.
fn full_in_both_directions(scene: &Scene) {
    scene.start(scene.builder().processes(atasker::Limits::new(1)));
    let pid = scene.run(tasks::pid::call()).expect("it runs");
    send_signal(pid, libc::SIGSTOP);
    eventually("it stands still", || state_of(pid) == Some('T'));
    let payload = |n: usize| vec![n as u8; 8_000];
    let tasks: Vec<_> = (0..1500)
        .map(|n| scene.submit(tasks::reverse::call(&payload(n))).expect("accepted"))
        .collect();
    send_signal(pid, libc::SIGCONT);
    eventually("all have ended", || tasks.iter().all(atasker::TaskHandle::is_done));
    for (n, task) in tasks.into_iter().enumerate() {
        assert!(task.wait().expect("it ran") == payload(n));
    }
}

fn more_calls_than_entries_again_and_again(scene: &Scene) {
    for _ in 0..3 {
        let tasks: Vec<_> =
            (0..1500).map(|n| scene.submit(tasks::add::call(n, n)).expect("accepted")).collect();
        let results = wait_all(tasks, None).expect("without a timeout");
        assert!((0..).zip(results).all(|(n, result)| result.expect("it ran") == 2 * n));
    }
}

/// What is sent when nobody will ever read it leaves no thread behind that waits for that.
fn a_large_call_then_death(scene: &Scene) {
    scene.start(scene.builder().processes(atasker::Limits::new(1)));
    let sent = vec![1; 9_000_000];
    // The next worker may be sent it before the death is certain.
    scene.keep_memory();
    for _ in 0..3 {
        let pid = scene.run(tasks::pid::call()).expect("it runs");
        send_signal(pid, libc::SIGSTOP);
        eventually("it stands still", || state_of(pid) == Some('T'));
        let large = scene.submit(tasks::reverse::call(&sent)).expect("accepted");
        send_signal(pid, libc::SIGKILL);
        // Over a channel what was sent counts as begun; in a ring it lay there, and the next worker has it.
        if let Err(error) = large.wait() {
            assert_eq!(error.status(), TaskStatus::Crashed);
        }
    }
}

fn a_large_result_then_death(scene: &Scene) {
    let sent: Vec<u8> = (0..9_000_000_u32).map(|n| n as u8).collect();
    scene.keep_memory();
    let large = scene.submit(tasks::reverse::call(&sent)).expect("accepted");
    eventually("it ends", || large.is_done());
    for _ in 0..2 {
        scene.crash(tasks::die::call("abort"));
    }
    let expected: Vec<u8> = sent.iter().rev().copied().collect();
    assert!(large.wait().expect("it was there before") == expected);
}

/// Signals whose handlers interrupt whatever waits, on both sides.
fn wake_ups_for_nothing(scene: &Scene) {
    handle_noise();
    for _ in 0..2 {
        scene.run(listen::call()).expect("it runs");
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for pid in children().into_iter().chain([std::process::id()]) {
                    send_signal(pid, NOISE);
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        for n in 0..300 {
            assert_eq!(scene.run(tasks::add::call(n, 1)).expect("it runs"), n + 1);
            if n % 50 == 0 {
                assert_eq!(scene.run(tasks::sleep_ms::call(5)).expect("it runs"), 5);
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Who has no handler for it ignores it.
const NOISE: libc::c_int = libc::SIGURG;

/// From now on this worker has a handler for what is noise.
#[task]
fn listen() {
    handle_noise();
}

/// A handler that does nothing but interrupt system calls.
#[expect(unsafe_code, reason = "handlers can only be set through libc")]
fn handle_noise() {
    extern "C" fn nothing(_signal: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    let action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a zeroed sigaction is a valid one: no flags, an empty mask, the default handler.
    let mut action = unsafe { action.assume_init() };
    action.sa_sigaction = handler as libc::sighandler_t;
    // SAFETY: the action is fully initialised, its handler touches nothing.
    unsafe { libc::sigaction(NOISE, &raw const action, std::ptr::null_mut()) };
}
