//! All jobs of a loop, in one heap and with one timer: a job costs a loop its own code and a move in the heap, not a
//! timer and a task.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use super::job::{Begun, GoingOn, JobCore, caught};
use super::schedule::Timetable;
use super::seat::Seat;
use crate::supervisor::context;
use crate::sync::Mutex;

/// After so many runs in a row everything else on the loop gets a turn.
const RUNS_MAX: usize = 256;

/// A job in its place in the heap.
pub(super) struct Entry {
    pub(super) due: Instant,
    pub(super) job: Box<Job>,
}

pub(super) struct Job {
    pub(super) core: Arc<JobCore>,
    pub(super) timetable: Timetable,
}

/// By when they are due alone.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

/// What others tell the driver of a loop's jobs.
#[derive(Default)]
pub(super) struct Jobs(Mutex<Inbox>);

#[derive(Default)]
struct Inbox {
    new: Vec<Entry>,
    /// Jobs in the heap, when the driver last looked.
    scheduled: usize,
    /// Of these, about so many were cancelled.
    cancelled: usize,
    has_driver: bool,
    /// The loop is being stopped.
    closed: bool,
    waker: Option<Waker>,
}

/// What came of a new job.
#[derive(PartialEq, Eq)]
pub(super) enum Added {
    /// There is nobody to run it yet: start a [`Driver`].
    First,
    Told,
    /// The loop is being stopped.
    Closed,
}

impl Jobs {
    pub(super) fn add(&self, entry: Entry) -> Added {
        let mut inbox = self.0.lock();
        if inbox.closed {
            return Added::Closed;
        }
        inbox.new.push(entry);
        if !inbox.has_driver {
            inbox.has_driver = true;
            return Added::First;
        }
        wake(inbox);
        Added::Told
    }

    /// A job is cancelled. Its place in the heap is left for when it is due, unless most places are such.
    pub(super) fn on_cancelled(&self) {
        let mut inbox = self.0.lock();
        inbox.cancelled += 1;
        if inbox.cancelled * 2 > inbox.scheduled {
            wake(inbox);
        }
    }

    /// What was added has nobody to run it.
    pub(super) fn on_no_driver(&self) {
        let mut inbox = self.0.lock();
        (inbox.has_driver, inbox.waker) = (false, None);
        let new = std::mem::take(&mut inbox.new);
        drop(inbox);
        for entry in new {
            entry.job.core.end();
        }
    }

    /// Every job ends, and none is added any more.
    pub(super) fn close(&self) {
        let mut inbox = self.0.lock();
        inbox.closed = true;
        wake(inbox);
    }
}

fn wake(mut inbox: std::sync::MutexGuard<'_, Inbox>) {
    let waker = inbox.waker.take();
    drop(inbox);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The task of a loop that runs its jobs. It lives until the loop is stopped, or its runtime shut down.
pub(super) struct Driver {
    seat: Arc<Seat>,
    context: context::Context,
    heap: BinaryHeap<Reverse<Entry>>,
    timer: Pin<Box<Sleep>>,
    /// Runs that were not over at once. Aborted with the driver.
    going_on: JoinSet<()>,
}

/// What is due next.
enum Next {
    /// More than may be done in one turn.
    More,
    At(Instant),
    Nothing,
}

impl Driver {
    pub(super) fn new(seat: Arc<Seat>, timer: Pin<Box<Sleep>>) -> Self {
        let context = seat.aloop().context();
        Self { seat, context, heap: BinaryHeap::new(), timer, going_on: JoinSet::new() }
    }

    /// Take what is new. `false`: the loop is being stopped.
    fn take_news(&mut self, waker: &Waker) -> bool {
        let mut inbox = self.seat.aloop().jobs().0.lock();
        if inbox.closed {
            return false;
        }
        self.heap.extend(inbox.new.drain(..).map(Reverse));
        if inbox.cancelled * 2 > self.heap.len() {
            inbox.cancelled = 0;
            self.heap.retain(|Reverse(entry)| entry.job.core.is_active());
        }
        inbox.scheduled = self.heap.len();
        if inbox.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            inbox.waker = Some(waker.clone());
        }
        true
    }

    /// Run what is due, the longest due first.
    fn run_due(&mut self) -> Next {
        let now = Instant::now();
        for _ in 0..RUNS_MAX {
            let Some(mut first) = self.heap.peek_mut() else { return Next::Nothing };
            let Entry { due, job } = &mut first.0;
            if *due > now {
                return Next::At(*due);
            }
            let step = job.timetable.step(*due, now);
            let name = job.core.name;
            let begun = if step.runs { job.core.begin() } else { Begun::Over };
            if let Some(next) = step.next.filter(|_| !matches!(begun, Begun::Nothing)) {
                *due = next;
            } else {
                job.core.end();
                PeekMut::pop(first);
            }
            if let Begun::GoingOn(future) = begun {
                let (seat, context) = (Arc::clone(&self.seat), self.context);
                self.going_on.spawn(Later {
                    job: name,
                    future: Some(future),
                    context,
                    _seat: seat,
                });
            }
        }
        Next::More
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.take_news(context.waker()) {
            return Poll::Ready(());
        }
        // They have reported what there was to report.
        while let Poll::Ready(Some(_)) = this.going_on.poll_join_next(context) {}
        loop {
            match context::within(this.context, || this.run_due()) {
                Next::Nothing => return Poll::Pending,
                Next::More => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::At(due) => {
                    if this.timer.deadline() != due {
                        this.timer.as_mut().reset(due);
                    }
                    if this.timer.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        context::within(self.context, || {
            for Reverse(entry) in self.heap.drain() {
                entry.job.core.end();
            }
            self.seat.aloop().jobs().on_no_driver();
        });
    }
}

/// A run that was not over at once.
struct Later {
    job: &'static str,
    future: Option<GoingOn>,
    context: context::Context,
    /// The loop waits for it.
    _seat: Arc<Seat>,
}

impl Future for Later {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        let poll = || caught(this.job, || future.as_mut().poll(context));
        let polled = context::within(this.context, poll);
        if matches!(polled, Some(Poll::Pending)) {
            return Poll::Pending;
        }
        this.drop_future();
        Poll::Ready(())
    }
}

impl Later {
    fn drop_future(&mut self) {
        let future = self.future.take();
        context::within(self.context, || caught(self.job, || drop(future)));
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        if self.future.is_some() {
            self.drop_future();
        }
    }
}
