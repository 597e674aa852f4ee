//! Cancelling calls that travel in packs.

use std::sync::Arc;

use super::driven::{Driven, RingSplit};
use super::perform::Arrivals;
use super::shared::{CoreEffects, Effects, Next, Shared};
use crate::core::{Effect, Ending, Time};
use crate::task::cell::TaskCell;
use crate::task::id::TaskId;
use crate::task::pack::Pack;

impl Shared {
    /// End one call of a pack as cancelled; the others go on.
    pub(crate) fn cancel_in_pack(&self, task: TaskId) -> bool {
        let mut effects = Effects::default();
        self.tell_in_steps(&mut effects, |driven, now, effects| {
            // What a cut leaves or frees may be given to a worker, and has to be there when that is asked for the next.
            let singled_out = [1, 0].iter().all(|&behind| {
                driven.step(now, effects, |driven, told| driven.cut_before(now, task, behind, told))
            });
            if singled_out {
                driven.step(now, effects, |driven, told| {
                    let _settled_at_once = driven.on_cancelled(now, task, told);
                });
            }
        });
        // What a ring decides is decided under the lock, so the end is among the effects, if this was it.
        let cancelled = effects.kept.iter().any(|effect| ends_with(effect, task));
        self.perform(effects, Arrivals::NONE, &mut Next::Unwanted);
        cancelled
    }

    /// End all calls of a pack from number `first` on that have not ended.
    pub(crate) fn cancel_pack(&self, pack: &Pack, first: u32) {
        let mut effects = Effects::default();
        self.tell_driven(&mut effects, |driven, now, told| {
            let mut call = first;
            while call < pack.calls() {
                let Some(part) = driven.task(pack.id(call)).map(|task| (task.id, task.calls))
                else {
                    call += 1;
                    continue;
                };
                let (id, calls) = part;
                call = (id.number() + u64::from(calls) - pack.id(0).number()) as u32;
                let _settled_at_once = driven.on_cancelled(now, id, told);
            }
        });
        self.perform(effects, Arrivals::NONE, &mut Next::Unwanted);
    }
}

/// Whether this is the end, by being cancelled, of a pack whose last call is `task`.
fn ends_with(effect: &Effect<Arc<TaskCell>>, task: TaskId) -> bool {
    let Effect::Resolve { task: first, payload, ending: Ending::Cancelled { .. }, .. } = effect
    else {
        return false;
    };
    let calls = payload.with_pack(|slice| slice.calls()).unwrap_or(1);
    first.number() + u64::from(calls) == task.number() + 1
}

impl Driven {
    /// Split the pack of `task` before the call that comes `behind` calls after it: with one it is the last of
    /// its pack then, and with none, which comes second, the only one, or else the one that runs. `false`: it has
    /// ended, or others behind it have begun.
    fn cut_before(&mut self, now: Time, task: TaskId, behind: u32, told: &mut CoreEffects) -> bool {
        let Some((ticket, calls)) = self.ticket_of(task) else { return false };
        let index = (task.number() - ticket.task.number()) as u32;
        let keep = index + behind;
        if keep == 0 || keep >= calls {
            return true;
        }
        match self.split_in_ring(ticket, keep) {
            RingSplit::InNone => self.split(now, ticket, keep, told),
            // In a ring that is being closed nothing may have begun, and still nothing is taken.
            RingSplit::Whole => return behind == 0 && self.has_begun_behind(ticket, keep),
            RingSplit::Kept(kept) => {
                self.split(now, ticket, kept, told);
                // One more than was to be kept is the call itself, which runs.
                return kept == keep || (behind == 0 && kept == keep + 1);
            }
        }
        true
    }
}
