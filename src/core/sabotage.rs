//! Bugs to plant, for the proof that the simulation finds such; in builds with `--cfg atasker_sabotage` the chaos run,
//! too.

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
    /// A future that was given up is not told to end.
    AbortForgotten,
    /// The least urgent class goes first.
    LowerClassOvertakes,
    /// A completion that comes while a kill is under way resolves the task twice.
    ResolvedTwiceInRaceWithKill,
    /// What is taken back from a running pack is lost.
    RestForgotten,
    /// What is taken back from a running pack stays in the pack, too.
    RestBegunTwice,
    /// A running pack is not split for more urgent work.
    UrgentBehindRest,
    /// A worker that does not take up its task is left alone.
    StuckWorkerKept,
    /// A worker that was told to end, and does not, is left alone.
    LingeringWorkerKept,
    /// What is staged behind a task that runs for long stays there.
    OverrunIgnored,
    /// A task that its worker did not take up in time ends as if it had run.
    NotBegunEndsAsTimedOut,
    /// A spare worker that was taken is not replaced.
    SpareNotReplaced,
    /// A task that has killed its workers often enough is not taken out.
    PoisonTriedAgain,
    /// The time for which the host was suspended counts.
    LatenessCharged,
    /// A task that had not used up its CPU time when that was looked at is not looked at again.
    CpuReadOnce,
    /// A worker that was stopped in the middle of a task is left alone.
    StoppedWorkerLeft,
    /// A soft timeout passes unnoticed.
    SoftTimeoutForgotten,
    /// A worker that is to be replaced retires before another is ready.
    RetiredWithoutReplacement,
    /// What is with a worker that had too much memory is killed, though it has come later.
    MemoryKillHitsTheNext,
    /// A task is tried again while its worker is still dying.
    RetryOfTheDoomed,
    /// Tasks start though the machine is short of memory.
    ShortageForgotten,
}

impl Sabotage {
    pub(super) const ALL: [Self; 23] = [
        Self::RequeueForgottenAtDeath,
        Self::RetryBeforeDeathConfirmed,
        Self::SlotLeakedAtCancel,
        Self::AbortForgotten,
        Self::LowerClassOvertakes,
        Self::ResolvedTwiceInRaceWithKill,
        Self::RestForgotten,
        Self::RestBegunTwice,
        Self::UrgentBehindRest,
        Self::StuckWorkerKept,
        Self::LingeringWorkerKept,
        Self::OverrunIgnored,
        Self::NotBegunEndsAsTimedOut,
        Self::SpareNotReplaced,
        Self::PoisonTriedAgain,
        Self::LatenessCharged,
        Self::CpuReadOnce,
        Self::StoppedWorkerLeft,
        Self::SoftTimeoutForgotten,
        Self::RetiredWithoutReplacement,
        Self::MemoryKillHitsTheNext,
        Self::RetryOfTheDoomed,
        Self::ShortageForgotten,
    ];
}

impl<P: Clone> Core<P> {
    /// Plant the bug of this name, if there is one.
    #[cfg(atasker_sabotage)]
    pub(crate) fn plant(&mut self, name: &str) {
        self.sabotage = Sabotage::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    }

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

    pub(super) fn forget_rest(&mut self, slot: u32, kept: u32) {
        let record = &mut self.tasks[slot];
        let lost = (record.calls - kept) as usize;
        record.calls = kept;
        let pool = record.pool;
        self.pool_mut(pool).unresolved -= lost;
    }

    pub(super) fn keep_rest(&mut self, slot: u32, rest: usize) {
        let record = &mut self.tasks[slot];
        record.calls += rest as u32;
        let pool = record.pool;
        self.pool_mut(pool).unresolved += rest;
    }
}
