//! Workers come and go.

use super::effect::{Effect, Ending, PoolId, SignalReason};
use super::failures::{self, Failures};
use super::machine::Core;
#[cfg(any(test, atasker_sabotage))]
use super::sabotage::Sabotage;
use super::task::{Kill, Progress, Revoke, State};
use super::workers::{CALM, WorkerState};
use crate::admission::Time;
use crate::task::id::{Ticket, WorkerId};
use crate::task::options::RetryOn;

impl<P: Clone> Core<P> {
    /// The pool is to have its workers.
    pub(crate) fn on_workers_wanted(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        if let Some(workers) = &mut self.pool_mut(PoolId::Processes).workers {
            workers.wanted = true;
            self.schedule(now, out);
        }
    }

    /// The worker has shaken hands and its initialiser went well.
    pub(crate) fn on_worker_ready(
        &mut self,
        now: Time,
        worker: WorkerId,
        out: &mut Vec<Effect<P>>,
    ) {
        if self.worker_state(worker) == Some(WorkerState::Starting) {
            self.workers_mut().set_ready(worker, now);
            self.schedule(now, out);
        }
    }

    /// The worker sent what no worker sends.
    pub(crate) fn on_worker_corrupt(
        &mut self,
        now: Time,
        worker: WorkerId,
        out: &mut Vec<Effect<P>>,
    ) {
        if self.worker_state(worker).is_some() {
            self.kill_worker(worker, SignalReason::Corrupt, out);
            self.schedule(now, out);
        }
    }

    /// The worker's thread that runs tasks is gone and its process dies, though other threads of it may not be through;
    /// every outcome that it had committed has been reported. `begun`: what it had begun beside those.
    ///
    /// What it had begun has crashed, and ends now, unless it is tried again, or looked at more closely: for that the
    /// death must be certain. Its exit follows.
    pub(crate) fn on_worker_doomed(
        &mut self,
        now: Time,
        worker_id: WorkerId,
        begun: &[Ticket],
        out: &mut Vec<Effect<P>>,
    ) {
        let Some(state) = self.worker_state(worker_id) else { return };
        let worker = self.workers_mut().get(worker_id).expect("it has a state");
        let entries: Vec<u32> = worker.entries.iter().copied().collect();
        let was_busy = worker.is_busy();
        let has_proven_itself = failures::has_proven_itself(worker, now);
        if !state.is_dying() {
            // It is counted here, and not once more when it exits.
            let counted = WorkerState::Dying { on_its_own_fault: false };
            self.workers_mut().set_state(worker_id, counted);
        }
        if was_busy {
            self.pool_mut(PoolId::Processes).admission.vacate();
        }
        for slot in entries {
            match self.tasks[slot].state {
                State::AwaitingEnd | State::Crashing => {}
                _ => self.on_entry_doomed(slot, begun, worker_id, now, out),
            }
        }
        self.workers_mut().calm_until = now + CALM;
        if !state.is_dying() {
            self.count_death(state, has_proven_itself || !begun.is_empty(), now, out);
        }
        self.schedule(now, out);
    }

    fn on_entry_doomed(
        &mut self,
        slot: u32,
        begun: &[Ticket],
        worker: WorkerId,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        let has_begun = begun.contains(&self.tasks.ticket(slot)) || self.tasks[slot].surely_begun();
        if !has_begun {
            let why = self.why_given_back(slot);
            self.leave_worker(slot, now);
            return self.put_back(slot, why, now, out);
        }
        self.begin(slot, now);
        let (counts_crashes, is_last) =
            self.tasks[slot].rare.as_ref().map_or((false, false), |rare| {
                let is_last = rare.crash_limit.is_some_and(|limit| rare.crashes + 1 >= limit);
                (rare.crash_limit.is_some(), is_last)
            });
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(Sabotage::RetryOfTheDoomed) && self.may_retry(slot, RetryOn::Crash) {
            self.leave_worker(slot, now);
            return self.on_crashed(slot, worker, now, out);
        }
        // What is to be cancelled ends here, unless it has killed its workers often enough.
        let goes_on = counts_crashes || self.may_retry(slot, RetryOn::Crash);
        if is_last || (goes_on && !self.is_unwanted(slot)) {
            self.set_alarm(slot, Time::NEVER);
            let record = &mut self.tasks[slot];
            (record.state, record.progress) = (State::Crashing, Progress::Sure);
        } else {
            self.leave_worker(slot, now);
            self.resolve(slot, Ending::Crashed { worker }, now, out);
        }
    }

