//! Many calls through one iterator, with a bounded number of them on their way.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::shared::Shared;
use super::submit::NotTaken;
use crate::task::call::Call;
use crate::task::cell::Name;
use crate::task::error::{SubmitError, TaskError, TaskErrorKind};
use crate::task::handle::TaskHandle;
use crate::task::info::{Pool, TaskInfo, TaskStatus};
use crate::task::options::Priority;
use crate::task::wait::{Completion, CompletionQueue, completion};

/// How many calls are on their way for each place, so that no worker waits for the reader.
const PER_PLACE: usize = 4;
const WINDOW_MIN: usize = 16;

fn window(shared: &Shared) -> usize {
    let info = shared.info();
    let places = info.threads.limits.places().max(info.processes.limits.places());
    (places as usize).saturating_mul(PER_PLACE).max(WINDOW_MIN)
}

/// The calls that are still to come.
struct Source<I, T> {
    calls: I,
    /// Taken from the calls, but refused by a full queue.
    held: Option<Call<T>>,
    shared: Arc<Shared>,
}

/// What came of taking the next call.
enum Taken<T> {
    Submitted(TaskHandle<T>),
    Refused(TaskError),
    /// The queue is full.
    Full,
    /// There are no more calls.
    End,
}

impl<I: Iterator<Item = Call<T>>, T> Source<I, T> {
    /// Submit the next call. `wait`: for a place in a full queue.
    fn take(&mut self, wait: bool) -> Taken<T> {
        let Some(call) = self.held.take().or_else(|| self.calls.next()) else {
            return Taken::End;
        };
        let name = call.name.clone();
        let answer = if wait {
            self.shared.submit(call)
        } else {
            match self.shared.try_submit(call) {
                Ok(handle) => Ok(handle),
                Err(NotTaken::Refused(error)) => Err(error),
                Err(NotTaken::Full(call)) => {
                    self.held = Some(call);
                    return Taken::Full;
                }
            }
        };
        match answer {
            Ok(handle) => Taken::Submitted(handle),
            Err(error) => Taken::Refused(refusal(name, &error)),
        }
    }
}

fn refusal(name: Name, error: &SubmitError) -> TaskError {
    TaskError::new(None, name, 0, TaskErrorKind::Rejected { reason: error.to_string() })
}

/// A result that waits for its turn.
enum Slot<T> {
    Running(TaskHandle<T>),
    Refused(TaskError),
}

/// The iterator of [`Supervisor::map`](crate::Supervisor::map).
pub struct Map<'s, I, T> {
    source: Source<I, T>,
    slots: VecDeque<Slot<T>>,
    window: usize,
    supervisor: std::marker::PhantomData<&'s ()>,
}

impl<I: Iterator<Item = Call<T>>, T> Map<'_, I, T> {
    pub(crate) fn new(shared: &Arc<Shared>, calls: I) -> Self {
        Self {
            window: window(shared),
            source: Source { calls, held: None, shared: Arc::clone(shared) },
            slots: VecDeque::new(),
            supervisor: std::marker::PhantomData,
        }
    }

    /// How many calls may be on their way at most: running, queued, or ended and not read. At least one;
    /// four per place of the larger pool unless said.
    #[must_use]
    pub fn window(mut self, calls: usize) -> Self {
        self.window = calls.max(1);
        self
    }
}

impl<I: Iterator<Item = Call<T>>, T> Iterator for Map<'_, I, T> {
    type Item = Result<T, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.slots.len() < self.window {
            match self.source.take(self.slots.is_empty()) {
                Taken::Submitted(handle) => self.slots.push_back(Slot::Running(handle)),
                Taken::Refused(error) => self.slots.push_back(Slot::Refused(error)),
                Taken::Full | Taken::End => break,
            }
        }
        Some(match self.slots.pop_front()? {
            Slot::Running(handle) => handle.wait(),
            Slot::Refused(error) => Err(error),
        })
    }
}

impl<I, T> Drop for Map<'_, I, T> {
    fn drop(&mut self) {
        cancel(&self.slots);
    }
}

fn cancel<T>(slots: &VecDeque<Slot<T>>) {
    // The last first, so that none of them begins because one before it was cancelled.
    for slot in slots.iter().rev() {
        if let Slot::Running(handle) = slot {
            handle.cancel();
        }
    }
}

/// The iterator of [`Supervisor::map_unordered`](crate::Supervisor::map_unordered).
pub struct MapUnordered<'s, I, T> {
    source: Source<I, T>,
    running: HashMap<usize, TaskHandle<T>>,
    refused: VecDeque<(usize, TaskError)>,
    queue: Arc<CompletionQueue>,
    given: usize,
    window: usize,
    supervisor: std::marker::PhantomData<&'s ()>,
}

