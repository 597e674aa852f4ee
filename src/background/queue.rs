//! Where the items of a queue worker wait.

use std::collections::{BinaryHeap, VecDeque};
use std::fmt;

use crate::sync::Mutex;

/// What a queue worker takes its items from: one of ours, or one of your own.
///
/// Whoever has the queue may also put items into it past the worker, which then has to be
/// [triggered](super::BackgroundWorker::trigger). The methods are called by several threads at once, and not
/// while a lock of the worker is held.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::BackgroundWorker;
/// use atasker::background::WorkQueue;
/// use std::sync::Mutex;
///
/// /// The newest value only.
/// #[derive(Default)]
/// struct Latest(Mutex<Option<u32>>);
///
/// impl WorkQueue<u32> for Latest {
///     fn put(&self, item: u32) -> Result<(), u32> {
///         *self.0.lock().unwrap() = Some(item);
///         Ok(())
///     }
///     fn take(&self) -> Option<u32> {
///         self.0.lock().unwrap().take()
///     }
///     fn len(&self) -> usize {
///         usize::from(self.0.lock().unwrap().is_some())
///     }
/// }
///
/// let supervisor = atasker::Supervisor::builder().start()?;
/// let worker = BackgroundWorker::queue_of(Latest::default())
///     .for_each(|value, _| println!("{value}"))
///     .start(&supervisor)?;
/// worker.put(7)?;
/// worker.stop();
/// # Ok(()) }
/// ```
pub trait WorkQueue<T>: Send + Sync + 'static {
    /// Take an item in. A queue that is full gives it back.
    fn put(&self, item: T) -> Result<(), T>;

    /// The next item. Does not wait for one.
    fn take(&self) -> Option<T>;

    /// How many items there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// First in, first out.
pub(crate) struct Fifo<T> {
    items: Mutex<VecDeque<T>>,
    bound: usize,
}

impl<T> Fifo<T> {
    pub(crate) fn new(bound: usize) -> Self {
        Self { items: Mutex::new(VecDeque::new()), bound }
    }
}

impl<T: Send + 'static> WorkQueue<T> for Fifo<T> {
    fn put(&self, item: T) -> Result<(), T> {
        let mut items = self.items.lock();
        if items.len() >= self.bound {
            return Err(item);
        }
        items.push_back(item);
        Ok(())
    }

    fn take(&self) -> Option<T> {
        self.items.lock().pop_front()
    }

    fn len(&self) -> usize {
        self.items.lock().len()
    }
}

/// The greatest item first; among equals, in no particular order.
pub(crate) struct Greatest<T> {
    // Its comparisons are the user's, and run under this lock, which nothing else takes.
    items: Mutex<BinaryHeap<T>>,
}

impl<T: Ord> Greatest<T> {
    pub(crate) fn new() -> Self {
        Self { items: Mutex::new(BinaryHeap::new()) }
    }
}

impl<T: Ord + Send + 'static> WorkQueue<T> for Greatest<T> {
    fn put(&self, item: T) -> Result<(), T> {
        self.items.lock().push(item);
        Ok(())
    }

    fn take(&self) -> Option<T> {
        self.items.lock().pop()
    }

    fn len(&self) -> usize {
        self.items.lock().len()
    }
}

/// An item that a worker did not take, and why.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::background::PutErrorKind;
/// use atasker::{BackgroundWorker, Supervisor};
/// let supervisor = Supervisor::builder().start()?;
/// let worker = BackgroundWorker::queue().for_each(|_: &str, _| ()).start(&supervisor)?;
/// worker.stop();
/// let error = worker.put("too late").unwrap_err();
/// assert_eq!((error.kind(), error.into_item()), (PutErrorKind::Stopped, "too late"));
/// # Ok(()) }
/// ```
pub struct PutError<T> {
    pub(crate) item: T,
    pub(crate) kind: PutErrorKind,
}

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutErrorKind {
    /// The queue is full.
    Full,
    /// The worker does not run, or is about to stop.
    Stopped,
    /// The worker has no queue.
    NoQueue,
}

impl<T> PutError<T> {
    /// Why.
    pub fn kind(&self) -> PutErrorKind {
        self.kind
    }

    /// The item.
    pub fn into_item(self) -> T {
        self.item
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            PutErrorKind::Full => "the background worker's queue is full",
            PutErrorKind::Stopped => "the background worker does not run",
            PutErrorKind::NoQueue => "the background worker has no queue",
        })
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<T> std::error::Error for PutError<T> {}
