//! What may end an attempt, or ask it to end, because of time: its timeout, its soft timeout, and its CPU time. The
//! first of them is the alarm of a task that runs.
//!
//! CPU time is not watched but foreseen: however many cores there are, so much of it can't have been used before so
//! much time has passed. Then the shell reads the clock of the process, and the rest is foreseen again.

use std::time::Duration;

use super::effect::{Ask, Effect};
use super::machine::Core;
use super::task::{CpuWatch, Kill, State};
use crate::admission::Time;
use crate::task::id::{Ticket, WorkerId};
use crate::task::options::TimeLimit;

/// Nothing is looked at more often than this. So a task may use so much more CPU time than its limit, on every core.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl<P: Clone> Core<P> {
    /// The attempt has begun, as far as known, at `now`: its limits count from there. When the first is due.
    #[inline]
    pub(super) fn set_limits(&mut self, slot: u32, now: Time) -> Time {
        let record = &mut self.tasks[slot];
        if let Some(rare) = &mut record.rare {
            let pool = &self.pools[record.pool as usize];
            rare.set_limits(now, pool.workers.as_ref().map(|workers| workers.config.cores));
        }
        record.limit_due()
    }

    /// One of the limits of an attempt has passed that is not its timeout.
    pub(super) fn on_limit(&mut self, slot: u32, now: Time, out: &mut Vec<Effect<P>>) {
        let ticket = self.tasks.ticket(slot);
        let record = &mut self.tasks[slot];
        let worker = record.worker().filter(|_| record.state == State::Begun);
        let rare = record.rare.as_mut().expect("only what is rare has other limits");
        if rare.soft_due <= now {
            rare.soft_due = Time::NEVER;
            #[cfg(any(test, atasker_sabotage))]
            if self.sabotage == Some(super::sabotage::Sabotage::SoftTimeoutForgotten) {
                let due = self.tasks[slot].limit_due();
                return self.set_alarm(slot, due);
            }
            let payload = record.payload.clone().expect("an unresolved task has its payload");
            out.push(Effect::AskToEnd { worker, ticket, payload, why: Ask::SoftTimeout });
        }
        if let (CpuWatch::Due(due), Some(worker)) = (rare.cpu, worker)
            && due <= now
        {
            rare.cpu = CpuWatch::Reading;
            out.push(Effect::ReadCpu { worker, ticket });
        }
        let due = self.tasks[slot].limit_due();
        self.set_alarm(slot, due);
    }

    /// `Effect::AskToEnd` came too early: the worker has not begun what was taken for begun.
    pub(crate) fn on_not_asked(&mut self, now: Time, worker: WorkerId, ticket: Ticket) {
        let Some(slot) = self.limited(worker, ticket) else { return };
        let rare = self.tasks[slot].rare.as_mut().expect("only what is rare was to be asked");
        rare.soft_due = now + rare.soft_timeout.max(LOOK_EVERY.into());
        self.set_alarm_again(slot, worker);
    }

    /// `Effect::ReadCpu` was performed. `used`: by this attempt; `None` if it has not begun, or nobody can tell.
    pub(crate) fn on_cpu_read(
        &mut self,
        now: Time,
        worker: WorkerId,
        ticket: Ticket,
        used: Option<Duration>,
        out: &mut Vec<Effect<P>>,
    ) {
        let Some(slot) = self.limited(worker, ticket) else { return };
        let cores = self.workers_mut().config.cores;
        let record = &mut self.tasks[slot];
        let rare = record.rare.as_mut().expect("only what is rare has its CPU time read");
        if rare.cpu != CpuWatch::Reading {
            return;
        }
        let left = rare.cpu_limit_left(used.unwrap_or_default());
        let is_used_up = used.is_some() && left.is_zero();
        let wait = if is_used_up { left } else { (left / cores).max(LOOK_EVERY) };
        rare.cpu = CpuWatch::Due(now + wait);
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(super::sabotage::Sabotage::CpuReadOnce) {
            self.tasks[slot].rare.as_mut().expect("as before").cpu = CpuWatch::Reading;
            return;
        }
        // What is being taken back is looked at again if that turns out to be too late.
        if is_used_up && self.tasks[slot].state == State::Begun {
            self.start_kill(slot, Kill::TimedOut(TimeLimit::Cpu), out);
        } else {
            self.set_alarm_again(slot, worker);
        }
    }

    /// The slot of an attempt that is first with this worker, which lives.
    fn limited(&self, worker: WorkerId, ticket: Ticket) -> Option<u32> {
        let record = self.tasks.find_ticket(ticket).filter(|record| record.is_with(worker))?;
        let is_first = matches!(record.state, State::Begun | State::Revoking(_)) && record.begun();
        (is_first && record.rare.is_some()).then_some(ticket.task.slot)
    }

    fn set_alarm_again(&mut self, slot: u32, worker: WorkerId) {
        let dies = self.workers_mut().get(worker).is_none_or(|worker| worker.state.is_dying());
        if self.tasks[slot].state == State::Begun && !dies {
            let due = self.tasks[slot].limit_due();
            self.set_alarm(slot, due);
        }
    }
}
