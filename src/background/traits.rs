//! The forms of a background worker's code: types of a user's own, with state and hooks.

#[cfg(feature = "async")]
use std::future::Future;
use std::ops::ControlFlow;

use super::run::{Run, RunError};
use crate::say::say;
use crate::task::call::Call;
use crate::task::error::TaskError;
use crate::task::failure::TaskResult;

/// What a background worker calls beside its runs. All of it is optional, and none of it overlaps a run or
/// another hook of the same worker.
///
/// Hooks run where the function does, on a thread of the pool or on the loop; those of a worker whose runs are in
/// worker processes on a thread of the pool. At the end of a supervisor that takes no more tasks they run on the
/// thread for callbacks. A hook that panics is logged, and changes nothing else.
///
/// `I` is what a queue gives; `()` for the other kinds.
pub trait Hooks<I = ()> {
    /// The worker starts; it has not run yet.
    fn before_start(&mut self, run: &Run) {
        let _ = run;
    }

    /// The worker has started: triggers and items are waited for, ticks count from now.
    fn after_start(&mut self, run: &Run) {
        let _ = run;
    }

    /// The worker stops; it will not run any more.
    fn before_stop(&mut self, run: &Run) {
        let _ = run;
    }

    /// The worker has stopped, but for those who wait for that.
    fn after_stop(&mut self, run: &Run) {
        let _ = run;
    }

    /// An item is about to be taken from the queue.
    fn before_queue_get(&mut self, run: &Run) {
        let _ = run;
    }

    /// An item has been taken from the queue, and will be run next.
    fn after_queue_get(&mut self, item: &I, run: &Run) {
        let _ = (item, run);
    }

    /// A run has failed. `Break` stops the worker.
    fn on_error(&mut self, error: &RunError, run: &Run) -> ControlFlow<()> {
        say!(
            warn, target: "atasker::background", name = run.name(), run = run.number(), %error, "a run failed"
        );
        ControlFlow::Continue(())
    }
}

/// A background worker of your own type, which runs on the thread pool.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::background::{Background, Hooks, Run};
/// use atasker::{BackgroundWorker, Supervisor, TaskResult};
/// use std::{fs::File, io::Write, ops::ControlFlow};
///
/// struct Log(Option<File>);
///
/// impl Hooks<String> for Log {
///     fn after_stop(&mut self, _: &Run) {
///         self.0 = None;
///     }
/// }
///
/// impl Background<String> for Log {
///     fn run(&mut self, line: String, _: &Run) -> TaskResult<ControlFlow<()>> {
///         if self.0.is_none() {
///             self.0 = Some(File::create("/dev/null")?);
///         }
///         writeln!(self.0.as_mut().expect("just opened"), "{line}")?;
///         Ok(ControlFlow::Continue(()))
///     }
/// }
///
/// let supervisor = Supervisor::builder().start()?;
/// let log = BackgroundWorker::queue().run_own(Log(None)).start(&supervisor)?;
/// log.put("it works".to_owned())?;
/// log.stop();
/// # Ok(()) }
/// ```
pub trait Background<I = ()>: Hooks<I> + Send + 'static {
    /// Run once. `item`: from the queue; `()` for the other kinds. `Break` stops the worker.
    fn run(&mut self, item: I, run: &Run) -> TaskResult<ControlFlow<()>>;
}

/// A background worker of your own type, whose runs are futures on a loop.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::background::{AsyncBackground, Hooks, Run};
/// use atasker::{BackgroundWorker, Supervisor, TaskResult};
/// use std::ops::ControlFlow;
///
/// struct Countdown(u32);
///
/// impl Hooks for Countdown {}
///
/// impl AsyncBackground for Countdown {
///     async fn run(&mut self, _: (), _: &Run) -> TaskResult<ControlFlow<()>> {
///         tokio::time::sleep(std::time::Duration::from_millis(1)).await;
///         self.0 -= 1;
///         Ok(if self.0 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
///     }
/// }
///
/// let supervisor = Supervisor::builder().start()?;
/// let countdown = BackgroundWorker::looping().run_own_async(Countdown(3)).start(&supervisor)?;
/// # countdown.stop();
/// # Ok(()) }
/// ```
#[cfg(feature = "async")]
pub trait AsyncBackground<I = ()>: Hooks<I> + Send + 'static {
    /// As [`Background::run`].
    fn run(
        &mut self,
        item: I,
        run: &Run,
    ) -> impl Future<Output = TaskResult<ControlFlow<()>>> + Send;
}

/// A background worker of your own type, whose runs are tasks in worker processes.
///
/// ```
/// use atasker::background::{Hooks, ProcessBackground, Run};
/// use atasker::{Call, TaskError, TaskResult, task};
/// use std::ops::ControlFlow;
///
/// #[task(timeout = "10s")]
/// fn solve(size: u32) -> u64 { u64::from(size) * 3 }
///
/// struct Solver { size: u32, crashes: u32 }
///
/// impl Hooks for Solver {}
///
/// impl ProcessBackground for Solver {
///     type Output = u64;
///
///     fn call(&mut self, _: (), _: &Run) -> Call<u64> {
///         self.size += 1;
///         solve::call(self.size)
///     }
///
///     fn process_result(
///         &mut self,
///         result: Result<u64, TaskError>,
///         _: &Run,
///     ) -> TaskResult<ControlFlow<()>> {
///         self.crashes += u32::from(result.is_err());
///         Ok(if self.crashes > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
///     }
/// }
/// ```
pub trait ProcessBackground<I = ()>: Hooks<I> + Send + 'static {
    /// What the task returns.
    type Output: Send + 'static;

    /// What to run this time.
    fn call(&mut self, item: I, run: &Run) -> Call<Self::Output>;

    /// What came of it. A crash is an error of the worker's, whatever is returned here. `Break` stops the
    /// worker. A call that was not accepted has come to nothing: it is told to [`Hooks::on_error`] only.
    fn process_result(
        &mut self,
        result: Result<Self::Output, TaskError>,
        run: &Run,
    ) -> TaskResult<ControlFlow<()>>;
}
