//! How workers ended, kept for the reports of the tasks that they had.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::process::Exit;
use crate::task::id::WorkerId;

/// So many are kept for those that ask late.
const LATE_MAX: usize = 64;

/// How workers ended. One that is just being told stays until that is through, however many others end meanwhile: what it
/// costs in tasks follows from that, and asks for it.
#[derive(Debug, Default)]
pub(super) struct Exits {
    being_told: Vec<Arc<Exit>>,
    /// In the order in which it was through.
    told: VecDeque<Arc<Exit>>,
}

impl Exits {
    /// It is about to be told. To be followed by [`on_told`](Self::on_told).
    pub(super) fn add(&mut self, exit: Arc<Exit>) {
        self.being_told.push(exit);
    }

    /// Everything that follows from its end was done.
    pub(super) fn on_told(&mut self, worker: WorkerId) {
        let told = self.being_told.extract_if(.., |exit| exit.worker == worker);
        self.told.extend(told);
        while self.told.len() > LATE_MAX {
            self.told.pop_front();
        }
    }

    pub(super) fn find(&self, worker: WorkerId) -> Option<&Arc<Exit>> {
        self.being_told.iter().chain(self.told.iter().rev()).find(|exit| exit.worker == worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_told_stays_however_many_others_end() {
        let mut exits = Exits::default();
        for worker in 1..=200 {
            exits.add(Arc::new(Exit::of_none(WorkerId(worker))));
        }
        let is_known = |exits: &Exits, worker| {
            exits.find(WorkerId(worker)).map(|exit| exit.worker.0) == Some(worker)
        };
        for worker in 1..=200 {
            assert!(is_known(&exits, worker));
            exits.on_told(WorkerId(worker));
            assert!(is_known(&exits, worker), "some ask late");
        }
        assert!(!is_known(&exits, 1), "not for ever");
        assert_eq!((exits.being_told.len(), exits.told.len()), (0, LATE_MAX));
    }
}
