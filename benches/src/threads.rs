//! Peers in the same process: threads behind a crossbeam channel, the crate `threadpool`, rayon; and which of
//! the kernel's threads are theirs.

use std::sync::{Arc, Barrier, LazyLock};

use crossbeam_channel::{Receiver, Sender};
use rustix::thread::Pid;

use crate::work::compute;

/// One reply at a time, from whichever thread computed it. Never dropped, so that sending needs no count of
/// references.
pub(crate) static REPLY: LazyLock<(Sender<u64>, Receiver<u64>)> =
    LazyLock::new(|| crossbeam_channel::bounded(1));

/// A task: its number, its seed, its steps.
pub(crate) type Job = (u64, u32);

/// Threads that take jobs from one channel and send the answers into another.
#[derive(Debug)]
pub struct ChannelThreads {
    pub(crate) jobs: Sender<Job>,
    pub(crate) answers: Receiver<u64>,
    ids: Vec<Pid>,
}

impl ChannelThreads {
    /// Start `threads` threads. They end when this is dropped.
    ///
    /// # Panics
    /// If a thread can't start.
    pub fn start(threads: usize) -> Self {
        let (jobs, for_threads) = crossbeam_channel::unbounded::<Job>();
        let (send, answers) = crossbeam_channel::unbounded();
        let (tell, told) = crossbeam_channel::unbounded();
        for _ in 0..threads {
            let (jobs, answers, tell) = (for_threads.clone(), send.clone(), tell.clone());
            std::thread::spawn(move || {
                tell.send(rustix::thread::gettid()).expect("the starter listens");
                for (seed, steps) in jobs {
                    if answers.send(compute(seed, steps)).is_err() {
                        break;
                    }
                }
            });
        }
        let ids = told.iter().take(threads).collect();
        Self { jobs, answers, ids }
    }

    /// The kernel's numbers of the threads.
    pub fn ids(&self) -> &[Pid] {
        &self.ids
    }
}

/// A rayon pool of `threads` threads.
///
/// # Panics
/// If it can't start.
pub fn rayon(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("rayon starts")
}

/// The kernel's numbers of a rayon pool's threads.
pub fn rayon_ids(pool: &rayon::ThreadPool) -> Vec<Pid> {
    pool.broadcast(|_| rustix::thread::gettid())
}

/// The kernel's numbers of the threads of any pool: `spawn` gives a closure to one of `threads` threads, and
/// none of them gets a second one while it is still in the first.
///
/// # Panics
/// If a closure is dropped instead of run.
pub fn ids_by_meeting(threads: usize, spawn: impl Fn(Box<dyn FnOnce() + Send>)) -> Vec<Pid> {
    let (tell, told) = crossbeam_channel::unbounded();
    let meeting = Arc::new(Barrier::new(threads));
    for _ in 0..threads {
        let (tell, meeting) = (tell.clone(), Arc::clone(&meeting));
        spawn(Box::new(move || {
            meeting.wait();
            tell.send(rustix::thread::gettid()).expect("the starter listens");
        }));
    }
    drop(tell);
    let ids: Vec<_> = told.iter().collect();
    assert_eq!(ids.len(), threads, "every thread tells its number");
    ids
}
