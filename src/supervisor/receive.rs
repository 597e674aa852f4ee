//! Receiving from the rings: what they have is told to the core, a batch at a time.

use super::perform::Arrivals;
use super::run::judge;
use super::shared::{Effects, Next, Shared};
use crate::core::{Finish, Finished};
use crate::task::info::TaskStatus;
use crate::transport::frame::Outcome;
use crate::transport::{Delivery, Outcomes, PackOutcomes, Read};

impl Shared {
    /// Take what `drain` has and tell the core in one go. `false`: there was nothing, or, unless it is to
    /// `wait`, somebody else was at it.
    pub(crate) fn collect(
        &self,
        wait: bool,
        drain: &mut dyn FnMut(&mut Vec<Delivery>),
    ) -> bool {
        let deliveries = if wait { Some(self.deliveries.lock()) } else { self.deliveries.try_lock() };
        let Some(mut deliveries) = deliveries else { return false };
        drain(&mut deliveries);
        if deliveries.is_empty() {
            return false;
        }
        let mut effects = Effects::default();
        let mut arrivals = Arrivals::NONE;
        let mut finished = Vec::with_capacity(deliveries.len());
        let mut packs = Vec::new();
        for delivery in deliveries.drain(..) {
            let Delivery { worker, ticket, outcomes, ran_ns, begun } = delivery;
            let ran = std::time::Duration::from_nanos(ran_ns);
            match outcomes {
                Outcomes::OfCall(frame) => {
                    let judged = judge(frame, || self.executor.pid(worker));
                    finished.push(Finished { ticket, finish: judged.finish, ran });
                    arrivals.push(ticket.task, judged.arrived);
                }
                Outcomes::OfPack(outcomes) => {
                    self.count_outcomes(&outcomes);
                    packs.push((ticket, outcomes, ran_ns, begun));
                    if begun.is_some() {
                        finished.push(Finished { ticket, finish: Finish::Returned, ran });
                    }
                }
            }
        }
        self.tell_driven(&mut effects, |driven, now, told| {
            for (ticket, outcomes, ran_ns, begun) in packs {
                let Some(cell) = driven.cell(ticket) else { continue };
                cell.with_pack(|slice| slice.on_outcomes(outcomes, ran_ns));
                if let Some(begun) = begun {
                    driven.split(now, ticket, begun, told);
                }
            }
            driven.on_all_finished(now, &finished, told);
        });
        drop(deliveries);
        self.perform(effects, arrivals, &mut Next::Unwanted);
        true
    }

    /// The calls of a pack count each for itself.
    fn count_outcomes(&self, outcomes: &PackOutcomes) {
        let mut totals = self.totals.lock();
        totals.completed += u64::from(outcomes.values());
        if outcomes.values() == outcomes.count() {
            return;
        }
        let mut offset = 0;
        while let Some((read, next)) = outcomes.read(offset) {
            offset = next;
            let outcome = match read {
                Read::Value(_) => continue,
                Read::Extended(index) => outcomes.extended(index).clone(),
                Read::Other(outcome) => outcome,
            };
            if matches!(outcome, Outcome::Returned { error: None, .. }) {
                continue;
            }
            let frame = crate::transport::OutcomeFrame { outcome, ran_ns: 0 };
            let outcome = judge(frame, || None).arrived.outcome;
            totals.count(outcome.map_or_else(|kind| kind.status(), |_| TaskStatus::Completed));
        }
    }
}
