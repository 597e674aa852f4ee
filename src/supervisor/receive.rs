//! Receiving from the rings: what they have is told to the core, a batch at a time.

use std::time::Duration;

use super::perform::Arrivals;
use super::run::judge;
use super::shared::{Effects, Next, Shared};
use crate::core::{Finish, Finished};
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
    ticket: Ticket,
    outcomes: PackOutcomes,
    ran_ns: u64,
    begun: Option<u32>,
}

impl Shared {
    /// Take what `drain` has and tell the core in one go. `false`: there was nothing, or, unless it is to
    /// `wait`, somebody else was at it.
    pub(crate) fn collect(&self, wait: bool, drain: &mut dyn FnMut(&mut Vec<Delivery>)) -> bool {
        let desk = if wait { Some(self.desk.lock()) } else { self.desk.try_lock() };
        let Some(mut desk) = desk else { return false };
        let Desk { deliveries, finished, packs } = &mut *desk;
        drain(deliveries);
        if deliveries.is_empty() {
            return false;
        }
        let mut arrivals = Arrivals::NONE;
        for delivery in deliveries.drain(..) {
            let Delivery { worker: _, pid, ticket, outcomes, ran_ns, begun } = delivery;
            let ran = Duration::from_nanos(ran_ns);
            match outcomes {
                Outcomes::OfCall(frame) => {
                    let mut judged = judge(frame, || Some(pid));
                    judged.arrived.pid = Some(pid);
                    finished.push(Finished { ticket, finish: judged.finish, ran });
                    arrivals.push(ticket.task, judged.arrived);
                }
                Outcomes::OfPack(outcomes) => {
                    self.count_outcomes(&outcomes);
                    packs.push(OfPack { ticket, outcomes, ran_ns, begun });
                    if begun.is_some() {
                        finished.push(Finished { ticket, finish: Finish::Returned, ran });
                    }
                }
            }
        }
        let mut effects = Effects::default();
        self.tell_driven(&mut effects, |driven, now, told| {
            for OfPack { ticket, outcomes, ran_ns, begun } in packs.drain(..) {
                let Some(cell) = driven.cell(ticket) else { continue };
                cell.with_pack(|slice| slice.on_outcomes(outcomes, ran_ns));
                if let Some(begun) = begun {
                    driven.split(now, ticket, begun, told);
                }
            }
            driven.on_all_finished(now, finished, told);
        });
        finished.clear();
        drop(desk);
        self.perform(effects, arrivals, &mut Next::Unwanted);
        true
    }

    /// The calls of a pack count each for itself.
    fn count_outcomes(&self, outcomes: &PackOutcomes) {
        self.counters.add(TaskStatus::Completed, u64::from(outcomes.values()));
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
                self.counters.add(status, 1);
            }
        }
    }
}
