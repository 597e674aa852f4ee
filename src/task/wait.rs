//! Waiting for many tasks: all of them, or each as it ends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::cell::Completions;
use super::error::TaskError;
use super::handle::TaskHandle;
use super::info::TaskInfo;
use crate::sync::{Mutex, wait_on};

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
    let countdown = Arc::new(Countdown::new(handles.len()));
    for handle in &handles {
        let countdown: Arc<dyn Completions> = Arc::clone(&countdown) as _;
        handle.cell().queue_at_end(countdown, 0);
        handle.attend();
    }
    if !countdown.wait(deadline) {
        for handle in &handles {
            handle.cell().stop_listening();
        }
        return Err(StillRunning { handles });
    }
    Ok(handles.iter().map(TaskHandle::take).collect())
}

/// Wakes the thread that made it once, when as many tasks have ended as it was told.
#[derive(Debug)]
struct Countdown {
    left: AtomicUsize,
    waiter: Thread,
}

impl Countdown {
    fn new(tasks: usize) -> Self {
        Self { left: AtomicUsize::new(tasks), waiter: std::thread::current() }
    }

    /// `false`: the deadline passed first.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        // Pairs with the release in `on_ended`; the outcomes themselves are behind locks.
        while self.left.load(Ordering::Acquire) > 0 {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(Duration::ZERO) => return false,
                Some(left) => std::thread::park_timeout(left),
            }
        }
        true
    }
}

impl Completions for Countdown {
    fn on_ended(&self, _index: usize) {
        // Pairs with the acquire in `wait`.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiter.unpark();
        }
    }
}

/// A timeout has passed while some of the tasks still ran. Holds the handles, those of ended tasks too.
#[derive(Debug)]
pub struct StillRunning<T> {
    /// All the handles, in their order.
    pub handles: Vec<TaskHandle<T>>,
}

impl<T> std::fmt::Display for StillRunning<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let running = self.handles.iter().filter(|handle| !handle.is_done()).count();
        write!(f, "{running} of {} tasks had not ended when the timeout passed", self.handles.len())
    }
}

impl<T: std::fmt::Debug> std::error::Error for StillRunning<T> {}

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
        let index = self.queue.next(None)?;
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
    ended: Mutex<VecDeque<usize>>,
    changed: Condvar,
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
        handle.cell().queue_at_end(queue, index);
        handle.attend();
    }

    /// The next task that has ended. `None`: the deadline passed first.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Option<usize> {
        let mut ended = self.ended.lock();
        loop {
            if let Some(index) = ended.pop_front() {
                return Some(index);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            ended = wait_on(&self.changed, ended, left);
        }
    }
}

impl Completions for CompletionQueue {
    fn on_ended(&self, index: usize) {
        self.ended.lock().push_back(index);
        self.changed.notify_one();
    }
}
