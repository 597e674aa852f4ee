//! A peer in other processes: procspawn's pool, and what its workers run.

use std::time::Duration;

use procspawn::Pool;
use serde_bytes::ByteBuf;

use crate::work;

/// Long enough that a worker that holds one task does not take the next one too.
const HOLD: Duration = Duration::from_millis(5);
const ATTEMPTS: usize = 50;

/// So many tasks at once: each takes two descriptors of this process.
pub const AT_ONCE_MAX: u64 = 1_000;

/// A pool of `workers` processes.
///
/// # Panics
/// If it can't start.
pub fn pool(workers: usize) -> Pool {
    Pool::new(workers).expect("procspawn starts")
}

/// The workers' processes. `None`: they could not all be found.
///
/// # Panics
/// If a worker dies meanwhile.
pub fn pids(pool: &Pool, workers: usize) -> Option<Vec<u32>> {
    for _ in 0..ATTEMPTS {
        let tasks: Vec<_> =
            (0..workers).map(|_| pool.spawn((), |()| pid_after_a_while())).collect();
        let answers = tasks.into_iter().map(|task| task.join().expect("the worker answers"));
        let mut pids: Vec<_> = answers.collect();
        pids.sort_unstable();
        pids.dedup();
        if pids.len() == workers {
            return Some(pids);
        }
    }
    None
}

fn pid_after_a_while() -> u32 {
    std::thread::sleep(HOLD);
    std::process::id()
}

/// One computation.
pub(crate) fn compute((seed, steps): (u64, u32)) -> u64 {
    work::compute(seed, steps)
}

/// A chunk of computations.
pub(crate) fn compute_chunk((seeds, steps): (Vec<u64>, u32)) -> Vec<u64> {
    seeds.into_iter().map(|seed| work::compute(seed, steps)).collect()
}

/// Every byte turned over, sent as bytes.
pub fn flip_bytes(mut bytes: ByteBuf) -> ByteBuf {
    work::flip(&mut bytes);
    bytes
}

/// Every byte turned over, sent element by element, as serde does with a `Vec<u8>`.
pub fn flip_vec(mut bytes: Vec<u8>) -> Vec<u8> {
    work::flip(&mut bytes);
    bytes
}
