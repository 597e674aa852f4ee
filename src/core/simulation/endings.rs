//! The oracle about ends: each must be justified by what was asked for and by what has happened.

use std::time::Duration;

use super::oracle::{Cause, Oracle};
use crate::core::{CancelReason, Ending, StopMode, Time};
use crate::task::id::TaskId;

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
                | Ending::TimedOut { worker: Some(_) }
        );
        assert!(!ran || !prompt || known.begins > 0, "what never began did not crash or time out");
        let options = &known.options;
        let ending_name = match ending {
            Ending::Crashed { .. } => "Crashed".to_owned(),
            Ending::Quarantined { .. } => "Quarantined".to_owned(),
            Ending::TimedOut { worker } => format!("TimedOut, in a worker: {}", worker.is_some()),
            other => format!("{other:?}"),
        };
        match ending {
            Ending::Finished => {}
            Ending::Crashed { worker } => {
                assert_eq!(*cause, Cause::Exited(worker), "its worker did not die");
                let limit = options.crash_limit.unwrap_or(u32::MAX);
                assert!(known.crashes + 1 < limit, "what has killed so many is quarantined");
            }
            Ending::Quarantined { worker } => {
                assert_eq!(*cause, Cause::Exited(worker), "its worker did not die");
                let crashes = known.crashes + 1;
                assert_eq!(Some(crashes), options.crash_limit, "it is taken out at its limit");
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
