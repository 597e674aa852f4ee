//! What the process pool tells: outcomes, and how workers come and go.

use std::sync::Arc;

use super::executor::Executor;
use super::perform::Arrivals;
use super::shared::{Effects, Next, Shared};
use crate::process::{Exit, Owner, Source};
use crate::registry::{Catalogue, FunctionInfo};
use crate::say::say;
use crate::task::id::{Ticket, WorkerId};
use crate::transport::frame::OutcomeFrame;
use crate::transport::{Fate, Link};

impl Owner for Shared {
    fn on_outcome(&self, worker: WorkerId, ticket: Ticket, frame: OutcomeFrame) {
        let judged = super::run::judge(frame, || self.executor.pid(worker));
        self.on_attempt_ended(ticket, judged.finish, judged.arrived, &mut Next::Unwanted);
    }

    fn collect(&self, wait: bool, source: &mut dyn Source) -> bool {
        Self::collect(self, wait, source)
    }

    fn on_ready(
        &self,
        worker: WorkerId,
        pid: u32,
        functions: Option<Vec<FunctionInfo>>,
        link: Arc<dyn Link>,
    ) {
        let Executor::Workers(workers) = &self.executor else {
            return;
        };
        if let Some(functions) = functions {
            drop(workers.catalogue.set(Catalogue::new(functions)));
        }
        let mut state = workers.state.lock();
        state.live.insert(worker, pid);
        state.was_ready = true;
        drop(state);
        workers.changed.notify_all();
        let mut effects = Effects::default();
        self.tell_driven(&mut effects, |driven, now, told| {
            if workers.config.transport.is_ring() {
                driven.add_link(worker, pid, link);
            }
            driven.on_worker_ready(now, worker, told);
        });
        self.perform(effects, Arrivals::NONE, &mut Next::Unwanted);
    }

    fn on_doomed(&self, worker: WorkerId, fates: Vec<Fate>) {
        let begun: Vec<Ticket> = fates.iter().map(|fate| fate.ticket).collect();
        say!(trace, target: "atasker::process", worker = worker.0, pid = self.executor.pid(worker), "worker dies");
        let mut effects = Effects::default();
        self.tell_driven(&mut effects, |driven, now, told| {
            driven.on_fates(now, &fates, told);
            driven.on_worker_doomed(now, worker, &begun, told);
        });
        self.perform(effects, Arrivals::NONE, &mut Next::Unwanted);
    }

    fn on_corrupt(&self, worker: WorkerId, what: String) {
        say!(error, target: "atasker::process", worker = worker.0, what, "worker sent garbage");
        self.drive(|core, now, effects| core.on_worker_corrupt(now, worker, effects));
    }

    fn on_exited(&self, worker: WorkerId, exit: Arc<Exit>, fates: Vec<Fate>) {
        let Executor::Workers(workers) = &self.executor else {
            return;
        };
        say!(
            debug, target: "atasker::process",
            worker = exit.worker.0,
            pid = exit.pid,
            status = %exit.death.status,
            was_ready = exit.started,
            killed_because = exit.signalled.map(debug),
            lived = ?exit.lived,
            "worker ended"
        );
        if let Some(error) = &exit.start_error {
            say!(warn, target: "atasker::process", worker = worker.0, %error, "worker did not start");
        }
        let mut state = workers.state.lock();
        state.live.remove(&worker);
        if let Some(error) = &exit.start_error {
            state.start_error = Some(error.clone());
        }
        // Those that are retired afterwards are not what led to it.
        if exit.signalled.is_none() && !state.failed {
            state.last_failure = Some(exit.cause());
        }
        state.exits.add(Arc::clone(&exit));
        let drafts: Vec<_> = state.drafts.extract_if(.., |draft| draft.worker == worker).collect();
        drop(state);
        for draft in drafts {
            draft.finish(&exit);
        }
        workers.changed.notify_all();
        let begun: Vec<Ticket> = fates.iter().map(|fate| fate.ticket).collect();
        let mut effects = Effects::default();
        self.tell_driven(&mut effects, |driven, now, told| {
            driven.on_fates(now, &fates, told);
            driven.remove_link(worker);
            driven.on_worker_exited(now, worker, &begun, told);
        });
        self.perform(effects, Arrivals::NONE, &mut Next::Unwanted);
        workers.state.lock().exits.on_told(worker);
    }
}
