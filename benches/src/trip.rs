//! One empty task there and back, and only then the next: the same for everybody.
//!
//! Every function returns the seconds that one trip takes. All of them panic if an answer is wrong.

#![expect(clippy::missing_panics_doc, reason = "said above for all of them")]

use std::time::{Duration, Instant};

use atasker::Supervisor;

use crate::echo::BytesEcho;
use crate::ours;
use crate::ping_pong::{PingPong, Wait};
use crate::processes;
use crate::threads::{ChannelThreads, REPLY};
use crate::work::{compute, median, seconds};

/// How long both sides have been idle before a trip [`AfterIdle`](Pace::AfterIdle).
pub const IDLE: Duration = Duration::from_millis(10);
const WARM_UP_MIN: u64 = 5;

/// What precedes a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Another trip: both sides are awake.
    Hot,
    /// [`IDLE`].
    AfterIdle,
}

impl Pace {
    /// Make `trips` trips. The mean of hot ones, the median of others.
    ///
    /// # Panics
    /// If there are none.
    pub fn measure(self, trips: u64, mut trip: impl FnMut(u64)) -> f64 {
        match self {
            Self::Hot => {
                (0..(trips / 10).max(WARM_UP_MIN)).for_each(&mut trip);
                seconds(|| (0..trips).for_each(&mut trip)) / trips as f64
            }
            Self::AfterIdle => {
                let one = |n| {
                    std::thread::sleep(IDLE);
                    let start = Instant::now();
                    trip(n);
                    start.elapsed().as_secs_f64()
                };
                median((0..trips).map(one).collect())
            }
        }
    }
}

/// atasker's worker processes.
pub fn ours(supervisor: &Supervisor, pace: Pace, trips: u64) -> f64 {
    pace.measure(trips, |n| {
        let task = supervisor.submit(ours::increment::call(n)).expect("accepted");
        assert_eq!(task.wait().expect("it runs"), n + 1);
    })
}

/// atasker's thread pool.
pub fn our_threads(supervisor: &Supervisor, pace: Pace, trips: u64) -> f64 {
    pace.measure(trips, |n| {
        let task = supervisor.spawn_blocking(move || compute(n, 0)).expect("accepted");
        assert_eq!(task.wait().expect("it runs"), n + 1);
    })
}

/// rayon's `spawn`, with the reply over one channel that is used for all.
pub fn rayon(pool: &rayon::ThreadPool, pace: Pace, trips: u64) -> f64 {
    let (send, receive) = &*REPLY;
    pace.measure(trips, |n| {
        pool.spawn(move || send.send(compute(n, 0)).expect("it listens"));
        assert_eq!(receive.recv(), Ok(n + 1));
    })
}

/// The crate `threadpool`, with the reply over one channel that is used for all.
pub fn threadpool(pool: &threadpool::ThreadPool, pace: Pace, trips: u64) -> f64 {
    let (send, receive) = &*REPLY;
    pace.measure(trips, |n| {
        pool.execute(move || send.send(compute(n, 0)).expect("it listens"));
        assert_eq!(receive.recv(), Ok(n + 1));
    })
}

/// A thread behind a crossbeam channel.
pub fn channel_threads(threads: &ChannelThreads, pace: Pace, trips: u64) -> f64 {
    pace.measure(trips, |n| {
        threads.jobs.send((n, 0)).expect("it listens");
        assert_eq!(threads.answers.recv(), Ok(n + 1));
    })
}

/// procspawn's pool.
pub fn procspawn(pool: &procspawn::Pool, pace: Pace, trips: u64) -> f64 {
    pace.measure(trips, |n| {
        assert_eq!(pool.spawn((n, 0), processes::compute).join().expect("it runs"), n + 1);
    })
}

/// Bare ipc-channel.
pub fn ipc_channel(echo: &BytesEcho, pace: Pace, trips: u64) -> f64 {
    pace.measure(trips, |n| assert_eq!(echo.round_trip(&n.to_le_bytes()), (!n).to_le_bytes()))
}

/// Bare shared memory.
pub fn ping_pong(peer: &PingPong, wait: Wait, pace: Pace, trips: u64) -> f64 {
    peer.play(wait, |round_trip| pace.measure(trips, |n| assert_eq!(round_trip(n), n + 1)))
}
