//! A lock that is given up when it can't be had in time.

use std::fmt;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, ReentrantMutex, ReentrantMutexGuard};

use crate::say::say;

/// Called when the lock can't be had.
type OnCritical = Box<dyn Fn() + Send + Sync>;

/// A lock around a section of a program that must never be held for long: who can't have it in time logs an
/// error, calls a handler that may put things right (or end the program), and goes without.
///
/// Re-entrant unless said: the thread that holds it may take it again. It guards no data; for data, put that into
/// a `Mutex`.
///
/// ```
/// use atasker::extras::Locker;
/// use std::time::Duration;
///
/// let locker = Locker::new("ledger")
///     .timeout(Duration::from_millis(10))
///     .on_critical(|| eprintln!("somebody sits on the ledger"));
///
/// let entries = locker.run(|| 3);                     // the closure form
/// assert_eq!(entries, Some(3));
///
/// let guard = locker.lock()?;                         // the guard form
/// std::thread::scope(|scope| {
///     let other = scope.spawn(|| locker.run(|| unreachable!("the lock is held")));
///     assert_eq!(other.join().unwrap(), None);
/// });
/// drop(guard);
/// # Ok::<(), atasker::extras::LockTimeout>(())
/// ```
pub struct Locker {
    name: String,
    timeout: Duration,
    lock: Lock,
    on_critical: Option<OnCritical>,
}

enum Lock {
    Reentrant(ReentrantMutex<()>),
    Plain(Mutex<()>),
}

impl Locker {
    /// A re-entrant lock with a timeout of five seconds. The name is for the log and for errors.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            timeout: Duration::from_secs(5),
            lock: Lock::Reentrant(ReentrantMutex::new(())),
            on_critical: None,
        }
    }

    /// How long to wait for the lock.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Not even the thread that holds it may take it again: it waits for itself until the timeout.
    #[must_use]
    pub fn not_reentrant(mut self) -> Self {
        self.lock = Lock::Plain(Mutex::new(()));
        self
    }

    /// What to call when the lock can't be had in time, in the thread that wanted it.
    #[must_use]
    pub fn on_critical(mut self, handler: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_critical = Some(Box::new(handler));
        self
    }

    /// Take the lock until the guard is dropped.
    ///
    /// # Errors
    /// The timeout has passed; the handler has been called.
    pub fn lock(&self) -> Result<LockerGuard<'_>, LockTimeout> {
        let held = match &self.lock {
            Lock::Reentrant(lock) => lock.try_lock_for(self.timeout).map(Held::Reentrant),
            Lock::Plain(lock) => lock.try_lock_for(self.timeout).map(Held::Plain),
        };
        if let Some(held) = held {
            return Ok(LockerGuard { _held: held });
        }
        say!(error, target: "atasker::extras", name = %self.name, waited = ?self.timeout,
            "a lock can't be had");
        if let Some(handler) = &self.on_critical {
            handler();
        }
        Err(LockTimeout { name: self.name.clone(), waited: self.timeout })
    }

    /// Run `body` under the lock. `None`: the timeout has passed, the handler has been called, and `body` has not
    /// run.
    pub fn run<T>(&self, body: impl FnOnce() -> T) -> Option<T> {
        let _guard = self.lock().ok()?;
        Some(body())
    }
}

impl fmt::Debug for Locker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locker")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Holds a [`Locker`] until it is dropped.
#[must_use = "dropping it frees the lock"]
#[derive(Debug)]
pub struct LockerGuard<'a> {
    _held: Held<'a>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for the sake of its end")]
enum Held<'a> {
    Reentrant(ReentrantMutexGuard<'a, ()>),
    Plain(MutexGuard<'a, ()>),
}

/// A [`Locker`] could not be had in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lock `{name}` could not be had within {waited:?}")]
pub struct LockTimeout {
    name: String,
    waited: Duration,
}
