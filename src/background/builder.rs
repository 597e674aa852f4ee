//! The description of a background worker.

use std::any::Any;
use std::fmt;
#[cfg(feature = "async")]
use std::future::Future;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar};

#[cfg(feature = "async")]
use super::body::{AsyncClosure, OwnAsync};
use super::body::{Body, Closure, Code, OnError, Own, OwnProcess, ProcessClosures};
use super::handle::BackgroundWorker;
use super::machine::{Kind, Machine, OnFailure};
use super::run::{Returns, Run, RunError};
use super::shell::{Place, Runs, Shell, Source, State};
use super::start::Start;
#[cfg(feature = "async")]
use super::traits::AsyncBackground;
use super::traits::{Background, ProcessBackground};
#[cfg(feature = "async")]
use crate::AsyncLoop;
use crate::supervisor::Supervisor;
use crate::sync::Mutex;
use crate::task::call::Call;
use crate::task::error::{SubmitError, TaskError};
use crate::task::options::Priority;

/// Describes a [`BackgroundWorker`], whose constructors make it. First say what it runs, by one of the methods
/// whose names begin with `run` or `for_each`; then [`start`](Self::start) it. Options come before or after that.
///
/// `I` is what a queue gives, `()` for the other kinds; `C` says whether the code is there yet.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::background::OnFailure;
/// use atasker::{Backoff, BackgroundWorker, Priority, Supervisor};
/// use std::time::Duration;
/// let supervisor = Supervisor::builder().start()?;
/// let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60));
/// let worker = BackgroundWorker::every(Duration::from_secs(5))
///     .name("devices")
///     .priority(Priority::High)
///     .on_failure(OnFailure::Backoff(backoff))
///     .run(|_| std::fs::read_dir("/dev").map(|_| ()))
///     .start(&supervisor)?;
/// worker.stop();
/// # Ok(()) }
/// ```
#[must_use = "a background worker does nothing before it is started"]
pub struct BackgroundWorkerBuilder<I = (), C = ()> {
    kind: Kind,
    source: Source<I>,
    start: Start,
    on_failure: OnFailure,
    on_error: Option<OnError>,
    #[cfg(feature = "async")]
    aloop: Option<AsyncLoop>,
    code: C,
}

/// The builder knows what the background worker runs.
pub struct WithCode<I> {
    body: Box<dyn Body<I>>,
    /// Unless another is given.
    name: &'static str,
    #[cfg(feature = "async")]
    is_async: bool,
}

impl<I> BackgroundWorkerBuilder<I> {
    pub(super) fn new(kind: Kind, source: Source<I>) -> Self {
        Self {
            kind,
            source,
            start: Start::new(),
            on_failure: OnFailure::default(),
            on_error: None,
            #[cfg(feature = "async")]
            aloop: None,
            code: (),
        }
    }
}

impl<I, C> BackgroundWorkerBuilder<I, C> {
    /// Its name, in logs and listings; that of the function or type unless said.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.start = self.start.name(name);
        self
    }

    /// The class of its runs; [`Priority::Normal`] unless said. For runs in worker processes that of what
    /// comes before and behind them; the call has its own.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.start = self.start.priority(priority);
        self
    }

    /// A value that every run [sees](Run::arguments), until a [start](BackgroundWorker::start_with) gives
    /// another.
    pub fn arguments<T: Any + Send + Sync>(mut self, arguments: T) -> Self {
        self.start = self.start.arguments(arguments);
        self
    }

    /// What it does after a run that failed; [goes on](OnFailure::GoOn) unless said.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// What to call for each run that failed, in the place of [`Hooks::on_error`](super::Hooks::on_error);
    /// unless said, it is logged. `Break` stops the worker.
    pub fn on_error(
        mut self,
        handler: impl FnMut(&RunError, &Run) -> ControlFlow<()> + Send + 'static,
    ) -> Self {
        self.on_error = Some(Box::new(handler));
        self
    }

    /// Run the futures on this loop, not on the default one. For what is no future that is an error at the start. The
    /// worker stops when its loop does.
    #[cfg(feature = "async")]
    pub fn on_loop(mut self, aloop: &AsyncLoop) -> Self {
        self.aloop = Some(aloop.clone());
        self
    }
}

