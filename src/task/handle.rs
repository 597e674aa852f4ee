//! The handle of a submitted task: waits, cancels, tells.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::call::ReadResult;
use super::cell::{Callback, Outcome};
use super::end::End;
use super::error::{TaskError, TaskErrorKind};
use super::id::TaskId;
use super::info::{Pool, Progress, TaskInfo, TaskStatus};
use super::wait::wait_for;
use crate::registry::panics;
use crate::sync::Wish;
use crate::sys::fork::is_forked_child;

/// What a handle needs of the supervisor it came from.
pub(crate) trait TaskOwner: Send + Sync {
    /// End the task as cancelled, if that is still possible.
    fn cancel(&self, task: TaskId) -> bool;
    /// What is known of a task that has not ended.
    fn info(&self, task: TaskId) -> Option<TaskInfo>;
    /// The current thread waits for the task: let it receive the outcome itself where that is possible, over
    /// a channel.
    fn lend_thread(&self, task: TaskId, done: &dyn Fn() -> bool);
    /// The current thread waits for process tasks: let it look after the rings meanwhile. `false`: somebody
    /// else does; wait otherwise.
    fn wait_for(&self, wish: &Wish<'_>) -> bool;
    /// Nobody lends a thread: see that outcomes are received.
    fn attend(&self);
    /// Run `callback` where user code may run.
    fn run_callback(&self, callback: Callback);
}

/// A submitted task: wait for its value, cancel it, ask about it.
///
/// Dropping the handle detaches the task: it runs on, and what it returns is dropped. The handle is also a
/// `Future`, on any runtime; its output is what [`wait`](Self::wait) returns.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::Supervisor;
/// let supervisor = Supervisor::builder().start()?;
/// let task = supervisor.spawn_blocking(|| "done")?;
/// assert_eq!(task.wait()?, "done");
/// # Ok(()) }
/// ```
#[must_use = "the task runs on without its handle; drop it explicitly to detach"]
pub struct TaskHandle<T> {
    end: End,
    id: TaskId,
    owner: Weak<dyn TaskOwner>,
    read: ReadResult<T>,
}

impl<T> TaskHandle<T> {
    pub(crate) fn new(
        end: End,
        id: TaskId,
        owner: Weak<dyn TaskOwner>,
        read: ReadResult<T>,
    ) -> Self {
        Self { end, id, owner, read }
    }

    /// The task's number in its supervisor.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Whether the task has ended. Does not wait.
    pub fn is_done(&self) -> bool {
        self.end.is_done() || {
            self.attend();
            false
        }
    }

    /// Wait until the task has ended, and take the function's own value.
    ///
    /// The value is decoded here, in the caller's thread. On a loop's own thread, or in a task whose pool has no other place
    /// for what it waits for, this can be for ever: `.await` the handle there.
    ///
    /// # Errors
    /// [`TaskError`]: why there is no value.
    ///
    /// # Panics
    /// If [`wait_timeout`](Self::wait_timeout) or an `.await` has given the value already.
    pub fn wait(self) -> Result<T, TaskError> {
        if let Some(error) = self.forked() {
            return Err(error);
        }
        self.wait_until(None, true);
        let Self { end, id, read, .. } = self;
        end.into_taken(|taken, name| read_taken(taken, read, id, name))
    }

    /// Wait at most `timeout`. `None`: the task has not ended; wait again, or cancel it.
    ///
    /// # Panics
    /// When called again after it has returned `Some`: the value has been taken.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::{sync::mpsc, time::Duration};
    /// let supervisor = atasker::Supervisor::builder().start()?;
    /// let (send, receive) = mpsc::channel::<u32>();
    /// let mut task = supervisor.spawn_blocking(move || receive.recv())?;
    /// assert!(task.wait_timeout(Duration::from_millis(1)).is_none());
    /// send.send(7)?;
    /// assert_eq!(task.wait()??, 7);
    /// # Ok(()) }
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<T, TaskError>> {
        if let Some(error) = self.forked() {
            return Some(Err(error));
        }
        self.wait_until(Instant::now().checked_add(timeout), false).then(|| self.take())
    }

    /// Cancel the task. `true`: it ended by this, as [`Cancelled`](TaskErrorKind::Cancelled); what the
    /// function does after that is not seen any more. `false`: it has ended otherwise, or its completion
    /// or somebody else's cancel came first.
    ///
    /// A task that runs in a worker process is killed with its process. A future is dropped at its next await.
    /// A task that runs on a thread can't be killed: it goes on there and holds its place until it returns.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Call, Supervisor};
    /// use std::time::Duration;
    /// let supervisor = Supervisor::builder().start()?;
    /// let task = supervisor.submit(Call::closure(|| ()).delay(Duration::from_secs(3600)))?;
    /// assert!(task.cancel());
    /// assert!(!task.wait().unwrap_err().may_have_run());
    /// # Ok(()) }
    /// ```
    pub fn cancel(&self) -> bool {
        !self.end.is_done()
            && self.forked().is_none()
            && self.owner.upgrade().is_some_and(|owner| owner.cancel(self.id))
    }

