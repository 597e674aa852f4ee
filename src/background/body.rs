//! The code of a worker behind one face, whichever form it was given in and wherever it runs: each run is a
//! future, which is ready at once where there is nothing to wait for.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Weak;
use std::task::Poll;

use super::run::{Returns, Run, RunError, Verdict};
#[cfg(feature = "async")]
use super::traits::AsyncBackground;
use super::traits::{Background, Hooks, ProcessBackground};
use crate::registry::panics::{self, Panicked};
use crate::say::say;
use crate::supervisor::shared::Shared;
use crate::task::call::Call;
use crate::task::error::{PanicReport, SubmitError, TaskError};

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is called for each run that failed.
pub(super) type OnError = Box<dyn FnMut(&RunError, &Run) -> ControlFlow<()> + Send>;

/// What a worker runs.
pub(super) trait Body<I>: Send {
    fn hooks(&mut self) -> &mut dyn Hooks<I>;

    /// Not called again before the future has ended or was dropped. `shared`: the supervisor, for those whose
    /// runs submit something.
    fn run<'a>(
        &'a mut self,
        item: I,
        run: &'a Run,
        shared: &'a Weak<Shared>,
    ) -> BoxFuture<'a, Verdict>;
}

/// All that is the user's in a worker.
pub(super) struct Code<I> {
    pub(super) body: Box<dyn Body<I>>,
    /// Given to the builder; stands above the hook.
    pub(super) on_error: Option<OnError>,
}

impl<I> Code<I> {
    /// Call a hook.
    pub(super) fn hook<R>(
        &mut self,
        run: &Run,
        hook: impl FnOnce(&mut dyn Hooks<I>) -> R,
    ) -> Option<R> {
        let caught = panics::catch(|| hook(self.body.hooks()));
        caught.map_err(|panicked| log_panic("a hook", run, &panicked)).ok()
    }

    /// Run once, whatever that does.
    pub(super) async fn run(&mut self, item: I, run: &Run, shared: &Weak<Shared>) -> Verdict {
        let mut verdict = match caught(self.body.run(item, run, shared)).await {
            Ok(verdict) => verdict,
            Err(panicked) => Verdict::failed(RunError::Panicked(report(panicked))),
        };
        // That the supervisor stops while a run begins is nobody's mistake.
        if matches!(verdict.error, Some(RunError::Refused(SubmitError::Stopped))) {
            verdict.error = None;
        }
        if let Some(error) = &verdict.error
            && (self.tell_error(error, run).is_break() || is_final(error, shared))
        {
            verdict.flow = ControlFlow::Break(());
        }
        verdict
    }

    /// Have the user know of an error.
    pub(super) fn tell_error(&mut self, error: &RunError, run: &Run) -> ControlFlow<()> {
        let answer = panics::catch(|| match &mut self.on_error {
            Some(handler) => handler(error, run),
            None => self.body.hooks().on_error(error, run),
        });
        answer.unwrap_or_else(|panicked| {
            log_panic("an error handler", run, &panicked);
            ControlFlow::Continue(())
        })
    }
}

/// Whether every further run would fail in the same way, at once: not if the pool only could not be started just now.
fn is_final(error: &RunError, shared: &Weak<Shared>) -> bool {
    is_refused(error) && shared.upgrade().is_none_or(|shared| shared.executor.has_failed())
}

/// Whether there was no process pool to run it.
pub(super) fn is_refused(error: &RunError) -> bool {
    matches!(error, RunError::Refused(SubmitError::NoWorkers(_)))
}

fn log_panic(what: &str, run: &Run, panicked: &Panicked) {
    let message = &panicked.message;
    say!(error, target: "atasker::background", name = run.name(), message, "{what} panicked");
}

pub(super) fn report(panicked: Panicked) -> PanicReport {
    PanicReport { message: panicked.message, location: panicked.location, pid: None }
}

/// What the future gives, or how it panicked.
async fn caught<T>(mut future: BoxFuture<'_, T>) -> Result<T, Panicked> {
    poll_fn(|context| match panics::catch(|| future.as_mut().poll(context)) {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// A type of the user's whose runs are calls.
pub(super) struct Own<B>(pub(super) B);

impl<I: Send + 'static, B: Background<I>> Body<I> for Own<B> {
    fn hooks(&mut self) -> &mut dyn Hooks<I> {
        &mut self.0
    }

    fn run<'a>(&'a mut self, item: I, run: &'a Run, _: &'a Weak<Shared>) -> BoxFuture<'a, Verdict> {
        Box::pin(async move { self.0.run(item, run).verdict() })
    }
}

/// A type of the user's whose runs are futures.
#[cfg(feature = "async")]
pub(super) struct OwnAsync<B>(pub(super) B);

