//! What the bench of the core's cost per task needs. Not a part of the public interface.

use std::hint::black_box;
use std::time::Duration;

use super::{
    Core, CoreConfig, Effect, Finish, Finished, PoolConfig, PoolId, PoolKind, Submission, Time,
};
use crate::task::options::{Limits, Options};

/// A core with one busy place and `queued` tasks that wait for it.
#[derive(Debug)]
pub struct Queue {
    core: Core<u64>,
    out: Vec<Effect<u64>>,
    now: Time,
}

impl Queue {
    pub fn new(queued: usize) -> Self {
        let pool = PoolConfig {
            limits: Limits::new(1),
            kind: PoolKind::Slots,
            queue_bound: None,
            aging: None,
            places_max: None,
        };
        let config = CoreConfig {
            threads: pool,
            processes: pool,
            timeout_warning: None,
            timeout_critical: None,
        };
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
            self.now = self.now + Duration::from_nanos(100);
            let ran = Duration::from_nanos(100);
            let finished = Finished { ticket: running, finish: Finish::Returned, ran };
            self.core.on_all_finished(self.now, &[finished], &mut self.out);
            black_box(&self.out);
        }
    }

    fn submit(&mut self, payload: u64) {
        let submission =
            Submission { pool: PoolId::Threads, options: Options::DEFAULT, payload, calls: 1 };
        let accepted = self.core.on_submitted(self.now, submission, &mut self.out);
        accepted.expect("the queue has no bound");
    }
}
