//! Where process tasks run: in worker processes, or, by a builder line, on a rayon pool or in the caller.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, OnceLock, Weak};
use std::time::Duration;

use super::crash::{Draft, log_kill, why_killed};
use super::error::StartError;
use super::exits::Exits;
use super::shared::Shared;
use crate::codec::Encoded;
use crate::core::{Core, SignalReason};
use crate::process::{Exit, Owner, ProcessConfig, Processes, Transport, WorkerStartError};
use crate::registry::{self, Catalogue, TaskEntry};
use crate::say::say;
use crate::sync::{Mutex, Wish, wait_awake};
use crate::task::cell::{Function, TaskCell};
use crate::task::error::SubmitError;
use crate::task::id::{Ticket, WorkerId};
use crate::task::options::Options;
use crate::transport::{Kill, Revoke};

/// Where process tasks run.
pub(crate) enum Executor {
    /// Worker processes: what the crate is for.
    Workers(Box<Workers>),
    /// Threads of this process.
    #[cfg(feature = "rayon")]
    Rayon(rayon::ThreadPool),
    /// The thread that submits.
    Inline,
}

/// The process pool, which starts with the supervisor or with the first process task.
pub(crate) struct Workers {
    pub(super) config: ProcessConfig,
    /// How many deaths in a row the core bears.
    restart_limit: u32,
    pool: OnceLock<Processes>,
    starting: Mutex<()>,
    /// What a separate program says it has.
    pub(super) catalogue: OnceLock<Catalogue>,
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) live: BTreeMap<WorkerId, u32>,
    pub(super) exits: Exits,
    /// Reports that wait for an exit.
    pub(super) drafts: Vec<Draft>,
    pub(super) was_ready: bool,
    pub(super) start_error: Option<WorkerStartError>,
    /// What went wrong last with a worker.
    pub(super) last_failure: Option<String>,
    pub(super) failed: bool,
    is_over: bool,
}

/// A submitter receives once in so many submissions.
const LOOK_EVERY: u32 = 32;

/// What the executor knows of a function.
pub(crate) struct Admitted {
    /// Where the worker's registry has it.
    pub(crate) index: u32,
    /// Options and label, if the call could not know them.
    pub(crate) declared: Option<Box<(Options, Option<String>)>>,
}