    /// Have `callback` called with the outcome, on the supervisor's callback thread. Callbacks run one after
    /// another, so a slow one holds the others up. A panic in one is logged and costs nothing else.
    ///
    /// If the supervisor is gone, or this is a forked child, the callback runs here.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let supervisor = atasker::Supervisor::builder().start()?;
    /// let (send, receive) = std::sync::mpsc::channel();
    /// supervisor.spawn_blocking(|| 5)?.on_complete(move |value| drop(send.send(value)));
    /// assert_eq!(receive.recv()??, 5);
    /// # Ok(()) }
    /// ```
    pub fn on_complete(self, callback: impl FnOnce(Result<T, TaskError>) + Send + 'static)
    where
        T: 'static,
    {
        if let Some(error) = self.forked() {
            return callback(Err(error));
        }
        let (id, read, name) = (self.id, self.read, self.end.name().clone());
        let callback = Box::new(move |outcome: Outcome, attempts: u32| {
            callback(read_outcome(outcome, read, id, &name, attempts));
        });
        self.attend();
        if let Some(ready) = self.end.call_at_end(callback) {
            match self.owner.upgrade() {
                Some(owner) if !is_forked_child() => owner.run_callback(ready),
                _ => ready(),
            }
        }
    }

    /// What is known about the task now.
    pub fn info(&self) -> TaskInfo {
        loop {
            if let Some(ended) = self.end.ended() {
                return ended.into_info(self.id, self.end.name());
            }
            if let Some(error) = self.forked() {
                return self.info_of_lost(error.status());
            }
            if let Some(info) = self.owner.upgrade().and_then(|owner| owner.info(self.id)) {
                return info;
            }
            // The core has let go of it and whoever took it is about to store how it ended: perhaps this thread, which
            // tells a subscriber of it just now.
            if panics::is_saying() {
                return self.info_of_lost(TaskStatus::Running);
            }
            std::thread::yield_now();
        }
    }

    /// How far the task says that it has come: the last of what it told [`progress`](crate::progress) in its
    /// present attempt. `None` if it has said nothing, or does not run (any more).
    pub fn progress(&self) -> Option<Progress> {
        if self.end.is_done() || is_forked_child() {
            return None;
        }
        self.owner.upgrade()?.info(self.id)?.progress
    }

    /// All that can be told, by a forked child of a task that had not ended, or of one that ends just now.
    fn info_of_lost(&self, status: TaskStatus) -> TaskInfo {
        self.end.lost(status).into_info(self.id, self.end.name())
    }

    /// In a forked child nobody will ever end the task.
    fn forked(&self) -> Option<TaskError> {
        let lost = !self.end.is_done() && is_forked_child();
        lost.then(|| {
            TaskError::new(Some(self.id), self.end.name().clone(), 0, TaskErrorKind::Forked)
        })
    }

    /// The outcome is awaited otherwise than by a thread that blocks in [`wait`](Self::wait).
    pub(crate) fn attend(&self) {
        // There the rings are not mapped.
        if let Some(owner) = self.owner.upgrade()
            && !is_forked_child()
        {
            owner.attend();
        }
    }

    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    /// Take the value of a task that has ended, or, in a forked child, never will.
    pub(crate) fn take(&self) -> Result<T, TaskError> {
        if let Some(error) = self.forked() {
            return Err(error);
        }
        read_taken(self.end.take_outcome(), self.read, self.id, self.end.name())
    }

    /// Its supervisor, if threads that wait for this task can be of use to it.
    pub(crate) fn looking_owner(&self) -> Option<Arc<dyn TaskOwner>> {
        self.owner.upgrade().filter(|_| self.end.pool() == Pool::Processes)
    }

    /// Wait by looking after the rings through which the task ends. `false`: there are none, they
    /// are no more, or somebody else does.
    pub(crate) fn wait_looking(&self) -> bool {
        self.looking_owner()
            .is_some_and(|owner| self.end.is_done() || self.wish(None, |end| owner.wait_for(end)))
    }

    /// Its end, as something to wait for.
    fn wish<R>(&self, until: Option<Instant>, with: impl FnOnce(&Wish<'_>) -> R) -> R {
        with(&Wish {
            is_done: &|| self.end.is_done(),
            wake_when_done: &|waker| self.end.wake_at_end(waker),
            until,
        })
    }

    /// `lends`: this thread may receive from a channel meanwhile, for as long as that takes.
    fn wait_until(&self, until: Option<Instant>, lends: bool) -> bool {
        if self.end.is_done() {
            return true;
        }
        let owner = self.looking_owner();
        if lends && let Some(owner) = &owner {
            owner.lend_thread(self.id, &|| self.end.is_done());
        }
        let done = self.wish(until, |end| wait_for(owner.as_deref(), end));
        if !done {
            self.end.stop_listening();
        }
        done || self.end.is_done()
    }
}

#[inline]
fn read_taken<T>(
    taken: Option<(Outcome, u32)>,
    read: ReadResult<T>,
    id: TaskId,
    name: &super::cell::Name,
) -> Result<T, TaskError> {
    let (outcome, attempts) = taken.expect("the value of a task is taken once");
    read_outcome(outcome, read, id, name, attempts)
}

fn read_outcome<T>(
    outcome: Outcome,
    read: ReadResult<T>,
    id: TaskId,
    name: &super::cell::Name,
    attempts: u32,
) -> Result<T, TaskError> {
    let undeliverable = |reason: String| {
        TaskError::new(Some(id), name.clone(), attempts, TaskErrorKind::Undeliverable { reason })
    };
    let stored = outcome?;
    match catch_unwind(AssertUnwindSafe(|| read.read(stored))) {
        Ok(value) => value.map_err(undeliverable),
        Err(_) => Err(undeliverable("decoding it panicked".to_owned())),
    }
}

impl<T> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.forked() {
            return Poll::Ready(Err(error));
        }
        if self.end.is_done() || !self.end.wake_at_end(context.waker()) {
            return Poll::Ready(self.take());
        }
        self.attend();
        Poll::Pending
    }
}

impl<T> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id.number())
            .field("name", &self.end.name().function)
            .field("in_pack", &matches!(self.end, End::InPack { .. }))
            .field("done", &self.end.is_done())
            .finish_non_exhaustive()
    }
}
