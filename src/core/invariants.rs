//! What must hold between any two events. Each assertion's sentence is the invariant.

use std::time::Duration;

use super::effect::PoolId;
use super::event::StopMode;
use super::machine::{Core, Pool, Timer};
use super::task::{Record, State};
use super::workers::{Worker, WorkerState, Workers};
use crate::admission::Time;
use crate::task::options::Priority;

impl<P: Clone> Core<P> {
    /// Panics with a sentence if an invariant is violated. Costs time in proportion to all there is.
    pub(crate) fn check_invariants(&self) {
        for slot in self.tasks.slots() {
            self.check_task(slot);
        }
        self.check_timers();
        for pool in PoolId::ALL {
            self.check_pool(pool);
        }
        self.check_nothing_waits_in_vain();
        assert!(
            self.growing.is_none_or(|slot| self.tasks[slot].state == State::Queued),
            "what grows waits in a line"
        );
        assert!(
            !self.drained || self.pools.iter().all(|pool| pool.unresolved == 0),
            "nothing is unresolved after `Drained`"
        );
    }

    /// Panics if something is still to happen that was due by `now`. For use right after `on_deadline`.
    #[cfg(test)]
    pub(super) fn check_nothing_is_overdue(&self, now: Time) {
        assert!(self.next_deadline().is_none_or(|due| due > now), "everything due has happened");
        for slot in self.tasks.slots() {
            let record = &self.tasks[slot];
            assert!(record.alarm > now, "no alarm is overdue");
            let expires =
                matches!(record.state, State::Queued | State::Staged) && record.attempts == 0;
            let patience_ended = record.queued_from + record.queue_timeout <= now;
            assert!(!expires || !patience_ended, "what has never begun expires in time");
            for (after, reported) in self.warn_after.into_iter().zip(record.reported) {
                let overdue = !after.is_endless() && record.waits_since() + after <= now;
                assert!(
                    !record.is_waiting() || reported || !overdue,
                    "no report of a wait is overdue"
                );
            }
        }
    }

    fn check_task(&self, slot: u32) {
        let record = &self.tasks[slot];
        let pool = self.pool(record.pool);
        let resolved = record.state == State::Detached;
        assert_eq!(
            record.payload.is_none(),
            resolved,
            "a payload is kept until the task is resolved"
        );
        let has_worker = matches!(
            record.state,
            State::Staged | State::Begun | State::Revoking(_) | State::Killing(_) | State::Crashing
        ) || (record.state == State::AwaitingEnd && pool.workers.is_some());
        if has_worker {
            let worker = record.worker().and_then(|worker| pool.workers.as_ref()?.get(worker));
            let worker = worker.expect("what is with a worker is with one that has not exited");
            let holds = worker.entries.iter().filter(|&&entry| entry == slot).count();
            assert_eq!(holds, 1, "what is with a worker is among its entries once");
            let is_head = worker.entries.front() == Some(&slot);
            assert!(
                record.state != State::Staged || (!is_head && !worker.state.is_dying()),
                "what is first with a worker is presumed begun, and what is with a dying one is taken back"
            );
            assert!(
                !matches!(record.state, State::AwaitingEnd | State::Crashing)
                    || worker.state.is_dying(),
                "only a dying worker is waited for"
            );
        }
        let is_limited = match record.state {
            State::Running => true,
            State::Begun => !pool
                .workers()
                .get(record.worker().expect("as before"))
                .is_none_or(|it| it.state.is_dying()),
            _ => false,
        };
        let is_waited_for = record.state == State::AwaitingEnd && record.worker().is_none();
        assert!(
            !is_waited_for || record.alarm != Time::NEVER,
            "what may never end is not waited for for ever"
        );
        assert!(
            !is_limited || record.alarm == record.limit_due(),
            "the alarm of what runs is the first of its limits"
        );
        let in_attempt = matches!(
            record.state,
            State::Running | State::Begun | State::Killing(_) | State::Crashing
        );
        let revoking = matches!(record.state, State::Revoking(_));
        assert!(
            record.begun() == in_attempt || revoking || resolved,
            "an attempt is counted while it runs"
        );
        let retries = record.rare.as_ref().map_or(0, |rare| rare.retry.retries);
        assert!(record.attempts <= retries + 1, "a task has at most the attempts that it allows");
    }

