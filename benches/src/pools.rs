//! Everybody who takes tasks, started together and put in their places.

use std::time::{Duration, Instant};

use atasker::Supervisor;
use rustix::thread::Pid;

use crate::ours::{self, Transport};
use crate::placement::{Layout, NotPinned};
use crate::processes;
use crate::threads::{self, ChannelThreads};

/// By then every worker is ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// atasker by each of its transports, and its peers.
#[derive(Debug)]
pub struct Pools {
    /// atasker's worker processes, the default transport first.
    pub ours: Vec<(Transport, Supervisor)>,
    /// atasker's thread pool.
    pub our_threads: Supervisor,
    /// rayon.
    pub rayon: rayon::ThreadPool,
    /// Threads behind a crossbeam channel.
    pub channel_threads: ChannelThreads,
    /// The crate `threadpool`.
    pub threadpool: threadpool::ThreadPool,
    /// procspawn.
    pub procspawn: procspawn::Pool,
    workers: usize,
}

impl Pools {
    /// Start them all with so many workers, and put them in their places. Also returns why they are not
    /// there, if they could not be put there.
    ///
    /// # Panics
    /// If one of them can't start.
    pub fn start(workers: usize, layout: &Layout) -> (Self, Result<(), NotPinned>) {
        let before = layout.before_start();
        let supervisors = Transport::ALL
            .iter()
            .map(|transport| (*transport, ours::supervisor(workers as u32, *transport)));
        let pools = Self {
            ours: supervisors.collect(),
            our_threads: ours::thread_supervisor(workers as u32),
            rayon: threads::rayon(workers),
            channel_threads: ChannelThreads::start(workers),
            threadpool: threadpool::ThreadPool::new(workers),
            procspawn: processes::pool(workers),
            workers,
        };
        let placed = before.and_then(|()| pools.place(layout));
        (pools, placed)
    }

    fn place(&self, layout: &Layout) -> Result<(), NotPinned> {
        let workers: Vec<_> =
            self.ours.iter().map(|(_, ours)| worker_pids(ours, self.workers)).collect();
        let procspawns = processes::pids(&self.procspawn, self.workers)
            .expect("procspawn has as many processes as it was told");
        let thread_ids = self.thread_ids();
        // All of this process first: among its threads are those that are then put elsewhere.
        layout.pin_coordinator()?;
        thread_ids.iter().try_for_each(|ids| layout.pin_threads(ids))?;
        workers.iter().try_for_each(|pids| layout.pin_processes(pids))?;
        layout.pin_processes(&procspawns)
    }

    /// The threads that work, pool by pool.
    fn thread_ids(&self) -> [Vec<Pid>; 4] {
        let ours = threads::ids_by_meeting(self.workers, |closure| {
            drop(self.our_threads.spawn_blocking(closure).expect("accepted"));
        });
        let threadpools =
            threads::ids_by_meeting(self.workers, |closure| self.threadpool.execute(closure));
        let channel_threads = self.channel_threads.ids().to_vec();
        [ours, threads::rayon_ids(&self.rayon), channel_threads, threadpools]
    }
}

/// The processes of so many workers, once all of them are ready.
///
/// # Panics
/// If that takes too long.
pub fn worker_pids(supervisor: &Supervisor, workers: usize) -> Vec<u32> {
    let start = Instant::now();
    loop {
        let pids: Vec<_> =
            supervisor.info().workers.iter().filter_map(|worker| worker.pid).collect();
        if pids.len() == workers {
            return pids;
        }
        assert!(start.elapsed() < PATIENCE, "{} of {workers} workers are ready", pids.len());
        std::thread::sleep(Duration::from_millis(1));
    }
}
