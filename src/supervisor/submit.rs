//! From a call to a task.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::context::{self, Place};
use super::error::StartError;
use super::perform::Arrivals;
use super::shared::{Effects, Next, Shared};
use super::space::Waiting;
use crate::core::{PoolId, RefuseReason, Submission};
use crate::say::say;
use crate::sys;
use crate::task::call::{Call, ReadResult, declared_of};
use crate::task::cell::{TaskCell, Work};
use crate::task::end::End;
use crate::task::error::{SubmitError, TrySubmitError};
use crate::task::handle::{TaskHandle, TaskOwner};
use crate::task::id::TaskId;
use crate::task::info::Pool;
use crate::task::options::{Options, Priority};
use crate::task::pack::{Pack, PackBuilder, PackSlice};
use crate::transport::CallFrame;

/// Why a call was not taken, with the call where it can be tried again.
pub(crate) enum NotTaken<T> {
    Full(Call<T>),
    Refused(SubmitError),
}

impl<T> From<NotTaken<T>> for TrySubmitError<T> {
    fn from(not_taken: NotTaken<T>) -> Self {
        match not_taken {
            NotTaken::Full(call) => Self::QueueFull(call),
            NotTaken::Refused(error) => Self::Refused(error),
        }
    }
}

impl Shared {
    /// Submit, waiting for a place in a bounded queue where that can't be for ever.
    pub(crate) fn submit<T>(self: &Arc<Self>, call: Call<T>) -> Result<TaskHandle<T>, SubmitError> {
        let call = match self.try_submit(call) {
            Ok(handle) => return Ok(handle),
            Err(NotTaken::Refused(error)) => return Err(error),
            Err(NotTaken::Full(call)) => call,
        };
        match context::place_of(self.address()) {
            // A loop that blocks holds up everything on it, perhaps what would make the place.
            Some(Place::Callback | Place::Task(PoolId::Loops)) => {
                return Err(SubmitError::QueueFull);
            }
            Some(Place::Task(pool)) if pool == PoolId::from(call.pool) => {
                return Err(SubmitError::QueueFull);
            }
            _ => {}
        }
        let mut call = Some(call);
        self.space.wait(|| match self.try_submit(call.take().expect("it comes back while full")) {
            Ok(handle) => Some(Ok(handle)),
            Err(NotTaken::Refused(error)) => Some(Err(error)),
            Err(NotTaken::Full(back)) => {
                call = Some(back);
                None
            }
        })
    }