    fn check_timers(&self) {
        let (mut expected, mut counting) = (0, false);
        for slot in self.tasks.slots() {
            let record = &self.tasks[slot];
            if record.alarm != Time::NEVER {
                expected += 1;
                counting |= record.state != State::Delayed;
                assert!(
                    self.timers.contains(&(record.alarm, slot, Timer::Alarm)),
                    "an alarm that is set has its timer"
                );
                assert!(may_have_alarm(record), "an alarm is set only where it means something");
            }
            expected += usize::from(record.warn_timer);
            assert!(
                !record.warn_timer || record.is_waiting(),
                "only what waits has its wait reported"
            );
        }
        assert_eq!(self.timers.len(), expected, "no timer outlives its purpose");
        assert_eq!(self.counts_time(), counting, "the clock is looked at while a task's time runs");
    }

    fn check_pool(&self, pool_id: PoolId) {
        let pool = self.pool(pool_id);
        pool.admission.check_invariants(&self.nodes);
        let here = || self.tasks.slots().filter(move |&slot| self.tasks[slot].pool == pool_id);
        let count = |wanted: &dyn Fn(&Record<P>) -> bool| {
            here().filter(|&slot| wanted(&self.tasks[slot])).count()
        };
        let calls = |wanted: &dyn Fn(&Record<P>) -> bool| -> usize {
            let wanted = here().map(|slot| &self.tasks[slot]).filter(|record| wanted(record));
            wanted.map(|record| record.calls as usize).sum()
        };
        assert_eq!(
            pool.unresolved,
            calls(&|task| task.state != State::Detached),
            "unresolved calls are counted"
        );
        assert_eq!(
            pool.revoking,
            count(&|task| matches!(task.state, State::Revoking(_)) && !task.begun()),
            "what is being taken back is counted"
        );
        assert_eq!(
            pool.delayed,
            count(&|task| task.state == State::Delayed),
            "delayed tasks are counted"
        );
        assert_eq!(
            pool.detached,
            count(&|task| task.state == State::Detached),
            "detached tasks are counted"
        );
        self.check_lines(pool_id);
        let queued: usize =
            Priority::ALL.into_iter().map(|class| pool.admission.queued(class)).sum();
        assert_eq!(
            queued,
            calls(&|task| task.state == State::Queued),
            "what is queued is in a line"
        );
        let busy = match &pool.workers {
            Some(workers) => {
                workers.check_invariants();
                self.check_fleet(pool, workers);
                workers.iter().filter(|worker| worker.is_busy()).count()
            }
            None => count(&|task| {
                matches!(task.state, State::Running | State::AwaitingEnd | State::Detached)
            }),
        };
        assert_eq!(
            pool.admission.busy() as usize,
            busy,
            "a place is busy while something runs in it"
        );
        assert!(
            queued + pool.delayed == 0
                || (!pool.failed && self.stop < Some(StopMode::CancelQueued)),
            "nothing waits in a pool that has failed or cancels what is queued"
        );
    }

    fn check_lines(&self, pool_id: PoolId) {
        let pool = self.pool(pool_id);
        let here = || self.tasks.slots().filter(move |&slot| self.tasks[slot].pool == pool_id);
        for class in Priority::ALL {
            let in_class = |slot: &u32| self.nodes.class(*slot) == class;
            let staged = here().filter(in_class).filter(|&slot| {
                self.tasks[slot].is_waiting() && self.tasks[slot].state != State::Queued
            });
            let staged: usize = staged.map(|slot| self.tasks[slot].calls as usize).sum();
            assert_eq!(pool.staged[class as usize], staged, "staged calls are counted");
            let splittable = here().filter(in_class).filter(|&slot| {
                self.tasks[slot].is_with_worker() && self.tasks[slot].is_splittable()
            });
            assert_eq!(
                pool.splittable[class as usize] as usize,
                splittable.count(),
                "packs that may be split are counted"
            );
            for slot in pool.admission.iter(&self.nodes, class) {
                let record = &self.tasks[slot];
                assert!(
                    record.state == State::Queued && record.pool == pool_id,
                    "what is in a line is queued there"
                );
            }
        }
    }

