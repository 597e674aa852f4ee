//! The background workers of a supervisor: who exists, who is active, and that none starts once it stops.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Weak};
use std::time::{Duration, Instant};

use super::info::BackgroundWorkerInfo;
use super::shell::Face;
use crate::sync::{GiveUp, Mutex, wait_on};
use crate::task::error::SubmitError;

/// Taken before the lock of a worker, never within it.
#[derive(Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// The last active one has stopped, or those who wait for that are to give up.
    quiet: Condvar,
}

#[derive(Default)]
struct State {
    last_number: u64,
    /// In the order in which they were made.
    known: BTreeMap<u64, Entry>,
    active: usize,
    closed: bool,
    given_up: GiveUp,
}

struct Entry {
    worker: Weak<dyn Face>,
    /// An active worker lives without its handle.
    active: Option<Arc<dyn Face>>,
}

impl Registry {
    /// A worker is made: `make` gets its number.
    pub(crate) fn add<W: Face + 'static>(&self, make: impl FnOnce(u64) -> Arc<W>) -> Arc<W> {
        let number = {
            let mut state = self.state.lock();
            state.last_number += 1;
            state.last_number
        };
        let worker = make(number);
        let face: Arc<dyn Face> = Arc::<W>::clone(&worker);
        let entry = Entry { worker: Arc::downgrade(&face), active: None };
        self.state.lock().known.insert(number, entry);
        worker
    }

    /// A worker is gone.
    pub(crate) fn forget(&self, number: u64) {
        let entry = self.state.lock().known.remove(&number);
        drop(entry);
    }

    /// Run `start`, by which the worker becomes active, unless the supervisor stops.
    pub(crate) fn admit<W: Face + 'static>(
        &self,
        number: u64,
        worker: &Arc<W>,
        start: impl FnOnce(),
    ) -> Result<(), SubmitError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(SubmitError::Stopped);
        }
        start();
        if let Some(entry) = state.known.get_mut(&number)
            && entry.active.is_none()
        {
            let face: Arc<dyn Face> = Arc::<W>::clone(worker);
            entry.active = Some(face);
            state.active += 1;
        }
        Ok(())
    }

    /// A worker has become inactive, unless it is active again.
    pub(crate) fn settle(&self, number: u64) {
        let mut state = self.state.lock();
        let Some(entry) = state.known.get_mut(&number) else { return };
        if entry.active.as_ref().is_none_or(|worker| worker.is_active()) {
            return;
        }
        let worker = entry.active.take();
        state.active -= 1;
        if state.active == 0 {
            self.quiet.notify_all();
        }
        drop(state);
        // Perhaps its last clone, and what is in it is the user's.
        drop(worker);
    }

    /// The supervisor stops: no worker starts any more, and all that are active are told to stop.
    pub(crate) fn close(&self) {
        let active: Vec<_> = {
            let mut state = self.state.lock();
            state.closed = true;
            state.known.values().filter_map(|entry| entry.active.clone()).collect()
        };
        for worker in active {
            worker.begin_stop();
        }
    }

    /// A loop takes no more tasks: those that run on it stop.
    #[cfg(feature = "async")]
    pub(crate) fn stop_on(&self, aloop: &crate::AsyncLoop) {
        let active: Vec<_> = {
            let state = self.state.lock();
            state.known.values().filter_map(|entry| entry.active.clone()).collect()
        };
        for worker in active.into_iter().filter(|worker| worker.runs_on(aloop)) {
            worker.begin_stop();
        }
    }

    /// Wait until none is active, at most `patience`, unless all are to [give up](Self::give_up_after) before. `false`: some are.
    pub(crate) fn wait(&self, patience: Option<Duration>) -> bool {
        let own = patience.and_then(|patience| Instant::now().checked_add(patience));
        let mut state = self.state.lock();
        while state.active > 0 {
            let left = state.given_up.left(own);
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            state = wait_on(&self.quiet, state, left);
        }
        true
    }

    /// Nobody waits for them any longer than this.
    pub(crate) fn give_up_after(&self, patience: Duration) {
        self.state.lock().given_up.after(patience);
        self.quiet.notify_all();
    }

    pub(crate) fn info(&self) -> Vec<BackgroundWorkerInfo> {
        let state = self.state.lock();
        let workers: Vec<_> =
            state.known.values().filter_map(|entry| entry.worker.upgrade()).collect();
        drop(state);
        workers.iter().map(|worker| worker.info()).collect()
    }
}
