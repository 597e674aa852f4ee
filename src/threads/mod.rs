//! The elastic thread pool: a thread for every item that finds no idle one, and idle threads retire.
//!
//! How many may run is decided by admission, before an item comes here; so the pool has no upper bound of
//! its own, and critical tasks extend it simply by coming. It knows nothing of tasks.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar};
use std::time::Duration;

use crate::say::say;
use crate::sync::{GiveUp, Mutex, wait_on};

/// How long a thread above the minimum stays idle before it retires.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What a thread does with an item. It may return the next one, which the same thread then goes on with.
type Run<J> = dyn Fn(J) -> Option<J> + Send + Sync;

/// A pool of threads that run items of one kind.
pub(crate) struct ThreadPool<J: Send + 'static> {
    shared: Arc<Shared<J>>,
}

struct Shared<J> {
    name: String,
    run: Box<Run<J>>,
    state: Mutex<State<J>>,
    /// An item for an idle thread, or a changed minimum, or the end.
    changed: Condvar,
    /// The last thread has ended.
    empty: Condvar,
}

struct State<J> {
    queue: VecDeque<J>,
    threads: usize,
    idle: usize,
    min: usize,
    stopping: bool,
    given_up: GiveUp,
    keep_alive: Duration,
}

impl<J: Send + 'static> ThreadPool<J> {
    /// A pool whose threads are named after `name`, and `min` of which stay.
    pub(crate) fn new(
        name: &str,
        min: usize,
        run: impl Fn(J) -> Option<J> + Send + Sync + 'static,
    ) -> Self {
        let state = State {
            queue: VecDeque::new(),
            threads: 0,
            idle: 0,
            min,
            stopping: false,
            given_up: GiveUp::default(),
            keep_alive: KEEP_ALIVE,
        };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            run: Box::new(run),
            state: Mutex::new(state),
            changed: Condvar::new(),
            empty: Condvar::new(),
        });
        let pool = Self { shared };
        pool.start_minimum();
        pool
    }

    /// Run `item` on an idle thread, or on a new one.
    ///
    /// If the system gives no more threads, the item waits for one that becomes idle; if there is none at
    /// all, it runs here.
    pub(crate) fn execute(&self, item: J) {
        let mut state = self.shared.state.lock();
        state.queue.push_back(item);
        // Idle threads that an item is already queued for are spoken for.
        if state.queue.len() <= state.idle {
            drop(state);
            self.shared.changed.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        if let Err(error) = spawn(&self.shared) {
            self.on_no_thread(&error);
        }
    }

    fn on_no_thread(&self, error: &std::io::Error) {
        let mut state = self.shared.state.lock();
        state.threads -= 1;
        let threads = state.threads;
        drop(state);
        if threads == 0 {
            self.shared.empty.notify_all();
        }
        say!(error, target: "atasker::threads", %error, threads, "no more threads");
        while let Some(item) = self.shared.next_of_nobody() {
            self.shared.run_all(item);
        }
    }

    /// Keep at least `min` threads from now on.
    pub(crate) fn set_min(&self, min: usize) {
        self.shared.state.lock().min = min;
        self.start_minimum();
        self.shared.changed.notify_all();
    }

    /// How long a thread above the minimum may idle from now on.
    #[cfg(test)]
    fn set_keep_alive(&self, keep_alive: Duration) {
        self.shared.state.lock().keep_alive = keep_alive;
        self.shared.changed.notify_all();
    }

    /// How many threads there are, busy or idle.
    pub(crate) fn threads(&self) -> usize {
        self.shared.state.lock().threads
    }

    /// Let every thread end after what it is doing, and wait for that at most `timeout` (`None`: as long as
    /// it takes), unless all are to [give up](Self::give_up_after) before. `false`: some still run.
    pub(crate) fn stop(&self, timeout: Option<Duration>) -> bool {
        let own = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
        let mut state = self.shared.state.lock();
        state.stopping = true;
        self.shared.changed.notify_all();
        while state.threads > 0 {
            let left = state.given_up.left(own);
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            state = wait_on(&self.shared.empty, state, left);
        }
        true
    }

    /// Nobody waits for the threads to end any longer than this.
    pub(crate) fn give_up_after(&self, patience: Duration) {
        self.shared.state.lock().given_up.after(patience);
        self.shared.empty.notify_all();
    }

    fn start_minimum(&self) {
        loop {
            let mut state = self.shared.state.lock();
            if state.threads >= state.min || state.stopping {
                return;
            }
            state.threads += 1;
            drop(state);
            if let Err(error) = spawn(&self.shared) {
                self.on_no_thread(&error);
                return;
            }
        }
    }
}

