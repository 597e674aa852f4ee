//! An attempt comes to its end, or the question whether it has begun is settled.

use std::time::Duration;

use super::effect::{CancelReason, Effect, Ending, Finish, PoolId, SignalReason};
use super::event::{Finished, Killed, StopMode};
use super::failures::Failures;
use super::machine::Core;
#[cfg(any(test, atasker_sabotage))]
use super::sabotage::Sabotage;
use super::task::{Kill, Progress, Revoke, State};
use crate::admission::Time;
use crate::task::id::{Ticket, WorkerId};
use crate::task::options::RetryOn;

/// So many times as long as any worker needs to wake up is the claim deadline.
const WAKES: u32 = 40;

impl<P: Clone> Core<P> {
    /// The attempt came to its end by itself.
    pub(crate) fn on_finished(
        &mut self,
        now: Time,
        ticket: Ticket,
        finish: Finish,
        ran: Duration,
        out: &mut Vec<Effect<P>>,
    ) {
        let finished = Finished { ticket, finish, ran };
        let before = out.len();
        match self.on_returned(now, finished, out) {
            Some((payload, history)) => {
                let (task, ending) = (ticket.task, Ending::Finished);
                out.insert(before, Effect::Resolve { task, payload, ending, history });
            }
            None => self.on_all_finished(now, &[finished], out),
        }
    }

    /// Several attempts came to their ends, before anything new is started.
    pub(crate) fn on_all_finished(
        &mut self,
        now: Time,
        all: &[Finished],
        out: &mut Vec<Effect<P>>,
    ) {
        let mut concerned = [false; PoolId::ALL.len()];
        for &finished in all {
            if let Some(pool) = self.on_one_finished(finished, now, out) {
                concerned[pool as usize] = true;
            }
        }
        for pool in PoolId::ALL.into_iter().filter(|&pool| concerned[pool as usize]) {
            self.schedule_in(pool, now, out);
        }
    }

    /// In which pool it was, if it was current.
    fn on_one_finished(
        &mut self,
        finished: Finished,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) -> Option<PoolId> {
        let Finished { ticket, finish, ran } = finished;
        let record = self.tasks.find_ticket(ticket)?;
        let (slot, pool) = (ticket.task.slot, record.pool);
        match record.state {
            State::Detached => self.on_detached_finished(slot),
            State::AwaitingEnd if record.worker().is_none() => {
                self.set_alarm(slot, Time::NEVER);
                self.pool_mut(pool).admission.vacate();
                self.retry(slot, RetryOn::Timeout, now, out);
            }
            State::Running => {
                self.pool_mut(pool).admission.vacate();
                self.finish(slot, finish, now, out);
            }
            State::Staged | State::Begun | State::Revoking(_) | State::Killing(_) => {
                self.workers_mut().learn(ran);
                self.on_worker_finished(slot, finish, now, out);
            }
            State::Vacant
            | State::Delayed
            | State::Queued
            | State::AwaitingEnd
            | State::Crashing => return None,
        }
        Some(pool)
    }

    fn on_detached_finished(&mut self, slot: u32) {
        let pool_id = self.tasks[slot].pool;
        self.tasks.vacate(slot);
        self.pool_mut(pool_id).detached -= 1;
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(Sabotage::SlotLeakedAtCancel) {
            return;
        }
        self.pool_mut(pool_id).admission.vacate();
    }

    #[inline]
    fn on_worker_finished(
        &mut self,
        slot: u32,
        finish: Finish,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        #[cfg(any(test, atasker_sabotage))]
        if matches!(self.tasks[slot].state, State::Killing(_))
            && self.is_sabotaged(Sabotage::ResolvedTwiceInRaceWithKill)
        {
            self.resolve_without_forgetting(slot, out);
        }
        self.begin(slot, now);
        let worker = self.tasks[slot].worker().expect("a staged task is with a worker");
        self.leave_worker(slot, now);
        let workers = self.workers_mut();
        workers.failures = Failures::NONE;
        workers.note_taken_up(worker);
        self.wear(worker, self.tasks[slot].calls, finish, now, out);
        self.finish(slot, finish, now, out);
    }

