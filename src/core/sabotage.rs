//! Five bugs to plant, for the proof that the simulation finds such.

use super::effect::{Effect, Ending, History};
use super::machine::Core;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// What a dead worker had not begun stays with it.
    RequeueForgottenAtDeath,
    /// A task that timed out is retried as soon as its kill is won.
    RetryBeforeDeathConfirmed,
    /// A closure that was given up never frees its slot.
    SlotLeakedAtCancel,
    /// The least urgent class goes first.
    LowerClassOvertakes,
    /// A completion that comes while a kill is under way resolves the task twice.
    ResolvedTwiceInRaceWithKill,
}

impl Sabotage {
    pub(super) const ALL: [Self; 5] = [
        Self::RequeueForgottenAtDeath,
        Self::RetryBeforeDeathConfirmed,
        Self::SlotLeakedAtCancel,
        Self::LowerClassOvertakes,
        Self::ResolvedTwiceInRaceWithKill,
    ];
}

impl<P: Clone> Core<P> {
    pub(super) fn is_sabotaged(&self, by: Sabotage) -> bool {
        self.sabotage == Some(by)
    }

    pub(super) fn resolve_without_forgetting(&self, slot: u32, out: &mut Vec<Effect<P>>) {
        out.push(Effect::Resolve {
            task: self.tasks.id(slot),
            payload: self.tasks[slot].payload.clone().expect("it is not resolved yet"),
            ending: Ending::Finished,
            history: History::default(),
        });
    }
}
