//! What a supervisor's threads share: the core under its one short lock, and the shell around it that
//! performs the core's effects.
//!
//! Every event goes through [`Shared::drive`]: lock, tell the core, unlock, perform what it answered. No user
//! code runs under the lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Condvar, OnceLock, Weak};
use std::time::Instant;

use smallvec::SmallVec;

use super::builder::Settings;
use super::callbacks::Callbacks;
use super::driven::{CellSubmission, Driven};
use super::executor::Executor;
use super::gather::Gathering;
use super::info::Counters;
#[cfg(feature = "async")]
use super::loops::Loops;
use super::paces::Paces;
use super::perform::Arrivals;
use super::receive::Desk;
use super::schedulers::Schedulers;
use super::space::Space;
use super::timer::Timer;
use crate::background::registry::Registry;
use crate::core::{Core, Effect, PoolId, Refused, Time};
use crate::sync::{Mutex, Wish, wait_on};
use crate::task::cell::{Callback, Function, TaskCell};
use crate::task::handle::TaskOwner;
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::info::TaskInfo;
use crate::task::pack::News;
use crate::threads::ThreadPool;
use crate::transport::Link;

/// The core as the shell uses it.
pub(crate) type ShellCore = Core<Arc<TaskCell>>;
/// As the core emits them.
pub(crate) type CoreEffects = Vec<Effect<Arc<TaskCell>>>;

/// What the core has answered.
#[derive(Default)]
pub(crate) struct Effects {
    /// To be performed after the lock is released.
    pub(crate) kept: SmallVec<[Effect<Arc<TaskCell>>; 1]>,
    /// Workers that sleep and have got something to do.
    pub(crate) wakes: SmallVec<[Arc<dyn Link>; 1]>,
    /// Attempts that were put into a ring. Only if somebody may want to know; told after the lock is released.
    pub(crate) staged: Vec<(WorkerId, Ticket)>,
    /// Who is to be told of the ends of calls in packs.
    pub(crate) news: Vec<News>,
    /// Who has something to free, see [`Link::let_go`].
    pub(crate) discards: Vec<Arc<dyn Link>>,
    /// Something has left its queue.
    pub(crate) placed: bool,
    /// For how long nobody looked, though something was due.
    pub(crate) suspended: Option<std::time::Duration>,
}

impl Effects {
    /// Whether there is more to do than to wake workers, and to say that a place has become free.
    #[inline]
    pub(crate) fn leaves_more(&self) -> bool {
        !self.kept.is_empty()
            || !self.staged.is_empty()
            || !self.news.is_empty()
            || !self.discards.is_empty()
            || self.suspended.is_some()
    }
}

/// One admitted attempt for a thread.
pub(crate) struct ThreadItem {
    pub(crate) pool: PoolId,
    pub(crate) ticket: Ticket,
    pub(crate) cell: Arc<TaskCell>,
}

/// Whether this thread would go on with the next attempt itself, without a hop through the queue.
pub(crate) enum Next {
    Unwanted,
    /// If it is of this pool.
    Wanted(PoolId),
    Given(ThreadItem),
}

impl Next {
    pub(crate) fn given(self) -> Option<ThreadItem> {
        match self {
            Self::Given(item) => Some(item),
            Self::Wanted(_) | Self::Unwanted => None,
        }
    }
}

/// All that the public face, the pools' threads and the timer work on.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) core: Mutex<Driven>,
    /// Held while what the rings have is taken from them and told to the core, so that nothing overtakes it.
    pub(crate) desk: Mutex<Desk>,
    /// Counts submissions, roughly.
    pub(crate) submissions: AtomicU32,
    pub(crate) timer: Timer,
    pub(crate) threads: OnceLock<ThreadPool<ThreadItem>>,
    pub(crate) executor: Executor,
    pub(crate) callbacks: Callbacks,
    pub(crate) background: Registry,
    pub(crate) space: Arc<Space>,
    pub(crate) drained: Drained,
    /// Chosen ids of outstanding tasks.
    pub(crate) chosen: Mutex<HashMap<Box<str>, TaskId>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) schedulers: Schedulers,
    pub(crate) paces: Paces,
    pub(crate) gathering: Gathering,
    #[cfg(feature = "async")]
    pub(crate) loops: Loops,
    pub(crate) this: Weak<Shared>,
}

impl Shared {
    /// Tell the core of an event and perform its effects.
    pub(crate) fn drive<R>(
        &self,
        event: impl FnOnce(&mut ShellCore, Time, &mut CoreEffects) -> R,
    ) -> R {
        let mut effects = Effects::default();
        let answer = self.tell(&mut effects, event);
        self.perform(effects, Arrivals::NONE, &mut Next::Unwanted);
        answer
    }

    /// Tell the core of an event. Its effects are the caller's to perform.
    pub(crate) fn tell<R>(
        &self,
        effects: &mut Effects,
        event: impl FnOnce(&mut ShellCore, Time, &mut CoreEffects) -> R,
    ) -> R {
        self.tell_driven(effects, |driven, now, told| event(driven, now, told))
    }

