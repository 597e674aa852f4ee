//! What the threads of a pool know together about one life of a worker, and the order in which its owner
//! hears of it: ready before outcomes, outcomes before the exit, each once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use ipc_channel::ipc::IpcSender;

use super::end_markers::EndMarkers;
use super::exit::{Death, Exit};
use super::life::{Awaited, FOLLOWS_WITHIN, Phase, Readiness, Serving, State};
use super::processes::{Owner, Shared};
use super::protocol::FromWorker;
use super::sources::RingEnd;
use super::start_failure::{StartFailure, start_error};
use crate::blackbox::BlackBox;
use crate::core::SignalReason;
use crate::registry::FunctionInfo;
use crate::say::say;
use crate::sync::Mutex;
use crate::sys;
use crate::sys::crash::inquiry_signal;
use crate::sys::process::{Child, Status, Usage};
use crate::task::cause::ExitCause;
use crate::task::id::{Ticket, WorkerId};
use crate::transport::channel::ChannelLink;
use crate::transport::ring::RingLink;
use crate::transport::{Link, OutcomeFrame, Sink};

#[derive(Debug)]
pub(super) struct Incarnation {
    pub(super) id: WorkerId,
    owner: Weak<dyn Owner>,
    shared: Weak<Shared>,
    link: OnceLock<Way>,
    blackbox: OnceLock<Arc<BlackBox>>,
    state: Mutex<State>,
}

/// How calls reach it.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Ring(Arc<RingLink>),
    Channel(Arc<ChannelLink>),
}

impl Way {
    pub(super) fn link(&self) -> Arc<dyn Link> {
        match self {
            Self::Ring(link) => Arc::clone(link) as Arc<dyn Link>,
            Self::Channel(link) => Arc::clone(link) as Arc<dyn Link>,
        }
    }
}

impl Incarnation {
    pub(super) fn new(id: WorkerId, owner: Weak<dyn Owner>, shared: Weak<Shared>) -> Self {
        let (link, blackbox) = (OnceLock::new(), OnceLock::new());
        Self { id, owner, shared, link, blackbox, state: Mutex::default() }
    }

    /// The way for calls, once there is one.
    pub(super) fn way(&self) -> Option<&Way> {
        self.link.get()
    }

    /// Whether somebody had stopped its process, which goes on now.
    pub(super) fn continue_if_stopped(&self) -> bool {
        self.state.lock().child.as_ref().is_some_and(|child| child.continue_if_stopped())
    }

