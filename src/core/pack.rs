//! Packs: one task to the core that stands for several calls, until it is split.

use std::cmp::Reverse;

use super::effect::{Effect, Ending, PoolId};
use super::machine::Core;
#[cfg(any(test, atasker_sabotage))]
use super::sabotage::Sabotage;
use super::task::{Kill, Revoke, State};
use crate::admission::Time;
use crate::task::id::Ticket;
use crate::task::options::Priority;

/// The most urgent first, within a class the first come.
type PackKey = (Reverse<Priority>, u64);

impl<P: Clone> Core<P> {
    /// All calls of the pack but its first `kept` were taken back, and are a task of their own from now on,
    /// with the payload `rest`. They return to their old position, unless they were to be cancelled.
    ///
    /// Answers `Effect::Split`, but may come at any time for a task that is not resolved. It must precede the
    /// event that tells the end of what was kept. Gives `rest` back if it came too late.
    pub(crate) fn on_pack_split(
        &mut self,
        now: Time,
        ticket: Ticket,
        kept: u32,
        rest: P,
        out: &mut Vec<Effect<P>>,
    ) -> Option<P> {
        debug_assert!(kept > 0, "a split leaves something");
        let current = self.tasks.find_ticket(ticket).is_some_and(|record| {
            record.state != State::Detached && (1..record.calls).contains(&kept)
        });
        if !current {
            return Some(rest);
        }
        let slot = ticket.task.slot;
        if self.growing == Some(slot) {
            self.growing = None;
        }
        let is_with_worker = self.tasks[slot].is_with_worker();
        if is_with_worker {
            self.count_splittable(slot, false);
        }
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(Sabotage::RestForgotten) {
            self.forget_rest(slot, kept);
            return None;
        }
        let record = &mut self.tasks[slot];
        let (state, pool_id) = (record.state, record.pool);
        let was_staged = !record.begun() && matches!(state, State::Staged | State::Revoking(_));
        let rest_record = record.split(kept, rest);
        let rest_calls = rest_record.calls as usize;
        if is_with_worker {
            self.count_splittable(slot, true);
        }
        let rest = self.tasks.insert_rest(rest_record);
        self.nodes.ensure(rest);
        let class = self.nodes.class(slot);
        let pool = &mut self.pools[pool_id as usize];
        let in_line = state == State::Queued;
        pool.admission.split(&mut self.nodes, slot, kept, rest, in_line);
        if was_staged {
            pool.staged[class as usize] -= rest_calls;
        }
        #[cfg(any(test, atasker_sabotage))]
        if self.is_sabotaged(Sabotage::RestBegunTwice) {
            self.keep_rest(slot, rest_calls);
        }
        match state {
            State::Queued => {
                self.tasks[rest].state = State::Queued;
                self.set_warn_timer(rest);
            }
            State::Revoking(Revoke::Cancel(why)) | State::Killing(Kill::Cancel(why)) => {
                self.resolve(rest, Ending::Cancelled { why }, now, out);
            }
            _ => self.requeue(rest, now, out),
        }
        self.schedule(now, out);
        None
    }

    /// Takes back what running packs of these classes have not begun.
    pub(super) fn split_packs(
        &mut self,
        pool: PoolId,
        classes: [bool; Priority::ALL.len()],
        out: &mut Vec<Effect<P>>,
    ) {
        if self.pool(pool).splittable.iter().any(|&packs| packs > 0) {
            for (_, slot) in self.splittable_packs(pool, classes) {
                self.ask_to_split(slot, out);
            }
        }
    }

    /// Takes back what running packs have not begun for as many idle workers.
    pub(super) fn split_for_idle(
        &mut self,
        pool_id: PoolId,
        idle: usize,
        out: &mut Vec<Effect<P>>,
    ) {
        let pool = self.pool(pool_id);
        let admitted = Priority::ALL
            .map(|class| pool.splittable[class as usize] > 0 && pool.admission.has_place(class));
        if !admitted.contains(&true) {
            return;
        }
        let mut packs = self.splittable_packs(pool_id, admitted);
        packs.sort_unstable();
        for (_, slot) in packs.into_iter().take(idle) {
            self.ask_to_split(slot, out);
        }
    }

    /// The packs of these classes that run, with the key by which they are to be split.
    fn splittable_packs(
        &self,
        pool: PoolId,
        classes: [bool; Priority::ALL.len()],
    ) -> Vec<(PackKey, u32)> {
        let workers = self.pool(pool).workers();
        let fronts = workers.iter().filter_map(|worker| worker.entries.front().copied());
        let packs = fronts.filter(|&slot| {
            let record = &self.tasks[slot];
            let class = self.nodes.class(slot);
            record.state == State::Begun && record.is_splittable() && classes[class as usize]
        });
        packs
            .map(|slot| ((Reverse(self.nodes.class(slot)), self.nodes.order(slot)), slot))
            .collect()
    }

    pub(super) fn ask_to_split(&mut self, slot: u32, out: &mut Vec<Effect<P>>) {
        self.count_splittable(slot, false);
        let record = &mut self.tasks[slot];
        record.split_asked = true;
        let worker = record.worker().expect("what is in a worker is with it");
        out.push(Effect::Split { worker, ticket: self.tasks.ticket(slot) });
    }

    /// Counts a task that is with a worker, or no longer, if it may be asked to be split.
    pub(super) fn count_splittable(&mut self, slot: u32, present: bool) {
        let record = &self.tasks[slot];
        if record.is_splittable() {
            let class = self.nodes.class(slot);
            let count = &mut self.pools[record.pool as usize].splittable[class as usize];
            *count = if present { *count + 1 } else { *count - 1 };
        }
    }
}
