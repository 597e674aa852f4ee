//! Packs that grow while they wait.

use super::oracle::Cause;
use super::world::World;
use crate::core::Core;

impl World {
    /// Calls join what was submitted last, as long as that grows.
    pub(super) fn join(&mut self) {
        let Some(pack) = self.growing else { return };
        for _ in 0..=self.dice.below(4) {
            let Some(task) = self.core.on_joined(pack) else { return };
            assert_eq!(
                task.number(),
                self.tasks.len() as u64 + 1,
                "numbers count what was accepted"
            );
            self.oracle.on_joined(pack.number(), task.number());
            self.tasks.push(task);
            self.core.check_invariants();
        }
    }

    pub(super) fn attend(&mut self) {
        self.event(Cause::Other, Core::on_attended);
        assert!(
            self.growing.take().is_none_or(|pack| self.core.on_joined(pack).is_none()),
            "what was given out grows no longer"
        );
    }
}
