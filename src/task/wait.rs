//! Waiting for many tasks: all of them, or each as it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::error::TaskError;
use super::handle::{TaskHandle, TaskOwner};
use super::info::TaskInfo;
use super::listener::Completions;
use crate::sync::{Mutex, Wish};
use crate::sys::fork::is_forked_child;

/// So many parts of what is left are waited for one by one.
const PARTS: usize = 16;

/// Wait until every task has ended. The results stand in the order of the handles.
///
/// With a timeout (`Duration` or `Some`; `None` waits for ever) that passes first, the handles come back in
/// [`StillRunning`]; no task is cancelled by that.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = atasker::Supervisor::builder().start()?;
/// let tasks: Vec<_> =
///     (0..3).map(|n| supervisor.spawn_blocking(move || n * n)).collect::<Result<_, _>>()?;
/// let squares: Result<Vec<i32>, _> = atasker::wait_all(tasks, None)?.into_iter().collect();
/// assert_eq!(squares?, [0, 1, 4]);
/// # Ok(()) }
/// ```
pub fn wait_all<T>(
    handles: impl IntoIterator<Item = TaskHandle<T>>,
    timeout: impl Into<Option<Duration>>,
) -> Result<Vec<Result<T, TaskError>>, StillRunning<T>> {
    let handles: Vec<_> = handles.into_iter().collect();
    let deadline = timeout.into().and_then(|timeout| Instant::now().checked_add(timeout));
    // With a deadline a handle may have to be given back, whatever has become of its task.
    if deadline.is_some()
        && !is_forked_child()
        && !Countdown::over(&handles).wait(&handles, deadline)
    {
        return Err(StillRunning { handles });
    }
    Ok(wait_in_turn(handles))
}

/// Results are read while later tasks still run, a part of them at a time: whoever reads does not look after rings.
fn wait_in_turn<T>(handles: Vec<TaskHandle<T>>) -> Vec<Result<T, TaskError>> {
    let mut results = Vec::with_capacity(handles.len());
    let mut left = handles.into_iter();
    while let Some(next) = left.as_slice().first() {
        let last_of_part = &left.as_slice()[left.len() / PARTS];
        // In a forked child nothing comes any more, which `wait` says.
        if !next.end().is_done() && !is_forked_child() && !last_of_part.wait_looking() {
            // Nothing to do here meanwhile: to be woken once is enough.
            Countdown::over(left.as_slice()).wait(left.as_slice(), None);
        }
        results.extend(left.next().map(TaskHandle::wait));
    }
    results
}

/// The supervisor that a thread which waits for these can be of use to.
fn looking_owner<T>(handles: &[TaskHandle<T>]) -> Option<Arc<dyn TaskOwner>> {
    handles.iter().find(|handle| !handle.end().is_done())?.looking_owner()
}

/// Wait for the wish, looking after the rings of `owner` meanwhile where that is possible. `false`: its time
/// is up.
pub(crate) fn wait_for(owner: Option<&dyn TaskOwner>, wish: &Wish<'_>) -> bool {
    if (wish.is_done)() || owner.is_some_and(|owner| owner.wait_for(wish)) {
        return (wish.is_done)();
    }
    if let Some(owner) = owner {
        owner.attend();
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    while (wish.wake_when_done)(&waker) {
        match wish.until.map(|until| until.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(Duration::ZERO) => return (wish.is_done)(),
            Some(left) => std::thread::park_timeout(left),
        }
    }
    true
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Wakes whoever waits for it once, when as many tasks have ended as it was told.
#[derive(Debug)]
struct Countdown {
    left: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Countdown {
    fn over<T>(handles: &[TaskHandle<T>]) -> Arc<Self> {
        let left = AtomicUsize::new(handles.len());
        let countdown = Arc::new(Self { left, waker: Mutex::new(None) });
        for handle in handles {
            let countdown: Arc<dyn Completions> = Arc::clone(&countdown) as _;
            handle.end().queue_at_end(countdown, 0);
        }
        countdown
    }

    fn is_done(&self) -> bool {
        // Pairs with the release in `on_ended`; the outcomes themselves are behind locks.
        self.left.load(Ordering::Acquire) == 0
    }

    /// Wait for those that it is over. `false`: the deadline passed first, and nothing is counted any more.
    fn wait<T>(&self, handles: &[TaskHandle<T>], until: Option<Instant>) -> bool {
        let owner = looking_owner(handles);
        let wake_when_done = |waker: &Waker| {
            *self.waker.lock() = Some(waker.clone());
            // Whoever counts down to zero after this look finds the waker.
            !self.is_done()
        };
        let wish = Wish { is_done: &|| self.is_done(), wake_when_done: &wake_when_done, until };
        let done = wait_for(owner.as_deref(), &wish);
        if !done {
            for handle in handles {
                handle.end().stop_listening();
            }
        }
        done
    }
}

impl Completions for Countdown {
    fn on_ended(&self, _index: usize) {
        // Pairs with the acquire in `is_done`; the lock orders it before the look at the waker.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(waker) = self.waker.lock().take()
        {
            waker.wake();
        }
    }
}

/// A timeout has passed while some of the tasks still ran. Holds the handles, those of ended tasks too.
pub struct StillRunning<T> {
    /// All the handles, in their order.
    pub handles: Vec<TaskHandle<T>>,
}

/// Of their number only; there may be very many.
impl<T> std::fmt::Debug for StillRunning<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StillRunning").field("handles", &self.handles.len()).finish_non_exhaustive()
    }
}

impl<T> std::fmt::Display for StillRunning<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let running = self.handles.iter().filter(|handle| !handle.is_done()).count();
        write!(f, "{running} of {} tasks had not ended when the timeout passed", self.handles.len())
    }
}

