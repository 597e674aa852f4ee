//! Many tasks at once, each of so many steps of [`compute`]: the same for everybody.
//!
//! Every function runs `tasks` tasks, panics if an answer is wrong, and returns the seconds for one.

#![expect(clippy::missing_panics_doc, reason = "said above for all of them")]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::Thread;
use std::time::Instant;

use atasker::Supervisor;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::echo::VectorEcho;
use crate::ours;
use crate::processes;
use crate::threads::ChannelThreads;
use crate::work::{compute, seconds};

/// How many computations go in one message where the caller makes chunks by hand.
pub const CHUNK: u64 = 8_192;
/// Messages that are on their way to one process: one that it works on, one that waits.
const CHUNKS_AHEAD: usize = 2;

fn each(tasks: u64, all: impl FnOnce()) -> f64 {
    seconds(all) / tasks as f64
}

/// `map` over atasker's worker processes.
pub fn map(supervisor: &Supervisor, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let answers = supervisor.map((0..tasks).map(|seed| ours::compute::call(seed, steps)));
        assert!(answers.map(|answer| answer.expect("it runs")).eq(1..=tasks));
    })
}

/// Each submitted by itself, and waited for by [`atasker::wait_all`].
pub fn singles(supervisor: &Supervisor, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let handles: Vec<_> = (0..tasks)
            .map(|seed| supervisor.submit(ours::compute::call(seed, steps)).expect("accepted"))
            .collect();
        let answers = atasker::wait_all(handles, None).expect("without a timeout");
        assert!(answers.into_iter().map(|answer| answer.expect("it runs")).eq(1..=tasks));
    })
}

/// Each submitted by itself, and the handles waited for in turn.
pub fn singles_in_turn(supervisor: &Supervisor, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let handles: Vec<_> = (0..tasks)
            .map(|seed| supervisor.submit(ours::compute::call(seed, steps)).expect("accepted"))
            .collect();
        let answers = handles.into_iter().map(|handle| handle.wait().expect("it runs"));
        assert!(answers.eq(1..=tasks));
    })
}

/// Each submitted by itself to atasker's thread pool.
pub fn our_threads(supervisor: &Supervisor, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let submit = |seed| supervisor.spawn_blocking(move || compute(seed, steps));
        let handles: Vec<_> = (0..tasks).map(|seed| submit(seed).expect("accepted")).collect();
        let answers = atasker::wait_all(handles, None).expect("without a timeout");
        assert!(answers.into_iter().map(|answer| answer.expect("it runs")).eq(1..=tasks));
    })
}

/// Wakes the thread that made it once, when so many have arrived.
struct Latch {
    left: AtomicUsize,
    waiter: Thread,
}

impl Latch {
    fn new(tasks: u64) -> Arc<Self> {
        let left = AtomicUsize::new(tasks as usize);
        Arc::new(Self { left, waiter: std::thread::current() })
    }

    fn arrive(&self) {
        // Pairs with the acquire in `wait`.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiter.unpark();
        }
    }

    fn wait(&self) {
        // Pairs with the release in `arrive`.
        while self.left.load(Ordering::Acquire) > 0 {
            std::thread::park();
        }
    }
}

/// rayon's `spawn`, each answer checked where it was computed, and the end counted.
pub fn rayon_counted(pool: &rayon::ThreadPool, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let latch = Latch::new(tasks);
        for seed in 0..tasks {
            let latch = Arc::clone(&latch);
            pool.spawn(move || {
                assert_eq!(compute(seed, steps), seed + 1);
                latch.arrive();
            });
        }
        latch.wait();
    })
}

/// rayon's `spawn`, the answers stored for the caller in their order, and the end counted.
pub fn rayon_stored(pool: &rayon::ThreadPool, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let shared = Arc::new((Latch::new(tasks), answers(tasks)));
        for seed in 0..tasks {
            let shared = Arc::clone(&shared);
            pool.spawn(move || {
                let (latch, answers) = &*shared;
                answers[seed as usize].store(compute(seed, steps), Ordering::Relaxed);
                latch.arrive();
            });
        }
        shared.0.wait();
        assert!(shared.1.iter().map(|answer| answer.load(Ordering::Relaxed)).eq(1..=tasks));
    })
}

fn answers(tasks: u64) -> Vec<AtomicU64> {
    (0..tasks).map(|_| AtomicU64::new(0)).collect()
}

