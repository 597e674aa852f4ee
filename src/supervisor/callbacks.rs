//! The thread on which user code runs that no task asked for: callbacks, handlers, and the dropping of what
//! was never run. So none of it can hold up the timer, the drainers or a submitter.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

use super::context::{self, Context};
use crate::registry::panics;
use crate::say::say;
use crate::sync::{GiveUp, Mutex, wait_on};
use crate::task::cell::Callback;

/// Runs callbacks one after another, on a thread that is started by the first.
pub(crate) struct Callbacks {
    name: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Callback>,
    started: bool,
    stopping: bool,
    ended: bool,
    given_up: GiveUp,
}

impl Callbacks {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), shared: Arc::default() }
    }

    /// Run `callback` soon. Once the thread has ended, it runs here.
    pub(crate) fn run(&self, callback: Callback, owner: usize) {
        let mut state = self.shared.state.lock();
        if state.ended {
            drop(state);
            return run_caught(callback);
        }
        state.queue.push_back(callback);
        if state.started {
            drop(state);
            self.shared.changed.notify_one();
            return;
        }
        state.started = true;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(self.name.clone());
        if let Err(error) = thread.spawn(move || work(&shared, owner)) {
            say!(error, target: "atasker::supervisor", %error, "no thread for callbacks");
            self.shared.state.lock().started = false;
            self.run_all_here();
            self.end_without_thread();
        }
    }

    /// Run what is queued, then end the thread; wait for that at most `timeout`, if there is any, unless all are to
    /// [give up](Self::give_up_after) before.
    pub(crate) fn stop(&self, timeout: Option<Duration>) {
        let own = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.shared.state.lock();
        state.stopping = true;
        if !state.started {
            state.ended = true;
        }
        self.shared.changed.notify_all();
        while !state.ended && !context::is_callback() {
            let left = state.given_up.left(own);
            if left.is_some_and(|left| left.is_zero()) {
                return;
            }
            state = wait_on(&self.shared.changed, state, left);
        }
    }

    /// Nobody waits for it any longer than this.
    pub(crate) fn give_up_after(&self, patience: Duration) {
        self.shared.state.lock().given_up.after(patience);
        self.shared.changed.notify_all();
    }

    /// Somebody may have begun to stop, and waits for the thread that could not be had.
    fn end_without_thread(&self) {
        let mut state = self.shared.state.lock();
        if state.stopping && !state.started && state.queue.is_empty() {
            state.ended = true;
            self.shared.changed.notify_all();
        }
    }

    fn run_all_here(&self) {
        loop {
            let next = self.shared.state.lock().queue.pop_front();
            match next {
                Some(callback) => run_caught(callback),
                None => return,
            }
        }
    }
}

fn work(shared: &Shared, owner: usize) {
    context::enter(Context { owner, place: context::Place::Callback, task: None });
    let mut state = shared.state.lock();
    loop {
        if let Some(callback) = state.queue.pop_front() {
            drop(state);
            run_caught(callback);
            state = shared.state.lock();
        } else if state.stopping {
            state.ended = true;
            drop(state);
            shared.changed.notify_all();
            return;
        } else {
            state = wait_on(&shared.changed, state, None);
        }
    }
}

fn run_caught(callback: Callback) {
    if let Err(panicked) = panics::catch(callback) {
        say!(error, target: "atasker::supervisor", panic = panicked.message, "a callback panicked");
    }
}