#[cfg(feature = "async")]
impl<I: Send + 'static, B: AsyncBackground<I>> Body<I> for OwnAsync<B> {
    fn hooks(&mut self) -> &mut dyn Hooks<I> {
        &mut self.0
    }

    fn run<'a>(&'a mut self, item: I, run: &'a Run, _: &'a Weak<Shared>) -> BoxFuture<'a, Verdict> {
        Box::pin(async move { self.0.run(item, run).await.verdict() })
    }
}

/// A type of the user's whose runs are tasks in worker processes.
pub(super) struct OwnProcess<B>(pub(super) B);

impl<I: Send + 'static, B: ProcessBackground<I>> Body<I> for OwnProcess<B> {
    fn hooks(&mut self) -> &mut dyn Hooks<I> {
        &mut self.0
    }

    fn run<'a>(
        &'a mut self,
        item: I,
        run: &'a Run,
        shared: &'a Weak<Shared>,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let call = self.0.call(item, run);
            match outcome_of(call, shared).await {
                Ok(result) => judged(result, |result| self.0.process_result(result, run).verdict()),
                Err(refused) => Verdict::failed(RunError::Refused(refused)),
            }
        })
    }
}

/// A closure of the user's, with what it returns.
pub(super) struct Closure<F, R> {
    pub(super) closure: F,
    pub(super) returns: PhantomData<fn() -> R>,
}

impl<F, R> Closure<F, R> {
    pub(super) fn new(closure: F) -> Self {
        Self { closure, returns: PhantomData }
    }
}

impl<I, F, R> Hooks<I> for Closure<F, R> {}

impl<I, F, R> Body<I> for Closure<F, R>
where
    I: Send + 'static,
    F: FnMut(I, &Run) -> R + Send + 'static,
    R: Returns + 'static,
{
    fn hooks(&mut self) -> &mut dyn Hooks<I> {
        self
    }

    fn run<'a>(&'a mut self, item: I, run: &'a Run, _: &'a Weak<Shared>) -> BoxFuture<'a, Verdict> {
        Box::pin(async move { (self.closure)(item, run).verdict() })
    }
}

/// A closure of the user's that gives futures.
#[cfg(feature = "async")]
pub(super) struct AsyncClosure<F, O>(pub(super) Closure<F, O>);

#[cfg(feature = "async")]
impl<I, F, O> Hooks<I> for AsyncClosure<F, O> {}

#[cfg(feature = "async")]
impl<I, F, O> Body<I> for AsyncClosure<F, O>
where
    I: Send + 'static,
    F: FnMut(I, Run) -> O + Send + 'static,
    O: Future<Output: Returns> + Send + 'static,
{
    fn hooks(&mut self) -> &mut dyn Hooks<I> {
        self
    }

    fn run<'a>(&'a mut self, item: I, run: &'a Run, _: &'a Weak<Shared>) -> BoxFuture<'a, Verdict> {
        Box::pin(async move { (self.0.closure)(item, run.clone()).await.verdict() })
    }
}

/// Two closures of the user's: one makes calls, the other takes what came back.
pub(super) struct ProcessClosures<F, T, G, R> {
    pub(super) call: F,
    pub(super) process_result: Closure<G, R>,
    pub(super) output: PhantomData<fn() -> T>,
}

impl<I, F, T, G, R> Hooks<I> for ProcessClosures<F, T, G, R> {}

impl<I, F, T, G, R> Body<I> for ProcessClosures<F, T, G, R>
where
    I: Send + 'static,
    F: FnMut(I, &Run) -> Call<T> + Send + 'static,
    T: Send + 'static,
    G: FnMut(Result<T, TaskError>, &Run) -> R + Send + 'static,
    R: Returns + 'static,
{
    fn hooks(&mut self) -> &mut dyn Hooks<I> {
        self
    }

    fn run<'a>(
        &'a mut self,
        item: I,
        run: &'a Run,
        shared: &'a Weak<Shared>,
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let call = (self.call)(item, run);
            match outcome_of(call, shared).await {
                Ok(result) => {
                    let process_result = &mut self.process_result.closure;
                    judged(result, |result| process_result(result, run).verdict())
                }
                Err(refused) => Verdict::failed(RunError::Refused(refused)),
            }
        })
    }
}

async fn outcome_of<T: Send + 'static>(
    call: Call<T>,
    shared: &Weak<Shared>,
) -> Result<Result<T, TaskError>, SubmitError> {
    let shared = shared.upgrade().ok_or(SubmitError::Stopped)?;
    let handle = shared.submit_async(call).await?;
    // Whoever waits for long does not keep the supervisor.
    drop(shared);
    Ok(handle.await)
}

/// A task that gave no value is a failure, whatever is made of it.
fn judged<T>(
    result: Result<T, TaskError>,
    process: impl FnOnce(Result<T, TaskError>) -> Verdict,
) -> Verdict {
    let error = result.as_ref().err().cloned().map(RunError::Task);
    match panics::catch(|| process(result)) {
        Ok(Verdict { flow, error: own }) => Verdict { flow, error: error.or(own) },
        Err(panicked) => Verdict::failed(RunError::Panicked(report(panicked))),
    }
}
