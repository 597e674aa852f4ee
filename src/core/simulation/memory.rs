//! What is promised of memory: that only what has too much is killed for it.

use super::oracle::{Cause, Oracle};
use crate::core::{PoolId, PoolKind, SignalReason};
use crate::task::id::Ticket;

impl Oracle {
    /// An attempt is to be killed.
    pub(super) fn on_kill(&self, ticket: Ticket, cause: &Cause) {
        let Cause::Weighed(weighed, bytes) = *cause else { return };
        assert_eq!(weighed, Some(ticket), "what was not weighed is not killed for its weight");
        let PoolKind::Workers(config) = self.kinds[PoolId::Processes as usize] else {
            panic!("only workers are weighed");
        };
        let of_task = self.known[&ticket.task.number].options.memory_limit;
        let mut limits = config.memory_hard_limit.into_iter().chain(of_task);
        assert!(limits.any(|limit| bytes > limit), "{bytes} is not too much");
    }

    pub(super) fn on_signalled(&mut self, why: SignalReason) {
        let SignalReason::Memory(excess) = why else {
            self.census.insert(format!("Signal {why:?}"));
            return;
        };
        self.census.insert(format!("Signal Memory {:?}", excess.limit));
        assert!(excess.used > excess.allowed, "{excess:?} is none");
    }
}
