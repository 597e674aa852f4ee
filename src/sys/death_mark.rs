//! A word in shared memory that the kernel marks when a thread ends, whatever it ends of: that of a robust mutex, which
//! the thread holds all its life (`get_robust_list(2)`, and "robust futexes" in the kernel's documentation).
//!
//! This is the first thing that anybody else can learn of a death: the kernel marks the word, and wakes who sleeps on it,
//! before it takes the process's memory down, and so long before a pidfd tells.
#![expect(unsafe_code, reason = "neither std nor rustix has robust mutexes")]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many words a mark needs, from an address on that is a multiple of eight.
pub(crate) const WORDS: usize = 16;
/// Of these words, the one that says which of the others is the mutex's futex, plus one.
const PLACE: usize = WORDS - 1;

const _: () = assert!(
    size_of::<libc::pthread_mutex_t>() <= PLACE * size_of::<AtomicU32>()
        && align_of::<libc::pthread_mutex_t>() <= 8
);

/// As long as this lives, the end of the thread that made it will be marked.
#[derive(Debug)]
pub(crate) struct DeathMark<'a> {
    words: &'a [AtomicU32; WORDS],
    /// Only this thread can take it back.
    not_send: PhantomData<*const ()>,
}

impl<'a> DeathMark<'a> {
    /// In words that are zero and that nobody else writes to. `None` if the C library can't.
    ///
    /// # Panics
    ///
    /// If the words do not stand at a multiple of eight bytes.
    pub(crate) fn leave(words: &'a [AtomicU32; WORDS]) -> Option<Self> {
        if !lock(mutex_in(words)) {
            return None;
        }
        let mark = Self { words, not_send: PhantomData };
        // Which word it is the C libraries do not say. It is the first that has the thread's number.
        let holder = super::process::thread_id();
        let place =
            words[..PLACE].iter().position(|word| word.load(Ordering::Relaxed) == holder)?;
        // The kernel wakes nobody where nobody has said that he waits.
        words[place].fetch_or(libc::FUTEX_WAITERS, Ordering::Relaxed);
        // Release: pairs with the load in `futex`.
        words[PLACE].store(place as u32 + 1, Ordering::Release);
        Some(mark)
    }
}

impl Drop for DeathMark<'_> {
    fn drop(&mut self) {
        self.words[PLACE].store(0, Ordering::Release);
        // SAFETY: locked by this thread in `leave`. A failure leaves it locked, which the kernel bears.
        unsafe { libc::pthread_mutex_unlock(mutex_in(self.words)) };
    }
}

/// Make a mutex of what stands there, and lock it. Whether that went well.
fn lock(mutex: *mut libc::pthread_mutex_t) -> bool {
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the attributes are this frame's.
    let failed = unsafe { libc::pthread_mutexattr_init(attributes) };
    if failed != 0 {
        return false;
    }
    // SAFETY: they were just initialised, as for the next one.
    let shared =
        unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
    // SAFETY: as above.
    let robust =
        unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) };
    // SAFETY: the mutex has room and alignment, by the assertions above and in `mutex_in`, and nobody uses these
    // words otherwise.
    let made = unsafe { libc::pthread_mutex_init(mutex, attributes) };
    // SAFETY: it was just made, if it was.
    [shared, robust, made] == [0; 3] && unsafe { libc::pthread_mutex_lock(mutex) } == 0
}

fn mutex_in(words: &[AtomicU32; WORDS]) -> *mut libc::pthread_mutex_t {
    let mutex = words.as_ptr().cast_mut().cast::<c_void>();
    assert!(mutex.addr().is_multiple_of(8), "a mark stands at a multiple of eight bytes");
    mutex.cast()
}

/// Of the words of a mark, the index of the one that will be marked, if a mark has been left there.
pub(crate) fn futex(words: &[AtomicU32; WORDS]) -> Option<usize> {
    let place = words[PLACE].load(Ordering::Acquire) as usize;
    // Whoever shares the memory may have written anything.
    (1..=PLACE).contains(&place).then(|| place - 1)
}

/// Whether a word with this value says that the thread has ended.
#[inline]
pub(crate) fn is_marked(value: u32) -> bool {
    value & libc::FUTEX_OWNER_DIED != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::futex as kernel;

    #[repr(align(8))]
    struct Aligned([AtomicU32; WORDS]);

    fn words() -> &'static [AtomicU32; WORDS] {
        // Threads that end without taking a mark back leave pointers to them.
        let words = Aligned(std::array::from_fn(|_| AtomicU32::new(0)));
        &Box::leak(Box::new(words)).0
    }

    #[test]
    fn the_end_of_a_thread_is_marked_and_wakes() {
        let words = words();
        let (sender, left) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            std::mem::forget(DeathMark::leave(words).expect("there are robust mutexes"));
            sender.send(()).expect("the test waits");
            let _ = ended.recv();
        });
        left.recv().expect("it has left it");
        let word = &words[futex(words).expect("it was just left")];
        let before = word.load(Ordering::Relaxed);
        assert!(!is_marked(before));
        drop(end);
        while word.load(Ordering::Relaxed) == before {
            // For ever, if nobody woke it.
            kernel::wait(word, before, None);
        }
        assert!(is_marked(word.load(Ordering::Relaxed)));
        thread.join().expect("it does not panic");
    }

    #[test]
    fn what_is_taken_back_is_not_marked() {
        let words = words();
        std::thread::spawn(move || {
            for _ in 0..3 {
                let mark = DeathMark::leave(words).expect("there are robust mutexes");
                assert!(futex(words).is_some());
                drop(mark);
                assert_eq!(futex(words), None);
            }
        })
        .join()
        .expect("it does not panic");
        assert!(words.iter().all(|word| !is_marked(word.load(Ordering::Relaxed))));
    }

    #[test]
    fn two_marks_of_one_thread_are_both_marked() {
        let both = [words(), words()];
        std::thread::spawn(move || {
            for words in both {
                std::mem::forget(DeathMark::leave(words).expect("there are robust mutexes"));
            }
        })
        .join()
        .expect("it does not panic");
        for words in both {
            let word = &words[futex(words).expect("it was left")];
            assert!(is_marked(word.load(Ordering::Relaxed)));
        }
    }

    #[test]
    fn junk_in_the_place_is_no_place() {
        let words = words();
        for junk in [0, WORDS as u32, u32::MAX] {
            words[PLACE].store(junk, Ordering::Relaxed);
            assert_eq!(futex(words), None);
        }
    }
}
