//! A task comes, or is no longer wanted.

use std::time::Duration;

use super::effect::{CancelReason, Effect, Ending};
use super::event::{Cancel, RefuseReason, Refused, Submission};
use super::machine::{Core, Pool};
use super::task::{Kill, Record, Revoke, State};
use crate::admission::Time;
use crate::task::id::TaskId;
use crate::task::options::Priority;

impl<P: Clone> Core<P> {
    /// A new task. It may start, or end, within this very call.
    pub(crate) fn on_submitted(
        &mut self,
        now: Time,
        submission: Submission<'_, P>,
        out: &mut Vec<Effect<P>>,
    ) -> Result<TaskId, Refused<P>> {
        let submission = match self.begin_on_idle(submission) {
            Ok((worker, ticket)) => {
                out.push(Effect::Stage { worker, ticket });
                self.on_begun_on_idle(now, ticket, out);
                return Ok(ticket.task);
            }
            Err(submission) => submission,
        };
        self.on_submitted_to_line(now, submission, out)
    }

    /// One that can't [begin on an idle worker](Self::begin_on_idle) at once.
    pub(crate) fn on_submitted_to_line(
        &mut self,
        now: Time,
        submission: Submission<'_, P>,
        out: &mut Vec<Effect<P>>,
    ) -> Result<TaskId, Refused<P>> {
        let Submission { pool: pool_id, options, calls, grows, .. } = submission;
        debug_assert!(calls > 0, "a task is one call at least");
        debug_assert!(
            (calls == 1 && !grows) || options.is_plain(),
            "a pack has neither timers nor retries"
        );
        let delay = options.delay.filter(|delay| !delay.is_zero());
        let pool = self.pool(pool_id);
        let reason = if self.stop.is_some() {
            Some(RefuseReason::Stopped)
        } else if pool.failed {
            Some(RefuseReason::PoolFailed)
        } else {
            (delay.is_none() && !pool.has_room(options.priority, calls))
                .then_some(RefuseReason::QueueFull)
        };
        if let Some(reason) = reason {
            return Err(Refused { payload: submission.payload, reason });
        }
        self.stop_growing(now, out);
        let number = self.last_number + 1;
        self.last_number += u64::from(calls);
        let queued_from = now + delay.unwrap_or(Duration::ZERO);
        let slot = self.tasks.insert(Record::new(
            number,
            pool_id,
            options,
            queued_from,
            submission.payload,
            calls,
        ));
        self.nodes.ensure(slot);
        let task = self.tasks.id(slot);
        let pool = self.pool_mut(pool_id);
        pool.unresolved += calls as usize;
        if let Some(workers) = &mut pool.workers {
            workers.wanted |= workers.config.lazily_started;
        }
        let changes_nothing = pool.is_behind_another(options.priority);
        match delay {
            Some(_) => self.delay(slot, queued_from),
            None => self.enqueue(now, slot),
        }
        if grows {
            self.growing = Some(slot);
        }
        if !changes_nothing {
            self.schedule_in(pool_id, now, out);
        }
        Ok(task)
    }

    /// A task is no longer wanted; of a call in a pack, the pack.
    pub(crate) fn on_cancelled(
        &mut self,
        now: Time,
        task: TaskId,
        out: &mut Vec<Effect<P>>,
    ) -> Cancel {
        let Some(slot) = self.tasks.locate(task) else {
            return Cancel::TooLate;
        };
        let outcome = self.cancel(slot, CancelReason::Requested, now, out);
        self.schedule(now, out);
        outcome
    }

    /// Cancels a task in whatever state it is.
    pub(super) fn cancel(
        &mut self,
        slot: u32,
        why: CancelReason,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) -> Cancel {
        let state = self.tasks[slot].state;
        match state {
            State::Queued => self.leave_line(slot),
            State::Delayed => self.leave_delayed(slot),
            State::AwaitingEnd if self.tasks[slot].worker().is_some() => {
                self.leave_worker(slot, now);
            }
            State::Crashing => self.leave_worker(slot, now),
            State::Running | State::AwaitingEnd => {
                self.give_up(slot, out);
                self.resolve_detached(slot, Ending::Cancelled { why }, now, out);
                return Cancel::Resolved;
            }
            State::Staged | State::Begun => {
                if self.tasks[slot].surely_begun() {
                    self.start_kill(slot, Kill::Cancel(why), out);
                } else {
                    self.start_revoke(slot, Revoke::Cancel(why), out);
                }
                return Cancel::InProgress;
            }
            State::Revoking(Revoke::Cancel(_)) | State::Killing(Kill::Cancel(_)) => {
                return Cancel::TooLate;
            }
            State::Revoking(_) => {
                self.tasks[slot].state = State::Revoking(Revoke::Cancel(why));
                return Cancel::InProgress;
            }
            State::Killing(_) => {
                self.tasks[slot].state = State::Killing(Kill::Cancel(why));
                return Cancel::InProgress;
            }
            State::Vacant | State::Detached => return Cancel::TooLate,
        }
        self.resolve(slot, Ending::Cancelled { why }, now, out);
        Cancel::Resolved
    }

    /// It no longer waits for a delay.
    pub(super) fn leave_delayed(&mut self, slot: u32) {
        let pool = self.tasks[slot].pool;
        self.pool_mut(pool).delayed -= 1;
        self.set_alarm(slot, Time::NEVER);
    }

    pub(super) fn start_revoke(&mut self, slot: u32, why: Revoke, out: &mut Vec<Effect<P>>) {
        self.set_alarm(slot, Time::NEVER);
        let record = &mut self.tasks[slot];
        record.state = State::Revoking(why);
        let not_begun = usize::from(!record.begun());
        self.pools[record.pool as usize].revoking += not_begun;
        let worker = record.worker().expect("a staged task is with a worker");
        out.push(Effect::Revoke { worker, ticket: self.tasks.ticket(slot) });
    }

    pub(super) fn start_kill(&mut self, slot: u32, why: Kill, out: &mut Vec<Effect<P>>) {
        self.set_alarm(slot, Time::NEVER);
        let record = &mut self.tasks[slot];
        record.state = State::Killing(why);
        let worker = record.worker().expect("a begun task is with a worker");
        out.push(Effect::Kill { worker, ticket: self.tasks.ticket(slot) });
    }
}

impl Pool {
    /// Whether so many calls of `class` would be accepted now, as far as the queue's bound goes. A pack that
    /// is larger than the bound is, while nothing waits.
    pub(super) fn has_room(&self, class: Priority, calls: u32) -> bool {
        let Some(bound) = self.queue_bound else {
            return true;
        };
        let ahead = Priority::ALL.into_iter().filter(|&other| other >= class);
        let waiting = ahead.map(|class| self.waiting(class)).sum::<usize>();
        waiting == 0 || waiting + calls as usize <= bound || self.can_start_now(class)
    }

    /// How many calls of `class` wait for their begin.
    pub(super) fn waiting(&self, class: Priority) -> usize {
        self.admission.queued(class) + self.staged[class as usize]
    }

    /// Whether a new task of `class` comes behind one that may not start yet, so that there is nothing to
    /// decide. For each critical task another worker may be started.
    fn is_behind_another(&self, class: Priority) -> bool {
        let next = self.admission.next();
        class != Priority::Critical && next.is_some_and(|(_, next)| next >= class)
    }

    fn can_start_now(&self, class: Priority) -> bool {
        let first = self.admission.next().is_none_or(|(_, next)| next < class);
        let has_worker = self.workers.as_ref().is_none_or(|workers| !workers.idle().is_empty());
        first && has_worker && self.admission.has_place(class)
    }
}