impl<I: Iterator<Item = Call<T>>, T> MapUnordered<'_, I, T> {
    pub(crate) fn new(shared: &Arc<Shared>, calls: I) -> Self {
        Self {
            window: window(shared),
            source: Source { calls, held: None, shared: Arc::clone(shared) },
            running: HashMap::new(),
            refused: VecDeque::new(),
            queue: Arc::default(),
            given: 0,
            supervisor: std::marker::PhantomData,
        }
    }

    /// How many calls may be on their way at most: running, queued, or ended and not read. At least one;
    /// four per place of the larger pool unless said.
    #[must_use]
    pub fn window(mut self, calls: usize) -> Self {
        self.window = calls.max(1);
        self
    }
}

impl<I: Iterator<Item = Call<T>>, T> Iterator for MapUnordered<'_, I, T> {
    type Item = Completion<T>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.running.len() + self.refused.len() < self.window {
            let index = self.given;
            match self.source.take(self.running.is_empty()) {
                Taken::Submitted(handle) => {
                    self.queue.watch(index, &handle);
                    self.running.insert(index, handle);
                }
                Taken::Refused(error) => self.refused.push_back((index, error)),
                Taken::Full | Taken::End => break,
            }
            self.given += 1;
        }
        if let Some((index, error)) = self.refused.pop_front() {
            return Some(Completion { index, info: refused_info(&error), result: Err(error) });
        }
        if self.running.is_empty() {
            return None;
        }
        let owner = self.running.values().next().and_then(TaskHandle::looking_owner);
        let index = self.queue.next(owner.as_deref());
        let handle = self.running.remove(&index).expect("a task ends once");
        Some(completion(index, &handle))
    }
}

/// What is known of a call that never became a task.
fn refused_info(error: &TaskError) -> TaskInfo {
    TaskInfo {
        id: crate::task::id::TaskId::NONE,
        name: error.task_name().to_owned(),
        label: error.label().map(str::to_owned),
        chosen_id: error.chosen_id().map(str::to_owned),
        status: TaskStatus::Rejected,
        priority: Priority::Normal,
        pool: Pool::Processes,
        attempts: 0,
        queued: std::time::Duration::ZERO,
        ran: std::time::Duration::ZERO,
        pid: None,
        returned_error: None,
    }
}

impl<I, T> Drop for MapUnordered<'_, I, T> {
    fn drop(&mut self) {
        let mut indexes: Vec<_> = self.running.keys().copied().collect();
        indexes.sort_unstable();
        for index in indexes.iter().rev() {
            self.running[index].cancel();
        }
    }
}

/// The stream of [`Supervisor::map_stream`](crate::Supervisor::map_stream).
pub struct MapStream<I, T> {
    source: Source<I, T>,
    slots: VecDeque<Slot<T>>,
    window: usize,
}

impl<I: Iterator<Item = Call<T>>, T> MapStream<I, T> {
    pub(crate) fn new(shared: &Arc<Shared>, calls: I) -> Self {
        Self {
            window: window(shared),
            source: Source { calls, held: None, shared: Arc::clone(shared) },
            slots: VecDeque::new(),
        }
    }

    /// How many calls may be on their way at most: running, queued, or ended and not read. At least one;
    /// four per place of the larger pool unless said.
    #[must_use]
    pub fn window(mut self, calls: usize) -> Self {
        self.window = calls.max(1);
        self
    }
}

impl<I: Iterator<Item = Call<T>> + Unpin, T> Stream for MapStream<I, T> {
    type Item = Result<T, TaskError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.slots.len() < this.window {
            let full = match this.source.take(false) {
                Taken::Submitted(handle) => {
                    this.slots.push_back(Slot::Running(handle));
                    continue;
                }
                Taken::Refused(error) => {
                    this.slots.push_back(Slot::Refused(error));
                    continue;
                }
                Taken::Full => true,
                Taken::End => false,
            };
            if full && this.slots.is_empty() {
                let shared = Arc::clone(&this.source.shared);
                let taken = shared.space.poll(context.waker(), || match this.source.take(false) {
                    Taken::Full => None,
                    taken => Some(taken),
                });
                match taken {
                    None => return Poll::Pending,
                    Some(Taken::Submitted(handle)) => this.slots.push_back(Slot::Running(handle)),
                    Some(Taken::Refused(error)) => this.slots.push_back(Slot::Refused(error)),
                    Some(Taken::Full | Taken::End) => {}
                }
            }
            break;
        }
        match this.slots.pop_front() {
            None => Poll::Ready(None),
            Some(Slot::Refused(error)) => Poll::Ready(Some(Err(error))),
            Some(Slot::Running(mut handle)) => match Pin::new(&mut handle).poll(context) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => {
                    this.slots.push_front(Slot::Running(handle));
                    Poll::Pending
                }
            },
        }
    }
}

impl<I, T> Drop for MapStream<I, T> {
    fn drop(&mut self) {
        cancel(&self.slots);
    }
}

macro_rules! debug_without_calls {
    ($($name:ident<$($parameter:tt),+>),+) => {$(
        impl<$($parameter),+> std::fmt::Debug for $name<$($parameter),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("window", &self.window).finish_non_exhaustive()
            }
        }
    )+};
}

debug_without_calls!(Map<'s, I, T>, MapUnordered<'s, I, T>, MapStream<I, T>);
