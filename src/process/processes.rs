//! The worker processes of one pool, as the supervisor sees them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

use super::config::{Launch, ProcessConfig};
use super::error::WorkerStartError;
use super::exit::Exit;
use super::incarnation::{Incarnation, Way};
use super::memory_kills::Ledger;
use super::monitor::Monitor;
use super::output::Outputs;
use super::roster::Roster;
use super::sources::{EndedRing, RingEnd, Rings, Source};
use super::spawn::Ring;
use super::threads::{Threads, is_own_thread};
use super::wake::Wake;
use super::worker_log::WorkerLog;
use crate::core::SignalReason;
use crate::registry::FunctionInfo;
use crate::sync::{Mutex, Wish};
use crate::task::id::{Ticket, WorkerId};
use crate::transport::channel::ChannelLink;
use crate::transport::ring::{Collector, Helper, RingLink};
use crate::transport::{Attention, CallFrame, Fate, Kill, Link, OutcomeFrame, Revoke, Sink};

/// How long [`Processes::shut_down`] waits for deaths. A process in an uninterruptible sleep takes longer.
const SHUT_DOWN_MAX: Duration = Duration::from_secs(5);

/// Who is told about workers. Called from threads of the pool, or from within a call to [`Processes`],
/// with no lock of the pool held; may call back.
pub(crate) trait Owner: Send + Sync {
    /// An attempt came to its end. Never called for a ticket whose kill was won.
    fn on_outcome(&self, worker: WorkerId, ticket: Ticket, outcome: OutcomeFrame);

    /// Take what `source` has, in one go. Deliveries of one worker are never overtaken by its exit, or by
    /// each other. `false`: there was nothing, or, unless it is to `wait`, somebody else was at it.
    fn collect(&self, wait: bool, source: &mut dyn Source) -> bool;

    /// The worker waits for calls, which go over `link`. Its functions are told if its program is not this
    /// one.
    fn on_ready(
        &self,
        worker: WorkerId,
        pid: u32,
        catalogue: Option<Vec<FunctionInfo>>,
        link: Arc<dyn Link>,
    );

    /// The worker's thread that runs tasks is gone, and its process dies or is killed, which may take a while yet: other
    /// threads of it may not be through. Everything that it had committed was told. `fates`: what it had begun beside.
    /// Its exit follows, with no fates any more.
    fn on_doomed(&self, worker: WorkerId, fates: Vec<Fate>);

    /// The worker sent what no worker sends.
    fn on_corrupt(&self, worker: WorkerId, what: String);

    /// The worker is gone; the last call about it. Comes once for each [`Processes::spawn`]. `fates`: what it
    /// had begun and not committed, if its transport can tell.
    fn on_exited(&self, worker: WorkerId, exit: Arc<Exit>, fates: Vec<Fate>);
}

impl fmt::Debug for dyn Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner")
    }
}

/// The worker processes of one pool. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Processes {
    pub(super) shared: Arc<Shared>,
}

