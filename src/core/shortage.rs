//! While the machine is short of memory, tasks for workers are held back.
//!
//! What was seen of the memory holds for [`LOOK_EVERY`]; then the next task that could start has it looked at
//! again, so a pool without work looks at nothing. What is more urgent than anything starts all the same, and when
//! nothing runs a task starts all the same, because then nothing of this pool's will give memory back.

use std::time::Duration;

use super::effect::{Effect, PoolId};
use super::event::HoldBack;
use super::machine::{Core, Pool};
use crate::admission::Time;
use crate::task::options::Priority;

/// How long what was seen of the machine's memory is relied on.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is known of the machine's memory.
#[derive(Debug)]
pub(super) struct Shortage {
    is_short: bool,
    known_until: Time,
    /// `Effect::LookAtMemory` is under way.
    looking: bool,
    /// When to look again for what is held back; `NEVER` if nothing is.
    pub(super) look_at: Time,
}

impl Shortage {
    pub(super) const UNKNOWN: Self =
        Self { is_short: false, known_until: Time::ZERO, looking: false, look_at: Time::NEVER };
}

impl<P: Clone> Core<P> {
    /// Whether a task of `class` that could start has to wait for memory, or for the answer how much there is.
    pub(super) fn is_held_back(
        &mut self,
        pool: PoolId,
        class: Priority,
        now: Time,
        out: &mut Vec<Effect<P>>,
    ) -> bool {
        #[cfg(any(test, atasker_sabotage))]
        let forgets = self.is_sabotaged(super::sabotage::Sabotage::ShortageForgotten);
        let pool = self.pool_mut(pool);
        let nothing_runs = pool.admission.busy() == 0;
        let Some(shortage) = pool.shortage.as_mut().filter(|_| class != Priority::Critical) else {
            return false;
        };
        if shortage.known_until <= now {
            if !std::mem::replace(&mut shortage.looking, true) {
                out.push(Effect::LookAtMemory);
            }
            return true;
        }
        let waits = shortage.is_short && !nothing_runs;
        #[cfg(any(test, atasker_sabotage))]
        let waits = waits && !forgets;
        if waits {
            shortage.look_at = shortage.known_until;
        }
        waits
    }

    /// `Effect::LookAtMemory` was performed.
    pub(crate) fn on_memory_seen(
        &mut self,
        now: Time,
        enough: bool,
        out: &mut Vec<Effect<P>>,
    ) -> HoldBack {
        let Some(shortage) = &mut self.pool_mut(PoolId::Processes).shortage else {
            return HoldBack::Unchanged;
        };
        let was_short = shortage.is_short;
        *shortage =
            Shortage { is_short: !enough, known_until: now + LOOK_EVERY, ..Shortage::UNKNOWN };
        self.schedule(now, out);
        match (was_short, enough) {
            (false, false) => HoldBack::Begins,
            (true, true) => HoldBack::Ends,
            _ => HoldBack::Unchanged,
        }
    }

    /// It is time to look again for what is held back. The scheduling that follows sees to it.
    pub(super) fn check_shortage(&mut self, now: Time) {
        let shortages = self.pools.iter_mut().filter_map(|pool| pool.shortage.as_mut());
        for shortage in shortages.filter(|shortage| shortage.look_at <= now) {
            shortage.look_at = Time::NEVER;
        }
    }
}

impl Pool {
    /// Whether the machine was short of memory when it was looked at last.
    pub(super) fn is_short(&self) -> bool {
        self.shortage.as_ref().is_some_and(|shortage| shortage.is_short)
    }

    /// Whether something waits because of that.
    pub(super) fn is_held_back(&self) -> bool {
        self.is_short() && self.admission.next().is_some()
    }

    #[cfg(test)]
    /// Whether what is not critical may not start for now.
    pub(super) fn waits_for_memory(&self) -> bool {
        self.shortage.as_ref().is_some_and(|shortage| {
            shortage.looking || (shortage.is_short && shortage.look_at != Time::NEVER)
        })
    }
}
