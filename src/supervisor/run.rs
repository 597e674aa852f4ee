//! Running an attempt on a thread of this process.

use std::time::{Duration, Instant};

use super::context::{self, Context, Place};
use super::executor::Executor;
use super::external::{ExternalFailure, Slot};
use super::perform::Arrived;
use super::shared::{Next, Shared, ThreadItem};
use crate::codec::{Bytes, CodecId, Encoded};
use crate::core::{Finish, PoolId};
use crate::registry::{self, panics};
use crate::say::say;
use crate::task::cell::{Function, Payload, Returned, Work};
use crate::task::current::{self, Here};
use crate::task::error::{PanicReport, TaskErrorKind};
use crate::task::id::Ticket;
use crate::task::outcome::failure_kind;
use crate::transport::frame::{Outcome, OutcomeFrame};

/// The outcome of an attempt in the words of the core and of the handle.
pub(crate) struct Judged {
    pub(crate) finish: Finish,
    pub(crate) arrived: Arrived,
}

impl Shared {
    /// Hand an admitted attempt to where it is to run.
    pub(crate) fn run_item(&self, item: ThreadItem) {
        match (item.pool, &self.executor) {
            #[cfg(feature = "rayon")]
            (PoolId::Processes, Executor::Rayon(pool)) => {
                let Some(shared) = self.this.upgrade() else {
                    return;
                };
                pool.spawn(move || {
                    shared.run_here(item, &mut Next::Unwanted);
                });
            }
            (PoolId::Processes, Executor::Inline) if context::is_submitting() => {
                self.run_all_here(item);
            }
            #[cfg(feature = "async")]
            (PoolId::Loops, _) => self.run_on_loop(item),
            _ => self.threads.get().expect("threads start with the supervisor").execute(item),
        }
    }

    /// Run an attempt in this thread, and what follows from its end: in turn, so that no number of retries fills the stack.
    fn run_all_here(&self, item: ThreadItem) {
        let mut due = Some(item);
        while let Some(item) = due {
            due = self.run_one_here(item);
        }
    }

    /// Run an attempt in this thread. What is next on it.
    fn run_one_here(&self, item: ThreadItem) -> Option<ThreadItem> {
        let mut next = Next::Wanted(item.pool);
        // Whatever else panics, the thread and what is next go on.
        if let Err(panicked) = panics::catch(|| self.run_here(item, &mut next)) {
            say!(error, target: "atasker::supervisor", panic = panicked.message,
                "a thread panicked outside a task");
        }
        next.given()
    }

    /// Run an attempt in this thread, and report how it ended.
    pub(crate) fn run_here(&self, item: ThreadItem, next: &mut Next) {
        let ThreadItem { pool, ticket, cell } = item;
        let task = ticket.task.number();
        let name = &*cell.name.function;
        // A subscriber that panics must not keep the task from beginning.
        let span = panics::catch(|| {
            say!(debug, target: "atasker::task", task, %name, ?pool, "begun");
            tracing::debug_span!(target: "atasker::task", "task", task, %name).entered()
        });
        let context =
            Context { owner: self.address(), place: Place::Task(pool), task: Some(ticket.task) };
        let work = cell.take_work();
        let mut here = Some(Here { cell, ticket });
        let started = Instant::now();
        let mut judged = match work {
            Work::Once(closure) => {
                judge_closure(within(context, &mut here, || panics::catch(closure)))
            }
            // Dropped in there, too: the task may have been given up meanwhile, and this be all that is left of it.
            Work::Repeatable(closure) => {
                judge_closure(within(context, &mut here, || panics::catch(move || closure.call())))
            }
            Work::Encoded { function, codec, arguments: Ok(arguments), .. } => {
                let outcome =
                    within(context, &mut here, || run_encoded(&function, codec, arguments));
                judge(OutcomeFrame { outcome, ran_ns: 0 }, || None)
            }
            Work::External(start) => {
                let slot = Slot::new(self.this.clone(), ticket);
                // Whatever happens to the slot ends the task; nothing is to be reported from here.
                if let Err(panicked) = within(context, &mut here, || panics::catch(|| start(slot)))
                {
                    say!(error, target: "atasker::supervisor", task = ticket.task.number(),
                        panic = panicked.message, "the start of an external task panicked");
                }
                return;
            }
            // It was given up before it could begin.
            Work::Spent => failed(Finish::Refused, TaskErrorKind::Cancelled),
            #[cfg(feature = "async")]
            Work::Future(_) => unreachable!("a future runs on a loop"),
            Work::Encoded { .. } | Work::Pack(_) => unreachable!("a pack goes to workers only"),
        };
        judged.arrived.ran = Some(started.elapsed());
        panics::let_go(span);
        self.on_attempt_ended(ticket, judged.finish, judged.arrived, next);
        // Without a handle this is the last that is left of the task, its value included.
        panics::let_go(here);
    }