    /// What becomes of a task that its worker will never begin.
    fn why_given_back(&self, slot: u32) -> Revoke {
        match self.tasks[slot].state {
            State::Revoking(why) => why,
            State::Killing(Kill::Cancel(why)) => Revoke::Cancel(why),
            _ => Revoke::Requeue,
        }
    }

    /// The worker is dead for certain, and every outcome that it had committed has been reported. `begun`:
    /// what it had begun beside those, as far as the transport knows.
    pub(crate) fn on_worker_exited(
        &mut self,
        now: Time,
        worker_id: WorkerId,
        begun: &[Ticket],
        out: &mut Vec<Effect<P>>,
    ) {
        let Some(workers) = &mut self.pool_mut(PoolId::Processes).workers else {
            return;
        };
        let Some(worker) = workers.remove(worker_id) else {
            return;
        };
        let staged_is_begun = workers.config.staged_is_begun;
        if worker.is_busy() {
            self.pool_mut(PoolId::Processes).admission.vacate();
        }
        let mut has_proven_itself = failures::has_proven_itself(&worker, now);
        for slot in worker.entries {
            let ticket = self.tasks.ticket(slot);
            let has_begun =
                staged_is_begun || self.tasks[slot].surely_begun() || begun.contains(&ticket);
            has_proven_itself |= has_begun;
            self.on_entry_lost(slot, has_begun, worker_id, now, out);
        }
        self.count_death(worker.state, has_proven_itself, now, out);
        self.schedule(now, out);
    }

    /// What was with a worker when it died.
    fn on_entry_lost(
        &mut self,
        slot: u32,
        has_begun: bool,
        worker: WorkerId,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        let state = self.tasks[slot].state;
        self.count_splittable(slot, false);
        #[cfg(any(test, atasker_sabotage))]
        if !has_begun && self.is_sabotaged(Sabotage::RequeueForgottenAtDeath) {
            return;
        }
        if state == State::AwaitingEnd {
            self.retry(slot, RetryOn::Timeout, now, out);
        } else if has_begun {
            self.begin(slot, now);
            self.on_crashed(slot, worker, now, out);
        } else {
            let why = self.why_given_back(slot);
            self.put_back(slot, why, now, out);
        }
    }

    /// An attempt has killed its worker. A task that does so again and again gets no further one.
    fn on_crashed(&mut self, slot: u32, worker: WorkerId, now: Time, out: &mut Vec<Effect<P>>) {
        let is_poisonous = self.tasks[slot].rare.as_mut().is_some_and(|rare| {
            rare.crashes += 1;
            rare.crash_limit.is_some_and(|limit| rare.crashes >= limit)
        });
        #[cfg(any(test, atasker_sabotage))]
        let is_poisonous = is_poisonous && !self.is_sabotaged(Sabotage::PoisonTriedAgain);
        if is_poisonous {
            self.resolve(slot, Ending::Quarantined { worker }, now, out);
        } else {
            self.retry_or_resolve(slot, Some(RetryOn::Crash), Ending::Crashed { worker }, now, out);
        }
    }

    /// A program that can't start must not be started for ever; one that dies of its tasks may.
    fn count_death(
        &mut self,
        state: WorkerState,
        has_proven_itself: bool,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        let last_worker = WorkerId(self.last_worker);
        let workers = self.workers_mut();
        let was_asked_to = match state {
            WorkerState::Starting | WorkerState::Ready => false,
            WorkerState::Retiring => true,
            WorkerState::Dying { on_its_own_fault } => !on_its_own_fault,
        };
        if has_proven_itself {
            workers.failures = Failures::NONE;
        } else if !was_asked_to {
            workers.failures.count(last_worker);
        }
        let given_up = workers.failures.in_a_row() > workers.config.restart_limit
            && !workers.failures.is_older_in(workers.iter());
        if given_up && !self.pool(PoolId::Processes).failed {
            self.fail_pool(now, out);
        }
    }

    fn fail_pool(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        self.pool_mut(PoolId::Processes).failed = true;
        out.push(Effect::PoolFailed);
        for slot in 0..self.tasks.slots_end() {
            if self.tasks[slot].pool != PoolId::Processes {
                continue;
            }
            match self.tasks[slot].state {
                State::Queued => self.leave_line(slot),
                State::Delayed => self.leave_delayed(slot),
                _ => continue,
            }
            self.resolve(slot, Ending::PoolFailed, now, out);
        }
    }

    pub(super) fn worker_state(&self, worker: WorkerId) -> Option<WorkerState> {
        Some(self.pool(PoolId::Processes).workers.as_ref()?.get(worker)?.state)
    }
}
