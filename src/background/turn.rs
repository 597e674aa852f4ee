//! One turn: the code of a worker is taken, does what the machine says, and is put back.
//!
//! A turn is a future. On the thread pool it is polled by tasks: the first begins it; where it waits for
//! something, its thread is free, and whatever wakes it submits a task that goes on with it.

use std::cell::Cell;
#[cfg(feature = "async")]
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
#[cfg(feature = "async")]
use std::task::Poll;
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use super::body::{BoxFuture, Code, is_refused, report};
use super::machine::{Ended, Machine, Step, Turn};
use super::queue::WorkQueue;
use super::run::{Run, RunData, RunError, Verdict};
use super::shell::{Shell, Source};
use crate::admission::Time;
use crate::registry::panics::{self, Panicked};
use crate::supervisor::context;
use crate::supervisor::shared::Shared;
use crate::supervisor::turns::{TurnCall, TurnWork};
use crate::sync::Mutex;
use crate::task::cell::Returned;
use crate::task::options::Priority;

/// A turn that was submitted. Whatever becomes of it, the machine learns of it: dropped, it is lost.
pub(super) struct Attempt<I: Send + 'static> {
    shell: Arc<Shell<I>>,
    turn: Turn,
    code: Option<Code<I>>,
}

impl<I: Send + 'static> Attempt<I> {
    pub(super) fn new(shell: Arc<Shell<I>>, turn: Turn) -> Self {
        Self { shell, turn, code: None }
    }

    /// Begin here, on a thread. `name`: of the tasks that go on with it, if there are any.
    pub(super) fn begin(self, name: Arc<str>) -> Returned {
        let turning = Turning {
            worker: self.shell.address(),
            shared: Weak::clone(&self.shell.shared),
            name,
            stage: AtomicU8::new(POLLED),
            future: Mutex::new(Some(Box::pin(self.go()))),
        };
        Arc::new(turning).poll();
        nothing()
    }

    /// Begin on a loop.
    #[cfg(feature = "async")]
    pub(super) fn into_future(self) -> BoxFuture<'static, Returned> {
        let worker = self.shell.address();
        Box::pin(OnLoop { worker, future: Some(Box::pin(self.go())) })
    }

    /// What the machine says, to its end.
    async fn go(mut self) {
        let turn = self.turn;
        let mut step = self.told(|machine, now| machine.on_turn_begun(turn, now));
        while let Some(next) = step {
            step = match next {
                Step::Greet => {
                    let run = self.run_data(None);
                    self.hook(|code| {
                        code.hook(&run, |hooks| hooks.before_start(&run));
                        code.hook(&run, |hooks| hooks.after_start(&run));
                    });
                    self.told(|machine, now| Some(machine.on_greeted(now)))
                }
                Step::Run { planned } => {
                    let run = self.run_data(planned);
                    self.run(&run).await
                }
                Step::Part => {
                    let run = self.run_data(None);
                    self.hook(|code| {
                        code.hook(&run, |hooks| hooks.before_stop(&run));
                        code.hook(&run, |hooks| hooks.after_stop(&run));
                    });
                    self.told(|machine, now| Some(machine.on_parted(now)))
                }
                Step::Leave(_) => unreachable!("carried out when it was told"),
            };
        }
    }

    async fn run(&mut self, run: &Run) -> Option<Step> {
        let item = match self.item(run) {
            Ok(Some(item)) => item,
            Ok(None) => return self.told(|machine, now| Some(machine.on_nothing_found(now))),
            Err(panicked) => return self.on_queue_panicked(panicked, run),
        };
        let code = self.code.as_mut().expect("a turn has the code until it leaves");
        self.shell.state.lock().last_run = Some(Instant::now());
        let Verdict { flow, error } = code.run(item, run, &self.shell.shared).await;
        let more = match &self.shell.source {
            Source::Nothing(_) => false,
            Source::Queue(queue) => has_more(&**queue),
        };
        let refused = error.as_ref().is_some_and(is_refused);
        let ended = Ended { breaks: flow.is_break(), failed: error.is_some(), refused, more };
        self.told(|machine, now| Some(machine.on_ended(now, ended)))
    }

    /// The queue is the user's, and may panic. That is a run that failed.
    fn on_queue_panicked(&mut self, panicked: Panicked, run: &Run) -> Option<Step> {
        let code = self.code.as_mut().expect("a turn has the code until it leaves");
        let flow = code.tell_error(&RunError::Panicked(report(panicked)), run);
        let more = match &self.shell.source {
            Source::Nothing(_) => false,
            Source::Queue(queue) => has_more(&**queue),
        };
        let ended = Ended { breaks: flow.is_break(), failed: true, refused: false, more };
        self.told(|machine, now| Some(machine.on_ended(now, ended)))
    }

    /// What to run on. `None`: the queue was empty.
    fn item(&mut self, run: &Run) -> Result<Option<I>, Panicked> {
        let queue = match &self.shell.source {
            Source::Nothing(nothing) => return Ok(Some(nothing())),
            Source::Queue(queue) if has_more(&**queue) => queue,
            Source::Queue(_) => return Ok(None),
        };
        let code = self.code.as_mut().expect("a turn has the code until it leaves");
        code.hook(run, |hooks| hooks.before_queue_get(run));
        let Some(item) = panics::catch(|| queue.take())? else { return Ok(None) };
        code.hook(run, |hooks| hooks.after_queue_get(&item, run));
        Ok(Some(item))
    }

    fn hook(&mut self, hook: impl FnOnce(&mut Code<I>)) {
        hook(self.code.as_mut().expect("a turn has the code until it leaves"));
    }

    /// Tell the machine of an event. `None`: the turn is over, and the code is back.
    fn told(&mut self, event: impl FnOnce(&mut Machine, Time) -> Option<Step>) -> Option<Step> {
        let mut state = self.shell.state.lock();
        let lives = state.machine.lives_ended();
        let step = event(&mut state.machine, self.shell.now())?;
        if self.code.is_none() {
            self.code = state.code.take();
            state.submitted = None;
        }
        let Step::Leave(command) = step else {
            return Some(step);
        };
        state.code = self.code.take();
        let orders = state.orders(command, lives);
        drop(state);
        self.shell.carry_out(orders);
        None
    }

    fn run_data(&self, planned: Option<Time>) -> Run {
        let state = self.shell.state.lock();
        Run(Arc::new(RunData {
            worker: self.shell.clone(),
            name: Arc::clone(&state.name),
            number: state.machine.counts().runs,
            task: context::current_task(),
            planned_at: planned.and_then(|time| self.shell.instant(time)),
            arguments: state.arguments.clone(),
        }))
    }
}

