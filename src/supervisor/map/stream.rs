//! The results of many calls as a stream for any async runtime.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::source::{Source, Taken, window};
use crate::supervisor::shared::Shared;
use crate::supervisor::space::Waiting;
use crate::task::call::Call;
use crate::task::error::TaskError;
use crate::task::handle::TaskHandle;

/// A result that waits for its turn.
enum Slot<T> {
    Running(TaskHandle<T>),
    Refused(TaskError),
}

fn cancel<T>(slots: &VecDeque<Slot<T>>) {
    // The last first, so that none of them begins because one before it was cancelled.
    for slot in slots.iter().rev() {
        if let Slot::Running(handle) = slot {
            handle.cancel();
        }
    }
}

/// The stream of [`Supervisor::map_stream`](crate::Supervisor::map_stream).
pub struct MapStream<I, T> {
    source: Source<I, T>,
    slots: VecDeque<Slot<T>>,
    window: usize,
    waiting: Waiting,
}

impl<I: Iterator<Item = Call<T>>, T> MapStream<I, T> {
    pub(crate) fn new(shared: &Arc<Shared>, calls: I) -> Self {
        Self {
            window: window(shared),
            source: Source { calls: calls.fuse(), held: None, shared: Arc::clone(shared) },
            slots: VecDeque::new(),
            waiting: Waiting::new(&shared.space),
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
            let mut taken = this.source.take(false);
            if matches!(taken, Taken::Full) && this.slots.is_empty() {
                let Self { source, waiting, .. } = this;
                let later = waiting.poll(context.waker(), || match source.take(false) {
                    Taken::Full => None,
                    taken => Some(taken),
                });
                let Some(later) = later else { return Poll::Pending };
                taken = later;
            }
            this.waiting.leave();
            match taken {
                Taken::Submitted(handle) => this.slots.push_back(Slot::Running(handle)),
                Taken::Refused(error) => this.slots.push_back(Slot::Refused(error)),
                Taken::Full | Taken::End => break,
            }
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

super::debug_without_calls!(MapStream<I, T>);
