//! An owner that remembers what it was told.

use std::collections::BTreeMap;
use std::sync::Condvar;

use super::*;
use crate::sync::wait_on;
use crate::transport::{Delivery, Outcomes, Read};

#[derive(Clone, Debug)]
pub(in crate::process) enum Told {
    Ready {
        pid: u32,
    },
    Outcome(Ticket, OutcomeFrame),
    /// Some outcomes of a pack, and of the last how many calls have begun.
    Part(Ticket, Vec<Outcome>, Option<u32>),
    Corrupt(#[expect(dead_code, reason = "shown when an assertion fails")] String),
    Exited(Arc<Exit>, Vec<Fate>),
}

#[derive(Default)]
pub(in crate::process) struct Recorder {
    told: Mutex<Vec<(WorkerId, Told)>>,
    more: Condvar,
    links: Mutex<Vec<(WorkerId, Arc<dyn Link>)>>,
    /// Whose process was ready last under each number.
    workers: Mutex<BTreeMap<u32, WorkerId>>,
    doomed: Mutex<BTreeMap<WorkerId, Vec<Fate>>>,
    /// Held while deliveries are taken and told, as an owner must.
    deliveries: Mutex<Vec<Delivery>>,
}

impl Recorder {
    fn tell(&self, worker: WorkerId, told: Told) {
        self.told.lock().push((worker, told));
        self.more.notify_all();
    }

    /// Wait until something that was told answers `find`, and take it out.
    #[track_caller]
    pub(super) fn wait_for<T>(&self, what: &str, find: impl Fn(WorkerId, &Told) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        let mut told = self.told.lock();
        loop {
            let found = told
                .iter()
                .enumerate()
                .find_map(|(at, (worker, told))| Some((at, find(*worker, told)?)));
            if let Some((at, found)) = found {
                told.remove(at);
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} in {:?}", *told);
            told = wait_on(&self.more, told, Some(left));
        }
    }

    /// What the worker had begun when it was doomed, if it was.
    pub(super) fn doomed(&self, worker: WorkerId) -> Option<Vec<Fate>> {
        self.doomed.lock().get(&worker).cloned()
    }

    /// Whether its exit was told, and nobody has taken that out.
    pub(super) fn has_exited(&self, worker: WorkerId) -> bool {
        let told = self.told.lock();
        told.iter().any(|(of, told)| *of == worker && matches!(told, Told::Exited(..)))
    }

    pub(super) fn rest(&self) -> Vec<(WorkerId, Told)> {
        self.told.lock().clone()
    }

    /// The way to a worker that is ready.
    pub(super) fn link(&self, worker: WorkerId) -> Arc<dyn Link> {
        let links = self.links.lock();
        let link = links.iter().find(|(other, _)| *other == worker).expect("it was ready once");
        Arc::clone(&link.1)
    }

    fn on_delivery(&self, delivery: Delivery) {
        let Delivery { pid, ticket, outcomes, begun, .. } = delivery;
        let worker = self.workers.lock()[&pid];
        match outcomes {
            Outcomes::OfCall(frame) => self.tell(worker, Told::Outcome(ticket, frame)),
            Outcomes::OfPack(outcomes) => {
                self.tell(worker, Told::Part(ticket, unpacked(&outcomes), begun));
            }
        }
    }
}

/// The outcomes of a pack, one by one.
pub(super) fn unpacked(outcomes: &crate::transport::PackOutcomes) -> Vec<Outcome> {
    let mut all = Vec::new();
    let mut offset = 0;
    while let Some((read, next)) = outcomes.read(offset) {
        offset = next;
        all.push(match read {
            Read::Value(value) => Outcome::Returned { value: value.to_vec().into(), error: None },
            Read::Other(outcome) => outcome,
            Read::Extended(offset) => outcomes.extended(offset).expect("it was checked").clone(),
        });
    }
    assert_eq!(all.len(), outcomes.count() as usize);
    all
}

impl Owner for Recorder {
    fn on_outcome(&self, worker: WorkerId, ticket: Ticket, outcome: OutcomeFrame) {
        self.tell(worker, Told::Outcome(ticket, outcome));
    }

    fn collect(&self, wait: bool, source: &mut dyn Source) -> bool {
        let deliveries =
            if wait { Some(self.deliveries.lock()) } else { self.deliveries.try_lock() };
        let Some(mut deliveries) = deliveries else { return false };
        source.committed(&mut deliveries);
        source.begun(&mut deliveries);
        let any = !deliveries.is_empty();
        deliveries.drain(..).for_each(|delivery| self.on_delivery(delivery));
        any
    }

    fn on_ready(
        &self,
        worker: WorkerId,
        pid: u32,
        _: Option<Vec<FunctionInfo>>,
        link: Arc<dyn Link>,
    ) {
        self.links.lock().push((worker, link));
        self.workers.lock().insert(pid, worker);
        self.tell(worker, Told::Ready { pid });
    }

    fn on_doomed(&self, worker: WorkerId, fates: Vec<Fate>) {
        let before = self.doomed.lock().insert(worker, fates);
        assert!(before.is_none(), "{worker} is doomed once");
    }

    fn on_corrupt(&self, worker: WorkerId, what: String) {
        self.tell(worker, Told::Corrupt(what));
    }

    fn on_exited(&self, worker: WorkerId, exit: Arc<Exit>, fates: Vec<Fate>) {
        // What is told first of some deaths is told of all when they are over.
        let doomed = self.doomed.lock().get(&worker).cloned();
        assert!(doomed.is_none() || fates.is_empty(), "fates are told once");
        self.tell(worker, Told::Exited(exit, doomed.unwrap_or(fates)));
    }
}