    /// An external task ends.
    pub(crate) fn on_external_ended(
        &self,
        ticket: Ticket,
        outcome: Result<Returned, ExternalFailure>,
    ) {
        let judged = match outcome {
            Ok(returned) => judge_closure(Ok(returned)),
            Err(ExternalFailure::Dropped) => failed(Finish::Returned, TaskErrorKind::Cancelled),
            Err(ExternalFailure::Panicked) => {
                let message = "the thread that held its completer panicked".to_owned();
                failed(Finish::Panicked, panicked(message, None, None))
            }
        };
        self.on_attempt_ended(ticket, judged.finish, judged.arrived, &mut Next::Unwanted);
    }
}

#[cfg(feature = "async")]
impl Shared {
    /// An attempt on a loop has ended. `None`: its future was dropped before it was ready.
    pub(crate) fn on_future_ended(
        &self,
        ticket: Ticket,
        outcome: Option<Result<Returned, panics::Panicked>>,
        ran: Duration,
    ) {
        let mut judged = match outcome {
            Some(outcome) => judge_closure(outcome),
            None => failed(Finish::Returned, TaskErrorKind::Cancelled),
        };
        judged.arrived.ran = Some(ran);
        self.on_attempt_ended(ticket, judged.finish, judged.arrived, &mut Next::Unwanted);
    }
}

/// Run `body` as a part of an attempt.
fn within<R>(context: Context, here: &mut Option<Here>, body: impl FnOnce() -> R) -> R {
    context::within(context, || current::within(here, body))
}

fn run_encoded(function: &Function, codec: CodecId, arguments: Encoded) -> Outcome {
    let entry = match function {
        Function::Typed(entry) => entry,
        Function::Named(name) => match registry::find(name) {
            Ok(entry) => entry,
            Err(error) => return Outcome::UnknownFunction { message: error.to_string() },
        },
    };
    let ran = arguments.decode(|bytes| {
        let mut buffer = Bytes::new();
        let ran = (entry.run)(codec, bytes, &mut buffer);
        ran.into_outcome(buffer)
    });
    ran.unwrap_or_else(|error| Outcome::BadArguments { message: error.to_string() })
}

fn judge_closure(result: Result<Returned, panics::Panicked>) -> Judged {
    match result {
        Ok(Returned { value, error }) => Judged {
            finish: if error.is_some() { Finish::ReturnedError } else { Finish::Returned },
            arrived: Arrived {
                outcome: Ok(Payload::Value(value)),
                returned_error: error.map(|chain| chain.join(": ")),
                ran: None,
                pid: None,
            },
        },
        Err(caught) => failed(Finish::Panicked, panicked(caught.message, caught.location, None)),
    }
}

/// Judge what came back from a worker, or from the same function run here.
#[inline]
pub(crate) fn judge(frame: OutcomeFrame, pid: impl FnOnce() -> Option<u32>) -> Judged {
    let OutcomeFrame { outcome, ran_ns } = frame;
    let ran = Some(Duration::from_nanos(ran_ns));
    match outcome {
        Outcome::Returned { value, error } => Judged {
            finish: if error.is_some() { Finish::ReturnedError } else { Finish::Returned },
            arrived: Arrived {
                outcome: Ok(Payload::Encoded(value)),
                returned_error: error.map(|chain| chain.join(": ")),
                ran,
                pid: None,
            },
        },
        other => {
            let mut judged = judge_failure(other, pid());
            judged.arrived.ran = ran;
            judged
        }
    }
}

#[cold]
fn judge_failure(outcome: Outcome, pid: Option<u32>) -> Judged {
    let finish = match &outcome {
        Outcome::Panicked { .. } => Finish::Panicked,
        Outcome::UnknownFunction { .. } | Outcome::BadArguments { .. } => Finish::Refused,
        _ => Finish::Returned,
    };
    failed(finish, failure_kind(outcome, pid))
}

fn panicked(message: String, location: Option<String>, pid: Option<u32>) -> TaskErrorKind {
    TaskErrorKind::Panicked(PanicReport { message, location, pid })
}

fn failed(finish: Finish, kind: TaskErrorKind) -> Judged {
    Judged {
        finish,
        arrived: Arrived { outcome: Err(kind), returned_error: None, ran: None, pid: None },
    }
}

/// The body of a thread of the pool.
pub(crate) fn thread_body(
    shared: std::sync::Weak<Shared>,
) -> impl Fn(ThreadItem) -> Option<ThreadItem> + Send + Sync {
    move |item| shared.upgrade()?.run_one_here(item)
}
