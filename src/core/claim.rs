//! Workers that are stuck before the start of a task: stopped, or deadlocked in the end of the one before. And those
//! that are stopped in the middle of one.
//!
//! One time per pool, not one per task: it is set while a worker is busy, and when it comes every worker is
//! looked at whose front entry was given to it a deadline ago: has it begun, and if so, does its process run? So a stuck
//! worker is noticed after one to two deadlines, and a task costs nothing.

use super::effect::{Effect, PoolId, SignalReason};
use super::machine::Core;
#[cfg(any(test, atasker_sabotage))]
use super::sabotage::Sabotage;
use super::task::{Kill, State};
use super::workers::Worker;
use crate::admission::Time;
use crate::task::id::{Ticket, WorkerId};

impl<P: Clone> Core<P> {
    /// Asks about every worker that seems not to have taken up what is first with it.
    pub(super) fn check_claims(&mut self, now: Time, out: &mut Vec<Effect<P>>) {
        let Some(workers) = &mut self.pools[PoolId::Processes as usize].workers else {
            return;
        };
        let Some(deadline) = workers.config.claim_deadline.filter(|_| workers.claim_check <= now)
        else {
            return;
        };
        let any_busy = workers.iter().any(Worker::is_busy);
        workers.claim_check = if any_busy { now + deadline } else { Time::NEVER };
        for worker in workers.iter().filter(|worker| worker.is_busy()) {
            let front = worker.entries.front().copied().filter(|&slot| {
                let record = &self.tasks[slot];
                record.state == State::Begun && record.mark + deadline <= now
            });
            let Some(slot) = front else { continue };
            #[cfg(any(test, atasker_sabotage))]
            if self.sabotage == Some(Sabotage::StoppedWorkerLeft) && self.tasks[slot].surely_begun()
            {
                continue;
            }
            out.push(if self.tasks[slot].surely_begun() {
                Effect::LookAfter { worker: worker.id }
            } else {
                Effect::CheckClaim { worker: worker.id, ticket: self.tasks.ticket(slot) }
            });
        }
    }

    /// `Effect::CheckClaim` was performed. A worker that has not begun what it was given is killed, and
    /// everything with it goes to others.
    pub(crate) fn on_claim_checked(
        &mut self,
        now: Time,
        worker: WorkerId,
        ticket: Ticket,
        begun: bool,
        out: &mut Vec<Effect<P>>,
    ) {
        if begun {
            self.on_begun(now, worker, ticket);
            #[cfg(any(test, atasker_sabotage))]
            if self.is_sabotaged(Sabotage::StoppedWorkerLeft) {
                return;
            }
            // It may have been stopped in the middle of it.
            if self.worker_state(worker).is_some() {
                out.push(Effect::LookAfter { worker });
            }
            return;
        }
        let is_stuck = self.tasks.find_ticket(ticket).is_some_and(|record| {
            record.is_with(worker) && record.state == State::Begun && !record.surely_begun()
        });
        #[cfg(any(test, atasker_sabotage))]
        let is_stuck = is_stuck && !self.is_sabotaged(Sabotage::StuckWorkerKept);
        if is_stuck {
            self.kill_worker(worker, SignalReason::Stuck, out);
            self.schedule(now, out);
        }
    }

    /// Instead of `on_claim_checked` or `on_kill_settled`: what the attempt needs is still on its way to the worker, and
    /// the worker could not take it up. Its time begins anew. `false`: it is not about that.
    pub(crate) fn on_not_offered(&mut self, now: Time, worker: WorkerId, ticket: Ticket) -> bool {
        let is_taken_for_begun = self.tasks.find_ticket(ticket).is_some_and(|record| {
            let timed = matches!(record.state, State::Begun | State::Killing(Kill::TimedOut(_)));
            timed && record.is_with(worker) && !record.surely_begun()
        });
        if is_taken_for_begun {
            let slot = ticket.task.slot;
            let record = &mut self.tasks[slot];
            (record.state, record.mark) = (State::Begun, now);
            let due = self.set_limits(slot, now);
            self.set_alarm(slot, due);
        }
        is_taken_for_begun
    }
}