    /// What has left its slot or worker is retried or resolved.
    #[inline]
    fn finish(&mut self, slot: u32, finish: Finish, now: Time, out: &mut Vec<Effect<P>>) {
        let record = &mut self.tasks[slot];
        let failure = match finish {
            Finish::Returned => None,
            Finish::ReturnedError => Some(RetryOn::Error),
            Finish::Panicked => Some(RetryOn::Panic),
            Finish::Refused => {
                record.attempts -= 1;
                record.progress = Progress::Open;
                None
            }
        };
        self.retry_or_resolve(slot, failure, Ending::Finished, now, out);
    }

    /// The attempt is over for certain. One that was to be cancelled is not retried.
    pub(super) fn retry_or_resolve(
        &mut self,
        slot: u32,
        failure: Option<RetryOn>,
        ending: Ending,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        match failure.filter(|&why| !self.is_unwanted(slot) && self.may_retry(slot, why)) {
            Some(why) => {
                self.end(slot, now);
                self.retry(slot, why, now, out);
            }
            None => self.resolve(slot, ending, now, out),
        }
    }

    /// Whether it was to be cancelled.
    pub(super) fn is_unwanted(&self, slot: u32) -> bool {
        matches!(
            self.tasks[slot].state,
            State::Killing(Kill::Cancel(_)) | State::Revoking(Revoke::Cancel(_))
        )
    }

    /// The worker was seen to have begun the attempt.
    pub(crate) fn on_begun(&mut self, now: Time, worker: WorkerId, ticket: Ticket) {
        let Some(record) = self.tasks.find_ticket(ticket).filter(|record| record.is_with(worker))
        else {
            return;
        };
        if matches!(record.state, State::Staged | State::Begun | State::Revoking(_)) {
            let slot = ticket.task.slot;
            self.begin(slot, now);
            self.tasks[slot].progress = Progress::Sure;
            self.workers_mut().note_taken_up(worker);
        }
    }

    /// `Effect::Revoke` was performed. If the attempt was not revoked, it has begun.
    pub(crate) fn on_revoke_settled(
        &mut self,
        now: Time,
        worker: WorkerId,
        ticket: Ticket,
        revoked: bool,
        out: &mut Vec<Effect<P>>,
    ) {
        let Some(record) = self.tasks.find_ticket(ticket).filter(|record| record.is_with(worker))
        else {
            return;
        };
        let State::Revoking(why) = record.state else {
            return;
        };
        let slot = ticket.task.slot;
        if revoked {
            self.on_revoked(slot, why, now, out);
        } else {
            self.on_revoke_lost(slot, why, now, out);
        }
        self.schedule(now, out);
    }

    fn on_revoked(&mut self, slot: u32, why: Revoke, now: Time, out: &mut Vec<Effect<P>>) {
        self.leave_worker(slot, now);
        self.put_back(slot, why, now, out);
    }

    /// What has certainly not begun and is with no worker any more goes where it was to go.
    pub(super) fn put_back(&mut self, slot: u32, why: Revoke, now: Time, out: &mut Vec<Effect<P>>) {
        self.unbegin(slot);
        match why {
            Revoke::Requeue => self.requeue(slot, now, out),
            Revoke::Expire => self.resolve(slot, Ending::Expired, now, out),
            Revoke::Cancel(why) => self.resolve(slot, Ending::Cancelled { why }, now, out),
        }
    }

    fn on_revoke_lost(&mut self, slot: u32, why: Revoke, now: Time, out: &mut Vec<Effect<P>>) {
        self.begin(slot, now);
        self.tasks[slot].progress = Progress::Sure;
        let runs_on =
            why == Revoke::Cancel(CancelReason::Stopped) && self.stop < Some(StopMode::KillNow);
        match why {
            Revoke::Cancel(why) if !runs_on => self.start_kill(slot, Kill::Cancel(why), out),
            _ => {
                let record = &mut self.tasks[slot];
                record.state = State::Begun;
                let due = record.limit_due();
                let worker = record.worker().expect("a staged task is with a worker");
                let dying =
                    self.workers_mut().get(worker).is_none_or(|worker| worker.state.is_dying());
                self.set_alarm(slot, if dying { Time::NEVER } else { due });
            }
        }
    }