/// What the pool's threads share.
#[derive(Debug)]
pub(super) struct Shared {
    launch: Launch,
    owner: Weak<dyn Owner>,
    roster: RwLock<Roster>,
    commands: Mutex<Commands>,
    /// Wakes the monitor.
    wake: Wake,
    outputs: Arc<Outputs>,
    threads: Arc<Threads>,
    worker_log: WorkerLog,
    pub(super) memory_kills: Mutex<Ledger>,
    /// Looks after the rings, if calls go over rings.
    collector: Option<Arc<Collector>>,
    /// For channels: the worker with a call whose outcome nobody receives yet, or [`NO_WORKER`].
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
        let wake = Wake::new().map_err(lacking)?;
        let outputs = Outputs::start(launch.output.clone(), &threads).map_err(lacking)?;
        let collector = launch.transport.is_ring().then(Collector::new);
        let shared = Arc::new(Shared {
            launch,
            owner,
            roster: RwLock::default(),
            commands: Mutex::default(),
            wake,
            outputs,
            threads,
            worker_log: WorkerLog::new(),
            memory_kills: Mutex::new(Ledger::new()),
            collector,
            unattended: AtomicU64::new(NO_WORKER),
        });
        let monitor = Monitor::new(Arc::clone(&shared));
        let started = shared
            .start_collector()
            .and_then(|()| shared.threads.spawn("monitor", move || monitor.run()));
        if let Err(error) = started {
            shared.outputs.stop();
            shared.stop_collector();
            return Err(lacking(error));
        }
        Ok(Self { shared })
    }

    /// Start a worker after `delay`, unless it was [signalled](Self::signal) or [retired](Self::retire) before this. Answered
    /// by `on_ready` or `on_exited`.
    pub(crate) fn spawn(&self, worker: WorkerId, delay: Duration) {
        let Shared { owner, commands, .. } = &*self.shared;
        let incarnation =
            Arc::new(Incarnation::new(worker, owner.clone(), Arc::downgrade(&self.shared)));
        let doomed = self.shared.roster_mut().add(Arc::clone(&incarnation));
        if let Some(why) = doomed {
            incarnation.signal(why);
        }
        let ended = {
            let mut commands = commands.lock();
            commands.spawns.push((Instant::now() + delay, Arc::clone(&incarnation)));
            commands.ended
        };
        if ended {
            incarnation.signal(SignalReason::Stopping);
            incarnation.on_never_spawned(None);
        } else {
            // Looked at only now: who signals it from here on wakes the monitor after it was told of this.
            let delay = if incarnation.is_signalled() { Duration::ZERO } else { delay };
            self.shared.wake().within(delay);
        }
    }

    /// Send a call over a channel, to a worker that is ready. Never waits for it. If it is gone, its exit
    /// tells.
    pub(crate) fn stage(&self, worker: WorkerId, ticket: Ticket, call: CallFrame<'_>) {
        self.attend_channel();
        let attention = self.with_channel(worker, |link, _| link.send(ticket, call));
        if attention == Some(Attention::Unattended) {
            self.shared.unattended.store(worker.0, Ordering::Relaxed);
        }
    }

    /// Whoever submitted does something else than waiting: see that outcomes are received.
    pub(crate) fn attend(&self) {
        match &self.shared.collector {
            Some(collector) => {
                collector.attend(&|links, partly, seen| self.shared.gather(links, partly, seen));
            }
            None => self.attend_channel(),
        }
    }

    /// A submitter goes on submitting: receive what has come meanwhile.
    pub(crate) fn look(&self) {
        if let Some(collector) = &self.shared.collector {
            collector.look(&|links, partly, seen| self.shared.gather(links, partly, seen));
        }
    }

    /// The current thread, which is one of `owner`'s, waits, and looks after the rings meanwhile. `false`: somebody else
    /// does, or the pool stops.
    pub(crate) fn wait_for(&self, owner: &dyn Owner, wish: &Wish<'_>) -> bool {
        let gather = |links: &[_], partly, seen| self.shared.gather_for(owner, links, partly, seen);
        self.shared.collector.as_ref().is_some_and(|collector| collector.wait_for(wish, &gather))
    }

    /// The same for channels. Costs a load if there is nothing to see to.
    pub(crate) fn attend_channel(&self) {
        // A hint: a call that is missed here is seen to by the tick of its link's thread.
        if self.shared.unattended.load(Ordering::Relaxed) != NO_WORKER {
            let worker = WorkerId(self.shared.unattended.swap(NO_WORKER, Ordering::Relaxed));
            self.with_channel(worker, |link, _| link.attend());
        }
    }

    /// The current thread waits for `ticket` and receives from its channel meanwhile, if nobody else does.
    /// See [`ChannelLink::receive_for`].
    pub(crate) fn receive_for(&self, worker: WorkerId, ticket: Ticket, done: &dyn Fn() -> bool) {
        let own = self.shared.unattended.compare_exchange(
            worker.0,
            NO_WORKER,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if own.is_err() {
            self.attend_channel();
        }
        self.with_channel(worker, |link, sink| link.receive_for(ticket, done, sink));
    }

    /// Take back what was staged. `Begun` if the worker is gone: its exit decides.
    pub(crate) fn revoke(&self, worker: WorkerId, ticket: Ticket) -> Revoke {
        self.with_link(worker, |link| link.revoke(ticket)).unwrap_or(Revoke::Begun)
    }

    /// Decide between an outcome and a kill. `Won` if the worker is gone: all of its outcomes have been
    /// delivered. What the answer says about a ticket whose outcome the caller has, it may ignore.
    pub(crate) fn try_kill(&self, worker: WorkerId, ticket: Ticket) -> Kill {
        let gone = Kill::Won { begun: 1, finished: None };
        self.with_link(worker, |link| link.try_kill(ticket)).unwrap_or(gone)
    }

    /// SIGKILL to the worker's process group. Its exit follows. One that is yet to be spawned never is.
    pub(crate) fn signal(&self, worker: WorkerId, why: SignalReason) {
        let found = self.shared.find(worker);
        if let Some(incarnation) = found.or_else(|| self.shared.roster_mut().doom(worker, why)) {
            incarnation.signal(why);
            self.shared.wake().now();
        }
    }

    /// The worker gets no more calls, and ends when it has done what it has. One that was never ready is
    /// killed, and one that is yet to be spawned never is. Its exit follows.
    pub(crate) fn retire(&self, worker: WorkerId) {
        let incarnation = self.shared.find(worker);
        let ready = incarnation.as_ref().filter(|incarnation| !incarnation.is_starting());
        match ready.and_then(|incarnation| incarnation.way()) {
            Some(way) => way.link().retire(),
            None => self.signal(worker, SignalReason::Stopping),
        }
    }

    /// Kill what is left and wait a few seconds for the deaths. Exits are told meanwhile.
    ///
    /// From within a call to the owner it does not wait, since it would wait for itself.
    pub(crate) fn shut_down(&self) {
        self.shared.commands.lock().stopping = true;
        self.shared.wake().now();
        if !is_own_thread() {
            self.shared.threads.wait_for_all(SHUT_DOWN_MAX);
        }
    }

    fn with_link<T>(&self, worker: WorkerId, with: impl FnOnce(&dyn Link) -> T) -> Option<T> {
        let incarnation = self.shared.find(worker)?;
        incarnation.way().map(|way| with(&*way.link()))
    }

    fn with_channel<T>(
        &self,
        worker: WorkerId,
        with: impl FnOnce(&ChannelLink, &dyn Sink) -> T,
    ) -> Option<T> {
        let incarnation = self.shared.find(worker)?;
        match incarnation.way()? {
            Way::Channel(link) => Some(with(link, &*incarnation)),
            Way::Ring(_) => None,
        }
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

    pub(super) fn collector(&self) -> Option<&Arc<Collector>> {
        self.collector.as_ref()
    }

    fn start_collector(self: &Arc<Self>) -> std::io::Result<()> {
        let Some(collector) = self.collector.clone() else { return Ok(()) };
        let shared = Arc::clone(self);
        self.threads.spawn("collector", move || {
            collector.run(&|links, partly, seen| shared.gather(links, partly, seen));
        })
    }

    fn stop_collector(&self) {
        if let Some(collector) = &self.collector {
            collector.stop();
        }
    }

    /// The coordinator's end of a new worker's ring.
    pub(super) fn new_ring(&self, worker: WorkerId, pid: u32, ring: Ring) -> Arc<RingLink> {
        let collector = self.collector.as_ref().expect("only a pool with rings makes segments");
        let threads = Arc::clone(&self.threads);
        let helper = Helper::new(move |body| threads.spawn("copy", body).is_ok());
        RingLink::new(worker, pid, ring.segment, ring.parcels, Arc::clone(collector), helper)
    }

    /// The worker of this ring is ready.
    pub(super) fn add_ring(&self, link: &Arc<RingLink>) {
        if let Some(collector) = &self.collector {
            collector.add(Arc::clone(link));
        }
    }

    /// Deliver what the rings have. `false`: there was nothing, or somebody else was at it.
    fn gather(&self, links: &[Arc<RingLink>], partly: bool, seen: Option<Instant>) -> bool {
        let owner = self.owner.upgrade();
        owner.is_some_and(|owner| self.gather_for(&*owner, links, partly, seen))
    }

    fn gather_for(
        &self,
        owner: &dyn Owner,
        links: &[Arc<RingLink>],
        partly: bool,
        seen: Option<Instant>,
    ) -> bool {
        let mut source = Rings::new(links, partly, seen);
        let told = owner.collect(false, &mut source);
        for (worker, what) in source.into_corrupt() {
            if let Some(incarnation) = self.find(worker) {
                incarnation.on_corrupt(what);
            }
        }
        for link in links.iter().filter(|link| link.take_loss()) {
            if let Some(incarnation) = self.find(link.worker()) {
                incarnation.on_thread_lost(link);
            }
        }
        told
    }

    /// Nobody serves this ring any more: deliver what was committed, and say what was begun beside. `None`: that was
    /// said before.
    pub(super) fn end_ring(&self, link: &RingLink, end: RingEnd) -> Option<Vec<Fate>> {
        let mut ended = EndedRing::new(link, end);
        match self.owner.upgrade() {
            Some(owner) => _ = owner.collect(true, &mut ended),
            None => ended.begun(&mut Vec::new()),
        }
        ended.let_go();
        let fates = ended.into_fates();
        if let Some(collector) = &self.collector {
            collector.remove(link.worker());
        }
        fates
    }

    /// What wakes the monitor.
    pub(super) fn wake(&self) -> &Wake {
        &self.wake
    }

    /// The pool is being shut down.
    pub(super) fn is_stopping(&self) -> bool {
        self.commands.lock().stopping
    }

    /// For the monitor: what is to be started, and whether everything is to end.
    pub(super) fn take_commands(&self) -> (Vec<(Instant, Arc<Incarnation>)>, bool) {
        self.wake.silence();
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
        self.stop_collector();
    }

    /// The worker's last word has been said.
    pub(super) fn forget(&self, worker: WorkerId) {
        self.roster_mut().remove(worker);
        self.wake().now();
    }

    pub(super) fn find(&self, worker: WorkerId) -> Option<Arc<Incarnation>> {
        self.roster.read().unwrap_or_else(PoisonError::into_inner).find(worker)
    }

    /// Whether anybody is to end who is yet to come.
    #[cfg(test)]
    pub(super) fn expects_any(&self) -> bool {
        self.roster_mut().expects_any()
    }

    fn roster_mut(&self) -> RwLockWriteGuard<'_, Roster> {
        self.roster.write().unwrap_or_else(PoisonError::into_inner)
    }
}