impl Workers {
    pub(crate) fn new(config: ProcessConfig, restart_limit: u32) -> Self {
        Self {
            config,
            restart_limit,
            pool: OnceLock::new(),
            starting: Mutex::new(()),
            catalogue: OnceLock::new(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Start the pool if it has not been started yet. Does not wait for a worker to be ready.
    fn start(&self, shared: &Arc<Shared>) -> Result<(), StartError> {
        if self.pool.get().is_some() {
            return Ok(());
        }
        let _one_at_a_time = self.starting.lock();
        if self.pool.get().is_some() {
            return Ok(());
        }
        let owner: Weak<dyn Owner> = Arc::downgrade(shared) as Weak<dyn Owner>;
        let pool = Processes::start(self.config.clone(), owner)?;
        drop(self.pool.set(pool));
        shared.drive(Core::on_workers_wanted);
        Ok(())
    }

    /// Wait until a worker is ready, or until it is certain that none will be.
    fn wait_ready(&self) -> Result<(), StartError> {
        let longest = self.config.start_timeout.saturating_mul(2);
        let mut patience = longest;
        let mut state = self.state.lock();
        loop {
            if state.was_ready {
                return Ok(());
            }
            // The first death says as much as the last; the user should not wait for the backoff.
            if let Some(error) = &state.start_error {
                return Err(error.clone().into());
            }
            if patience.is_zero() || state.is_over {
                return Err(StartError::NoWorker { waited: longest.saturating_sub(patience) });
            }
            state = wait_awake(&self.changed, state, &mut patience);
        }
    }
}

impl Executor {
    /// Start worker processes, if that is where tasks run, and wait for the first to be ready.
    pub(crate) fn start(&self, shared: &Arc<Shared>) -> Result<(), StartError> {
        match self {
            Self::Workers(workers) => {
                workers.start(shared)?;
                workers.wait_ready()
            }
            _ => Ok(()),
        }
    }

    /// Make sure that the pool runs and that it has this function. What the function's attribute declares,
    /// if the call could not know it.
    pub(crate) fn admit(
        &self,
        shared: &Arc<Shared>,
        function: &Function,
    ) -> Result<Admitted, SubmitError> {
        let separate = match self {
            Self::Workers(workers) => {
                let is_separate = workers.config.program.is_separate();
                // What another program has is known when a worker of it is ready, and not before.
                if workers.pool.get().is_none()
                    || (is_separate && workers.catalogue.get().is_none())
                {
                    self.start(shared).map_err(|error| shared.refusal(error))?;
                }
                if is_separate { workers.catalogue.get() } else { None }
            }
            _ => None,
        };
        match (function, separate) {
            (Function::Typed(entry), None) => {
                Ok(Admitted { index: registry::index_of(entry), declared: None })
            }
            (Function::Typed(entry), Some(catalogue)) => {
                let index = check_signature(entry, catalogue)?;
                Ok(Admitted { index, declared: None })
            }
            (Function::Named(name), None) => {
                let (index, entry) = registry::find_index(name).map_err(unknown)?;
                let label = entry.declared.label.map(str::to_owned);
                let declared = Some(Box::new((entry.declared.options, label)));
                Ok(Admitted { index, declared })
            }
            (Function::Named(name), Some(catalogue)) => {
                let (index, function) = catalogue.find(name).map_err(unknown)?;
                let declared = Some(Box::new((function.options, function.label.clone())));
                Ok(Admitted { index, declared })
            }
        }
    }

    /// Whether the buffers in the arguments can be sent to where the function runs.
    pub(crate) fn check_attachments(
        &self,
        function: &str,
        arguments: &Encoded,
    ) -> Result<(), SubmitError> {
        match self {
            Self::Workers(workers)
                if workers.config.transport == Transport::Channel
                    && !arguments.attachments().is_empty() =>
            {
                let reason = Encoded::NEEDS_RING.to_owned();
                Err(SubmitError::Unencodable { function: function.to_owned(), reason })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn pool(&self) -> Option<&Processes> {
        match self {
            Self::Workers(workers) => workers.pool.get(),
            _ => None,
        }
    }

    pub(crate) fn stage(&self, worker: WorkerId, ticket: Ticket, cell: &TaskCell) {
        if let Some(pool) = self.pool() {
            cell.with_encoded(|call| pool.stage(worker, ticket, call));
        }
    }

    /// A thread is about to submit: what has come meanwhile is received, now and then.
    pub(crate) fn on_submitting(&self, count: &AtomicU32) {
        // A lost count does no harm.
        let before = count.load(Ordering::Relaxed);
        count.store(before.wrapping_add(1), Ordering::Relaxed);
        if let Self::Workers(workers) = self
            && let Some(pool) = workers.pool.get()
        {
            match workers.config.transport {
                Transport::Channel => pool.attend(),
                _on_rings if before % LOOK_EVERY == LOOK_EVERY - 1 => pool.look(),
                _on_rings => {}
            }
        }
    }

    /// Receive what has come over rings meanwhile.
    pub(crate) fn look(&self) {
        if let Some(pool) = self.pool() {
            pool.look();
        }
    }

    /// The current thread waits, and looks after the rings meanwhile. `false`: somebody else does, or the pool stops.
    pub(crate) fn wait_for(&self, owner: &dyn Owner, wish: &Wish<'_>) -> bool {
        self.pool().is_some_and(|pool| pool.wait_for(owner, wish))
    }

    /// The submitter of the last call goes on with something else than waiting for it.
    pub(crate) fn attend(&self) {
        if let Some(pool) = self.pool() {
            pool.attend();
        }
    }

    /// Whether a thread that waits for a task can receive its outcome from a channel.
    pub(crate) fn lends_threads(&self) -> bool {
        matches!(self, Self::Workers(workers) if workers.config.transport == Transport::Channel)
    }

    /// The current thread waits for this attempt.
    pub(crate) fn receive_for(&self, worker: WorkerId, ticket: Ticket, done: &dyn Fn() -> bool) {
        if let Some(pool) = self.pool() {
            pool.receive_for(worker, ticket, done);
        }
    }

    pub(crate) fn revoke(&self, worker: WorkerId, ticket: Ticket) -> bool {
        self.pool().is_some_and(|pool| pool.revoke(worker, ticket) == Revoke::Revoked)
    }

    pub(crate) fn try_kill(&self, worker: WorkerId, ticket: Ticket) -> bool {
        self.pool().is_some_and(|pool| matches!(pool.try_kill(worker, ticket), Kill::Won { .. }))
    }

    /// Ask the attempt to give up, if the worker runs it.
    pub(crate) fn request_cancel(&self, worker: WorkerId, ticket: Ticket) {
        if let Some(pool) = self.pool() {
            pool.request_cancel(worker, ticket);
        }
    }

    pub(crate) fn signal(&self, worker: WorkerId, why: SignalReason) {
        #[cfg(atasker_sabotage)]
        let worker = match self {
            Self::Workers(workers) => {
                crate::sabotage::wrong_worker(workers.state.lock().live.keys(), worker)
            }
            _ => worker,
        };
        if let (Self::Workers(workers), true) = (self, why.is_own_fault()) {
            let cause = format!("a worker that was killed because {}", why_killed(why));
            workers.state.lock().last_failure = Some(cause);
        }
        if let Some(pool) = self.pool() {
            log_kill(worker, self.pid(worker), why);
            pool.signal(worker, why);
        }
    }

    /// How many bytes of memory the worker has of its own.
    pub(crate) fn weigh(&self, worker: WorkerId) -> Option<u64> {
        self.pool()?.weigh(worker)
    }

    pub(crate) fn spawn(&self, worker: WorkerId, delay: Duration) {
        if let Some(pool) = self.pool() {
            if !delay.is_zero() {
                say!(debug, target: "atasker::process", worker = worker.0, ?delay, "worker held back");
            }
            pool.spawn(worker, delay);
        }
    }

    pub(crate) fn retire(&self, worker: WorkerId) {
        if let Some(pool) = self.pool() {
            say!(
                debug, target: "atasker::process", worker = worker.0, pid = self.pid(worker), "worker retires"
            );
            pool.retire(worker);
        }
    }

    /// End every worker that is left. Bounded.
    pub(crate) fn shut_down(&self) {
        let Self::Workers(workers) = self else { return };
        // Who waits for the first to be ready waits in vain.
        workers.state.lock().is_over = true;
        workers.changed.notify_all();
        if let Some(pool) = workers.pool.get() {
            pool.shut_down();
        }
    }

    /// The process of a worker, also of one that died lately.
    pub(crate) fn pid(&self, worker: WorkerId) -> Option<u32> {
        let Self::Workers(workers) = self else {
            return None;
        };
        let state = workers.state.lock();
        state
            .live
            .get(&worker)
            .copied()
            .or_else(|| state.exits.find(worker).and_then(|exit| exit.pid))
    }

    /// How a worker ended that has ended lately.
    pub(super) fn exit(&self, worker: WorkerId) -> Option<Arc<Exit>> {
        let Self::Workers(workers) = self else { return None };
        workers.state.lock().exits.find(worker).cloned()
    }

    /// Finish the draft, now or when its worker's exit is told.
    pub(super) fn report(&self, draft: Draft) {
        let Self::Workers(workers) = self else { return };
        let mut state = workers.state.lock();
        match state.exits.find(draft.worker).cloned() {
            Some(exit) => {
                drop(state);
                draft.finish(&exit);
            }
            None if state.live.contains_key(&draft.worker) => state.drafts.push(draft),
            // It died so long ago that nothing is known of it any more.
            None => {}
        }
    }

    /// Whether no worker starts any more.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self, Self::Workers(workers) if workers.state.lock().failed)
    }

    /// Why no worker starts any more.
    pub(crate) fn failure_reason(&self) -> String {
        let Self::Workers(workers) = self else {
            return String::new();
        };
        let last_failure = workers.state.lock().last_failure.clone();
        let cause = last_failure.unwrap_or_else(|| "no worker could be started".to_owned());
        format!(
            "the process pool has given up starting workers, after {} in a row that died before they ran a task \
             (`restart_limit`), with growing pauses between them; the last one: {cause}",
            workers.restart_limit.saturating_add(1)
        )
    }

    pub(crate) fn on_pool_failed(&self) {
        if let Self::Workers(workers) = self {
            workers.state.lock().failed = true;
            workers.changed.notify_all();
        }
    }

    /// The functions of a separate worker program. `None`: it is this program.
    pub(crate) fn catalogue(&self) -> Option<&Catalogue> {
        match self {
            Self::Workers(workers) => workers.catalogue.get(),
            _ => None,
        }
    }
}

fn unknown(error: registry::FindError) -> SubmitError {
    SubmitError::UnknownFunction(error.to_string())
}

/// Where the other program has the function.
fn check_signature(entry: &TaskEntry, catalogue: &Catalogue) -> Result<u32, SubmitError> {
    let (index, there) = catalogue.find(entry.path).map_err(unknown)?;
    if there.digest == (entry.digest)() {
        return Ok(index);
    }
    Err(SubmitError::SignatureMismatch {
        function: entry.path.to_owned(),
        here: entry.signature.to_owned(),
        there: there.signature.clone(),
    })
}
