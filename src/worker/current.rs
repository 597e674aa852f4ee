//! Which task runs.

use crate::sync::Mutex;
use crate::task::id::Ticket;

/// What a task can know of itself.
///
/// ```
/// // Outside of a worker nothing runs.
/// assert_eq!(atasker::worker::current_task(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CurrentTask {
    /// The number that stands in logs and errors of the program that submitted it.
    pub number: u64,
    /// Counts from 1; more if it is a retry.
    pub attempt: u32,
    /// The function as the call names it.
    pub function: String,
}

/// A worker runs one task at a time, whichever of its threads asks.
static CURRENT: Mutex<Option<CurrentTask>> = Mutex::new(None);

/// The task that this worker process runs, asked from any of its threads. `None` outside of workers and
/// between tasks.
///
/// ```
/// if let Some(task) = atasker::worker::current_task() {
///     eprintln!("task {} of {}, attempt {}", task.number, task.function, task.attempt);
/// }
/// ```
pub fn current_task() -> Option<CurrentTask> {
    CURRENT.lock().clone()
}

pub(super) fn current_number() -> Option<u64> {
    CURRENT.lock().as_ref().map(|task| task.number)
}

pub(super) fn begin(ticket: Ticket, function: &str) {
    let Ticket { task, attempt } = ticket;
    *CURRENT.lock() =
        Some(CurrentTask { number: task.number, attempt, function: function.to_owned() });
}

pub(super) fn end() {
    *CURRENT.lock() = None;
}
