//! Which workers there are, and what was decided about some before they were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::incarnation::Incarnation;
use crate::core::SignalReason;
use crate::task::id::WorkerId;

/// Which workers there are. Its owner numbers them in a row, but what it decides is performed by several threads: that a
/// worker is to end may come before that it is to be started.
#[derive(Debug, Default)]
pub(super) struct Roster {
    present: BTreeMap<WorkerId, Arc<Incarnation>>,
    /// Up to this number all have been added.
    added_up_to: u64,
    /// Beyond the first that has not been added.
    added_beyond: BTreeSet<u64>,
    /// Those that are to end, and are still to be added.
    doomed: BTreeMap<WorkerId, SignalReason>,
}

impl Roster {
    /// It is to be started; or ended at once, and for that reason.
    pub(super) fn add(&mut self, incarnation: Arc<Incarnation>) -> Option<SignalReason> {
        let worker = incarnation.id;
        self.added_beyond.insert(worker.0);
        while self.added_beyond.remove(&(self.added_up_to + 1)) {
            self.added_up_to += 1;
        }
        self.present.insert(worker, incarnation);
        self.doomed.remove(&worker)
    }

    pub(super) fn find(&self, worker: WorkerId) -> Option<Arc<Incarnation>> {
        self.present.get(&worker).cloned()
    }

    /// It is to end. If it is there, that is the caller's to see to; if it has yet to come, it is remembered.
    pub(super) fn doom(&mut self, worker: WorkerId, why: SignalReason) -> Option<Arc<Incarnation>> {
        let found = self.find(worker);
        if found.is_none() && !self.was_added(worker) {
            self.doomed.entry(worker).or_insert(why);
        }
        found
    }

    pub(super) fn remove(&mut self, worker: WorkerId) {
        self.present.remove(&worker);
    }

    #[cfg(test)]
    pub(super) fn expects_any(&self) -> bool {
        !self.doomed.is_empty()
    }

    fn was_added(&self, worker: WorkerId) -> bool {
        worker.0 <= self.added_up_to || self.added_beyond.contains(&worker.0)
    }
}
