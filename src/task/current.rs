//! What the code of a task can ask about its own task, and say, wherever it runs.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use super::cell::TaskCell;
use super::id::Ticket;
use crate::blackbox::{Recorder, Running, recorder};
use crate::registry;

/// The task that the caller is part of, if any.
///
/// It keeps meaning that attempt, also when it is handed to another thread.
///
/// ```
/// let current = atasker::current(); // not in a task here
/// assert!(!current.is_cancelled());
/// assert_eq!((current.number(), current.attempt(), current.function()), (None, None, None));
/// ```
#[derive(Clone)]
pub struct Current(Place);

#[derive(Clone)]
enum Place {
    Nowhere,
    /// In a worker process.
    Worker(Recorder, Running),
    /// In a process with a supervisor.
    Here(Here),
}

/// An attempt that runs in this process.
#[derive(Clone)]
pub(crate) struct Here {
    pub(crate) cell: Arc<TaskCell>,
    pub(crate) ticket: Ticket,
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// Run `body` as a part of the attempt `here`, which is back there afterwards.
pub(crate) fn within<R>(here: &mut Option<Here>, body: impl FnOnce() -> R) -> R {
    struct SwapBack<'a>(&'a mut Option<Here>);
    impl Drop for SwapBack<'_> {
        fn drop(&mut self) {
            swap(self.0);
        }
    }
    swap(here);
    let _swap_back = SwapBack(here);
    body()
}

fn swap(here: &mut Option<Here>) {
    // The thread may be past its thread locals: a runtime that was kept in one is dropped with its futures then.
    let _ = HERE.try_with(|inside| std::mem::swap(&mut *inside.borrow_mut(), here));
}

/// The task that the caller is part of. Costs a few nanoseconds.
///
/// In a worker process that is the task it runs, whichever of its threads asks. On the thread pool, on rayon, inline
/// and on a loop it is the task of the current thread, or of the future that is polled: threads that a task starts
/// there have to be given it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = atasker::Supervisor::builder().start()?;
/// let task = supervisor.spawn_blocking(|| atasker::current().number())?;
/// assert_eq!(task.wait()?, Some(1));
/// # Ok(()) }
/// ```
pub fn current() -> Current {
    if let Some(recorder) = recorder() {
        let running = recorder.running();
        return Current(running.map_or(Place::Nowhere, |running| Place::Worker(recorder, running)));
    }
    // The thread may be past its thread locals.
    let here = HERE.try_with(|here| here.borrow().clone()).ok().flatten();
    Current(here.map_or(Place::Nowhere, Place::Here))
}

/// Say how far the task has come: `done` of `total`, in whatever unit.
///
/// Whoever has the [handle](crate::TaskHandle::progress) sees the last that was said; so does the report of a crash.
/// It costs about as much as writing a few numbers, so it may be said often. Outside of a task nothing happens.
///
/// ```
/// fn convert(pages: &[&str]) {
///     for (done, _page) in pages.iter().enumerate() {
///         atasker::progress(done as u64, pages.len() as u64);
///     }
/// }
/// convert(&["one", "two"]); // still a plain function
/// ```
pub fn progress(done: u64, total: u64) {
    if let Some(recorder) = recorder() {
        return recorder.progress(done, total);
    }
    let _ = HERE.try_with(|here| {
        if let Some(Here { cell, ticket }) = &*here.borrow() {
            cell.said.set_progress(ticket.attempt, done, total);
        }
    });
}

impl Current {
    /// Whether the task is asked to give up: its soft timeout has passed. What runs in a process with a
    /// supervisor is also asked to when its task has ended without it, by a timeout or a cancel. (In a worker
    /// process those kill it.) `false` outside of a task.
    ///
    /// It costs about as much as a look at a flag. Keep a [`Current`] and ask it in the loop.
    ///
    /// ```
    /// fn sum(numbers: &[u64]) -> Option<u64> {
    ///     let current = atasker::current();
    ///     let mut sum = 0;
    ///     for number in numbers {
    ///         if current.is_cancelled() {
    ///             return None;
    ///         }
    ///         sum += number;
    ///     }
    ///     Some(sum)
    /// }
    /// assert_eq!(sum(&[1, 2, 3]), Some(6));
    /// ```
    pub fn is_cancelled(&self) -> bool {
        match &self.0 {
            Place::Nowhere => false,
            Place::Worker(recorder, running) => recorder.is_asked_to_end(*running),
            Place::Here(Here { cell, ticket }) => {
                cell.is_done() || cell.said.is_asked_to_end(ticket.attempt)
            }
        }
    }

    /// The task's number in its supervisor.
    pub fn number(&self) -> Option<u64> {
        match &self.0 {
            Place::Nowhere => None,
            Place::Worker(_, running) => Some(running.number),
            Place::Here(here) => Some(here.ticket.task.number()),
        }
    }

    /// Tells attempts apart: a retry has a larger one. The first need not have 1, see
    /// [`CurrentTask`](crate::worker::CurrentTask).
    pub fn attempt(&self) -> Option<u32> {
        match &self.0 {
            Place::Nowhere => None,
            Place::Worker(_, running) => Some(running.attempt),
            Place::Here(here) => Some(here.ticket.attempt),
        }
    }

    /// The function's full path, or the type of the closure.
    pub fn function(&self) -> Option<&str> {
        match &self.0 {
            Place::Nowhere => None,
            Place::Worker(_, running) => Some(registry::entry_at(running.function)?.path),
            Place::Here(here) => Some(&here.cell.name.function),
        }
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current")
            .field("number", &self.number())
            .field("attempt", &self.attempt())
            .field("function", &self.function())
            .finish()
    }
}
