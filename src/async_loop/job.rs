//! A scheduled job: its handle, and its code.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use super::aloop::AsyncLoop;
use crate::registry::panics;
use crate::say::say;
use crate::sync::Mutex;

/// A run that was not over at once.
pub(super) type GoingOn = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A job that a loop runs again and again by its [`Schedule`](crate::Schedule). Dropping the handle changes nothing; a
/// clone is another handle of the same job.
///
/// Lightweight: its runs are no tasks, have no places, and are not listed. The next run begins when it is time,
/// whether the last one is still going on or not. A run that panics is logged, and costs nothing else.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::Schedule;
/// use std::{sync::mpsc, time::Duration};
/// # let supervisor = atasker::Supervisor::builder().start()?;
/// let devices = supervisor.create_loop("devices")?;
/// let (send, receive) = mpsc::channel();
/// let job = devices.schedule(Schedule::every(Duration::from_millis(10)), move || {
///     let send = send.clone();
///     async move { drop(send.send("tick")) }
/// })?;
/// assert_eq!(receive.recv()?, "tick");
/// assert!(job.cancel());
/// assert!(job.runs() >= 1 && !job.is_active());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AsyncJob {
    pub(super) core: Arc<JobCore>,
    pub(super) aloop: AsyncLoop,
}

impl AsyncJob {
    /// End the job: no further run begins. One that is going on goes on. `true`: it ended by this; `false`: it had ended
    /// before.
    ///
    /// The job's closure is dropped here, or after the run that is just beginning.
    pub fn cancel(&self) -> bool {
        if crate::sys::fork::is_forked_child() {
            return false;
        }
        let ended = self.core.end();
        if ended {
            self.aloop.jobs().on_cancelled();
        }
        ended
    }

    /// How many runs have begun.
    pub fn runs(&self) -> u64 {
        self.core.runs.load(Ordering::Relaxed)
    }

    /// Whether more runs may follow: it was not cancelled, has not had its last run, and its loop has not been stopped.
    pub fn is_active(&self) -> bool {
        self.core.is_active()
    }
}

impl fmt::Debug for AsyncJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncJob")
            .field("aloop", &self.aloop.name())
            .field("runs", &self.runs())
            .field("active", &self.is_active())
            .finish_non_exhaustive()
    }
}

/// What the handles of a job and its loop share.
pub(super) struct JobCore {
    /// The type of its closure, which tells where it was written.
    pub(super) name: &'static str,
    code: Mutex<Code>,
    runs: AtomicU64,
}

enum Code {
    Idle(Box<dyn Run>),
    /// The loop has it.
    Beginning,
    Gone,
}

/// What came of a run.
pub(super) enum Begun {
    /// It is over.
    Over,
    /// It waits for something.
    GoingOn(GoingOn),
    /// The job has ended, so nothing ran.
    Nothing,
}

impl JobCore {
    pub(super) fn new<M, F>(make: M) -> Self
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let code = Code::Idle(Box::new(Making { make, place: None }));
        Self { name: std::any::type_name::<M>(), code: Mutex::new(code), runs: AtomicU64::new(0) }
    }

    /// Begin a run. Code of the user's runs in here, but not under a lock.
    pub(super) fn begin(&self) -> Begun {
        let mut run = {
            let mut code = self.code.lock();
            match std::mem::replace(&mut *code, Code::Beginning) {
                Code::Idle(run) => {
                    // Under the lock, so that the number is final when a cancel has returned.
                    self.runs.fetch_add(1, Ordering::Relaxed);
                    run
                }
                Code::Beginning => unreachable!("a job is begun by its loop alone"),
                Code::Gone => {
                    *code = Code::Gone;
                    return Begun::Nothing;
                }
            }
        };
        let begun = caught(self.name, || run.begin()).unwrap_or_else(|| {
            caught(self.name, || run.forget());
            None
        });
        let mut code = self.code.lock();
        if matches!(*code, Code::Beginning) {
            *code = Code::Idle(run);
        } else {
            drop(code);
            caught(self.name, || drop(run));
        }
        begun.map_or(Begun::Over, Begun::GoingOn)
    }

    pub(super) fn is_active(&self) -> bool {
        !matches!(*self.code.lock(), Code::Gone)
    }

    /// No further run begins. `false`: it was so before.
    pub(super) fn end(&self) -> bool {
        let code = std::mem::replace(&mut *self.code.lock(), Code::Gone);
        let was_active = !matches!(code, Code::Gone);
        caught(self.name, || drop(code));
        was_active
    }
}

/// Run code of the job of this name. A panic is logged, and costs nothing else.
pub(super) fn caught<R>(job: &str, code: impl FnOnce() -> R) -> Option<R> {
    panics::catch(code)
        .inspect_err(|panicked| {
            say!(error, target: "atasker::loops", job, panic = panicked.message, "a job panicked");
        })
        .ok()
}

/// The code of a job, by whatever types it is made of.
trait Run: Send {
    /// Begin a run. `None`: it is over already.
    fn begin(&mut self) -> Option<GoingOn>;
    /// Drop the future of a run that panicked.
    fn forget(&mut self);
}

/// Where a future lies. It is used for run after run, as long as these are over at once.
type PlaceOf<F> = Pin<Box<Option<F>>>;

struct Making<M, F> {
    make: M,
    place: Option<PlaceOf<F>>,
}

impl<M, F> Run for Making<M, F>
where
    M: FnMut() -> F + Send,
    F: Future<Output = ()> + Send + 'static,
{
    fn begin(&mut self) -> Option<GoingOn> {
        let place = self.place.get_or_insert_with(|| Box::pin(None));
        place.set(Some((self.make)()));
        // Most runs are over at once, and need no task of their own. One that is not is polled again, as one, so that
        // nobody has to be woken by this first poll.
        if poll_in(place, &mut Context::from_waker(Waker::noop())).is_ready() {
            return None;
        }
        let mut place = self.place.take()?;
        Some(Box::pin(std::future::poll_fn(move |context| poll_in(&mut place, context))))
    }

    fn forget(&mut self) {
        self.place = None;
    }
}

/// Poll the future in its place, and drop it there once it is ready.
fn poll_in<F: Future<Output = ()>>(place: &mut PlaceOf<F>, context: &mut Context<'_>) -> Poll<()> {
    let Some(future) = place.as_mut().as_pin_mut() else { return Poll::Ready(()) };
    let polled = future.poll(context);
    if polled.is_ready() {
        place.set(None);
    }
    polled
}
