//! Where a handle finds the end of its task: in a cell of the task's own, or among those of a pack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::cell::{Callback, Name, Outcome, TaskCell};
use super::info::{Ended, Pool, TaskStatus};
use super::listener::{Completions, Listener, OutcomeCallback};
use super::pack::Pack;

#[derive(Debug)]
pub(crate) enum End {
    Alone(Arc<TaskCell>),
    InPack {
        pack: Arc<Pack>,
        /// Its number in the pack.
        call: u32,
        /// Whether the outcome was given away.
        taken: AtomicBool,
    },
}

impl End {
    pub(crate) fn in_pack(pack: Arc<Pack>, call: u32) -> Self {
        Self::InPack { pack, call, taken: AtomicBool::new(false) }
    }

    pub(crate) fn name(&self) -> &Name {
        match self {
            Self::Alone(cell) => &cell.name,
            Self::InPack { pack, .. } => &pack.name,
        }
    }

    pub(crate) fn pool(&self) -> Pool {
        match self {
            Self::Alone(cell) => cell.pool,
            Self::InPack { .. } => Pool::Processes,
        }
    }

    /// Whether it has come. Cheap enough to spin on.
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Alone(cell) => cell.is_done(),
            Self::InPack { pack, call, .. } => pack.is_done(*call),
        }
    }

    /// Take the outcome, with the number of attempts, if it is there.
    pub(crate) fn take_outcome(&self) -> Option<(Outcome, u32)> {
        match self {
            Self::Alone(cell) => cell.take_outcome(),
            Self::InPack { pack, call, taken } => {
                (!taken.swap(true, Ordering::Relaxed)).then(|| pack.take_outcome(*call))?
            }
        }
    }

    /// The same, by the last owner.
    #[inline]
    pub(crate) fn into_taken<R>(self, with: impl FnOnce(Option<(Outcome, u32)>, &Name) -> R) -> R {
        match self {
            // Mostly nobody else has it any more, and so nobody its lock.
            Self::Alone(mut cell) => match Arc::get_mut(&mut cell) {
                Some(cell) => cell.take_alone(with),
                None => with(cell.take_outcome(), &cell.name),
            },
            Self::InPack { .. } => with(self.take_outcome(), self.name()),
        }
    }

    /// How the task ended, once it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        match self {
            Self::Alone(cell) => cell.ended(),
            Self::InPack { pack, call, .. } => pack.ended(*call),
        }
    }

    /// All that can be told of a task that had not ended, by who will never hear of it.
    pub(crate) fn lost(&self, status: TaskStatus) -> Ended {
        match self {
            Self::Alone(cell) => Ended {
                status,
                priority: cell.priority,
                pool: cell.pool,
                attempts: 0,
                queued: Duration::ZERO,
                ran: Duration::ZERO,
                pid: None,
                returned_error: None,
            },
            Self::InPack { pack, .. } => pack.lost(status),
        }
    }

    /// Have `waker` woken at the end. `false`: the end has already come.
    pub(crate) fn wake_at_end(&self, waker: &Waker) -> bool {
        self.listen(Listener::Waker(waker.clone())).is_ok()
    }

    /// Have `queue` told at the end; at once if it has already come.
    pub(crate) fn queue_at_end(&self, queue: Arc<dyn Completions>, index: usize) {
        if let Err(listener) = self.listen(Listener::Queue(queue, index)) {
            let _no_callback = listener.tell(|| unreachable!("a queue takes no outcome"));
        }
    }

    /// Have `callback` called at the end. If that has already come, it is returned, ready to be run.
    pub(crate) fn call_at_end(&self, callback: OutcomeCallback) -> Option<Callback> {
        match self.listen(Listener::Callback(callback)) {
            Err(Listener::Callback(callback)) => {
                let (outcome, attempts) = self.take_outcome()?;
                Some(Box::new(move || callback(outcome, attempts)))
            }
            _ => None,
        }
    }

    /// Nobody waits any more.
    pub(crate) fn stop_listening(&self) {
        let before = self.listen(Listener::Nobody);
        drop(before);
    }

    fn listen(&self, new: Listener) -> Result<Option<Listener>, Listener> {
        match self {
            Self::Alone(cell) => cell.listen(new).map(Some),
            Self::InPack { pack, call, .. } => pack.listen(*call, new),
        }
    }
}