    /// As many workers as the limits ask for and as there are to be spares, no idle ones beyond that.
    fn check_fleet(&self, pool: &Pool, workers: &Workers) {
        let keep = pool.workers_to_keep();
        if workers.wanted && !pool.failed && self.stop.is_none() {
            assert!(workers.live() >= keep, "a worker that is lost is replaced at once");
        }
        let critical_waits = pool.admission.queued(Priority::Critical) > 0;
        if self.stop < Some(StopMode::KillNow) && !critical_waits && workers.live() > keep {
            let unneeded = workers.idle().len() + workers.starting() as usize;
            assert_eq!(unneeded, 0, "an idle worker beyond the limits is retired");
        }
        let busy = workers.iter().any(Worker::is_busy);
        assert!(
            !workers.weighs || !busy || workers.memory_check != Time::NEVER,
            "while there is a limit of memory what is busy is weighed"
        );
        let is_behind = |slot: &u32| self.tasks[*slot].state == State::Staged;
        let mut open = workers.iter().filter(|it| it.state == WorkerState::Ready && !it.overruns);
        assert!(
            workers.overrun_check != Time::NEVER
                || workers.config.waits_behind == Duration::MAX
                || !open.any(|worker| worker.entries.iter().skip(1).any(is_behind)),
            "what waits behind another is looked at"
        );
        let is_watched =
            workers.exit_check != Time::NEVER || workers.config.exit_timeout == Duration::MAX;
        let retiring = workers.iter().any(|worker| worker.state == WorkerState::Retiring);
        assert!(!retiring || is_watched, "what is to end is looked at until it has");
        assert!(
            workers.worn_one().is_none() || workers.ready() <= pool.workers_in_use(),
            "a worker that is to be replaced retires when another is ready in its place"
        );
        if self.stop == Some(StopMode::KillNow) {
            let spared = workers.iter().any(|it| it.entries.is_empty() && !it.state.is_dying());
            assert!(!spared, "when all is killed no worker without a task lives on");
        }
    }

    /// Between events nothing that may start is left waiting, and somebody will come for the rest.
    fn check_nothing_waits_in_vain(&self) {
        for pool in &self.pools {
            let Some((_, class)) = pool.admission.next() else {
                continue;
            };
            let has_place = pool.admission.has_place(class);
            match &pool.workers {
                None => assert!(!has_place, "what may start does not wait"),
                Some(workers) => {
                    let held_back = class != Priority::Critical && pool.waits_for_memory();
                    let grows = self.growing.is_some() && workers.balance_check != Time::NEVER;
                    assert!(
                        !has_place
                            || held_back
                            || grows
                            || workers.idle().is_empty()
                            || self.any_is_revoked(),
                        "what may start does not wait while a worker is idle"
                    );
                    assert!(
                        !workers.wanted
                            || workers.live() > 0
                            || pool.admission.limits().places() == 0,
                        "where something waits a worker lives or is starting"
                    );
                }
            }
        }
    }
}

impl<P: Clone> Core<P> {
    /// Whether it is being decided of any task whether it is taken back.
    fn any_is_revoked(&self) -> bool {
        self.tasks.slots().any(|slot| matches!(self.tasks[slot].state, State::Revoking(_)))
    }
}

fn may_have_alarm<P>(record: &Record<P>) -> bool {
    match record.state {
        State::Delayed | State::Running | State::Begun => true,
        State::Queued | State::Staged => record.attempts == 0,
        State::AwaitingEnd => record.worker().is_none(),
        _ => false,
    }
}