impl<J: Send + 'static> Drop for ThreadPool<J> {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_all();
    }
}

fn spawn<J: Send + 'static>(shared: &Arc<Shared<J>>) -> std::io::Result<()> {
    let mine = Arc::clone(shared);
    std::thread::Builder::new().name(shared.name.clone()).spawn(move || mine.work()).map(drop)
}

impl<J: Send + 'static> Shared<J> {
    fn work(&self) {
        while let Some(item) = self.next() {
            self.run_all(item);
        }
    }

    /// Run an item, and what it hands on.
    fn run_all(&self, item: J) {
        let mut next = Some(item);
        while let Some(item) = next {
            next = (self.run)(item);
        }
    }

    /// An item that no thread will come for.
    fn next_of_nobody(&self) -> Option<J> {
        let mut state = self.state.lock();
        if state.threads == 0 { state.queue.pop_front() } else { None }
    }

    /// The next item; `None` when this thread is to end.
    fn next(&self) -> Option<J> {
        let mut state = self.state.lock();
        let mut rested = false;
        loop {
            if let Some(item) = state.queue.pop_front() {
                return Some(item);
            }
            let surplus = state.threads > state.min;
            if state.stopping || (surplus && rested) {
                state.threads -= 1;
                if state.threads == 0 {
                    self.empty.notify_all();
                }
                return None;
            }
            state.idle += 1;
            let patience = surplus.then_some(state.keep_alive);
            let asleep_since = std::time::Instant::now();
            state = wait_on(&self.changed, state, patience);
            state.idle -= 1;
            rested = patience.is_some_and(|patience| asleep_since.elapsed() >= patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    type Item = Box<dyn FnOnce() + Send>;

    fn pool(min: usize) -> ThreadPool<Item> {
        ThreadPool::new("test", min, |item: Item| {
            item();
            None
        })
    }

    fn wait_for(mut done: impl FnMut() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_mins(4);
        while !done() {
            assert!(std::time::Instant::now() < deadline, "waited in vain");
            std::thread::yield_now();
        }
    }

    #[test]
    fn grows_to_what_is_asked_and_shrinks_to_the_minimum() {
        let pool = pool(1);
        assert_eq!(pool.threads(), 1);
        wait_for(|| pool.shared.state.lock().idle == 1);
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (begun, begins) = mpsc::channel();
        for _ in 0..8 {
            let (held, begun) = (Arc::clone(&held), begun.clone());
            pool.execute(Box::new(move || {
                begun.send(()).expect("the test receives");
                let _released = held.lock().recv();
            }));
        }
        for _ in 0..8 {
            begins.recv().expect("all eight begin without any of them ending");
        }
        assert_eq!(pool.threads(), 8);
        drop(release);
        pool.set_keep_alive(Duration::ZERO);
        wait_for(|| pool.threads() == 1);
        pool.set_min(0);
        wait_for(|| pool.threads() == 0);
        assert!(pool.stop(None));
    }

    #[test]
    fn an_idle_thread_is_used_again() {
        let pool = pool(1);
        for _ in 0..100 {
            let (tell, told) = mpsc::channel();
            wait_for(|| pool.shared.state.lock().idle == 1);
            pool.execute(Box::new(move || tell.send(()).expect("the test receives")));
            told.recv().expect("the item runs");
        }
        assert_eq!(pool.threads(), 1);
        assert!(pool.stop(None));
    }

    /// Two submitters ask for a thread at the same time, and neither gets one.
    #[test]
    fn what_no_thread_will_come_for_is_run_by_who_finds_out() {
        let pool = pool(0);
        let (tell, told) = mpsc::channel();
        {
            let mut state = pool.shared.state.lock();
            state.threads = 2;
            for n in 0..2 {
                let tell = tell.clone();
                state.queue.push_back(Box::new(move || tell.send(n).expect("the test receives")));
            }
        }
        let refused = std::io::Error::from(std::io::ErrorKind::WouldBlock);
        pool.on_no_thread(&refused);
        assert!(told.try_recv().is_err(), "the other thread may come yet");
        pool.on_no_thread(&refused);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn stop_gives_up_on_a_thread_that_does_not_return() {
        let pool = pool(0);
        let (release, held) = mpsc::channel::<()>();
        pool.execute(Box::new(move || {
            let _released = held.recv();
        }));
        assert!(!pool.stop(Some(Duration::from_millis(1))));
        pool.give_up_after(Duration::from_millis(1));
        assert!(!pool.stop(None), "nobody waits for it any more");
        drop(release);
        wait_for(|| pool.stop(None));
    }
}
