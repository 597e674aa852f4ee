//! The handle of a background worker.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::builder::BackgroundWorkerBuilder;
use super::info::BackgroundWorkerInfo;
use super::machine::Kind;
use super::queue::{Fifo, Greatest, PutError, WorkQueue};
use super::shell::{Face, Shell, Source};
use super::start::Start;
use super::timing::Timing;
use super::turn;
use crate::supervisor::context;
use crate::task::error::SubmitError;

/// Something that runs again and again for a supervisor: in a loop, for each item of a queue, when it is
/// triggered, or by time. See the [module](super).
///
/// This is its handle, and cheap to clone. A worker that has been started goes on without it, until it is
/// stopped or its supervisor stops. `I` is what its queue takes; `()` for the other kinds.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{BackgroundWorker, Supervisor};
/// use std::time::Duration;
/// let supervisor = Supervisor::builder().start()?;
/// let worker = BackgroundWorker::every(Duration::from_secs(1))
///     .name("heartbeat")
///     .run(|_| println!("alive"))
///     .start(&supervisor)?;
/// assert!(worker.is_active());
/// worker.stop();
/// # Ok(()) }
/// ```
pub struct BackgroundWorker<I: Send + 'static = ()>(pub(super) Arc<Shell<I>>);

impl BackgroundWorker {
    /// One that runs one time after another, each run a task of its own, until a run returns `Break` or it is
    /// stopped.
    pub fn looping() -> BackgroundWorkerBuilder {
        without_items(Kind::Loop)
    }

    /// One that runs when it is [triggered](Self::trigger).
    pub fn on_event() -> BackgroundWorkerBuilder {
        without_items(Kind::Event)
    }

    /// One that runs at this interval, counted from start to start, the first time at once; see
    /// [`Timing::every`].
    pub fn every(interval: Duration) -> BackgroundWorkerBuilder {
        Self::timed(Timing::every(interval))
    }

    /// One that runs by time.
    pub fn timed(timing: Timing) -> BackgroundWorkerBuilder {
        without_items(Kind::Interval(timing))
    }
}

fn without_items(kind: Kind) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new(kind, Source::Nothing(|| ()))
}

