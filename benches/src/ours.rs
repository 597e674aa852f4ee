//! atasker, by transport, and its tasks.

use atasker::{Limits, Supervisor, task};

/// How calls reach the worker processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Shared memory.
    Ring,
    /// ipc-channel.
    Channel,
}

impl Transport {
    /// The default first.
    pub const ALL: &[Self] = &[Self::Ring, Self::Channel];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "atasker, ring",
            Self::Channel => "atasker, channel",
        }
    }
}

/// A supervisor with `workers` worker processes over that transport.
///
/// # Panics
/// If it can't start.
pub fn supervisor(workers: u32, transport: Transport) -> Supervisor {
    let transport = match transport {
        Transport::Ring => atasker::Transport::Ring,
        Transport::Channel => atasker::Transport::Channel,
    };
    let builder = Supervisor::builder().processes(Limits::new(workers)).transport(transport);
    builder.start().expect("the supervisor starts")
}

/// A supervisor with a thread pool of exactly so many threads, and no processes.
///
/// # Panics
/// If it can't start.
pub fn thread_supervisor(threads: u32) -> Supervisor {
    let limits = Limits::new(threads);
    Supervisor::builder().threads(limits).min_threads(threads).start().expect("it starts")
}

/// An empty task.
#[task]
pub fn increment(n: u64) -> u64 {
    n + 1
}

/// [`work::compute`](crate::work::compute) as a task.
#[task]
pub fn compute(seed: u64, steps: u32) -> u64 {
    crate::work::compute(seed, steps)
}

/// Occupy the worker for a while, so that another one must take the next task.
#[task]
pub fn hold(n: u64, ms: u64) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(ms));
    n + 1
}

/// Every byte turned over, in a copy.
#[task]
pub fn flip_copy(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}
