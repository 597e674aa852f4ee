//! Who is to be told when a task has ended.

use std::sync::Arc;
use std::task::Waker;

use super::cell::{Callback, Outcome};
use crate::registry::panics;

/// Gets the outcome and the number of attempts.
pub(crate) type OutcomeCallback = Box<dyn FnOnce(Outcome, u32) + Send>;

/// A handle has one owner, so there is at most one for a task.
pub(crate) enum Listener {
    Nobody,
    Waker(Waker),
    Queue(Arc<dyn Completions>, usize),
    Callback(OutcomeCallback),
}

/// Collects the ends of many tasks.
pub(crate) trait Completions: Send + Sync {
    fn on_ended(&self, index: usize);
}

impl Listener {
    /// The task has ended. `take` gives its outcome, for a callback to be run where user code may run.
    pub(crate) fn tell(self, take: impl FnOnce() -> (Outcome, u32)) -> Option<Callback> {
        match self {
            Self::Nobody => None,
            Self::Waker(waker) => {
                panics::wake(waker);
                None
            }
            Self::Queue(queue, index) => {
                queue.on_ended(index);
                None
            }
            Self::Callback(callback) => {
                let (outcome, attempts) = take();
                Some(Box::new(move || callback(outcome, attempts)))
            }
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Waker(_) => "Waker",
            Self::Queue(..) => "Queue",
            Self::Callback(_) => "Callback",
        })
    }
}
