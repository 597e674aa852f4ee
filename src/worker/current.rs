//! Which task runs.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

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
    /// Counts from 1; more if it is a retry.
    pub attempt: u32,
    /// The full path of the function.
    pub function: String,
}

// A worker runs one task at a time, whichever of its threads asks. One that asks while a task ends may see a
// part of the next.
static NUMBER: AtomicU64 = AtomicU64::new(0);
static ATTEMPT: AtomicU32 = AtomicU32::new(0);
static FUNCTION: AtomicU32 = AtomicU32::new(0);

/// The task that this worker process runs, asked from any of its threads. `None` outside of workers and
/// between tasks.
///
/// ```
/// if let Some(task) = atasker::worker::current_task() {
///     eprintln!("task {} of {}, attempt {}", task.number, task.function, task.attempt);
/// }
/// ```
pub fn current_task() -> Option<CurrentTask> {
    let number = current_number()?;
    let function = registry::entry_at(FUNCTION.load(Ordering::Relaxed))?.path.to_owned();
    Some(CurrentTask { number, attempt: ATTEMPT.load(Ordering::Relaxed), function })
}

pub(super) fn current_number() -> Option<u64> {
    Some(NUMBER.load(Ordering::Relaxed)).filter(|&number| number != 0)
}

/// `function`: its index in the registry.
pub(super) fn begin(number: u64, attempt: u32, function: u32) {
    ATTEMPT.store(attempt, Ordering::Relaxed);
    FUNCTION.store(function, Ordering::Relaxed);
    NUMBER.store(number, Ordering::Relaxed);
}

pub(super) fn end() {
    NUMBER.store(0, Ordering::Relaxed);
}
