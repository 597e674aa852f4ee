//! Identities: one newtype for each thing that is numbered.

use std::fmt;

/// Names one task of one supervisor, for as long as that supervisor lives.
///
/// The number counts submissions from 1 and is never used again.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let supervisor = atasker::Supervisor::builder().start()?;
/// let task = supervisor.spawn_blocking(|| 2 + 2)?;
/// assert_eq!(task.id().number(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TaskId {
    /// Counts submissions; the identity.
    pub(crate) number: u64,
    /// Where the core keeps the task: a shortcut, not part of the identity.
    pub(crate) slot: u32,
}

impl TaskId {
    /// Of a call that never became a task.
    pub(crate) const NONE: Self = Self { number: 0, slot: u32::MAX };

    /// The number that stands in logs and errors.
    pub fn number(self) -> u64 {
        self.number
    }
}

impl PartialEq for TaskId {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for TaskId {}

impl std::hash::Hash for TaskId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl PartialOrd for TaskId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TaskId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.number.cmp(&other.number)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

/// One attempt at a task. A retry gets a new ticket, so that what arrives late from an earlier attempt
/// is recognised and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket {
    pub(crate) task: TaskId,
    /// Counts from 1.
    pub(crate) attempt: u32,
}

/// One incarnation of a worker process. Never used again within a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct WorkerId(pub(crate) u64);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
