//! Which task runs.

use crate::blackbox::recorder;
use crate::registry;

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
    /// Tells attempts apart: a retry has a larger one. The first need not have 1, for a task may be given to a worker
    /// and taken back before it begins; how many attempts there were stands in [`TaskInfo`](crate::TaskInfo).
    pub attempt: u32,
    /// The full path of the function.
    pub function: String,
}

/// The task that this worker process runs, asked from any of its threads. `None` outside of workers and
/// between tasks. [`current`](crate::current) works in other pools too, and costs less.
///
/// ```
/// if let Some(task) = atasker::worker::current_task() {
///     eprintln!("task {} of {}, attempt {}", task.number, task.function, task.attempt);
/// }
/// ```
pub fn current_task() -> Option<CurrentTask> {
    let running = recorder()?.running()?;
    let function = registry::entry_at(running.function)?.path.to_owned();
    Some(CurrentTask { number: running.number, attempt: running.attempt, function })
}

pub(super) fn current_number() -> Option<u64> {
    recorder()?.running().map(|running| running.number)
}
