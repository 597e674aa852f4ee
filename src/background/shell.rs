//! One background worker as it lives: the machine under its lock, and what carries out its commands.
//!
//! No user code runs under the lock: a turn takes the code with it and puts it back when it leaves.

use std::any::Any;
use std::sync::{Arc, Condvar, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::body::Code;
use super::info::BackgroundWorkerInfo;
use super::machine::{Command, Kind, Machine, Turn};
use super::queue::{PutError, PutErrorKind, WorkQueue};
use super::start::Start;
use super::turn::Attempt;
use crate::admission::Time;
use crate::registry::panics;
use crate::say::say;
use crate::supervisor::shared::Shared;
use crate::supervisor::turns::{TurnCall, TurnWork};
use crate::sync::{Mutex, wait_on};
use crate::task::cell::Returned;
use crate::task::error::SubmitError;
use crate::task::id::TaskId;
use crate::task::options::Priority;
#[cfg(feature = "async")]
use crate::{AsyncLoop, LoopError};

/// Where the items of runs come from.
pub(super) enum Source<I> {
    Queue(Arc<dyn WorkQueue<I>>),
    /// A run needs none.
    Nothing(fn() -> I),
}

/// Where a worker is to run.
pub(super) enum Runs {
    OnThreads,
    /// `None`: the default loop.
    #[cfg(feature = "async")]
    OnLoop(Option<AsyncLoop>),
    /// A loop was named for what is no future.
    #[cfg(feature = "async")]
    Nowhere,
}

/// Where turns go.
#[derive(Clone)]
pub(super) enum Place {
    Threads,
    #[cfg(feature = "async")]
    Loop(AsyncLoop),
}

/// A worker, whatever its items are.
pub(crate) trait Face: Send + Sync {
    fn is_stopping(&self) -> bool;
    fn is_active(&self) -> bool;
    #[cfg(feature = "async")]
    fn runs_on(&self, aloop: &AsyncLoop) -> bool;
    fn begin_stop(self: Arc<Self>);
    fn info(&self) -> BackgroundWorkerInfo;
}

pub(super) struct Shell<I> {
    pub(super) number: u64,
    pub(super) shared: Weak<Shared>,
    /// The zero of the supervisor's times.
    pub(super) epoch: Instant,
    pub(super) source: Source<I>,
    pub(super) kind: Kind,
    pub(super) runs: Runs,
    pub(super) state: Mutex<State<I>>,
    /// It has stopped.
    pub(super) stopped: Condvar,
}

pub(super) struct State<I> {
    pub(super) machine: Machine,
    /// Absent while a turn has it.
    pub(super) code: Option<Code<I>>,
    /// What was submitted and has not begun.
    pub(super) submitted: Option<(Turn, TaskId)>,
    pub(super) name: Arc<str>,
    pub(super) priority: Priority,
    /// Where its turns are submitted, since the last start.
    pub(super) place: Place,
    pub(super) arguments: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) last_run: Option<Instant>,
    /// Who awaits that it has stopped.
    pub(super) wakers: Vec<Waker>,
}