    /// The same for an event that concerns the rings, too.
    pub(crate) fn tell_driven<R>(
        &self,
        effects: &mut Effects,
        event: impl FnOnce(&mut Driven, Time, &mut CoreEffects) -> R,
    ) -> R {
        self.tell_in_steps(effects, |driven, now, effects| {
            driven.step(now, effects, |driven, told| event(driven, now, told))
        })
    }

    /// The same for what was seen in the rings, at that time if it is known, and if nothing can begin by it: the time of that
    /// would be too early by whatever has passed since.
    pub(crate) fn tell_seen<R>(
        &self,
        seen: Option<Instant>,
        effects: &mut Effects,
        event: impl FnOnce(&mut Driven, Time, &mut CoreEffects) -> R,
    ) -> R {
        let now = |driven: &mut Driven, _: &mut Effects| match seen {
            // Others may have come since then.
            Some(seen) if driven.is_calm() => (driven.not_before(self.timer.at(seen)), ()),
            _ => (self.timer.now(), ()),
        };
        self.tell_at(now, effects, |driven, now, (), effects| {
            driven.step(now, effects, |driven, told| event(driven, now, told))
        })
    }

    /// A new task.
    pub(crate) fn tell_submission(
        &self,
        effects: &mut Effects,
        submission: CellSubmission<'_>,
    ) -> Result<TaskId, Refused<Arc<TaskCell>>> {
        let first = |driven: &mut Driven, effects: &mut Effects| {
            let begun = driven.begin_at_once(submission, effects);
            (self.timer.now(), begun)
        };
        self.tell_at(first, effects, |driven, now, begun, effects| {
            driven.step(now, effects, |driven, told| driven.submit(now, begun, told))
        })
    }

    /// Several events that concern the rings, of which each is settled before the next, see [`Driven::step`].
    #[inline]
    pub(crate) fn tell_in_steps<R>(
        &self,
        effects: &mut Effects,
        events: impl FnOnce(&mut Driven, Time, &mut Effects) -> R,
    ) -> R {
        let now = |_: &mut Driven, _: &mut Effects| (self.timer.now(), ());
        self.tell_at(now, effects, |driven, now, (), effects| events(driven, now, effects))
    }

    /// The same with what comes first, even before it is known what time it is.
    #[inline]
    fn tell_at<F, R>(
        &self,
        first: impl FnOnce(&mut Driven, &mut Effects) -> (Time, F),
        effects: &mut Effects,
        events: impl FnOnce(&mut Driven, Time, F, &mut Effects) -> R,
    ) -> R {
        let mut driven = self.core.lock();
        let (now, first) = first(&mut driven, effects);
        driven.look_at_clock(now, effects);
        let answer = events(&mut driven, now, first, effects);
        let deadline = driven.arm();
        drop(driven);
        self.timer.arm(deadline);
        answer
    }

    /// Fire the deadlines that are due.
    pub(crate) fn on_timer(&self) {
        self.drive(Core::on_deadline);
    }

    /// The identity of this supervisor for [`super::context`].
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// How long calls of the function took lately, in nanoseconds.
    pub(crate) fn pace_of(&self, function: &Function) -> Option<u64> {
        self.paces.of_function(&self.executor, function)
    }

    /// How many worker processes there may be at the moment.
    pub(crate) fn process_places(&self) -> usize {
        self.core.lock().limits(PoolId::Processes).places() as usize
    }

    pub(crate) fn run_callback(&self, callback: Callback) {
        self.callbacks.run(callback, self.address());
    }
}

impl TaskOwner for Shared {
    fn cancel(&self, task: TaskId) -> bool {
        self.cancel_task(task)
    }

    fn info(&self, task: TaskId) -> Option<TaskInfo> {
        self.task_info(task)
    }

    fn lend_thread(&self, task: TaskId, done: &dyn Fn() -> bool) {
        if !self.executor.lends_threads() {
            return;
        }
        let at = self.core.lock().task(task).and_then(|task| task.worker.zip(task.ticket));
        if let Some((worker, ticket)) = at {
            self.executor.receive_for(worker, ticket, done);
        }
    }

    fn wait_for(&self, wish: &Wish<'_>) -> bool {
        self.stop_gathering();
        self.executor.wait_for(self, wish)
    }

    fn attend(&self) {
        self.stop_gathering();
        self.executor.attend();
    }

    fn run_callback(&self, callback: Callback) {
        Self::run_callback(self, callback);
    }
}

/// Set once, when a stopping supervisor has nothing outstanding any more.
#[derive(Default)]
pub(crate) struct Drained {
    state: Mutex<bool>,
    changed: Condvar,
    /// A stop is under way or done.
    pub(crate) stopping: AtomicBool,
}

impl Drained {
    pub(crate) fn set(&self) {
        *self.state.lock() = true;
        self.changed.notify_all();
    }

    /// Wait until it is set, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Option<std::time::Duration>) -> bool {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut done = self.state.lock();
        while !*done {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            done = wait_on(&self.changed, done, left);
        }
        true
    }
}