impl<I: Send + 'static> BackgroundWorker<I> {
    /// One that runs for each item that is [put](Self::put), in the order in which they are put.
    pub fn queue() -> BackgroundWorkerBuilder<I> {
        Self::queue_of(Fifo::new(usize::MAX))
    }

    /// The same with a queue that takes so many items and refuses more.
    pub fn bounded_queue(items: usize) -> BackgroundWorkerBuilder<I> {
        Self::queue_of(Fifo::new(items))
    }

    /// One that runs for each item that is put, the greatest first.
    pub fn priority_queue() -> BackgroundWorkerBuilder<I>
    where
        I: Ord,
    {
        Self::queue_of(Greatest::new())
    }

    /// One that runs for each item of a queue of your own. Share it by an `Arc` to put items past the worker.
    pub fn queue_of(queue: impl WorkQueue<I>) -> BackgroundWorkerBuilder<I> {
        BackgroundWorkerBuilder::new(Kind::Queue, Source::Queue(Arc::new(queue)))
    }

    /// Start, as the builder or the last start has said. `false`: it runs already, and goes on. One that is
    /// stopping starts again once it has stopped.
    ///
    /// # Errors
    /// As [`BackgroundWorkerBuilder::start`].
    pub fn start(&self) -> Result<bool, SubmitError> {
        self.start_with(Start::new())
    }

    /// Start with other settings, which hold from now on. If it runs already they change nothing.
    pub fn start_with(&self, start: Start) -> Result<bool, SubmitError> {
        self.0.start(start)
    }

    /// Stop: no run begins any more; one that goes on is awaited, then the hooks of the end. What is in its
    /// queue stays there for the next start.
    ///
    /// Where waiting could be for ever, it only begins to stop: in a run or hook of this very worker, in a
    /// callback, and on a loop's thread. Two workers whose runs stop each other wait for each other; use
    /// [`begin_stop`](Self::begin_stop) in such runs.
    pub fn stop(&self) {
        if crate::sys::fork::is_forked_child() {
            return;
        }
        let life = self.0.begin_to_stop();
        if let Some(life) = life.filter(|_| !self.would_wait_for_itself()) {
            self.0.wait_for_end_of(life);
        }
    }

    fn would_wait_for_itself(&self) -> bool {
        #[cfg(feature = "async")]
        if self.0.shared.upgrade().is_some_and(|shared| shared.is_on_a_loop()) {
            return true;
        }
        turn::is_within(self.0.address()) || context::is_callback()
    }

    /// Begin to stop, without waiting for it.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use atasker::{BackgroundWorker, Supervisor};
    /// # let supervisor = Supervisor::builder().start()?;
    /// # let worker = BackgroundWorker::on_event().run(|_| ()).start(&supervisor)?;
    /// worker.begin_stop();
    /// assert!(!worker.trigger());
    /// # Ok(()) }
    /// ```
    pub fn begin_stop(&self) {
        if !crate::sys::fork::is_forked_child() {
            self.0.begin_to_stop();
        }
    }

    /// Stop, and await it: [`stop`](Self::stop) for a future. It begins to stop when it is first polled. Not
    /// to be awaited in a run of this very worker, which would wait for itself.
    pub async fn stop_async(&self) {
        if crate::sys::fork::is_forked_child() {
            return;
        }
        let mut life = None;
        poll_fn(|context| match *life.get_or_insert_with(|| self.0.begin_to_stop()) {
            Some(life) => self.0.poll_end_of(life, context),
            None => Poll::Ready(()),
        })
        .await;
    }

    /// Stop, and start again after that. Does not wait for either.
    ///
    /// # Errors
    /// As [`BackgroundWorkerBuilder::start`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use atasker::{BackgroundWorker, Supervisor};
    /// # let supervisor = Supervisor::builder().start()?;
    /// # let worker = BackgroundWorker::on_event().run(|_| ()).start(&supervisor)?;
    /// worker.restart()?;
    /// assert!(worker.is_active());
    /// # Ok(()) }
    /// ```
    pub fn restart(&self) -> Result<(), SubmitError> {
        self.0.restart()
    }

    /// Whether it has been started and has not stopped since. One that is about to stop is active.
    pub fn is_active(&self) -> bool {
        self.0.is_active()
    }

    /// Ask for a run now. `true`: one begins after this; however often that is asked for before it has begun, it is
    /// one. `false`: nothing is changed, because a run is going on (of any but a queue worker), or because the worker is
    /// not started, or is a loop.
    ///
    /// What an event worker waits for. An interval worker runs once more than it would have; its ticks stay
    /// where they are. A queue worker looks into its queue, at once or after the run that is going on.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use atasker::{BackgroundWorker, Supervisor};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let (send, receive) = std::sync::mpsc::channel();
    /// let worker = BackgroundWorker::on_event().run(move |run| drop(send.send(run.number())));
    /// let worker = worker.start(&supervisor)?;
    /// assert!(worker.trigger());
    /// assert_eq!(receive.recv()?, 1);
    /// # Ok(()) }
    /// ```
    pub fn trigger(&self) -> bool {
        self.0.want(self.0.kind == Kind::Queue)
    }

    /// Ask for a run that begins after this, also if one is going on: then another follows it. However often
    /// that is asked for during one run, one follows. `false`: the worker does not run, or is a loop.
    pub fn trigger_again(&self) -> bool {
        self.0.want(true)
    }

    /// Put an item into the queue. Does not wait.
    ///
    /// # Errors
    /// The item comes back if the queue is full, or the worker does not run.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use atasker::{BackgroundWorker, Supervisor};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let worker = BackgroundWorker::queue()
    ///     .for_each(|path: String, _| std::fs::remove_file(path))
    ///     .start(&supervisor)?;
    /// worker.put("/tmp/no-longer-needed".to_owned())?;
    /// # Ok(()) }
    /// ```
    pub fn put(&self, item: I) -> Result<(), PutError<I>> {
        self.0.put(item)
    }

    /// How it stands.
    pub fn info(&self) -> BackgroundWorkerInfo {
        self.0.info()
    }
}

impl<I: Send + 'static> Clone for BackgroundWorker<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I: Send + 'static> fmt::Debug for BackgroundWorker<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.info();
        f.debug_struct("BackgroundWorker")
            .field("name", &info.name)
            .field("kind", &info.kind)
            .field("status", &info.status)
            .finish_non_exhaustive()
    }
}
