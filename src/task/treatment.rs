//! How a call is to be treated: what is said on it, above what its function's attribute declares.

use std::time::Duration;

use super::call::Call;
use super::options::{Backoff, Priority, RetryOn, RetryPolicy};
#[cfg(feature = "async")]
use crate::async_loop::AsyncLoop;

impl<T> Call<T> {
    /// How urgent it is; [`Priority::Normal`] unless said.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.wanted().priority = Some(priority);
        self
    }

    /// The longest that one attempt may run, counted from the moment it begins.
    ///
    /// Time in which this program was suspended, with its machine or by a signal, does not count; half a second
    /// and more is noticed. Time in which the worker process alone was stopped does.
    ///
    /// In a worker process the worker is killed then. On a loop the future is dropped at its next await. A thread
    /// can't be killed: there the handle is resolved, and the closure goes on, holding its place. If the task is to be
    /// retried, its next attempt begins when the closure has returned or the future is dropped. What takes as long again
    /// to do that, and more than a second, is not retried any more, and the handle is resolved.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.wanted().timeout = Some(timeout);
        self
    }

    /// When one attempt is asked to end, counted from the moment it begins:
    /// [`is_cancelled`](crate::Current::is_cancelled) answers yes from then on, and where the task is a process task, the log tells what
    /// it was doing. Nothing else happens. A task that looks at it now and then can clean up, and return what it
    /// has; one that does not is ended by its [`timeout`](Self::timeout), which should be longer.
    ///
    /// The same in all pools. The flag is also raised by a timeout, and by a cancel, where these can't end the function: on
    /// threads, on rayon and inline.
    ///
    /// ```
    /// use atasker::task;
    /// use std::time::Duration;
    /// #[task(soft_timeout = "10s", timeout = "20s")]
    /// fn search(haystack: Vec<u64>, needle: u64) -> Option<usize> {
    ///     haystack.iter().position(|&straw| straw == needle || atasker::current().is_cancelled())
    /// }
    /// let call = search::call(vec![1, 2], 2).soft_timeout(Duration::from_secs(1));
    /// # drop(call);
    /// ```
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.wanted().soft_timeout = Some(timeout);
        self
    }

    /// The most CPU time that one attempt may use, of all threads of its worker process together, counted from the
    /// moment it begins. Then the worker is killed, and the task has [timed out](crate::TaskErrorKind::TimedOut),
    /// by [`TimeLimit::Cpu`](crate::TimeLimit::Cpu). Unlike a [`timeout`](Self::timeout), it does not run while a
    /// busy machine lets the task wait.
    ///
    /// It may use a hundredth of a second more on each core. Processes that it starts are not counted. On threads
    /// and loops, on rayon and inline it means nothing: there is no process of its own.
    ///
    /// ```
    /// use atasker::task;
    /// use std::time::Duration;
    /// #[task(cpu_limit = "2s")]
    /// fn collatz(start: u64) -> u64 {
    ///     std::iter::successors(Some(start), |&n| (n > 1).then(|| if n % 2 == 0 { n / 2 } else { 3 * n + 1 })).count() as u64
    /// }
    /// let call = collatz::call(27).cpu_limit(Duration::from_secs(1));
    /// # drop(call);
    /// ```
    pub fn cpu_limit(mut self, limit: Duration) -> Self {
        self.wanted().cpu_limit = Some(limit);
        self
    }

    /// The longest that it may wait in the queue before it begins, not counting its delay. Then it
    /// [expires](crate::TaskStatus::Expired).
    pub fn queue_timeout(mut self, timeout: Duration) -> Self {
        self.wanted().queue_timeout = Some(timeout);
        self
    }

    /// Do not start before this much time has passed since the submission. Holds no place meanwhile.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.wanted().delay = Some(delay);
        self
    }

    /// How many further attempts may follow the first one, if it fails in one of the ways that
    /// [`retry_on`](Self::retry_on) names. None unless said: a task that is not declared retryable never
    /// runs twice.
    pub fn retries(mut self, retries: u32) -> Self {
        self.wanted().retries = Some(retries);
        self
    }

    /// The ways of failing that are followed by another attempt; all of them unless said.
    pub fn retry_on(mut self, kinds: impl IntoIterator<Item = RetryOn>) -> Self {
        self.wanted().retry_on = Some(RetryPolicy::kinds(kinds));
        self
    }

    /// How long to wait before a retry; not at all unless said.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.wanted().backoff = Some(backoff);
        self
    }

    /// How many deaths of its worker are held against it before it is taken out: with so many it ends as
    /// [`Quarantined`](crate::TaskErrorKind::Quarantined), whatever retries it has left, with all that is needed to
    /// see it happen again. Its neighbours run on.
    ///
    /// What counts is a worker that died, by whatever, while it ran the task; timeouts, cancellations and panics do
    /// not. No limit unless said, here, in the attribute or by
    /// [the builder](crate::SupervisorBuilder::crash_limit): retries are an end, too. With a limit that is higher
    /// than the number of attempts it never comes to it. Zero is taken for one. On threads and loops, on rayon and
    /// inline it means nothing: there a crash ends the program.
    ///
    /// ```
    /// use atasker::{RetryOn, task};
    /// #[task(retries = 5, retry_on(crash, timeout))]
    /// fn decode(bytes: &[u8]) -> usize { bytes.len() }
    /// // Five further attempts after timeouts, but one only after a crash.
    /// let call = decode::call(b"...").crash_limit(2);
    /// # drop(call);
    /// ```
    pub fn crash_limit(mut self, limit: u32) -> Self {
        self.wanted().crash_limit = Some(limit.max(1));
        self
    }

    /// How many bytes of memory an attempt may take in its worker process. No limit unless said.
    ///
    /// The worker is weighed when the task begins, and every 20 milliseconds from then on. When it has got more than this
    /// since the begin it is killed, and the task has [crashed](crate::TaskErrorKind::Crashed); its report says so, and
    /// how far it went. Memory is counted as for [the worker's own limit](crate::SupervisorBuilder::memory_hard_limit);
    /// what an earlier task has left to the allocator, and this one uses again, is not growth. A task with such a limit
    /// is never staged behind another. On threads and loops, on rayon and inline it means nothing.
    ///
    /// ```
    /// use atasker::task;
    /// #[task(memory_limit = 100_000_000)]
    /// fn unpack(bytes: &[u8]) -> Vec<u8> { bytes.to_vec() }
    /// let call = unpack::call(b"...").memory_limit(1 << 30);
    /// # drop(call);
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.wanted().memory_limit = Some(bytes);
        self
    }

    /// Run the future on this loop, not on the default one. For other calls that is an error at the submission.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Call, Supervisor};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let devices = supervisor.create_loop("devices")?;
    /// let call = Call::future(async { std::thread::current().name().map(str::to_owned) });
    /// let name = supervisor.submit(call.on_loop(&devices))?.wait()?;
    /// assert_eq!(name.as_deref(), Some("devices"));
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "async")]
    pub fn on_loop(mut self, aloop: &AsyncLoop) -> Self {
        self.wanted().on_loop = Some(aloop.clone());
        self
    }

    /// A text for logs, errors and [`TaskInfo`](crate::TaskInfo).
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.given().label = Some(label.into().into_boxed_str());
        self
    }

    /// An id of your own choice, by which [`Supervisor::task`](crate::Supervisor::task) finds the task. No
    /// two tasks that are outstanding may have the same.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.given().id = Some(id.into().into_boxed_str());
        self
    }
}
