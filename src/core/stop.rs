//! The supervisor stops.

use super::effect::{CancelReason, Effect, PoolId};
use super::event::StopMode;
use super::machine::Core;
use super::task::{Revoke, State};
use super::workers::Workers;
use crate::admission::Time;

impl<P: Clone> Core<P> {
    /// Begins to stop, or stops harder. A softer mode than before changes nothing.
    pub(crate) fn on_stopping(&mut self, now: Time, mode: StopMode, out: &mut Vec<Effect<P>>) {
        if self.stop >= Some(mode) {
            return;
        }
        self.stop = Some(mode);
        self.growing = None;
        if mode >= StopMode::CancelQueued {
            // What is with a worker from the back to the front, as a ring likes it.
            let workers = self.pool(PoolId::Processes).workers.iter().flat_map(Workers::iter);
            let held = workers.flat_map(|worker| worker.entries.iter().rev().copied());
            let held: Vec<u32> = held.collect();
            for slot in held.into_iter().chain(0..self.tasks.slots_end()) {
                if is_stopped_by(mode, self.tasks[slot].state) {
                    let _in_whatever_way = self.cancel(slot, CancelReason::Stopped, now, out);
                }
            }
        }
        self.schedule(now, out);
    }
}

fn is_stopped_by(mode: StopMode, state: State) -> bool {
    match state {
        State::Vacant | State::Detached => false,
        State::Delayed
        | State::Queued
        | State::Staged
        | State::AwaitingEnd
        | State::Revoking(Revoke::Requeue | Revoke::Expire) => true,
        State::Running
        | State::Begun
        | State::Killing(_)
        | State::Crashing
        | State::Revoking(Revoke::Cancel(_)) => mode == StopMode::KillNow,
    }
}
