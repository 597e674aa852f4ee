//! The oracle about ends: each must be justified by what was asked for and by what has happened.

use std::time::Duration;

use super::oracle::Payload;
use super::oracle::{Cause, Oracle};
use crate::core::{Ask, CancelReason, Core, Ending, PoolId, StopMode, TaskInfo, TaskState, Time};
use crate::task::id::{TaskId, Ticket};
use crate::task::options::TimeLimit;

impl Oracle {
    pub(super) fn on_resolved(
        &mut self,
        number: u64,
        ending: Ending,
        attempts: u32,
        now: Time,
        cause: &Cause,
    ) {
        let (stop, failed, prompt) = (self.stop, self.pool_failed > 0, self.prompt);
        let gaps = &self.gaps;
        let known = self.known.get_mut(&number).expect("effects are about accepted tasks");
        assert!(!known.resolved, "call {number} is resolved twice");
        known.resolved = true;
        let ran = matches!(
            ending,
            Ending::Crashed { .. }
                | Ending::Quarantined { .. }
                | Ending::TimedOut { worker: Some(_), .. }
        );
        assert!(!ran || !prompt || known.begins > 0, "what never began did not crash or time out");
        let options = &known.options;
        let ending_name = match ending {
            Ending::Crashed { .. } => "Crashed".to_owned(),
            Ending::Quarantined { .. } => "Quarantined".to_owned(),
            Ending::TimedOut { limit: TimeLimit::Cpu, .. } => "Used up its CPU time".to_owned(),
            Ending::TimedOut { worker, .. } => {
                format!("TimedOut, in a worker: {}", worker.is_some())
            }
            other => format!("{other:?}"),
        };
        match ending {
            Ending::Finished => {}
            Ending::Crashed { worker } => {
                let told = [Cause::Doomed(worker), Cause::Exited(worker)];
                assert!(told.contains(cause), "its worker did not die");
                let limit = options.crash_limit.unwrap_or(u32::MAX);
                assert!(known.crashes + 1 < limit, "what has killed so many is quarantined");
            }
            Ending::Quarantined { worker } => {
                assert_eq!(*cause, Cause::Exited(worker), "its worker did not die");
                let crashes = known.crashes + 1;
                assert_eq!(Some(crashes), options.crash_limit, "it is taken out at its limit");
            }
            Ending::TimedOut { limit: TimeLimit::Cpu, .. } => {
                let limit = options.cpu_limit.expect("what uses up its CPU time has a limit");
                assert!(known.cpu >= limit, "it was never seen to use so much");
            }
            Ending::TimedOut { .. } => {
                let timeout = options.timeout.expect("what times out has a timeout");
                let ran = awake(gaps, known.started, now);
                assert!(ran >= timeout, "it timed out after {ran:?} instead of {timeout:?}");
            }
            Ending::Cancelled { why: CancelReason::Requested } => {
                assert!(known.cancel_requested, "nobody cancelled it");
            }
            Ending::Cancelled { why: CancelReason::Stopped } => {
                assert!(stop >= Some(StopMode::CancelQueued), "nothing stops it");
            }
            Ending::Expired => {
                let wait = options.queue_timeout.expect("what expires has a queue timeout");
                let queued = known.submitted + options.delay.unwrap_or_default();
                assert!(
                    awake(gaps, queued, now) >= wait && attempts == 0,
                    "it expires when its time in the queue has passed"
                );
            }
            Ending::PoolFailed => assert!(failed, "its pool has not failed"),
        }
        self.census.insert(ending_name);
    }
}

impl Oracle {
    /// Some tasks with a limit of CPU time do not end before they have used it up.
    pub(super) fn runs_until_killed(&self, task: TaskId) -> bool {
        let limited = self.known[&task.number].options.cpu_limit.is_some();
        limited && task.number % 6 == 1
    }

    /// The clock says so of an attempt.
    pub(super) fn on_cpu_read(&mut self, task: TaskId, used: Duration) {
        let known = self.task(task);
        known.cpu = known.cpu.max(used);
    }

    pub(super) fn on_asked_to_end(&mut self, ticket: Ticket, why: Ask, now: Time) {
        self.census.insert(format!("Asked to end: {why:?}"));
        let gaps = self.gaps.clone();
        let known = self.task(ticket.task);
        assert!(!known.resolved, "what is resolved is not asked to end later");
        match why {
            Ask::SoftTimeout => {
                let patience = known.options.soft_timeout.expect("it has a soft timeout");
                let ran = awake(&gaps, known.started, now);
                assert!(ran >= patience, "it was hurried after {ran:?}, not {patience:?}");
                known.hurried = Some(ticket);
            }
            Ask::GivenUp => assert_ne!(known.pool, PoolId::Loops, "futures are ended"),
        }
    }

    /// What runs in a slot was asked to end when its soft timeout had passed.
    pub(super) fn check_hurried(&self, core: &Core<Payload>, now: Time) {
        if core.next_deadline().is_some_and(|due| due <= now) {
            return;
        }
        let in_slot = |it: &TaskInfo<'_, _>| it.state == TaskState::Running && it.worker.is_none();
        for task in core.tasks().filter(in_slot) {
            let known = &self.known[&task.id.number];
            let begun_at = task.begun_at.expect("what runs has begun");
            let late = known.options.soft_timeout.is_some_and(|soft| begun_at + soft <= now);
            assert!(!late || known.hurried == task.ticket, "a soft timeout has passed unnoticed");
        }
    }
}

/// How much of this time somebody looked.
fn awake(gaps: &[(Time, Time)], from: Time, to: Time) -> Duration {
    let lost = gaps.iter().map(|&(begin, end)| end.min(to).since(begin.max(from)));
    to.since(from).saturating_sub(lost.sum())
}

/// Only what is said to have finished is resolved as finished.
pub(super) fn justify_finish(task: TaskId, ending: Ending, cause: &Cause) {
    let told = matches!(cause, Cause::Finished(all) if all.iter().any(|it| it.task == task));
    assert!(ending != Ending::Finished || told, "it did not finish");
}
