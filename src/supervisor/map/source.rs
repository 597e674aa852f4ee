//! Where the calls of a map come from, and how they are submitted.

use std::iter::Fuse;
use std::sync::Arc;

use crate::supervisor::shared::Shared;
use crate::supervisor::submit::NotTaken;
use crate::task::call::Call;
use crate::task::cell::Name;
use crate::task::error::{SubmitError, TaskError, TaskErrorKind};
use crate::task::handle::TaskHandle;

/// How many calls are on their way for each place, so that no worker waits for the reader.
pub(super) const PER_PLACE: usize = 4;
const WINDOW_MIN: usize = 16;

pub(super) fn window(shared: &Shared) -> usize {
    let info = shared.info();
    let places = info.threads.limits.places().max(info.processes.limits.places());
    (places as usize).saturating_mul(PER_PLACE).max(WINDOW_MIN)
}

/// The calls that are still to come.
pub(super) struct Source<I, T> {
    /// Not asked again after its end.
    pub(super) calls: Fuse<I>,
    /// Taken from the calls, but refused by a full queue.
    pub(super) held: Option<Call<T>>,
    pub(super) shared: Arc<Shared>,
}

/// What came of taking the next call.
pub(super) enum Taken<T> {
    Submitted(TaskHandle<T>),
    Refused(TaskError),
    /// The queue is full.
    Full,
    /// There are no more calls.
    End,
}

impl<I: Iterator<Item = Call<T>>, T> Source<I, T> {
    /// Submit the next call. `wait`: for a place in a full queue.
    pub(super) fn take(&mut self, wait: bool) -> Taken<T> {
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

pub(super) fn refusal(name: Name, error: &SubmitError) -> TaskError {
    TaskError::new(None, name, 0, TaskErrorKind::Rejected { reason: error.to_string() })
}