    /// `Effect::Kill` was performed.
    pub(crate) fn on_kill_settled(
        &mut self,
        now: Time,
        worker: WorkerId,
        ticket: Ticket,
        killed: Killed,
        out: &mut Vec<Effect<P>>,
    ) {
        let Some(record) = self.tasks.find_ticket(ticket).filter(|record| record.is_with(worker))
        else {
            return;
        };
        let State::Killing(why) = record.state else {
            return;
        };
        let slot = ticket.task.slot;
        match killed {
            Killed::Lost => return,
            Killed::Won => self.on_kill_won(slot, worker, why, now, out),
            #[cfg(any(test, atasker_sabotage))]
            Killed::NotBegun if self.is_sabotaged(Sabotage::NotBegunEndsAsTimedOut) => {
                self.on_kill_won(slot, worker, why, now, out);
            }
            Killed::NotBegun => {
                let given = self.tasks[slot].mark;
                self.leave_worker(slot, now);
                if matches!(why, Kill::TimedOut(_)) {
                    self.on_not_taken_up(worker, given, now, out);
                }
                let why = match why {
                    Kill::TimedOut(_) | Kill::Memory => Revoke::Requeue,
                    Kill::Cancel(why) => Revoke::Cancel(why),
                };
                self.put_back(slot, why, now, out);
            }
        }
        self.schedule(now, out);
    }

    /// A worker that let a whole timeout pass, and a time that is not spent by chance, before it took the task up may be of no
    /// use. But what is behind that task may be beginning just now, and would be killed with it: then it is given the time
    /// that any worker has.
    fn on_not_taken_up(
        &mut self,
        worker: WorkerId,
        given: Time,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        let workers = self.workers_mut();
        let Some(held) = workers.get(worker).filter(|worker| !worker.state.is_dying()) else {
            return;
        };
        let has_more = !held.entries.is_empty();
        let since = workers.note_late(worker, given);
        let deadline = workers.config.claim_deadline.unwrap_or_default();
        if since + deadline <= now {
            self.kill_worker(worker, SignalReason::Stuck, out);
        } else if !has_more && since + deadline / WAKES <= now {
            self.kill_worker(worker, SignalReason::Late, out);
        } else if !has_more {
            // A short timeout passes while a worker wakes up.
            workers.prefer_others(worker);
        }
    }

    fn on_kill_won(
        &mut self,
        slot: u32,
        worker: WorkerId,
        why: Kill,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) {
        let (signal, ending) = match why {
            Kill::TimedOut(limit) => {
                let attempt = self.tasks.ticket(slot).attempt;
                let ending = Ending::TimedOut { worker: Some(worker), attempt, limit };
                (SignalReason::TimedOut, ending)
            }
            Kill::Cancel(CancelReason::Requested) => {
                (SignalReason::Cancelled, Ending::Cancelled { why: CancelReason::Requested })
            }
            Kill::Cancel(why) => (SignalReason::Stopping, Ending::Cancelled { why }),
            Kill::Memory => return self.on_memory_kill_won(slot, worker, out),
        };
        self.workers_mut().failures = Failures::NONE;
        self.kill_worker(worker, signal, out);
        if matches!(why, Kill::TimedOut(_)) && self.may_retry(slot, RetryOn::Timeout) {
            self.end(slot, now);
            #[cfg(any(test, atasker_sabotage))]
            if self.is_sabotaged(Sabotage::RetryBeforeDeathConfirmed) {
                self.leave_worker(slot, now);
                return self.retry(slot, RetryOn::Timeout, now, out);
            }
            self.tasks[slot].state = State::AwaitingEnd;
        } else {
            self.leave_worker(slot, now);
            self.resolve(slot, ending, now, out);
        }
    }
}
