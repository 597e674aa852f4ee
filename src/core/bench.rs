//! What the bench of the core's cost per task needs. Not a part of the public interface.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use super::{
    Core, CoreConfig, Effect, Finish, Finished, PoolConfig, PoolId, PoolKind, Submission, Time,
    WorkersConfig,
};
use crate::task::id::Ticket;
use crate::task::options::{Backoff, Limits, Options};

/// A core with one busy place and `queued` tasks that wait for it.
#[derive(Debug)]
pub struct Queue {
    core: Core<u64>,
    out: Vec<Effect<u64>>,
    now: Time,
}

fn config(limits: Limits, processes: PoolKind) -> CoreConfig {
    let pool = |limits, kind| PoolConfig {
        limits,
        kind,
        queue_bound: None,
        aging: None,
        places_max: None,
    };
    CoreConfig {
        threads: pool(Limits::new(1), PoolKind::Slots),
        processes: pool(limits, processes),
        loops: pool(Limits::new(0), PoolKind::Futures),
        timeout_warning: None,
        timeout_critical: None,
    }
}

const RAN: Duration = Duration::from_nanos(100);

impl Queue {
    pub fn new(queued: usize) -> Self {
        let config = config(Limits::new(1), PoolKind::Slots);
        let mut queue = Self { core: Core::new(config), out: Vec::new(), now: Time::ZERO };
        for number in 0..=queued {
            queue.submit(number as u64);
        }
        queue
    }

    /// Per round one task is submitted and the running one finishes, so that the next one starts.
    pub fn admit_and_finish(&mut self, rounds: usize) {
        for number in 0..rounds {
            let running = self.out.iter().find_map(|effect| match effect {
                Effect::Run { ticket, .. } => Some(*ticket),
                _ => None,
            });
            self.out.clear();
            self.submit(number as u64);
            let running = running.expect("one place is always busy");
            self.now = self.now + RAN;
            let finished = Finished { ticket: running, finish: Finish::Returned, ran: RAN };
            self.core.on_all_finished(self.now, &[finished], &mut self.out);
            black_box(&self.out);
        }
    }

    fn submit(&mut self, payload: u64) {
        let submission = Submission::single(PoolId::Threads, &Options::DEFAULT, payload);
        let accepted = self.core.on_submitted(self.now, submission, &mut self.out);
        accepted.expect("the queue has no bound");
    }
}

const WORKERS: u32 = 2;

/// A core whose workers hold as much as their rings take, and `queued` tasks that wait behind that.
#[derive(Debug)]
pub struct Rings {
    core: Core<u64>,
    out: Vec<Effect<u64>>,
    now: Time,
    staged: [VecDeque<Ticket>; WORKERS as usize],
}

impl Rings {
    pub fn new(queued: usize) -> Self {
        let workers = WorkersConfig {
            burst: Some(WORKERS),
            spares: 0,
            entries_per_worker: 256,
            prefetch: Duration::from_micros(100),
            worth_a_wake: Duration::from_micros(30),
            claim_deadline: Some(Duration::from_secs(10)),
            waits_behind: Duration::from_millis(20),
            exit_timeout: Duration::from_secs(10),
            cores: 4,
            staged_is_begun: false,
            restart_limit: 8,
            restart_backoff: Backoff::NONE,
            recycle_on_panic: false,
            recycle_after_tasks: None,
            recycle_after: None,
            memory_soft_limit: None,
            memory_hard_limit: None,
            holds_back: false,
            lazily_started: false,
        };
        let config = config(Limits::new(WORKERS), PoolKind::Workers(workers));
        let mut rings = Self {
            core: Core::new(config),
            out: Vec::new(),
            now: Time::ZERO,
            staged: Default::default(),
        };
        rings.core.on_workers_wanted(rings.now, &mut rings.out);
        let spawned: Vec<_> = rings.core.workers().map(|(worker, _)| worker).collect();
        for worker in spawned {
            rings.core.on_worker_ready(rings.now, worker, &mut rings.out);
        }
        for number in 0..queued + 512 {
            rings.submit(number as u64);
        }
        // The first ends tell how short the tasks are, so that the rings are filled.
        rings.submit_and_finish(1024);
        rings
    }

    /// Per round one task is submitted and one finishes, with the workers in turn.
    pub fn submit_and_finish(&mut self, rounds: usize) {
        for round in 0..rounds {
            self.now = self.now + RAN;
            self.submit(round as u64);
            let ticket = self.staged[round % self.staged.len()].pop_front();
            let ticket = ticket.expect("a worker always has something while much is queued");
            let finished = Finished { ticket, finish: Finish::Returned, ran: RAN };
            self.core.on_all_finished(self.now, &[finished], &mut self.out);
            self.perform();
        }
    }

    fn submit(&mut self, payload: u64) {
        let submission = Submission::single(PoolId::Processes, &Options::DEFAULT, payload);
        let accepted = self.core.on_submitted(self.now, submission, &mut self.out);
        accepted.expect("the queue has no bound");
        self.perform();
    }

    fn perform(&mut self) {
        for effect in &self.out {
            if let Effect::Stage { worker, ticket, .. } = effect {
                self.staged[worker.0 as usize - 1].push_back(*ticket);
            }
        }
        black_box(&self.out);
        self.out.clear();
        black_box(self.core.next_deadline());
    }
}
