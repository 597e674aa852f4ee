//! The worker processes of one pool, as the supervisor sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use super::config::{Launch, ProcessConfig};
use super::error::WorkerStartError;
use super::exit::Exit;
use super::incarnation::Incarnation;
use super::monitor::Monitor;
use super::output::Outputs;
use super::threads::Threads;
use super::worker_log::WorkerLog;
use crate::core::SignalReason;
use crate::registry::FunctionInfo;
use crate::sync::Mutex;
use crate::sys::Bell;
use crate::task::id::{Ticket, WorkerId};
use crate::transport::{Attention, CallFrame, Kill, Link, OutcomeFrame, Revoke};

/// How long [`Processes::shut_down`] waits for deaths. A process in an uninterruptible sleep takes longer.
const SHUT_DOWN_MAX: Duration = Duration::from_secs(5);

/// Who is told about workers. Called from threads of the pool, or from within a call to [`Processes`],
/// with no lock of the pool held; may call back.
pub(crate) trait Owner: Send + Sync {
    /// An attempt came to its end. Never called for a ticket whose kill was won.
    fn on_outcome(&self, worker: WorkerId, ticket: Ticket, outcome: OutcomeFrame);

    /// The worker waits for calls. Its functions are told if its program is not this one.
    fn on_ready(&self, worker: WorkerId, pid: u32, catalogue: Option<Vec<FunctionInfo>>);

    /// The worker sent what no worker sends.
    fn on_corrupt(&self, worker: WorkerId, what: String);

    /// The worker is gone; the last call about it. Comes once for each [`Processes::spawn`].
    fn on_exited(&self, worker: WorkerId, exit: Arc<Exit>);
}

impl fmt::Debug for dyn Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner")
    }
}

/// The worker processes of one pool. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Processes {
    shared: Arc<Shared>,
}

/// What the pool's threads share.
#[derive(Debug)]
pub(super) struct Shared {
    launch: Launch,
    owner: Weak<dyn Owner>,
    workers: RwLock<BTreeMap<WorkerId, Arc<Incarnation>>>,
    commands: Mutex<Commands>,
    /// Wakes the monitor.
    bell: Bell,
    outputs: Arc<Outputs>,
    threads: Arc<Threads>,
    worker_log: WorkerLog,
    /// The worker with a call whose outcome nobody receives yet, or [`NO_WORKER`].
    unattended: AtomicU64,
}

/// No worker has this number.
const NO_WORKER: u64 = u64::MAX;

/// What the monitor is to do.
#[derive(Debug, Default)]
struct Commands {
    spawns: Vec<(Instant, Arc<Incarnation>)>,
    stopping: bool,
    /// The monitor takes no more of them.
    ended: bool,
}

impl Processes {
    /// Start the pool's own threads, but no worker yet.
    pub(crate) fn start(
        config: ProcessConfig,
        owner: Weak<dyn Owner>,
    ) -> Result<Self, WorkerStartError> {
        let lacking = |source| WorkerStartError::Resources { source: Arc::new(source) };
        let launch = Launch::new(config)?;
        let threads = Arc::new(Threads::default());
        let bell = Bell::new().map_err(lacking)?;
        let outputs = Outputs::start(launch.output.clone(), &threads).map_err(lacking)?;
        let shared = Arc::new(Shared {
            launch,
            owner,
            workers: RwLock::default(),
            commands: Mutex::default(),
            bell,
            outputs,
            threads,
            worker_log: WorkerLog::new(),
            unattended: AtomicU64::new(NO_WORKER),
        });
        let monitor = Monitor::new(Arc::clone(&shared));
        if let Err(error) = shared.threads.spawn("monitor", move || monitor.run()) {
            shared.outputs.stop();
            return Err(lacking(error));
        }
        Ok(Self { shared })
    }

    /// Start a worker after `delay`. Answered by `on_ready` or `on_exited`.
    pub(crate) fn spawn(&self, worker: WorkerId, delay: Duration) {
        let Shared { owner, workers, commands, .. } = &*self.shared;
        let incarnation =
            Arc::new(Incarnation::new(worker, owner.clone(), Arc::downgrade(&self.shared)));
        workers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(worker, Arc::clone(&incarnation));
        let ended = {
            let mut commands = commands.lock();
            commands.spawns.push((Instant::now() + delay, Arc::clone(&incarnation)));
            commands.ended
        };
        if ended {
            incarnation.signal(SignalReason::Stopping);
            incarnation.on_never_spawned(None);
        } else {
            self.shared.wake_monitor();
        }
    }

    /// Send a call to a worker that is ready. Never waits for it. If it is gone, its exit tells.
    pub(crate) fn stage(&self, worker: WorkerId, ticket: Ticket, call: CallFrame<'_>) {
        self.attend();
        let attention = self.with_link(worker, |link| link.stage(ticket, call));
        if attention == Some(Attention::Unattended) {
            self.shared.unattended.store(worker.0, Ordering::Relaxed);
        }
    }

