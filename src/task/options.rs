//! The words in which a task's treatment is described: plain data, shared by the public face and the
//! pure core.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How urgent a task is.
///
/// A lower class never starts while a higher one waits; within a class, first come, first served. (In worker processes
/// some tasks are with a worker ahead of time, and begin when it comes to them. One that waits there behind a task which
/// takes unexpectedly long, for 20 ms at least, goes back to its place in line; others may have begun before it
/// meanwhile.)
/// Which places each class may use is said by [`Limits`].
///
/// ```
/// use atasker::Priority;
/// assert!(Priority::High > Priority::default());
/// assert_eq!("low".parse(), Ok(Priority::Low));
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Priority {
    /// May use `pool_size` places.
    Low,
    /// May also use the places of `reserve_normal`.
    #[default]
    Normal,
    /// May use every place, those of `reserve_high` too.
    High,
    /// Starts at once, whatever is running.
    Critical,
}

impl Priority {
    /// All classes, the least urgent first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The name in lower case, as [`parse`](str::parse) takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|priority| priority.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownPriority(text.to_owned()))
    }
}

/// A text that names no [`Priority`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown priority `{0}`; there are low, normal, high and critical")]
pub struct UnknownPriority(String);

/// How many tasks of a pool may run at the same time, by priority.
///
/// With `pool_size = p`, `reserve_normal = n` and `reserve_high = h`, a task may start while fewer than
/// this many places are busy: `Low` `p`, `Normal` `p + n`, `High` `p + n + h`; `Critical` starts at once.
/// So a flood of low-priority work never keeps an urgent task waiting for a place.
///
/// On the process pool `p + n + h` is the number of worker processes, and `p` must not be zero. On
/// threads and loops `p = 0` means no limit.
///
/// ```
/// use atasker::Limits;
/// let limits = Limits::new(4).reserve_normal(1).reserve_high(1);
/// assert_eq!(limits.places(), 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) pool_size: u32,
    pub(crate) reserve_normal: u32,
    pub(crate) reserve_high: u32,
}

impl Limits {
    /// `pool_size` places and no reserves.
    pub const fn new(pool_size: u32) -> Self {
        Self { pool_size, reserve_normal: 0, reserve_high: 0 }
    }

    /// More places for tasks of normal and higher priority.
    #[must_use]
    pub const fn reserve_normal(mut self, places: u32) -> Self {
        self.reserve_normal = places;
        self
    }

    /// More places for tasks of high priority.
    #[must_use]
    pub const fn reserve_high(mut self, places: u32) -> Self {
        self.reserve_high = places;
        self
    }

    /// All places together: `pool_size + reserve_normal + reserve_high`.
    pub const fn places(&self) -> u32 {
        self.pool_size.saturating_add(self.reserve_normal).saturating_add(self.reserve_high)
    }
}

/// A way in which an attempt can fail and that [`retry_on`](crate::Call::retry_on) can name.
///
/// ```
/// use atasker::{RetryOn, task};
/// #[task(retries = 3, retry_on(crash))]
/// fn decode(bytes: &[u8]) -> usize { bytes.len() }
/// let call = decode::call(b"...").retry_on([RetryOn::Crash, RetryOn::Timeout]);
/// # drop(call);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryOn {
    /// Its worker process died.
    Crash,
    /// It ran longer than its timeout, or used up its CPU time.
    Timeout,
    /// It panicked.
    Panic,
    /// It returned an `Err`.
    Error,
}

impl RetryOn {
    const fn bit(self) -> u8 {
        match self {
            Self::Crash => 1,
            Self::Timeout => 2,
            Self::Panic => 4,
            Self::Error => 8,
        }
    }
}

/// Which limit a task has exceeded that has [timed out](crate::TaskErrorKind::TimedOut).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeLimit {
    /// Its [timeout](crate::Call::timeout).
    Timeout,
    /// Its [limit of CPU time](crate::Call::cpu_limit).
    Cpu,
}

/// How long to wait before the next attempt.
///
/// The first retry waits `initial`, each further one twice as long as the one before, at most `max`. Up to
/// a quarter is taken off at random, so that tasks which failed together do not return together.
///
/// ```
/// use atasker::Backoff;
/// use std::time::Duration;
/// let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5));
/// assert_ne!(backoff, Backoff::fixed(Duration::from_millis(100)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

impl Backoff {
    /// No wait at all.
    pub const NONE: Self = Self { initial: Duration::ZERO, max: Duration::ZERO };

    /// The same wait before each retry.
    pub const fn fixed(wait: Duration) -> Self {
        Self { initial: wait, max: wait }
    }

    /// `initial` before the first retry, doubling up to `max`.
    pub const fn exponential(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The wait before attempt `attempt` (the first retry is attempt 2). `noise` is any number that
    /// differs between tasks; the caller keeps this function free of randomness.
    pub(crate) fn wait_before(self, attempt: u32, noise: u64) -> Duration {
        let doublings = attempt.saturating_sub(2).min(30);
        let wait = self.initial.saturating_mul(1 << doublings).min(self.max);
        // A step of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
        // 2014) spreads neighbouring numbers over the whole range.
        let mut hash = noise.wrapping_add(u64::from(attempt)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        hash ^= hash >> 31;
        wait.saturating_sub(wait / 4096 * (hash % 1024) as u32)
    }
}

/// When a failed attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetryPolicy {
    /// How many attempts may follow the first.
    pub(crate) retries: u32,
    /// A set of [`RetryOn::bit`].
    on: u8,
    pub(crate) backoff: Backoff,
}

impl RetryPolicy {
    /// Never twice: what every task has that does not declare otherwise.
    pub(crate) const NEVER: Self = Self { retries: 0, on: 0b1111, backoff: Backoff::NONE };

