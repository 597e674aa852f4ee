//! Tasks that are started here and end elsewhere.

use std::sync::Weak;

use super::shared::Shared;
use crate::sys;
use crate::task::cell::Returned;
use crate::task::id::Ticket;

/// The place that an external task holds. Freed when it is completed or dropped.
pub(crate) struct Slot {
    shared: Weak<Shared>,
    ticket: Ticket,
    open: bool,
}

impl Slot {
    pub(crate) fn new(shared: Weak<Shared>, ticket: Ticket) -> Self {
        Self { shared, ticket, open: true }
    }

    fn finish(&mut self, outcome: Result<Returned, ExternalFailure>) {
        self.open = false;
        if sys::fork::is_forked_child() {
            // It is the parent's task.
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.on_external_ended(self.ticket, outcome);
        }
    }
}

/// How an external task ended without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExternalFailure {
    Dropped,
    /// It was dropped because the thread that held it panicked.
    Panicked,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.open {
            let panicking = std::thread::panicking();
            self.finish(Err(if panicking {
                ExternalFailure::Panicked
            } else {
                ExternalFailure::Dropped
            }));
        }
    }
}

/// Ends a task that runs elsewhere: in another system, a thread of your own, a callback of a C library.
///
/// Given to the closure of [`Supervisor::external_task`](crate::Supervisor::external_task). The task holds
/// its place until the completer is used or dropped; dropped without a value, the task ends as
/// [`Cancelled`](crate::TaskErrorKind::Cancelled). In a forked child neither does anything.
#[must_use = "dropping it cancels the task"]
pub struct Completer<T> {
    slot: Slot,
    value: std::marker::PhantomData<fn(T)>,
}

impl<T: Send + 'static> Completer<T> {
    /// End the task with its value.
    pub fn complete(mut self, value: T) {
        self.slot.finish(Ok(Returned { value: Box::new(value), error: None }));
    }
}

impl<T> std::fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Completer")
            .field("task", &self.slot.ticket.task.number())
            .finish_non_exhaustive()
    }
}

/// What runs when an external task is admitted: `start` gets the completer. If it panics, the completer
/// ends the task on its way out, unless `start` had passed it on.
pub(crate) fn starter<T, F>(start: F) -> impl FnOnce(Slot) + Send + 'static
where
    T: Send + 'static,
    F: FnOnce(Completer<T>) + Send + 'static,
{
    move |slot| {
        start(Completer { slot, value: std::marker::PhantomData });
    }
}
