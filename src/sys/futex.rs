//! Futexes on words that several processes share: no `FUTEX_PRIVATE_FLAG`, which would make each process
//! wait for itself (futex(2)).
//!
//! Whoever waits looks at the word again afterwards, whatever the answer was: a wake may be meant for somebody
//! else, or be a signal, or come from a process gone mad.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::thread::{ClockId, Timespec};

/// So many words can be waited for at once (`FUTEX_WAITV_MAX`).
pub(crate) const WAIT_ANY_MAX: usize = 128;

/// How long a wait lasts that can't be done as wanted, before the caller looks again.
const MAKESHIFT: Duration = Duration::from_millis(1);

/// How a wait ended. A hint: the word decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Somebody woke this thread, or a signal did.
    Woken,
    TimedOut,
    /// The word had another value already.
    Changed,
}

/// Sleep while `word` is `expected`, until woken or `timeout` has passed (`None`: for ever).
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> Waited {
    let timeout = timeout.map(timespec);
    match futex::wait(word, Flags::empty(), expected, timeout.as_ref()) {
        Ok(()) | Err(Errno::INTR) => Waited::Woken,
        Err(Errno::AGAIN) => Waited::Changed,
        Err(Errno::TIMEDOUT) => Waited::TimedOut,
        // The word is there, aligned and mapped, so nothing else is possible but a page that can't be had.
        Err(_) => makeshift(),
    }
}

/// Sleep while every word has its expected value, until one is woken or `timeout` has passed.
///
/// # Panics
///
/// If there is no word, or more than [`WAIT_ANY_MAX`].
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], timeout: Option<Duration>) -> Waited {
    assert!(!words.is_empty(), "nobody could end this wait");
    assert!(words.len() <= WAIT_ANY_MAX, "more words than the kernel waits for");
    if let [(word, expected)] = *words {
        return wait(word, expected, timeout);
    }
    let mut waits = [Wait::new(); WAIT_ANY_MAX];
    for (wait, (word, expected)) in waits.iter_mut().zip(words) {
        wait.val = u64::from(*expected);
        wait.uaddr = WaitPtr::new(word.as_ptr().cast());
        // Shared, for there is no `PRIVATE` among them.
        wait.flags = WaitFlags::SIZE_U32;
    }
    // Unlike that of `wait`, this timeout is a point in time.
    let until = timeout.map(from_now);
    let waits = &waits[..words.len()];
    match futex::waitv(waits, WaitvFlags::empty(), until.as_ref(), ClockId::Monotonic) {
        Ok(_) | Err(Errno::INTR) => Waited::Woken,
        Err(Errno::AGAIN) => Waited::Changed,
        Err(Errno::TIMEDOUT) => Waited::TimedOut,
        // Kernels before 5.16, and filters of system calls older than that.
        Err(_) => {
            let (word, expected) = words[0];
            let timeout = timeout.map_or(MAKESHIFT, |timeout| timeout.min(MAKESHIFT));
            match wait(word, expected, Some(timeout)) {
                Waited::TimedOut => Waited::Woken,
                waited => waited,
            }
        }
    }
}

/// Whether [`wait_any`] really sleeps here. If not it returns every millisecond.
pub(crate) fn has_wait_any() -> bool {
    // Without a word the kernel refuses with EINVAL, if it knows the call at all.
    futex::waitv(&[], WaitvFlags::empty(), None, ClockId::Monotonic) == Err(Errno::INVAL)
}

/// Wake everybody who waits for this word, and say how many that were.
pub(crate) fn wake_all(word: &AtomicU32) -> usize {
    wake(word, i32::MAX.unsigned_abs())
}

/// Wake one of those who wait for this word, if anybody does.
pub(crate) fn wake_one(word: &AtomicU32) -> bool {
    wake(word, 1) > 0
}

fn wake(word: &AtomicU32, count: u32) -> usize {
    // It fails only for a word that is not mapped.
    futex::wake(word, Flags::empty(), count).unwrap_or(0)
}

#[cold]
fn makeshift() -> Waited {
    std::thread::sleep(MAKESHIFT);
    Waited::Woken
}

fn timespec(duration: Duration) -> Timespec {
    // What the kernel can't count to is for ever.
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

fn from_now(timeout: Duration) -> Timespec {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let for_ever = Timespec { tv_sec: i64::MAX, tv_nsec: 0 };
    now.checked_add(timespec(timeout)).unwrap_or(for_ever)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;
    use std::thread;

    #[test]
    fn a_changed_word_is_not_waited_for() {
        let (one, two) = (AtomicU32::new(1), AtomicU32::new(2));
        assert_eq!(wait(&one, 0, None), Waited::Changed);
        assert_eq!(wait_any(&[(&one, 1), (&two, 1)], None), Waited::Changed);
        assert!(has_wait_any());
    }

    #[test]
    fn a_wait_ends_in_time() {
        let (one, two) = (AtomicU32::new(1), AtomicU32::new(2));
        let short = Some(Duration::from_millis(2));
        assert_eq!(wait(&one, 1, short), Waited::TimedOut);
        assert_eq!(wait_any(&[(&one, 1)], short), Waited::TimedOut);
        assert_eq!(wait_any(&[(&one, 1), (&two, 2)], short), Waited::TimedOut);
        assert_eq!(wait(&one, 1, Some(Duration::ZERO)), Waited::TimedOut);
    }

    #[test]
    fn times_beyond_the_clock_are_for_ever() {
        assert_eq!(timespec(Duration::MAX).tv_sec, i64::MAX);
        assert_eq!(from_now(Duration::MAX).tv_sec, i64::MAX);
        let word = AtomicU32::new(0);
        assert_eq!(wait(&word, 1, Some(Duration::MAX)), Waited::Changed);
        assert_eq!(wait_any(&[(&word, 1), (&word, 0)], Some(Duration::MAX)), Waited::Changed);
    }

    #[test]
    fn any_word_wakes() {
        let words: [AtomicU32; WAIT_ANY_MAX] = std::array::from_fn(|_| AtomicU32::new(0));
        for last in [0, 1, WAIT_ANY_MAX - 1] {
            words[last].store(0, Ordering::Relaxed);
            thread::scope(|scope| {
                let waiter = scope.spawn(|| {
                    let pairs: Vec<_> = words[..=last].iter().map(|word| (word, 0)).collect();
                    while words[last].load(Ordering::Relaxed) == 0 {
                        wait_any(&pairs, None);
                    }
                });
                words[last].store(1, Ordering::Relaxed);
                while !waiter.is_finished() {
                    wake_all(&words[last]);
                    thread::yield_now();
                }
            });
            words[last].store(0, Ordering::Relaxed);
        }
        assert!(!wake_one(&words[0]), "nobody waits");
    }
}