impl BackgroundWorkerBuilder {
    /// Run a closure on the thread pool. It may return nothing, or a [`ControlFlow`] of which `Break` stops the
    /// worker, or a `Result` of one of them.
    pub fn run<F, R>(self, mut run: F) -> BackgroundWorkerBuilder<(), WithCode<()>>
    where
        F: FnMut(&Run) -> R + Send + 'static,
        R: Returns + 'static,
    {
        let name = std::any::type_name::<F>();
        self.with_code(Closure::new(move |(): (), it: &Run| run(it)), name)
    }

    /// Run tasks in worker processes: `call` makes one for each run, and `process_result` takes what came of it,
    /// the value or the crash. Both run on the thread pool.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{BackgroundWorker, Supervisor, task};
    /// use std::time::Duration;
    ///
    /// #[task(timeout = "10s")]
    /// fn render(size: u32) -> Vec<u8> { vec![0; size as usize] }
    ///
    /// # let supervisor = Supervisor::builder().start()?;
    /// let worker = BackgroundWorker::every(Duration::from_secs(60))
    ///     .run_process(|_| render::call(640), |image, _| match image {
    ///         Ok(image) => println!("{} bytes", image.len()),
    ///         Err(error) => eprintln!("{error}"),
    ///     })
    ///     .start(&supervisor)?;
    /// # Ok(()) }
    /// ```
    pub fn run_process<F, T, G, R>(
        self,
        mut call: F,
        process_result: G,
    ) -> BackgroundWorkerBuilder<(), WithCode<()>>
    where
        F: FnMut(&Run) -> Call<T> + Send + 'static,
        T: Send + 'static,
        G: FnMut(Result<T, TaskError>, &Run) -> R + Send + 'static,
        R: Returns + 'static,
    {
        let body = ProcessClosures {
            call: move |(), run: &Run| call(run),
            process_result: Closure::new(process_result),
            output: PhantomData,
        };
        self.with_code(body, std::any::type_name::<F>())
    }
}

impl<I: Send + 'static> BackgroundWorkerBuilder<I> {
    /// Run a closure on the thread pool for each item of the queue. As to what it may return, see
    /// [`run`](BackgroundWorkerBuilder::run).
    pub fn for_each<F, R>(self, run: F) -> BackgroundWorkerBuilder<I, WithCode<I>>
    where
        F: FnMut(I, &Run) -> R + Send + 'static,
        R: Returns + 'static,
    {
        self.with_code(Closure::new(run), std::any::type_name::<F>())
    }

    /// Run a task in a worker process for each item of the queue; see
    /// [`run_process`](BackgroundWorkerBuilder::run_process).
    pub fn for_each_process<F, T, G, R>(
        self,
        call: F,
        process_result: G,
    ) -> BackgroundWorkerBuilder<I, WithCode<I>>
    where
        F: FnMut(I, &Run) -> Call<T> + Send + 'static,
        T: Send + 'static,
        G: FnMut(Result<T, TaskError>, &Run) -> R + Send + 'static,
        R: Returns + 'static,
    {
        let process_result = Closure::new(process_result);
        let body = ProcessClosures { call, process_result, output: PhantomData };
        self.with_code(body, std::any::type_name::<F>())
    }

    /// Run a type of your own on the thread pool.
    pub fn run_own<B: Background<I>>(self, own: B) -> BackgroundWorkerBuilder<I, WithCode<I>> {
        self.with_code(Own(own), std::any::type_name::<B>())
    }

    /// Run the tasks of a type of your own in worker processes.
    pub fn run_own_process<B>(self, own: B) -> BackgroundWorkerBuilder<I, WithCode<I>>
    where
        B: ProcessBackground<I>,
    {
        self.with_code(OwnProcess(own), std::any::type_name::<B>())
    }

    fn with_code(
        self,
        body: impl Body<I> + 'static,
        name: &'static str,
    ) -> BackgroundWorkerBuilder<I, WithCode<I>> {
        let code = WithCode {
            body: Box::new(body),
            name,
            #[cfg(feature = "async")]
            is_async: false,
        };
        BackgroundWorkerBuilder {
            kind: self.kind,
            source: self.source,
            start: self.start,
            on_failure: self.on_failure,
            on_error: self.on_error,
            #[cfg(feature = "async")]
            aloop: self.aloop,
            code,
        }
    }
}