    /// Submit, awaiting a place in a bounded queue. Dropped before it is ready, it has submitted nothing.
    pub(crate) async fn submit_async<T>(
        self: &Arc<Self>,
        call: Call<T>,
    ) -> Result<TaskHandle<T>, SubmitError> {
        let mut call = match self.try_submit(call) {
            Ok(handle) => return Ok(handle),
            Err(NotTaken::Refused(error)) => return Err(error),
            Err(NotTaken::Full(call)) => Some(call),
        };
        let mut waiting = Waiting::new(&self.space);
        poll_fn(|context| {
            let answer = waiting.poll(context.waker(), || {
                match self.try_submit(call.take().expect("it comes back while full")) {
                    Ok(handle) => Some(Ok(handle)),
                    Err(NotTaken::Refused(error)) => Some(Err(error)),
                    Err(NotTaken::Full(back)) => {
                        call = Some(back);
                        None
                    }
                }
            });
            answer.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Submit if there is a place in the queue.
    #[expect(clippy::result_large_err, reason = "the error gives the call back, as it was")]
    pub(crate) fn try_submit<T>(
        self: &Arc<Self>,
        call: Call<T>,
    ) -> Result<TaskHandle<T>, NotTaken<T>> {
        if sys::fork::is_forked_child() {
            return Err(NotTaken::Refused(SubmitError::Forked));
        }
        // While background workers end, the core still takes their tasks, but nobody else's.
        if self.is_stopping() {
            return Err(NotTaken::Refused(SubmitError::Stopped));
        }
        let Call { mut name, work, mut declared, wanted, pool, read } = call;
        self.executor.on_submitting(&self.submissions);
        if crate::worker::is_worker() {
            return Err(NotTaken::Refused(SubmitError::InsideWorker));
        }
        let mut work = work;
        if let Work::Encoded { function, index, arguments, .. } = &mut work {
            if let Ok(arguments) = arguments
                && arguments.plain_up_to(CallFrame::COPIED_BYTES_MAX).is_none()
            {
                arguments.share_above(CallFrame::COPIED_BYTES_MAX);
                self.executor
                    .check_attachments(&name.function, arguments)
                    .map_err(NotTaken::Refused)?;
            }
            let admitted = self.executor.admit(self, function).map_err(NotTaken::Refused)?;
            *index = admitted.index;
            if let Some(by_name) = admitted.declared {
                let (options, label) = *by_name;
                declared = Some(Box::new(options));
                name.label_unless_given(label);
            }
        }
        let options = declared_of(&work, declared.as_deref());
        let changed;
        // They are large: not copied where nothing is said.
        let options = match (wanted.as_deref(), self.settings.crash_limit) {
            (None, None) => options,
            (wanted, crash_limit) => {
                let options = wanted.map_or(*options, |wanted| wanted.over(*options));
                changed = Options { crash_limit: options.crash_limit.or(crash_limit), ..options };
                &changed
            }
        };
        check(&name.function, &work, options.retry.retries).map_err(NotTaken::Refused)?;
        if options.retry.outlives_an_attempt()
            && let Work::Encoded { arguments: Ok(arguments), .. } = &mut work
            && let Err(error) = arguments.keep_for_retries()
        {
            say!(
                warn, target: "atasker::task", name = %name.function, %error,
                "no copy of its buffers: if its first attempt fails, their maker has them back, and there is no other"
            );
        }
        if pool == Pool::Processes
            && self.settings.packs
            && let Some((pack, call, task)) = self.gather(&name, &work, options)
        {
            return Ok(self.handle(End::in_pack(pack, call), task, read));
        }
        #[cfg(feature = "async")]
        if pool == Pool::Loops || wanted.is_some() {
            self.take_seat(&name.function, &mut work, wanted.as_deref())
                .map_err(|error| NotTaken::Refused(error.into()))?;
        }
        let cell = TaskCell::new(name, pool, options, work);
        let id = cell.name.given.as_ref().and_then(|given| given.id.clone());
        let mut effects = Effects::default();
        // The chosen id is taken under its own lock, around the core's, so that two tasks never share one.
        let mut chosen = id.is_some().then(|| self.chosen.lock());
        if let (Some(id), Some(chosen)) = (&id, &chosen)
            && chosen.contains_key(id)
        {
            return Err(NotTaken::Refused(SubmitError::DuplicateId(id.to_string())));
        }
        let submission = Submission::single(pool.into(), options, Arc::clone(&cell));
        let answer = self.tell_submission(&mut effects, submission);
        if let (Ok(task), Some(id), Some(chosen)) = (&answer, id, &mut chosen) {
            chosen.insert(id, *task);
        }
        drop(chosen);
        match answer {
            Ok(task) => {
                tell_submitted(task, &cell, options.delay);
                let mut arrivals = Arrivals::NONE;
                context::submitting(|| {
                    self.perform_all(&mut effects, &mut arrivals, &mut Next::Unwanted);
                });
                #[cfg(feature = "async")]
                if pool == Pool::Loops {
                    self.on_accepted_for_loop(&cell, task);
                }
                Ok(self.handle(End::Alone(cell), task, read))
            }
            Err(refused) => {
                drop(refused.payload);
                Err(match refused.reason {
                    RefuseReason::Stopped => NotTaken::Refused(SubmitError::Stopped),
                    RefuseReason::PoolFailed => NotTaken::Refused(self.no_workers()),
                    RefuseReason::QueueFull => {
                        let (name, work) = (cell.name.clone(), cell.give_back());
                        NotTaken::Full(Call { name, work, declared, wanted, pool, read })
                    }
                })
            }
        }
    }
}

impl Shared {
    fn handle<T>(&self, end: End, task: TaskId, read: ReadResult<T>) -> TaskHandle<T> {
        let owner: Weak<dyn TaskOwner> = self.this.clone();
        TaskHandle::new(end, task, owner, read)
    }

    /// Whether small calls may travel together.
    pub(crate) fn packs_calls(&self) -> bool {
        self.settings.packs
    }

    /// Submit several calls of one function as one task to the core.
    pub(crate) fn submit_pack(
        self: &Arc<Self>,
        builder: PackBuilder,
        priority: Priority,
    ) -> Result<Arc<Pack>, SubmitError> {
        if sys::fork::is_forked_child() {
            return Err(SubmitError::Forked);
        }
        if crate::worker::is_worker() {
            return Err(SubmitError::InsideWorker);
        }
        if self.is_stopping() {
            return Err(SubmitError::Stopped);
        }
        self.executor.look();
        let index = self.executor.admit(self, &builder.function)?.index;
        let (name, calls) = (builder.name.clone(), builder.calls());
        let pack = builder.finish(index, priority);
        let work = Work::Pack(PackSlice::whole(Arc::clone(&pack)));
        let options = Options { priority, ..Options::DEFAULT };
        let cell = TaskCell::new(name, Pool::Processes, &options, work);
        let pool = PoolId::Processes;
        let submission = Submission { pool, options: &options, payload: cell, calls, grows: false };
        let mut effects = Effects::default();
        let answer = self.tell(&mut effects, |core, now, effects| {
            let answer = core.on_submitted(now, submission, effects);
            // Before anything of it can end.
            if let Ok(task) = &answer {
                pack.set_id(*task);
            }
            answer
        });
        match answer {
            Ok(task) => {
                say!(
                    debug, target: "atasker::task", task = task.number(), calls, name = %pack.name.function,
                    %priority, "submitted a pack"
                );
                self.perform(effects, Arrivals::NONE, &mut Next::Unwanted);
                Ok(pack)
            }
            Err(refused) => Err(match refused.reason {
                RefuseReason::Stopped => SubmitError::Stopped,
                RefuseReason::QueueFull => SubmitError::QueueFull,
                RefuseReason::PoolFailed => self.no_workers(),
            }),
        }
    }

    /// Whether it has been told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.drained.stopping.load(Ordering::SeqCst)
    }

    /// What a submitter is told who has waited for the first worker.
    pub(super) fn refusal(&self, error: StartError) -> SubmitError {
        if self.is_stopping() {
            return SubmitError::Stopped;
        }
        SubmitError::NoWorkers(Arc::new(error))
    }

    fn no_workers(&self) -> SubmitError {
        let reason = self.executor.failure_reason();
        SubmitError::NoWorkers(Arc::new(StartError::Config(reason)))
    }
}

fn tell_submitted(task: TaskId, cell: &TaskCell, delay: Option<Duration>) {
    let given = cell.name.given.as_deref();
    say!(
        debug, target: "atasker::task", task = task.number(), name = %cell.name.function,
        label = given.and_then(|given| given.label.as_deref()),
        id = given.and_then(|given| given.id.as_deref()),
        pool = ?cell.pool, priority = %cell.priority, delay = delay.map(debug), "submitted"
    );
}

#[inline]
fn check(name: &str, work: &Work, retries: u32) -> Result<(), SubmitError> {
    match work {
        Work::Encoded { arguments: Err(error), .. } => {
            Err(SubmitError::Unencodable { function: name.to_owned(), reason: error.to_string() })
        }
        work if retries > 0 && !work.is_repeatable() => {
            Err(SubmitError::NotRepeatable(name.to_owned()))
        }
        _ => Ok(()),
    }
}
