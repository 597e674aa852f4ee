//! The kernel's part: a wait that refuses if a word has changed, atomically with going to sleep.

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};

/// Where one thread sleeps.
pub(crate) struct Futex {
    queue: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    pub(crate) fn new() -> Self {
        Self { queue: Mutex::new(()), woken: Condvar::new() }
    }

    pub(crate) fn wait(&self, words: &[(&AtomicU32, u32)]) {
        let queue = self.queue.lock().expect("nobody panics");
        if words.iter().all(|(word, expected)| word.load(Ordering::SeqCst) == *expected) {
            drop(self.woken.wait(queue).expect("nobody panics"));
        }
    }

    pub(crate) fn wake(&self) {
        // Whoever is about to wait is either before its look at the word, or waits.
        drop(self.queue.lock().expect("nobody panics"));
        self.woken.notify_all();
    }
}
