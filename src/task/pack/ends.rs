//! How single calls of a pack have ended, for the handles that each has one.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::{Ends, Pack, Part, PartHistory, State};
use crate::codec::{Bytes, Encoded};
use crate::sys::fork::is_forked_child;
use crate::task::cell::{Callback, Outcome as Taken, Stored};
use crate::task::error::TaskError;
use crate::task::info::{Ended, Pool, TaskStatus};
use crate::task::listener::Listener;
use crate::task::outcome::failure_kind;
use crate::transport::Read;
use crate::transport::frame::Outcome;

/// Who is to be told of the ends of calls, once no lock is held.
#[derive(Debug)]
#[must_use]
pub(crate) struct News {
    pub(super) pack: Arc<Pack>,
    pub(super) listeners: Vec<(u32, Listener)>,
}

impl Pack {
    /// Whether the call has ended. Cheap enough to spin on.
    pub(crate) fn is_done(&self, call: u32) -> bool {
        if is_forked_child() {
            return self.state().is_some_and(|state| state.has(call));
        }
        // Pairs with the releases in `note_ends`.
        call < self.ended_in_row.load(Ordering::Acquire)
            || (self.is_scattered.load(Ordering::Acquire) && self.state.lock().has(call))
    }

    /// `None`: in this forked child nothing is to be had, since who had the lock at the fork will never give it back.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        if is_forked_child() { self.state.try_lock() } else { Some(self.state.lock()) }
    }

    /// How the call ended, once it has, and in which attempt. To be asked once.
    pub(crate) fn take_outcome(&self, call: u32) -> Option<(Taken, u32)> {
        let mut state = self.state()?;
        let State { parts, taken, .. } = &mut *state;
        let part = parts.iter_mut().find(|part| part.has(call))?;
        let (history, at) = (part.history, part.offset_of(call));
        let outcome = match &mut part.ends {
            Ends::Failed(error) => return Some((Err((**error).clone()), error.attempts())),
            Ends::Outcomes(outcomes) => match outcomes.read(at?)?.0 {
                Read::Value(bytes) => {
                    let value = Encoded::new(Bytes::from_slice(bytes), Vec::new());
                    return Some((Ok(Stored::Encoded { codec: self.codec, value }), 1));
                }
                Read::Extended(offset) => {
                    let outcome = outcomes.take_extended(offset)?;
                    taken.push((call, self.ended_by(&outcome, history)));
                    outcome
                }
                Read::Other(outcome) => outcome,
            },
        };
        drop(state);
        Some(match outcome {
            Outcome::Returned { value, .. } => {
                (Ok(Stored::Encoded { codec: self.codec, value }), 1)
            }
            failure => {
                let attempts = attempts_of(&failure);
                let kind = failure_kind(failure, history.pid);
                let (id, name) = (Some(self.id(call)), self.name.clone());
                (Err(TaskError::new(id, name, attempts, kind)), attempts)
            }
        })
    }

    /// How the call ended, once it has.
    pub(crate) fn ended(&self, call: u32) -> Option<Ended> {
        let mut state = self.state()?;
        if let Some((_, ended)) = state.taken.iter().find(|(other, _)| *other == call) {
            return Some(ended.clone());
        }
        let part = state.parts.iter_mut().find(|part| part.has(call))?;
        let (history, at) = (part.history, part.offset_of(call));
        match &part.ends {
            Ends::Failed(error) => {
                Some(self.ended_as(error.status(), error.attempts(), None, history))
            }
            Ends::Outcomes(outcomes) => Some(match outcomes.read(at?)?.0 {
                Read::Value(_) => self.ended_as(TaskStatus::Completed, 1, None, history),
                Read::Extended(offset) => self.ended_by(outcomes.extended(offset)?, history),
                Read::Other(outcome) => self.ended_by(&outcome, history),
            }),
        }
    }

    /// Who is to be told of the call's end from now on, in place of who was. It comes back if the end has come.
    pub(crate) fn listen(&self, call: u32, new: Listener) -> Result<Option<Listener>, Listener> {
        let Some(mut state) = self.state() else { return Ok(None) };
        if state.has(call) {
            return Err(new);
        }
        let at = call as usize;
        if state.listeners.len() <= at && !matches!(new, Listener::Nobody) {
            state.listeners.resize_with(at + 1, || Listener::Nobody);
        }
        Ok(state.listeners.get_mut(at).map(|listener| std::mem::replace(listener, new)))
    }

    /// All that can be told of a call of which nobody will ever hear.
    pub(crate) fn lost(&self, status: TaskStatus) -> Ended {
        let none = Duration::ZERO;
        self.ended_as(status, 0, None, PartHistory { pid: None, queued: none, ran: none })
    }

    fn ended_by(&self, outcome: &Outcome, history: PartHistory) -> Ended {
        let attempts = attempts_of(outcome);
        match outcome {
            Outcome::Returned { error, .. } => {
                let error = error.as_ref().map(|chain| chain.join(": "));
                self.ended_as(TaskStatus::Completed, attempts, error, history)
            }
            failure => {
                let status = failure_kind(failure.clone(), None).status();
                self.ended_as(status, attempts, None, history)
            }
        }
    }

    fn ended_as(
        &self,
        status: TaskStatus,
        attempts: u32,
        returned_error: Option<String>,
        history: PartHistory,
    ) -> Ended {
        let (priority, pool) = (self.priority, Pool::Processes);
        let PartHistory { pid, queued, ran } = history;
        Ended { status, priority, pool, attempts, queued, ran, pid, returned_error }
    }
}

/// What was refused has not run.
fn attempts_of(outcome: &Outcome) -> u32 {
    let refused = matches!(outcome, Outcome::UnknownFunction { .. } | Outcome::BadArguments { .. });
    u32::from(!refused)
}

impl Part {
    /// Where the outcome of a call stands.
    fn offset_of(&mut self, call: u32) -> Option<usize> {
        let Ends::Outcomes(outcomes) = &self.ends else { return None };
        let index = call - self.first;
        if index < self.at.0 {
            self.at = (0, 0);
        }
        while self.at.0 < index {
            self.at = (self.at.0 + 1, outcomes.after(self.at.1)?);
        }
        Some(self.at.1)
    }
}

impl News {
    /// Tell everybody. `run_callback`: where user code may run.
    pub(crate) fn tell(self, run_callback: impl Fn(Callback)) {
        let Self { pack, listeners } = self;
        for (call, listener) in listeners {
            let take = || pack.take_outcome(call).expect("the call has ended");
            if let Some(callback) = listener.tell(take) {
                run_callback(callback);
            }
        }
    }
}