impl<I: Send + 'static> Shell<I> {
    pub(super) fn now(&self) -> Time {
        Time(u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    pub(super) fn instant(&self, time: Time) -> Option<Instant> {
        self.epoch.checked_add(time.since(Time::ZERO))
    }

    /// Its identity, for [`super::turn::within`].
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Start, with other settings if there are any. `false`: it runs already.
    pub(super) fn start(self: &Arc<Self>, start: Start) -> Result<bool, SubmitError> {
        let (mut start, mut replaced) = (Some(start), None);
        let told = self.admitted(|state, now| {
            let command = state.machine.on_start(now)?;
            replaced = start.take().and_then(|start| start.apply(state));
            Some(command)
        });
        // The user's, used or not, so not under the lock.
        drop((start, replaced));
        told
    }

    pub(super) fn restart(self: &Arc<Self>) -> Result<(), SubmitError> {
        self.admitted(|state, now| Some(state.machine.on_restart(now))).map(drop)
    }

    /// Tell the machine of a start, unless the supervisor stops. `false`: the machine did not want it.
    fn admitted(
        self: &Arc<Self>,
        event: impl FnOnce(&mut State<I>, Time) -> Option<Command>,
    ) -> Result<bool, SubmitError> {
        if crate::sys::fork::is_forked_child() {
            return Err(SubmitError::Forked);
        }
        let shared = self.shared.upgrade().ok_or(SubmitError::Stopped)?;
        let place = self.place(&shared)?;
        let mut orders = None;
        shared.background.admit(self.number, self, || {
            let mut state = self.state.lock();
            let lives = state.machine.lives_ended();
            orders = event(&mut state, self.now()).map(|command| {
                state.place = place;
                state.orders(command, lives)
            });
        })?;
        let told = orders.is_some();
        if let Some(orders) = orders {
            self.carry_out(orders);
        }
        Ok(told)
    }

    /// Where its turns go if it starts now.
    #[cfg(not(feature = "async"))]
    fn place(&self, _shared: &Shared) -> Result<Place, SubmitError> {
        match self.runs {
            Runs::OnThreads => Ok(Place::Threads),
        }
    }

    /// Where its turns go if it starts now.
    #[cfg(feature = "async")]
    fn place(&self, shared: &Shared) -> Result<Place, SubmitError> {
        match &self.runs {
            Runs::OnThreads => Ok(Place::Threads),
            Runs::OnLoop(Some(aloop)) if !aloop.is_of(shared) => {
                Err(LoopError::Foreign(aloop.name().to_owned()).into())
            }
            // As everywhere: first of all it has stopped.
            Runs::OnLoop(_) if shared.is_stopping() => Err(SubmitError::Stopped),
            Runs::OnLoop(Some(aloop)) if !aloop.is_active() => {
                Err(LoopError::Stopped(aloop.name().to_owned()).into())
            }
            Runs::OnLoop(Some(aloop)) => Ok(Place::Loop(aloop.clone())),
            Runs::OnLoop(None) => Ok(Place::Loop(shared.default_loop()?)),
            Runs::Nowhere => Err(LoopError::NotAFuture(self.state.lock().name.to_string()).into()),
        }
    }

    /// Begin to stop. Which life of the worker ends by that, if it has one.
    pub(super) fn begin_to_stop(self: &Arc<Self>) -> Option<u64> {
        self.tell(|state, now| {
            let life = state.machine.is_active().then(|| state.machine.lives_ended());
            (life, state.machine.on_stop(now))
        })
    }

    /// Wait until that life has ended.
    pub(super) fn wait_for_end_of(&self, life: u64) {
        let mut state = self.state.lock();
        while state.machine.is_active() && state.machine.lives_ended() == life {
            state = wait_on(&self.stopped, state, None);
        }
    }

    /// The same for a future.
    pub(super) fn poll_end_of(&self, life: u64, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.machine.is_active() || state.machine.lives_ended() != life {
            return Poll::Ready(());
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Somebody wants a run. Whether one begins from now on.
    pub(super) fn want(self: &Arc<Self>, even_if_it_runs: bool) -> bool {
        if crate::sys::fork::is_forked_child() {
            return false;
        }
        self.tell(|state, now| state.machine.on_wanted(now, even_if_it_runs))
    }

    pub(super) fn put(self: &Arc<Self>, item: I) -> Result<(), PutError<I>> {
        let Source::Queue(queue) = &self.source else {
            return Err(PutError { item, kind: PutErrorKind::NoQueue });
        };
        if crate::sys::fork::is_forked_child() {
            return Err(PutError { item, kind: PutErrorKind::Stopped });
        }
        if !self.state.lock().machine.takes_items() {
            return Err(PutError { item, kind: PutErrorKind::Stopped });
        }
        queue.put(item).map_err(|item| PutError { item, kind: PutErrorKind::Full })?;
        // If it stops at this moment, the item is there for the next start.
        self.want(true);
        Ok(())
    }

    /// What was submitted as `turn` was dropped. `code`: what it had taken with it.
    pub(super) fn on_turn_lost(self: &Arc<Self>, turn: Turn, code: Option<Code<I>>) {
        let dropped = self.tell(|state, now| {
            let dropped = code.is_some().then(|| state.name.clone());
            state.code = code.or(state.code.take());
            (dropped, state.machine.on_turn_lost(turn, now))
        });
        // Not under the lock: who hears it may ask about the worker.
        if let Some(name) = dropped {
            say!(
                warn, target: "atasker::background", name = &*name,
                "a run was dropped before it ended"
            );
        }
    }

    /// Tell the machine of an event, and do what it answers.
    fn tell<R>(self: &Arc<Self>, event: impl FnOnce(&mut State<I>, Time) -> (R, Command)) -> R {
        let mut state = self.state.lock();
        let lives = state.machine.lives_ended();
        let (answer, command) = event(&mut state, self.now());
        let orders = state.orders(command, lives);
        drop(state);
        self.carry_out(orders);
        answer
    }

    /// Several threads may be here at once, in any order: what is overtaken is recognised by its number.
    pub(super) fn carry_out(self: &Arc<Self>, orders: Orders) {
        if let Some(task) = orders.withdrawn {
            self.withdraw(task);
        }
        if let Some(submission) = orders.submission {
            self.submit(submission);
        }
        if orders.has_ended {
            self.stopped.notify_all();
            if let Some(shared) = self.shared.upgrade() {
                shared.background.settle(self.number);
            }
            orders.wakers.into_iter().for_each(panics::wake);
        }
    }

    fn withdraw(&self, task: TaskId) {
        if let Some(shared) = self.shared.upgrade() {
            shared.cancel_task(task);
        }
    }

    fn submit(self: &Arc<Self>, submission: Submission) {
        let Submission { turn, at, name, priority, place } = submission;
        let Some(shared) = self.shared.upgrade() else {
            if let Some(end) = self.on_refused(turn) {
                end();
            }
            return;
        };
        let attempt = Attempt::new(Arc::clone(self), turn);
        let work = match place {
            Place::Threads => {
                let of_task = Arc::clone(&name);
                TurnWork::OnThread(Box::new(move || attempt.begin(of_task)))
            }
            #[cfg(feature = "async")]
            Place::Loop(aloop) => TurnWork::OnLoop(aloop, attempt.into_future()),
        };
        match shared.submit_turn(TurnCall { name: &name, priority, at, work }) {
            Ok(task) => {
                let mut state = self.state.lock();
                if state.machine.is_planned(turn) {
                    state.submitted = Some((turn, task));
                } else if state.machine.take_overtaken(turn) {
                    drop(state);
                    self.withdraw(task);
                }
            }
            Err(work) => {
                let end = self.on_refused(turn);
                // Nothing of it is the current turn any more.
                drop(work);
                if let Some(end) = end {
                    shared.run_callback(Box::new(move || _ = end()));
                }
            }
        }
    }

    /// Nobody takes turns any more. What is left to do, to be done wherever that is possible.
    fn on_refused(
        self: &Arc<Self>,
        turn: Turn,
    ) -> Option<impl FnOnce() -> Returned + Send + use<I>> {
        let mut state = self.state.lock();
        let turn = state.machine.on_refused(turn)?;
        let name = Arc::clone(&state.name);
        drop(state);
        let attempt = Attempt::new(Arc::clone(self), turn);
        Some(move || attempt.begin(name))
    }
}

/// A turn to be submitted.
pub(super) struct Submission {
    turn: Turn,
    at: Option<Time>,
    name: Arc<str>,
    priority: Priority,
    place: Place,
}

/// A command of the machine, with what is needed to carry it out without the lock.
pub(super) struct Orders {
    withdrawn: Option<TaskId>,
    submission: Option<Submission>,
    has_ended: bool,
    wakers: Vec<Waker>,
}

impl<I> State<I> {
    /// `lives`: how many had ended before the event.
    pub(super) fn orders(&mut self, command: Command, lives: u64) -> Orders {
        let withdrawn = match command {
            Command::Nothing => None,
            Command::Withdraw | Command::Submit { .. } => self.submitted.take(),
        };
        let withdrawn = withdrawn.map(|(turn, task)| {
            self.machine.take_overtaken(turn);
            task
        });
        let submission = match command {
            Command::Submit { turn, at, is_urgent } => Some(Submission {
                turn,
                at,
                name: Arc::clone(&self.name),
                // What ends the worker must not wait for others to end.
                priority: if is_urgent { Priority::Critical } else { self.priority },
                place: self.place.clone(),
            }),
            Command::Nothing | Command::Withdraw => None,
        };
        let has_ended = self.machine.lives_ended() != lives;
        let wakers = if has_ended { std::mem::take(&mut self.wakers) } else { Vec::new() };
        Orders { withdrawn, submission, has_ended, wakers }
    }
}

impl<I: Send + 'static> Face for Shell<I> {
    fn is_stopping(&self) -> bool {
        self.state.lock().machine.is_stopping()
    }

    fn is_active(&self) -> bool {
        self.state.lock().machine.is_active()
    }

    #[cfg(feature = "async")]
    fn runs_on(&self, aloop: &AsyncLoop) -> bool {
        matches!(&self.state.lock().place, Place::Loop(own) if own == aloop)
    }

    fn begin_stop(self: Arc<Self>) {
        self.begin_to_stop();
    }

    fn info(&self) -> BackgroundWorkerInfo {
        let waiting = match &self.source {
            Source::Queue(queue) => queue.len(),
            Source::Nothing(_) => 0,
        };
        let state = self.state.lock();
        let counts = state.machine.counts();
        BackgroundWorkerInfo {
            name: state.name.to_string(),
            kind: self.kind.into(),
            status: state.machine.status(),
            priority: state.priority,
            runs: counts.runs,
            errors: counts.errors,
            skipped: counts.skipped,
            waiting,
            last_run: state.last_run,
        }
    }
}

impl<I> Drop for Shell<I> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.background.forget(self.number);
        }
    }
}