/// rayon's `par_iter`, which splits the work as it sees fit.
pub fn par_iter(pool: &rayon::ThreadPool, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let answers: Vec<_> =
            pool.install(|| (0..tasks).into_par_iter().map(|seed| compute(seed, steps)).collect());
        assert!(answers.into_iter().eq(1..=tasks));
    })
}

/// The crate `threadpool`, the answers stored for the caller in their order, and the end counted.
pub fn threadpool(pool: &threadpool::ThreadPool, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let shared = Arc::new((Latch::new(tasks), answers(tasks)));
        for seed in 0..tasks {
            let shared = Arc::clone(&shared);
            pool.execute(move || {
                let (latch, answers) = &*shared;
                answers[seed as usize].store(compute(seed, steps), Ordering::Relaxed);
                latch.arrive();
            });
        }
        shared.0.wait();
        assert!(shared.1.iter().map(|answer| answer.load(Ordering::Relaxed)).eq(1..=tasks));
    })
}

/// Threads behind one crossbeam channel, the answers over another.
pub fn channel_threads(threads: &ChannelThreads, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        for seed in 0..tasks {
            threads.jobs.send((seed, steps)).expect("they listen");
        }
        // They come in any order: each once.
        let mut seen = vec![false; tasks as usize];
        for answer in threads.answers.iter().take(tasks as usize) {
            assert!(!std::mem::replace(&mut seen[answer as usize - 1], true));
        }
    })
}

/// procspawn's pool, each task by itself, joined in turn.
pub fn procspawn(pool: &procspawn::Pool, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let handles: Vec<_> =
            (0..tasks).map(|seed| pool.spawn((seed, steps), processes::compute)).collect();
        let answers = handles.into_iter().map(|handle| handle.join().expect("it runs"));
        assert!(answers.eq(1..=tasks));
    })
}

/// procspawn's pool, [`CHUNK`] tasks in one.
pub fn procspawn_chunks(pool: &procspawn::Pool, tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let handles: Vec<_> = chunks(tasks)
            .map(|seeds| pool.spawn((seeds, steps), processes::compute_chunk))
            .collect();
        let answers = handles.into_iter().flat_map(|handle| handle.join().expect("it runs"));
        assert!(answers.eq(1..=tasks));
    })
}

fn chunks(tasks: u64) -> impl Iterator<Item = Vec<u64>> {
    (0..tasks).step_by(CHUNK as usize).map(move |from| (from..tasks.min(from + CHUNK)).collect())
}

/// Bare ipc-channel to one process each, [`CHUNK`] tasks in one message.
pub fn ipc_chunks(echoes: &[VectorEcho], tasks: u64, steps: u32) -> f64 {
    each(tasks, || {
        let mut to_send = chunks(tasks).enumerate();
        let mut send_next = || {
            if let Some((index, seeds)) = to_send.next() {
                let echo = &echoes[index % echoes.len()];
                echo.send.send((seeds, steps)).expect("the child listens");
            }
        };
        // No more than this, or both sides could block in sending to each other.
        (0..echoes.len() * CHUNKS_AHEAD).for_each(|_| send_next());
        let mut next = 1;
        for index in 0..tasks.div_ceil(CHUNK) as usize {
            let answers = echoes[index % echoes.len()].receive.recv().expect("the child answers");
            let count = answers.len() as u64;
            assert!(answers.into_iter().eq(next..next + count));
            next += count;
            send_next();
        }
        assert_eq!(next, tasks + 1);
    })
}

/// The ideal: bare threads that each compute an equal share, from when the first one begins until the last
/// one is done. `place` is called in each, with its index, before that.
pub fn bare_threads(
    threads: usize,
    place: &(impl Fn(usize) + Sync),
    tasks: u64,
    steps: u32,
) -> f64 {
    let together = Barrier::new(threads);
    let share = |index: usize| {
        let bound = |index: usize| tasks * index as u64 / threads as u64;
        place(index);
        together.wait();
        let begun = Instant::now();
        assert!((bound(index)..bound(index + 1)).all(|seed| compute(seed, steps) == seed + 1));
        (begun, Instant::now())
    };
    let times: Vec<_> = std::thread::scope(|scope| {
        let share = &share;
        let running: Vec<_> = (0..threads).map(|index| scope.spawn(move || share(index))).collect();
        running.into_iter().map(|thread| thread.join().expect("it computes")).collect()
    });
    let begun = times.iter().map(|(begun, _)| *begun).min().expect("there are threads");
    let done = times.iter().map(|(_, done)| *done).max().expect("there are threads");
    (done - begun).as_secs_f64() / tasks as f64
}
