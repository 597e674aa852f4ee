//! Receiving from the rings: what they have is told to the core, a batch at a time.

use std::sync::MutexGuard;
use std::time::Duration;

use super::info::Counters;
use super::perform::{Arrivals, wake_workers};
use super::run::{Judged, judge};
use super::shared::{Effects, Next, Shared};
use crate::core::{Finish, Finished};
use crate::process::Source;
use crate::task::id::Ticket;
use crate::task::info::TaskStatus;
use crate::transport::frame::Outcome;
use crate::transport::{Delivery, OutcomeFrame, Outcomes, PackOutcomes, Read};

/// Where deliveries lie while they are told. Empty in between; kept for its memory.
#[derive(Default)]
pub(crate) struct Desk {
    deliveries: Vec<Delivery>,
    finished: Vec<Finished>,
    packs: Vec<OfPack>,
}

/// Outcomes of calls of a pack.
struct OfPack {
    pid: u32,
    ticket: Ticket,
    outcomes: PackOutcomes,
    ran_ns: u64,
    begun: Option<u32>,
}

/// The outcome of a call that travelled alone.
struct OfCall {
    pid: u32,
    ticket: Ticket,
    frame: OutcomeFrame,
    ran: Duration,
}

impl Desk {
    /// What the deliveries are, if they are no more than the outcome of one call.
    #[inline]
    fn take_only_call(&mut self) -> Option<OfCall> {
        if self.deliveries.len() != 1 {
            return None;
        }
        match self.deliveries.pop()? {
            Delivery { pid, ticket, outcomes: Outcomes::OfCall(frame), ran_ns, begun: _ } => {
                Some(OfCall { pid, ticket, frame, ran: Duration::from_nanos(ran_ns) })
            }
            of_pack => {
                self.deliveries.push(of_pack);
                None
            }
        }
    }

    /// What the deliveries are to the core, and what they bring for the handles.
    fn sort_all(&mut self, arrivals: &mut Arrivals) {
        #[cfg(atasker_sabotage)]
        crate::sabotage::swap(&mut self.deliveries);
        let Self { deliveries, finished, packs } = self;
        if deliveries.len() == 1 {
            let delivery = deliveries.pop().expect("there is one");
            sort(delivery, finished, packs, arrivals);
        } else {
            deliveries.drain(..).for_each(|delivery| sort(delivery, finished, packs, arrivals));
        }
    }
}

#[inline]
fn sort(
    delivery: Delivery,
    finished: &mut Vec<Finished>,
    packs: &mut Vec<OfPack>,
    arrivals: &mut Arrivals,
) {
    let Delivery { pid, ticket, outcomes, ran_ns, begun } = delivery;
    let ran = Duration::from_nanos(ran_ns);
    match outcomes {
        Outcomes::OfCall(frame) => {
            let Judged { finish, mut arrived } = judge(frame, || Some(pid));
            arrived.pid = Some(pid);
            finished.push(Finished { ticket, finish, ran });
            arrivals.push(ticket.task, arrived);
        }
        Outcomes::OfPack(outcomes) => {
            packs.push(OfPack { pid, ticket, outcomes, ran_ns, begun });
            if begun.is_some() {
                finished.push(Finished { ticket, finish: Finish::Returned, ran });
            }
        }
    }
}

impl Shared {
    /// Take what `source` has and tell the core in one go. `false`: there was nothing, or, unless it is to
    /// `wait`, somebody else was at it.
    pub(crate) fn collect(&self, wait: bool, source: &mut dyn Source) -> bool {
        let desk = if wait { Some(self.desk.lock()) } else { self.desk.try_lock() };
        let Some(mut guard) = desk else { return false };
        let desk = &mut *guard;
        source.committed(&mut desk.deliveries);
        let has_begun = source.has_begun();
        if !has_begun && let Some(call) = desk.take_only_call() {
            self.deliver_call(call, source, guard);
            return true;
        }
        let mut arrivals = Arrivals::NONE;
        desk.sort_all(&mut arrivals);
        if desk.finished.is_empty() && desk.packs.is_empty() && !has_begun {
            // The worker may have told of buffers alone.
            drop(guard);
            source.let_go();
            return false;
        }
        let mut effects = Effects::default();
        let any = self.tell_driven(&mut effects, |driven, now, told| {
            if has_begun {
                source.begun(&mut desk.deliveries);
                desk.sort_all(&mut arrivals);
            }
            let any = !desk.finished.is_empty() || !desk.packs.is_empty();
            for OfPack { pid, ticket, outcomes, ran_ns, begun } in desk.packs.drain(..) {
                let Some(cell) = driven.cell(ticket) else {
                    self.counters.add_outcomes(&outcomes);
                    continue;
                };
                driven.on_pack_outcomes(&cell, ticket, outcomes, ran_ns, Some(pid));
                let pace =
                    cell.with_pack(|slice| Some((slice.pack.index(), slice.pack.pace_ns()?)));
                if let Some((index, pace_ns)) = pace.flatten() {
                    self.paces.learn(&self.executor, index, pace_ns);
                }
                if let Some(begun) = begun {
                    driven.split(now, ticket, begun, told);
                }
            }
            driven.on_all_finished(now, &desk.finished, told);
            any
        });
        desk.finished.clear();
        // The desk is free again before anything of the user's is woken.
        drop(guard);
        wake_workers(&mut effects);
        source.let_go();
        self.perform_all(&mut effects, &mut arrivals, &mut Next::Unwanted);
        any
    }

    /// The same for a single call, for which somebody waits most likely.
    fn deliver_call(&self, call: OfCall, source: &dyn Source, desk: MutexGuard<'_, Desk>) {
        let OfCall { pid, ticket, frame, ran } = call;
        let Judged { finish, mut arrived } = judge(frame, || Some(pid));
        arrived.pid = Some(pid);
        let finished = Finished { ticket, finish, ran };
        let mut effects = Effects::default();
        let ended = self.tell_seen(source.seen(), &mut effects, |driven, now, told| {
            let ended = driven.on_returned(now, finished, told);
            if ended.is_none() {
                driven.on_all_finished(now, &[finished], told);
            }
            ended
        });
        drop(desk);
        wake_workers(&mut effects);
        source.let_go();
        let mut arrivals = Arrivals::NONE;
        match ended {
            Some((cell, history)) => {
                self.resolve_arrived(ticket.task, &cell, history, arrived);
                self.space.freed();
            }
            None => arrivals.push(ticket.task, arrived),
        }
        self.perform_all(&mut effects, &mut arrivals, &mut Next::Unwanted);
    }
}

impl Counters {
    /// The calls of a pack count each for itself, before anybody can see their results.
    pub(crate) fn add_outcomes(&self, outcomes: &PackOutcomes) {
        self.add(TaskStatus::Completed, u64::from(outcomes.values()));
        if outcomes.values() == outcomes.count() {
            return;
        }
        let mut offset = 0;
        while let Some((read, next)) = outcomes.read(offset) {
            offset = next;
            let outcome = match read {
                Read::Value(_) => None,
                Read::Extended(offset) => outcomes.extended(offset).cloned(),
                Read::Other(outcome) => Some(outcome),
            };
            if let Some(outcome) =
                outcome.filter(|outcome| !matches!(outcome, Outcome::Returned { error: None, .. }))
            {
                let outcome = judge(OutcomeFrame { outcome, ran_ns: 0 }, || None).arrived.outcome;
                let status = outcome.map_or_else(|kind| kind.status(), |_| TaskStatus::Completed);
                self.add(status, 1);
            }
        }
    }
}
