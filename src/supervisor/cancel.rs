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
        self.tell_driven(&mut effects, |driven, now, told| {
            if driven.single_out(now, task, told) {
                let _settled_at_once = driven.on_cancelled(now, task, told);
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
    /// Make the call the last of its pack, and if it has not begun the only one. `false`: it has ended, or
    /// others behind it have begun.
    fn single_out(&mut self, now: Time, task: TaskId, told: &mut CoreEffects) -> bool {
        if !self.cut_before(now, task, 1, told) {
            return false;
        }
        self.cut_before(now, task, 0, told)
    }

    /// Split the pack of `task` before the call that comes `behind` calls after it. `false`: more have begun
    /// already.
    fn cut_before(&mut self, now: Time, task: TaskId, behind: u32, told: &mut CoreEffects) -> bool {
        let Some((ticket, calls)) = self.ticket_of(task) else { return false };
        let index = (task.number() - ticket.task.number()) as u32;
        let keep = index + behind;
        if keep == 0 || keep >= calls {
            return true;
        }
        match self.split_in_ring(ticket, keep) {
            RingSplit::InNone => self.split(now, ticket, keep, told),
            RingSplit::Whole => return behind == 0,
            RingSplit::Kept(kept) => {
                self.split(now, ticket, kept, told);
                // One more than was to be kept is the call itself, which runs.
                return kept == keep || (behind == 0 && kept == keep + 1);
            }
        }
        true
    }
}