#[cfg(feature = "async")]
impl BackgroundWorkerBuilder {
    /// Run a closure that gives futures, on the default loop or that of [`on_loop`](Self::on_loop).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{BackgroundWorker, Supervisor};
    /// use std::time::Duration;
    /// let supervisor = Supervisor::builder().start()?;
    /// let devices = supervisor.create_loop("devices")?;
    /// let worker = BackgroundWorker::every(Duration::from_secs(1))
    ///     .on_loop(&devices)
    ///     .run_async(|run| async move { println!("{} polls", run.name()) })
    ///     .start(&supervisor)?;
    /// worker.stop();
    /// # Ok(()) }
    /// ```
    pub fn run_async<F, O>(self, mut run: F) -> BackgroundWorkerBuilder<(), WithCode<()>>
    where
        F: FnMut(Run) -> O + Send + 'static,
        O: Future<Output: Returns> + Send + 'static,
    {
        let name = std::any::type_name::<F>();
        self.with_async(AsyncClosure(Closure::new(move |(): (), it: Run| run(it))), name)
    }
}

#[cfg(feature = "async")]
impl<I: Send + 'static> BackgroundWorkerBuilder<I> {
    /// Run a closure that gives futures, for each item of the queue; see
    /// [`run_async`](BackgroundWorkerBuilder::run_async).
    pub fn for_each_async<F, O>(self, run: F) -> BackgroundWorkerBuilder<I, WithCode<I>>
    where
        F: FnMut(I, Run) -> O + Send + 'static,
        O: Future<Output: Returns> + Send + 'static,
    {
        self.with_async(AsyncClosure(Closure::new(run)), std::any::type_name::<F>())
    }

    /// Run the futures of a type of your own.
    pub fn run_own_async<B>(self, own: B) -> BackgroundWorkerBuilder<I, WithCode<I>>
    where
        B: AsyncBackground<I>,
    {
        self.with_async(OwnAsync(own), std::any::type_name::<B>())
    }

    fn with_async(
        self,
        body: impl Body<I> + 'static,
        name: &'static str,
    ) -> BackgroundWorkerBuilder<I, WithCode<I>> {
        let mut builder = self.with_code(body, name);
        builder.code.is_async = true;
        builder
    }
}

impl<I: Send + 'static> BackgroundWorkerBuilder<I, WithCode<I>> {
    /// Make it and start it.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`] if the supervisor stops; [`SubmitError::Loop`] if it is to run on a loop that was stopped or is
    /// another supervisor's, or is no future; also in a forked process and in a worker process.
    pub fn start(self, supervisor: &Supervisor) -> Result<BackgroundWorker<I>, SubmitError> {
        let worker = self.make(supervisor);
        worker.start()?;
        Ok(worker)
    }

    /// Make it without starting it yet.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use atasker::{BackgroundWorker, Supervisor};
    /// # let supervisor = Supervisor::builder().start()?;
    /// let worker = BackgroundWorker::on_event().run(|_| ()).make(&supervisor);
    /// assert!(!worker.is_active());
    /// worker.start()?;
    /// assert!(worker.is_active());
    /// # Ok(()) }
    /// ```
    pub fn make(self, supervisor: &Supervisor) -> BackgroundWorker<I> {
        #[cfg(not(feature = "async"))]
        let runs = Runs::OnThreads;
        #[cfg(feature = "async")]
        let runs = match (self.code.is_async, self.aloop) {
            (true, aloop) => Runs::OnLoop(aloop),
            (false, None) => Runs::OnThreads,
            (false, Some(_)) => Runs::Nowhere,
        };
        let Self { kind, source, start, on_failure, on_error, code, .. } = self;
        let shared = &supervisor.shared;
        BackgroundWorker(shared.background.add(|number| {
            Arc::new(Shell {
                number,
                shared: Arc::downgrade(shared),
                epoch: shared.timer.epoch(),
                source,
                kind,
                runs,
                state: Mutex::new(State {
                    machine: Machine::new(kind, on_failure),
                    code: Some(Code { body: code.body, on_error }),
                    submitted: None,
                    name: start.name.unwrap_or_else(|| Arc::from(code.name)),
                    priority: start.priority.unwrap_or_default(),
                    place: Place::Threads,
                    arguments: start.arguments,
                    last_run: None,
                    wakers: Vec::new(),
                }),
                stopped: Condvar::new(),
            })
        }))
    }
}

impl<I, C> fmt::Debug for BackgroundWorkerBuilder<I, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundWorkerBuilder")
            .field("kind", &self.kind)
            .field("start", &self.start)
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}

impl<I> fmt::Debug for WithCode<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithCode").field("name", &self.name).finish_non_exhaustive()
    }
}