impl<T> std::error::Error for StillRunning<T> {}

/// What became of one task among several.
///
/// See [`as_completed`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Completion<T> {
    /// The place of its handle or call in the order in which they were given, from 0.
    pub index: usize,
    /// What is known of the task.
    pub info: TaskInfo,
    /// What [`TaskHandle::wait`] would have returned.
    pub result: Result<T, TaskError>,
}

/// The tasks' outcomes, each as soon as it is there. Dropping the iterator detaches the rest.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = atasker::Supervisor::builder().start()?;
/// let tasks: Vec<_> =
///     (0..3).map(|n| supervisor.spawn_blocking(move || n)).collect::<Result<_, _>>()?;
/// let mut sum = 0;
/// for done in atasker::as_completed(tasks) {
///     sum += done.result?;
/// }
/// assert_eq!(sum, 3);
/// # Ok(()) }
/// ```
pub fn as_completed<T>(handles: impl IntoIterator<Item = TaskHandle<T>>) -> AsCompleted<T> {
    let handles: Vec<_> = handles.into_iter().collect();
    let queue = CompletionQueue::over(&handles);
    AsCompleted { left: handles.len(), handles: handles.into_iter().map(Some).collect(), queue }
}

/// The iterator of [`as_completed`].
#[derive(Debug)]
pub struct AsCompleted<T> {
    handles: Vec<Option<TaskHandle<T>>>,
    queue: Arc<CompletionQueue>,
    left: usize,
}

impl<T> Iterator for AsCompleted<T> {
    type Item = Completion<T>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let index = if is_forked_child() {
            // Nobody queues anything any more, and the queue may have been locked at the fork.
            self.handles.iter().position(Option::is_some)?
        } else {
            let owner = self.handles.iter().flatten().find_map(TaskHandle::looking_owner);
            self.queue.next(owner.as_deref())
        };
        self.left -= 1;
        let handle = self.handles[index].take().expect("a task ends once");
        Some(completion(index, &handle))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T> ExactSizeIterator for AsCompleted<T> {}

/// The completion of a task that has ended.
pub(crate) fn completion<T>(index: usize, handle: &TaskHandle<T>) -> Completion<T> {
    Completion { index, info: handle.info(), result: handle.take() }
}

/// Indexes of ended tasks in the order in which they ended.
#[derive(Debug, Default)]
pub(crate) struct CompletionQueue {
    ended: Mutex<Ended>,
}

#[derive(Debug, Default)]
struct Ended {
    indexes: VecDeque<usize>,
    waker: Option<Waker>,
}

impl CompletionQueue {
    fn over<T>(handles: &[TaskHandle<T>]) -> Arc<Self> {
        let queue = Arc::new(Self::default());
        for (index, handle) in handles.iter().enumerate() {
            queue.watch(index, handle);
        }
        queue
    }

    /// Have the end of this task queued under `index`.
    pub(crate) fn watch<T>(self: &Arc<Self>, index: usize, handle: &TaskHandle<T>) {
        let queue = Arc::clone(self);
        handle.end().queue_at_end(queue, index);
    }

    /// The next task that has ended. There must be one that is watched and has not been told.
    pub(crate) fn next(&self, owner: Option<&dyn TaskOwner>) -> usize {
        let wake_when_done = |waker: &Waker| {
            let mut ended = self.ended.lock();
            ended.waker = Some(waker.clone());
            ended.indexes.is_empty()
        };
        let is_done = || !self.ended.lock().indexes.is_empty();
        let wish = Wish { is_done: &is_done, wake_when_done: &wake_when_done, until: None };
        wait_for(owner, &wish);
        self.ended.lock().indexes.pop_front().expect("one has ended, and only this thread takes")
    }
}

impl Completions for CompletionQueue {
    fn on_ended(&self, index: usize) {
        let mut ended = self.ended.lock();
        ended.indexes.push_back(index);
        let waker = ended.waker.take();
        drop(ended);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