    #[cfg(test)]
    pub(crate) fn set_kinds(&mut self, kinds: impl IntoIterator<Item = RetryOn>) {
        self.on = Self::kinds(kinds);
    }

    /// The set of these kinds.
    pub(crate) fn kinds(kinds: impl IntoIterator<Item = RetryOn>) -> u8 {
        kinds.into_iter().fold(0, |set, kind| set | kind.bit())
    }

    /// Whether a further attempt may follow one that the worker process survives.
    pub(crate) fn outlives_an_attempt(&self) -> bool {
        self.allows(RetryOn::Error, 1) || self.allows(RetryOn::Panic, 1)
    }

    /// Whether attempt number `attempt` (from 1), which failed by `kind`, is to be followed by another.
    pub(crate) fn allows(&self, kind: RetryOn, attempt: u32) -> bool {
        attempt <= self.retries && self.on & kind.bit() != 0
    }
}

/// What is said about a task's treatment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    pub(crate) priority: Priority,
    /// Counted from the moment the task begins.
    pub(crate) timeout: Option<Duration>,
    /// Counted from the submission, or from the end of the delay.
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) delay: Option<Duration>,
    pub(crate) retry: RetryPolicy,
    /// How often it may kill its worker before it is quarantined; never zero.
    pub(crate) crash_limit: Option<u32>,
    /// Counted from the moment the task begins.
    pub(crate) soft_timeout: Option<Duration>,
    /// Of the process, from the moment the task begins.
    pub(crate) cpu_limit: Option<Duration>,
    /// How many bytes of memory its worker may get while it runs.
    pub(crate) memory_limit: Option<u64>,
}

impl Options {
    pub(crate) const DEFAULT: Self = Self {
        priority: Priority::Normal,
        timeout: None,
        queue_timeout: None,
        delay: None,
        retry: RetryPolicy::NEVER,
        crash_limit: None,
        soft_timeout: None,
        cpu_limit: None,
        memory_limit: None,
    };

    /// How many crashes quarantine it, if its retries let it come to so many.
    pub(crate) fn reachable_crash_limit(&self) -> Option<u32> {
        self.crash_limit.filter(|&limit| limit <= self.retry.retries.saturating_add(1))
    }

    /// Whether only the priority matters.
    pub(crate) fn is_plain(&self) -> bool {
        self.timeout.is_none()
            && self.queue_timeout.is_none()
            && self.delay.is_none()
            && self.retry.retries == 0
            && self.reachable_crash_limit().is_none()
            && self.soft_timeout.is_none()
            && self.cpu_limit.is_none()
            && self.memory_limit.is_none()
    }
}

/// What a call says on top of what the function's attribute declares. The attribute of a function that is
/// called by name is known only at the submission.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) priority: Option<Priority>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) queue_timeout: Option<Duration>,
    pub(crate) delay: Option<Duration>,
    pub(crate) retries: Option<u32>,
    pub(crate) retry_on: Option<u8>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) crash_limit: Option<u32>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) cpu_limit: Option<Duration>,
    pub(crate) memory_limit: Option<u64>,
    #[cfg(feature = "async")]
    pub(crate) on_loop: Option<crate::async_loop::AsyncLoop>,
}

impl Wanted {
    pub(crate) fn over(&self, declared: Options) -> Options {
        let Options { retry, .. } = declared;
        Options {
            priority: self.priority.unwrap_or(declared.priority),
            timeout: self.timeout.or(declared.timeout),
            queue_timeout: self.queue_timeout.or(declared.queue_timeout),
            delay: self.delay.or(declared.delay),
            retry: RetryPolicy {
                retries: self.retries.unwrap_or(retry.retries),
                on: self.retry_on.unwrap_or(retry.on),
                backoff: self.backoff.unwrap_or(retry.backoff),
            },
            crash_limit: self.crash_limit.or(declared.crash_limit),
            soft_timeout: self.soft_timeout.or(declared.soft_timeout),
            cpu_limit: self.cpu_limit.or(declared.cpu_limit),
            memory_limit: self.memory_limit.or(declared.memory_limit),
        }
    }
}

/// What an attribute declares: options, and what only the public face knows.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    pub(crate) options: Options,
    pub(crate) label: Option<&'static str>,
}

impl Declared {
    /// Nothing declared.
    pub const DEFAULT: Self = Self { options: Options::DEFAULT, label: None };

    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    #[must_use]
    pub const fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.options.soft_timeout = Some(timeout);
        self
    }

    #[must_use]
    pub const fn cpu_limit(mut self, limit: Duration) -> Self {
        self.options.cpu_limit = Some(limit);
        self
    }

    #[must_use]
    pub const fn queue_timeout(mut self, timeout: Duration) -> Self {
        self.options.queue_timeout = Some(timeout);
        self
    }

    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.options.delay = Some(delay);
        self
    }

    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.options.retry.retries = retries;
        self
    }

    #[must_use]
    pub const fn retry_on(mut self, kinds: &[RetryOn]) -> Self {
        // Not `for`: iterators are not const.
        let mut set = 0;
        let mut position = 0;
        while position < kinds.len() {
            set |= kinds[position].bit();
            position += 1;
        }
        self.options.retry.on = set;
        self
    }

    #[must_use]
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.options.retry.backoff = backoff;
        self
    }

    #[must_use]
    pub const fn crash_limit(mut self, limit: u32) -> Self {
        self.options.crash_limit = Some(if limit == 0 { 1 } else { limit });
        self
    }

    #[must_use]
    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        self.options.memory_limit = Some(bytes);
        self
    }

    #[must_use]
    pub const fn label(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }
}