    /// The submitter of the last call does something else than waiting for it: see that its outcome is
    /// received. Costs a load if there is nothing to see to.
    pub(crate) fn attend(&self) {
        // A hint: a call that is missed here is seen to by the tick of its link's thread.
        if self.shared.unattended.load(Ordering::Relaxed) != NO_WORKER {
            let worker = WorkerId(self.shared.unattended.swap(NO_WORKER, Ordering::Relaxed));
            self.with_link(worker, |link| link.attend());
        }
    }

    /// The current thread waits for `ticket` and receives meanwhile, if nobody else does. See
    /// [`Link::receive_for`].
    pub(crate) fn receive_for(&self, worker: WorkerId, ticket: Ticket, done: &dyn Fn() -> bool) {
        let own = self.shared.unattended.compare_exchange(
            worker.0,
            NO_WORKER,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if own.is_err() {
            self.attend();
        }
        if let Some(incarnation) = self.shared.find(worker)
            && let Some(link) = incarnation.link()
        {
            link.receive_for(ticket, done, &*incarnation);
        }
    }

    /// Take back what was staged. `Begun` if the worker is gone: its exit decides.
    pub(crate) fn revoke(&self, worker: WorkerId, ticket: Ticket) -> Revoke {
        self.with_link(worker, |link| link.revoke(ticket)).unwrap_or(Revoke::Begun)
    }

    /// Decide between an outcome and a kill. `Won` if the worker is gone: all of its outcomes have been
    /// delivered. What the answer says about a ticket whose outcome the caller has, it may ignore.
    pub(crate) fn try_kill(&self, worker: WorkerId, ticket: Ticket) -> Kill {
        self.with_link(worker, |link| link.try_kill(ticket)).unwrap_or(Kill::Won)
    }

    /// SIGKILL to the worker's process group. Its exit follows.
    pub(crate) fn signal(&self, worker: WorkerId, why: SignalReason) {
        if let Some(incarnation) = self.shared.find(worker) {
            incarnation.signal(why);
            self.shared.wake_monitor();
        }
    }

    /// The worker gets no more calls, and ends when it has done what it has. One that was never ready is
    /// killed. Its exit follows.
    pub(crate) fn retire(&self, worker: WorkerId) {
        let Some(incarnation) = self.shared.find(worker) else {
            return;
        };
        match incarnation.link().filter(|_| !incarnation.is_starting()) {
            Some(link) => link.retire(),
            None => self.signal(worker, SignalReason::Stopping),
        }
    }

    /// Kill what is left and wait a few seconds for the deaths. Exits are told meanwhile.
    ///
    /// From within a call to the owner it does not wait, since it would wait for itself.
    pub(crate) fn shut_down(&self) {
        self.shared.commands.lock().stopping = true;
        self.shared.wake_monitor();
        if !Threads::is_one() {
            self.shared.threads.wait_for_all(SHUT_DOWN_MAX);
        }
    }

    fn with_link<T>(&self, worker: WorkerId, with: impl FnOnce(&dyn Link) -> T) -> Option<T> {
        let incarnation = self.shared.find(worker)?;
        incarnation.link().map(|link| with(link))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Shared {
    pub(super) fn launch(&self) -> &Launch {
        &self.launch
    }

    pub(super) fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    pub(super) fn threads(&self) -> &Arc<Threads> {
        &self.threads
    }

    pub(super) fn worker_log(&self) -> &WorkerLog {
        &self.worker_log
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// The pool is being shut down.
    pub(super) fn is_stopping(&self) -> bool {
        self.commands.lock().stopping
    }

    pub(super) fn wake_monitor(&self) {
        self.bell.ring();
    }

    /// For the monitor: what is to be started, and whether everything is to end.
    pub(super) fn take_commands(&self) -> (Vec<(Instant, Arc<Incarnation>)>, bool) {
        self.bell.silence();
        let mut commands = self.commands.lock();
        (std::mem::take(&mut commands.spawns), commands.stopping)
    }

    /// The monitor is about to end. What came too late for it is answered here.
    pub(super) fn on_monitor_ended(&self) {
        let late = {
            let mut commands = self.commands.lock();
            commands.ended = true;
            std::mem::take(&mut commands.spawns)
        };
        for (_, incarnation) in late {
            incarnation.signal(SignalReason::Stopping);
            incarnation.on_never_spawned(None);
        }
        self.outputs.stop();
    }

    /// The worker's last word has been said.
    pub(super) fn forget(&self, worker: WorkerId) {
        self.workers.write().unwrap_or_else(PoisonError::into_inner).remove(&worker);
        self.wake_monitor();
    }

    fn find(&self, worker: WorkerId) -> Option<Arc<Incarnation>> {
        self.workers.read().unwrap_or_else(PoisonError::into_inner).get(&worker).cloned()
    }
}