impl<I: Send + 'static> Drop for Attempt<I> {
    fn drop(&mut self) {
        // After it has left, its number is no longer current.
        self.shell.on_turn_lost(self.turn, self.code.take());
    }
}

/// The queue is the user's, and may panic; then there is nothing in it.
fn has_more<I: 'static>(queue: &dyn WorkQueue<I>) -> bool {
    panics::catch(|| !queue.is_empty()).unwrap_or(false)
}

fn nothing() -> Returned {
    Returned { value: Box::new(()), error: None }
}

/// A thread polls it.
const POLLED: u8 = 0;
/// It was woken while a thread polls it.
const WOKEN: u8 = 1;
/// It waits to be woken.
const WAITING: u8 = 2;

/// A turn on the thread pool.
struct Turning {
    /// Its address.
    worker: usize,
    shared: Weak<Shared>,
    name: Arc<str>,
    stage: AtomicU8,
    /// Absent while it is polled and after it has ended.
    future: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Turning {
    /// Go on in this thread as far as it goes.
    fn poll(self: Arc<Self>) {
        let Some(mut future) = self.future.lock().take() else {
            return;
        };
        let waker = Waker::from(Arc::clone(&self));
        let mut context = Context::from_waker(&waker);
        loop {
            if within(self.worker, || future.as_mut().poll(&mut context)).is_ready() {
                return;
            }
            *self.future.lock() = Some(future);
            // Pairs with the exchange in `wake`: who is woken finds the future in its place.
            let waits =
                self.stage.compare_exchange(POLLED, WAITING, Ordering::AcqRel, Ordering::Acquire);
            if waits.is_ok() {
                return;
            }
            self.stage.store(POLLED, Ordering::Release);
            match self.future.lock().take() {
                Some(back) => future = back,
                None => return,
            }
        }
    }
}

impl Wake for Turning {
    fn wake(self: Arc<Self>) {
        let step = |stage| match stage {
            POLLED => Some(WOKEN),
            WAITING => Some(POLLED),
            _ => None,
        };
        if self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, step) != Ok(WAITING) {
            return;
        }
        let rest = Rest(Some(Arc::clone(&self)));
        // Without a supervisor, it goes on here.
        let Some(shared) = self.shared.upgrade() else { return };
        let work = TurnWork::OnThread(Box::new(move || {
            drop(rest);
            nothing()
        }));
        // Its turn has had its place already, and who stops the worker may wait for it in the last there is.
        let call = TurnCall { name: &self.name, priority: Priority::Critical, at: None, work };
        if let Err(work) = shared.submit_turn(call) {
            shared.run_callback(Box::new(move || drop(work)));
        }
    }
}

/// The rest of a turn goes on wherever this is dropped: in its task, or, if that was not wanted, on the thread for
/// callbacks.
struct Rest(Option<Arc<Turning>>);

impl Drop for Rest {
    fn drop(&mut self) {
        if let Some(turning) = self.0.take() {
            turning.poll();
        }
    }
}

/// A turn on a loop: polled, and dropped, as a part of its worker.
#[cfg(feature = "async")]
struct OnLoop {
    worker: usize,
    future: Option<BoxFuture<'static, ()>>,
}

#[cfg(feature = "async")]
impl Future for OnLoop {
    type Output = Returned;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Returned> {
        let worker = self.worker;
        let future = self.future.as_mut().expect("only `drop` takes it");
        within(worker, || future.as_mut().poll(context)).map(|()| nothing())
    }
}

#[cfg(feature = "async")]
impl Drop for OnLoop {
    fn drop(&mut self) {
        let future = self.future.take();
        within(self.worker, || drop(future));
    }
}

thread_local! {
    /// The worker whose turn this thread is in, by its address.
    static WITHIN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Run `body`, which is part of a turn of `worker`.
pub(super) fn within<R>(worker: usize, body: impl FnOnce() -> R) -> R {
    struct Restore(Option<usize>);
    impl Drop for Restore {
        fn drop(&mut self) {
            WITHIN.set(self.0);
        }
    }
    let _restore = Restore(WITHIN.replace(Some(worker)));
    body()
}

/// Whether this thread is in a turn of `worker`.
pub(super) fn is_within(worker: usize) -> bool {
    WITHIN.get() == Some(worker)
}
