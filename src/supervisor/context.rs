//! What the current thread is doing for which supervisor, so that a call which would wait for itself is
//! recognised.

use std::cell::Cell;

use crate::core::PoolId;
use crate::task::id::TaskId;

/// What the thread is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A task of this pool.
    Task(PoolId),
    /// A callback or handler.
    Callback,
}

/// For whom the thread works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// The supervisor, by the address of what its threads share.
    pub(crate) owner: usize,
    pub(crate) place: Place,
    /// The task, if it is one.
    pub(crate) task: Option<TaskId>,
}

thread_local! {
    static CONTEXT: Cell<Option<Context>> = const { Cell::new(None) };
}

/// The current thread works for a supervisor from now on, until it ends.
pub(crate) fn enter(context: Context) {
    CONTEXT.set(Some(context));
}

/// Run `body` as work of `context`.
pub(crate) fn within<R>(context: Context, body: impl FnOnce() -> R) -> R {
    struct Restore(Option<Context>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CONTEXT.set(self.0);
        }
    }
    let _restore = Restore(CONTEXT.replace(Some(context)));
    body()
}

/// What the current thread does for the supervisor `owner`.
pub(crate) fn place_of(owner: usize) -> Option<Place> {
    CONTEXT.get().filter(|context| context.owner == owner).map(|context| context.place)
}

/// The task that the current thread runs.
pub(crate) fn current_task() -> Option<TaskId> {
    CONTEXT.get()?.task
}

/// Whether the current thread runs callbacks, of any supervisor.
pub(crate) fn is_callback() -> bool {
    CONTEXT.get().is_some_and(|context| context.place == Place::Callback)
}

thread_local! {
    static SUBMITTING: Cell<bool> = const { Cell::new(false) };
}

/// Run `body`, in which the current thread submits: what is to run inline runs here.
pub(crate) fn submitting<R>(body: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            SUBMITTING.set(self.0);
        }
    }
    let _restore = Restore(SUBMITTING.replace(true));
    body()
}

/// Whether the current thread is within [`submitting`].
pub(crate) fn is_submitting() -> bool {
    SUBMITTING.get()
}