    /// The CPU time of its process, while that lives.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        self.state.lock().child.as_ref()?.cpu_time()
    }

    /// What it leaves word in, once it was started.
    pub(super) fn blackbox(&self) -> Option<&Arc<BlackBox>> {
        self.blackbox.get()
    }

    pub(super) fn set_blackbox(&self, blackbox: Arc<BlackBox>) {
        let set = self.blackbox.set(blackbox);
        debug_assert!(set.is_ok(), "an incarnation is started once");
    }

    /// It was started with a ring.
    pub(super) fn set_ring(&self, link: Arc<RingLink>) {
        let set = self.link.set(Way::Ring(link));
        debug_assert!(set.is_ok(), "an incarnation is started once");
    }

    /// It is dead: deliver what it had committed, then say that nothing more will come.
    pub(super) fn end_ring(&self, link: &RingLink) {
        if let Some(shared) = self.shared.upgrade()
            && let Some(fates) = shared.end_ring(link, RingEnd::Dead)
        {
            self.state.lock().fates = fates;
        }
        self.state.lock().link_ended = true;
        self.report_if_complete();
    }

    /// Its thread that serves calls has ended, nearly always because the kernel ends the process. Tells the owner at once:
    /// the kernel may be long at taking down what the process had of memory.
    pub(super) fn on_thread_lost(&self, link: &RingLink) {
        let Some(shared) = self.shared.upgrade() else { return };
        let tells = {
            let mut state = self.state.lock();
            state.serving = Serving::Ended(Instant::now());
            state.telling = state.phase == Phase::Started && !state.is_dead();
            state.telling
        };
        if tells {
            if let Some(fates) = shared.end_ring(link, RingEnd::ThreadLost) {
                self.tell(|owner| owner.on_doomed(self.id, fates));
            }
            self.state.lock().telling = false;
            self.report_if_complete();
        }
        // The monitor is left alone until then, and has no core that the caller may need.
        shared.wake().within(FOLLOWS_WITHIN);
    }

    /// When it is to be looked whether it goes on without its serving thread.
    pub(super) fn follows_until(&self) -> Option<Instant> {
        self.state.lock().follows_until()
    }

    pub(super) fn end_if_deserted(&self) {
        self.state.lock().end_if_deserted();
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.state.lock().pid
    }

    /// How many bytes of memory it has of its own.
    pub(super) fn memory(&self) -> Option<u64> {
        let held = sys::memory::held_by(self.pid()?);
        // As long as it was not reaped, nobody else can have had its number.
        held.filter(|_| self.state.lock().child.is_some())
    }

    pub(super) fn is_starting(&self) -> bool {
        !self.state.lock().is_ready()
    }

    /// Whether it was to be ended before it was even spawned.
    pub(super) fn is_signalled(&self) -> bool {
        self.state.lock().signalled.is_some()
    }

    pub(super) fn is_reported(&self) -> bool {
        self.state.lock().reported
    }

    pub(super) fn on_spawned(&self, child: Arc<Child>, at: Instant) {
        say!(
            debug, target: "atasker::process", worker = self.id.0, pid = child.pid(), "worker spawned"
        );
        let mut state = self.state.lock();
        state.spawned = Some(at);
        state.pid = Some(child.pid());
        if state.signalled.is_some() {
            child.kill_group();
        }
        state.child = Some(child);
    }

    /// There is no process, and there will be none.
    pub(super) fn on_never_spawned(&self, failure: Option<StartFailure>) {
        {
            let mut state = self.state.lock();
            state.failure = failure;
            state.death = Some(Death::of_none());
            state.control_ended = true;
        }
        self.report_if_complete();
    }

    pub(super) fn on_announced(&self) {
        let mut state = self.state.lock();
        if state.phase == Phase::Silent {
            state.phase = Phase::Announced;
        }
    }

    /// Keep what is needed to end the control channel. Whether there will be somebody to end it.
    pub(super) fn arm(
        &self,
        channel: Option<ChannelLink>,
        control: IpcSender<FromWorker>,
    ) -> Readiness {
        let mut state = self.state.lock();
        let way = channel.map(|link| Way::Channel(Arc::new(link)));
        if state.is_dead() || way.is_some_and(|way| self.link.set(way).is_err()) {
            return Readiness::No;
        }
        state.control = Some(control);
        Readiness::Go
    }

    /// From now on its link has a receiver, which will say that it has ended.
    pub(super) fn on_ready(&self) -> Readiness {
        let mut state = self.state.lock();
        if state.is_dead() || state.phase != Phase::Announced {
            return Readiness::No;
        }
        state.phase = Phase::Announcing;
        Readiness::Go
    }

    /// Tell the owner, and from then on count as started.
    pub(super) fn announce_ready(&self, catalogue: Option<Vec<FunctionInfo>>) {
        let pid = self.pid().unwrap_or_default();
        let Some(way) = self.link.get() else { return };
        if let (Way::Ring(link), Some(shared)) = (way, self.shared.upgrade()) {
            shared.add_ring(link);
        }
        let spawned = self.state.lock().spawned;
        say!(
            debug, target: "atasker::process", worker = self.id.0, pid,
            after = spawned.map(|spawned| debug(spawned.elapsed())), "worker ready"
        );
        self.tell(|owner| owner.on_ready(self.id, pid, catalogue, way.link()));
        self.state.lock().phase = Phase::Started;
        self.report_if_complete();
    }

    /// It can't become ready: remember why, and end it.
    pub(super) fn fail_start(&self, failure: StartFailure) {
        let mut state = self.state.lock();
        if state.is_ready() {
            return;
        }
        state.failure.get_or_insert(failure);
        if let Some(child) = &state.child {
            child.kill_group();
        }
    }

    /// It says itself that it can't become ready, and ends by itself.
    pub(super) fn on_start_failed(&self, reason: String) {
        self.state.lock().failure.get_or_insert(StartFailure::Initialiser { reason });
    }

    /// SIGKILL to its group, if there is one.
    pub(super) fn signal(&self, why: SignalReason) {
        let mut state = self.state.lock();
        if state.serving != Serving::Runs {
            // What dies already dies of something else.
            state.end_if_deserted();
        } else if !state.is_dead() {
            state.signalled.get_or_insert(why);
        }
        if let Some(child) = &state.child {
            child.kill_group();
        }
    }

    /// Nothing of it may outlive it: SIGKILL to what is left of its group, whose leader is not reaped yet.
    pub(super) fn kill_rest_of_group(&self) {
        if let Some(child) = &self.state.lock().child {
            child.kill_group();
        }
    }

    /// Ask its serving thread where it is. What it answers stands in the black box, in a moment if at all.
    pub(super) fn inquire(&self) {
        let thread = self.blackbox().and_then(|blackbox| blackbox.serving_thread());
        if let (Some(child), Some(thread)) = (&self.state.lock().child, thread) {
            child.signal_thread(thread, inquiry_signal());
        }
    }

    /// How it ended. From here on its number may belong to somebody else.
    pub(super) fn reap(&self) -> (ExitCause, Option<Usage>) {
        let child = self.state.lock().child.take();
        let (status, usage) = child.map_or((Status::Unknown, None), |child| child.reap());
        (status.into(), usage)
    }

    /// It is dead for certain.
    pub(super) fn on_died(self: &Arc<Self>, death: Death) -> EndMarkers {
        let (control, link_runs) = {
            let mut state = self.state.lock();
            state.death = Some(death);
            (state.control.take(), matches!(state.phase, Phase::Announcing | Phase::Started))
        };
        self.report_if_complete();
        EndMarkers { incarnation: Arc::clone(self), link_runs, control }
    }

    /// No thread could be had for its outcomes, so it is not ready after all.
    pub(super) fn on_no_receiver(&self) {
        self.state.lock().phase = Phase::Announced;
        self.report_if_complete();
    }

    pub(super) fn awaited(&self) -> Awaited {
        let state = self.state.lock();
        Awaited { link: !state.link_ended, control: !state.control_ended, exit: !state.reported }
    }

    pub(super) fn has_died(&self) -> bool {
        self.state.lock().is_dead()
    }

    pub(super) fn on_control_ended(&self) {
        self.state.lock().control_ended = true;
        self.report_if_complete();
        self.tell_stopping_monitor();
    }

    /// Its receivers have had time enough to find the end; something holds them up.
    pub(super) fn abandon(&self) {
        {
            let mut state = self.state.lock();
            if state.phase == Phase::Announcing {
                return;
            }
            state.control_ended = true;
            state.link_ended = true;
        }
        self.report_if_complete();
    }

    /// It sent what no worker sends. Told once.
    pub(super) fn on_corrupt(&self, what: String) {
        let (was_corrupt, is_ready) = {
            let mut state = self.state.lock();
            (std::mem::replace(&mut state.corrupt, true), state.is_ready())
        };
        if !is_ready {
            self.fail_start(StartFailure::Handshake { what });
        } else if !was_corrupt {
            self.tell(|owner| owner.on_corrupt(self.id, what));
        }
    }

    /// The exit is told when everything that comes before it has been: the last outcome, or for a worker
    /// that was never ready its last word about why.
    fn report_if_complete(&self) {
        let (exit, fates) = {
            let mut state = self.state.lock();
            let told = match state.phase {
                Phase::Silent | Phase::Announced => state.control_ended,
                Phase::Announcing => false,
                Phase::Started => state.link_ended,
            };
            if !told || state.reported || state.telling {
                return;
            }
            let Some(death) = state.death.take() else {
                return;
            };
            state.reported = true;
            (self.exit(&mut state, death), std::mem::take(&mut state.fates))
        };
        if let Some(shared) = self.shared.upgrade() {
            shared.forget(self.id);
        }
        self.tell(|owner| owner.on_exited(self.id, Arc::new(exit), fates));
        self.tell_stopping_monitor();
    }

    /// One of the ends that a stopping pool waits for has come; the monitor may have looked just before it.
    fn tell_stopping_monitor(&self) {
        if let Some(shared) = self.shared.upgrade()
            && shared.is_stopping()
        {
            shared.wake().now();
        }
    }

    fn exit(&self, state: &mut State, death: Death) -> Exit {
        let started = state.phase == Phase::Started;
        let shared = self.shared.upgrade();
        let start_error = shared
            .filter(|_| !started && (state.failure.is_some() || state.signalled.is_none()))
            .map(|shared| {
                let was_silent = state.phase == Phase::Silent;
                start_error(shared.launch(), state.failure.take(), was_silent, &death)
            });
        Exit {
            worker: self.id,
            pid: state.pid,
            started,
            start_error,
            signalled: state.signalled.filter(|why| is_why(*why, &death)),
            lived: state.spawned.map(|spawned| death.at - spawned).unwrap_or_default(),
            death,
        }
    }

    /// Call the owner, holding nothing. A panic of its is its own affair.
    fn tell(&self, what: impl FnOnce(&dyn Owner)) {
        if let Some(owner) = self.owner.upgrade()
            && catch_unwind(AssertUnwindSafe(|| what(&*owner))).is_err()
        {
            say!(error, target: "atasker::process", worker = self.id.0, "a callback panicked");
        }
    }
}

/// Whether this is why it died. One without the thread that runs tasks may have ended by itself.
fn is_why(why: SignalReason, death: &Death) -> bool {
    why != SignalReason::Deserted || death.status == ExitCause::Signal(libc::SIGKILL)
}

impl Sink for Incarnation {
    fn on_outcome(&self, worker: WorkerId, ticket: Ticket, outcome: OutcomeFrame) {
        if !self.is_reported() {
            self.tell(|owner| owner.on_outcome(worker, ticket, outcome));
        }
    }

    fn on_corrupt(&self, _worker: WorkerId, what: String) {
        Self::on_corrupt(self, what);
    }

    fn on_link_ended(&self, _worker: WorkerId) {
        self.state.lock().link_ended = true;
        self.report_if_complete();
    }
}
