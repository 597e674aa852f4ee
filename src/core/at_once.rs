//! What is done as soon as can be, because a caller waits for nothing else.
//!
//! A task comes that has the pool to itself, and a worker that idles: nothing is to be decided. So it goes to the worker
//! first, and everything else, for which one must know what time it is, is done while the worker takes it up.
//!
//! A call that a worker runs returns: nothing is to be decided but what begins next. So its task's end is the answer, and
//! not an effect among others.

use super::effect::{Effect, Finish, History, PoolId};
use super::event::{Finished, Submission};
use super::failures::Failures;
use super::machine::{Core, Pool};
use super::task::{Progress, Record, State};
use crate::admission::Time;
use crate::task::id::{Ticket, WorkerId};
use crate::task::options::Priority;

impl<P: Clone> Core<P> {
    /// A new task that may begin on an idle worker at once, and is to be put into its queue now. To be followed by
    /// [`on_begun_on_idle`](Self::on_begun_on_idle), with nothing told in between but how late it is. What has to wait, or
    /// is to be refused, comes back.
    #[inline]
    pub(crate) fn begin_on_idle<'a>(
        &mut self,
        submission: Submission<'a, P>,
    ) -> Result<(WorkerId, Ticket), Submission<'a, P>> {
        let options = submission.options;
        let may_begin = submission.pool == PoolId::Processes
            && submission.calls == 1
            && options.delay.is_none_or(|delay| delay.is_zero())
            // Its worker is weighed before.
            && options.memory_limit.is_none()
            && self.stop.is_none()
            && self.growing.is_none()
            && self.pool(PoolId::Processes).has_only_idle(options.priority);
        if !may_begin {
            return Err(submission);
        }
        let number = self.last_number + 1;
        self.last_number = number;
        let pool = self.pool_mut(PoolId::Processes);
        let workers = pool.workers_mut();
        let worker = workers.take_idle().expect("it was seen to be idle");
        let progress =
            if workers.config.staged_is_begun { Progress::Sure } else { Progress::Presumed };
        // It has not waited for as long as it is not known since when.
        let since = Time::NEVER;
        let mut record =
            Record::new(number, PoolId::Processes, options, since, submission.payload, 1);
        (record.state, record.issue, record.attempts) = (State::Begun, 1, 1);
        record.progress = progress;
        record.set_worker(Some(worker));
        let slot = self.tasks.insert(record);
        Ok((worker, self.tasks.ticket(slot)))
    }

    /// It is in the worker's queue, or will be before anything else is.
    #[inline]
    pub(crate) fn on_begun_on_idle(&mut self, now: Time, ticket: Ticket, out: &mut Vec<Effect<P>>) {
        let slot = ticket.task.slot;
        let record = &mut self.tasks[slot];
        (record.queued_from, record.mark) = (now, now);
        let due = self.set_limits(slot, now);
        self.nodes.ensure(slot);
        let record = &self.tasks[slot];
        let worker = record.worker().expect("it is with a worker");
        let pool = &mut self.pools[PoolId::Processes as usize];
        pool.unresolved += 1;
        pool.admission.pass(&mut self.nodes, slot, record.priority, now);
        let workers = pool.workers_mut();
        workers.wanted |= workers.config.lazily_started;
        let is_first = workers.push(worker, slot);
        debug_assert!(is_first, "an idle worker has nothing");
        workers.arm_claim_check(now);
        let weighs = workers.weighs;
        if due != Time::NEVER {
            self.set_alarm(slot, due);
        }
        if weighs {
            self.watch_memory(slot, worker, now, out);
        }
    }

    /// A single call returned that a worker was running, as [`on_all_finished`](Self::on_all_finished) has it, but what there
    /// is to [resolve](Effect::Resolve) is the answer, and comes before every effect. `None`: nothing was done about
    /// it, because it is anything else.
    pub(crate) fn on_returned(
        &mut self,
        now: Time,
        finished: Finished,
        out: &mut Vec<Effect<P>>,
    ) -> Option<(P, History)> {
        let Finished { ticket, finish, ran } = finished;
        let record = self.tasks.find_ticket(ticket)?;
        if finish != Finish::Returned || record.state != State::Begun {
            return None;
        }
        let slot = ticket.task.slot;
        let worker = record.worker().expect("it is with a worker");
        let workers = self.workers_mut();
        // One that is worn is retired before its last task's end is told.
        if workers.recycles {
            return None;
        }
        workers.learn(ran);
        self.leave_worker(slot, now);
        let workers = self.workers_mut();
        workers.failures = Failures::NONE;
        workers.note_taken_up(worker);
        let ended = self.end_task(slot, now);
        self.tasks.vacate(slot);
        self.schedule_in(PoolId::Processes, now, out);
        Some(ended)
    }

    /// Whether nothing is to begin in a worker that has not been given to one, whoever ends.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        let pool = self.pool(PoolId::Processes);
        self.stop.is_none() && pool.workers.is_some() && pool.is_calm()
    }
}

impl Pool {
    /// Whether a new call of `class` may start on an idle worker, and nothing else runs or waits.
    #[inline]
    fn has_only_idle(&self, class: Priority) -> bool {
        self.admission.busy() == 0
            && class != Priority::Critical
            && self.shortage.is_none()
            && self.admission.has_place(class)
            && self.workers.as_ref().is_some_and(|workers| !workers.idle().is_empty())
            && self.is_calm()
    }
}
