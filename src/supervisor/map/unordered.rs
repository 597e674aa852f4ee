//! The results of many calls, each as soon as it is there.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::source::{Source, Taken, window};
use crate::supervisor::shared::Shared;
use crate::task::call::Call;
use crate::task::error::TaskError;
use crate::task::handle::TaskHandle;
use crate::task::info::{Pool, TaskInfo, TaskStatus};
use crate::task::options::Priority;
use crate::task::wait::{Completion, CompletionQueue, completion};

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
            source: Source { calls: calls.fuse(), held: None, shared: Arc::clone(shared) },
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
        progress: None,
        stack: None,
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

super::debug_without_calls!(MapUnordered<'s, I, T>);
