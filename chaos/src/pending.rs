//! A task that was submitted, whatever its type: cancelling it, and waiting for it in all the ways there are.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use atasker::{TaskError, TaskErrorKind, TaskHandle, TaskId, TimeLimit};

use crate::plan::Way;

/// What came of a task, as its handle tells.
#[derive(Clone, Debug)]
pub(crate) enum Observed {
    /// The value that it is to have.
    Value,
    /// The `Err` that it is to have.
    ReturnedError,
    /// A value that is not the right one.
    Wrong(String),
    Failed(TaskError),
    /// Nobody looked.
    Nothing,
    /// Its callback was dropped uncalled.
    Silence,
}

impl Observed {
    /// Whether its timeout has ended it.
    pub(crate) fn timed_out(&self) -> bool {
        let Self::Failed(error) = self else { return false };
        matches!(error.kind(), TaskErrorKind::TimedOut { limit: TimeLimit::Timeout, .. })
    }
}

/// Whether a value is the right one.
pub(crate) type Check<T> = Box<dyn FnOnce(T) -> Observed + Send>;

/// A task under way.
pub(crate) trait Pending: Send {
    /// In the supervisor.
    fn id(&self) -> TaskId;

    fn cancel(&self) -> bool;

    /// Wait for it, and see what came of it.
    fn settle(self: Box<Self>) -> Observed;
}

/// Have it awaited that way.
pub(crate) fn pending<T: Send + 'static>(
    handle: TaskHandle<T>,
    way: Way,
    check: Check<T>,
) -> Box<dyn Pending> {
    match way {
        Way::Callback => Box::new(Called::new(handle, check)),
        Way::Detach => Box::new(Detached(handle.id())),
        _ => Box::new(Held { handle, way, check }),
    }
}

struct Held<T> {
    handle: TaskHandle<T>,
    way: Way,
    check: Check<T>,
}

impl<T: Send + 'static> Pending for Held<T> {
    fn id(&self) -> TaskId {
        self.handle.id()
    }

    fn cancel(&self) -> bool {
        self.handle.cancel()
    }

    fn settle(self: Box<Self>) -> Observed {
        let Self { mut handle, way, check } = *self;
        let outcome = match way {
            Way::WaitInSteps => loop {
                if let Some(outcome) = handle.wait_timeout(Duration::from_micros(300)) {
                    break outcome;
                }
            },
            Way::Await => block_on(handle),
            Way::Ask => {
                while !handle.is_done() {
                    std::thread::sleep(Duration::from_micros(50));
                }
                handle.wait()
            }
            Way::Wait | Way::Callback | Way::Detach => handle.wait(),
        };
        outcome.map_or_else(Observed::Failed, check)
    }
}

/// Its callback sends what came of it.
struct Called {
    id: TaskId,
    outcome: mpsc::Receiver<Observed>,
}

impl Called {
    fn new<T: Send + 'static>(handle: TaskHandle<T>, check: Check<T>) -> Self {
        let id = handle.id();
        let (tell, outcome) = mpsc::channel();
        handle.on_complete(move |outcome| {
            let observed = outcome.map_or_else(Observed::Failed, check);
            let _gone = tell.send(observed);
        });
        Self { id, outcome }
    }
}

impl Pending for Called {
    fn id(&self) -> TaskId {
        self.id
    }

    fn cancel(&self) -> bool {
        false
    }

    fn settle(self: Box<Self>) -> Observed {
        self.outcome.recv().unwrap_or(Observed::Silence)
    }
}

struct Detached(TaskId);

impl Pending for Detached {
    fn id(&self) -> TaskId {
        self.0
    }

    fn cancel(&self) -> bool {
        false
    }

    fn settle(self: Box<Self>) -> Observed {
        Observed::Nothing
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Await in a thread that has no runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
