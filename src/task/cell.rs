//! The place where a task and its handle meet: what is to be run on one side, what became of it on the
//! other. Exactly one [`TaskCell::resolve`] fills it; exactly one reader takes the result out.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::crash::CrashReport;
use super::error::TaskError;
use super::info::{Ended, Pool};
use super::listener::Listener;
use super::options::{Options, Priority};
use super::pack::PackSlice;
use super::quarantine::Quarantine;
use super::said::Said;
#[cfg(feature = "async")]
use crate::async_loop::{AsyncLoop, FutureWork};
use crate::codec::{CodecId, EncodeError, Encoded};
use crate::registry::TaskEntry;
use crate::sync::Mutex;
use crate::transport::CallFrame;

/// What an attempt on a thread of this process leaves: the value, and its message and causes if it is an
/// `Err`.
pub(crate) struct Returned {
    pub(crate) value: Box<dyn Any + Send>,
    pub(crate) error: Option<Vec<String>>,
}

pub(crate) type OnceClosure = Box<dyn FnOnce() -> Returned + Send>;

/// A closure that can run again. Its attempts never overlap, so it need not be `Sync`.
#[derive(Clone)]
pub(crate) struct Repeatable(Arc<Mutex<dyn FnMut() -> Returned + Send>>);

impl Repeatable {
    pub(crate) fn new(closure: impl FnMut() -> Returned + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(closure)))
    }

    pub(crate) fn call(&self) -> Returned {
        (self.0.lock())()
    }
}

pub(crate) type ExternalClosure = Box<dyn FnOnce(crate::supervisor::external::Slot) + Send>;

/// What is to be run.
pub(crate) enum Work {
    /// A registered function, found by name in a worker process.
    Encoded {
        function: Function,
        /// Where the worker's registry has it; known from the submission on.
        index: u32,
        codec: CodecId,
        arguments: Result<Encoded, EncodeError>,
    },
    /// Several calls of one registered function.
    Pack(PackSlice),
    /// A closure that can run once.
    Once(OnceClosure),
    /// A closure that can run again, for a retry.
    Repeatable(Repeatable),
    /// Started here, ended elsewhere.
    External(ExternalClosure),
    /// A future.
    #[cfg(feature = "async")]
    Future(FutureWork),
    /// It has been taken away to be run, or is no longer needed.
    Spent,
}

/// Which function a call means.
#[derive(Clone, Debug)]
pub(crate) enum Function {
    /// One of this program, with its signature known.
    Typed(&'static TaskEntry),
    /// One that the worker's program has under this name.
    Named(Arc<str>),
}

impl Work {
    /// Whether nothing is left in it that has a Drop of the user's.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Self::Spent | Self::Encoded { .. } | Self::Pack(_) => true,
            #[cfg(feature = "async")]
            Self::Future(future) => future.is_taken(),
            Self::Once(_) | Self::Repeatable(_) | Self::External(_) => false,
        }
    }

    /// What was never begun holds up no loop any more: who drops it may be waited for by one that ends.
    pub(crate) fn without_seat(self) -> Self {
        match self {
            #[cfg(feature = "async")]
            Self::Future(mut future) => {
                future.set_seat(None);
                Self::Future(future)
            }
            other => other,
        }
    }

    /// Whether it can run again.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::Once(_) | Self::External(_) => false,
            #[cfg(feature = "async")]
            Self::Future(future) => future.is_repeatable(),
            Self::Encoded { .. } | Self::Pack(_) | Self::Repeatable(_) | Self::Spent => true,
        }
    }
}

impl Function {
    /// Whether both are the same registered function of this program.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Typed(one), Self::Typed(another)) if std::ptr::eq(*one, *another))
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Typed(entry) => entry.path,
            Self::Named(name) => name,
        }
    }
}

/// A value on its way to the handle.
pub(crate) enum Stored {
    Encoded { codec: CodecId, value: Encoded },
    Value(Box<dyn Any + Send>),
}

/// A value as it arrived.
pub(crate) enum Payload {
    /// In the codec of its call.
    Encoded(Encoded),
    Value(Box<dyn Any + Send>),
}

impl Payload {
    fn into_stored(self, work: &Work) -> Stored {
        match self {
            Self::Value(value) => Stored::Value(value),
            Self::Encoded(value) => {
                let codec = match work {
                    Work::Encoded { codec, .. } => *codec,
                    _ => CodecId::BINARY,
                };
                Stored::Encoded { codec, value }
            }
        }
    }
}

pub(crate) type Outcome = Result<Stored, TaskError>;

/// Runs on the supervisor's callback thread.
pub(crate) type Callback = Box<dyn FnOnce() + Send>;
/// What the cell holds before and after the end.
enum Life {
    Open {
        work: Work,
        listener: Listener,
    },
    /// The outcome until it is taken.
    Ended {
        outcome: Option<Outcome>,
        ended: Ended,
    },
}

/// What the end of a task has left to do.
pub(crate) struct Farewell {
    /// What was not run, or not taken to be run. It may have a Drop of the user's.
    pub(crate) unused: Work,
    /// To be run where user code may run.
    pub(crate) callback: Option<Callback>,
}

/// Name, label and chosen id: what a person calls the task.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) function: Cow<'static, str>,
    pub(crate) given: Option<Box<Given>>,
}

impl Name {
    /// As the attribute of a function says it.
    #[inline(always)]
    pub(crate) fn declared(function: &'static str, label: Option<&'static str>) -> Self {
        let given = label.map(|label| Box::new(Given { label: Some(label.into()), id: None }));
        Self { function: Cow::Borrowed(function), given }
    }

    /// What the attribute says, where the call says nothing.
    pub(crate) fn label_unless_given(&mut self, label: Option<String>) {
        if let Some(label) = label {
            let given = self.given.get_or_insert_default();
            given.label.get_or_insert_with(|| label.into_boxed_str());
        }
    }
}

/// What a caller may add to a task's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) label: Option<Box<str>>,
    pub(crate) id: Option<Box<str>>,
}

/// Reports of older crashes are dropped.
const CRASHES_MAX: usize = 16;

/// One task, shared by the core (as its opaque payload), whoever runs it, and its handle.
pub(crate) struct TaskCell {
    pub(crate) name: Name,
    pub(crate) pool: Pool,
    /// As submitted.
    pub(crate) priority: Priority,
    /// Whether it stands for several calls.
    pub(crate) is_pack: bool,
    /// Whether its CPU time or memory is limited.
    is_measured: bool,
    /// Of attempts that killed their workers, if they are held against the task. The oldest first.
    crashes: Option<Box<Mutex<Vec<CrashReport>>>>,
    /// Of an attempt in this process.
    pub(crate) said: Said,
    done: AtomicBool,
    life: Mutex<Life>,
}

impl TaskCell {
    pub(crate) fn new(name: Name, pool: Pool, options: &Options, work: Work) -> Arc<Self> {
        Arc::new(Self {
            name,
            pool,
            priority: options.priority,
            crashes: options.reachable_crash_limit().map(|_| Box::default()),
            is_pack: matches!(work, Work::Pack(_)),
            is_measured: options.cpu_limit.is_some() || options.memory_limit.is_some(),
            said: Said::default(),
            done: AtomicBool::new(false),
            life: Mutex::new(Life::Open { work, listener: Listener::Nobody }),
        })
    }

    /// Look at an encoded call. `None`: it is none, or no longer needed.
    pub(crate) fn with_encoded<R>(&self, use_it: impl FnOnce(CallFrame<'_>) -> R) -> Option<R> {
        match &*self.life.lock() {
            Life::Open {
                work: Work::Encoded { function, index, codec, arguments: Ok(arguments) },
                ..
            } => Some(use_it(CallFrame {
                function: function.name(),
                index: *index,
                codec: *codec,
                is_measured: self.is_measured,
                calls: 1,
                is_pack: false,
                arguments: arguments.bytes(),
                shared: arguments.shared(),
                attachments: arguments.attachments(),
            })),
            Life::Open { work: Work::Pack(slice), .. } => Some(slice.with_frame(use_it)),
            _ => None,
        }
    }

    /// Of a pack: keep its first calls. The cell of the others.
    pub(crate) fn split_pack(&self, kept: u32) -> Option<Arc<Self>> {
        let rest = self.with_pack(|slice| slice.split(kept))??;
        let options = Options { priority: self.priority, ..Options::DEFAULT };
        Some(Self::new(self.name.clone(), self.pool, &options, Work::Pack(rest)))
    }

    /// An attempt has killed its worker, and is followed by another.
    pub(crate) fn keep_crash(&self, report: CrashReport) {
        if let Some(crashes) = &self.crashes {
            let mut crashes = crashes.lock();
            if crashes.len() == CRASHES_MAX {
                crashes.remove(0);
            }
            crashes.push(report);
        }
    }

    /// What is needed to see it happen again: `last` was one crash too many.
    pub(crate) fn quarantine(&self, last: CrashReport) -> Quarantine {
        self.keep_crash(last);
        let crashes = self.crashes.as_ref().map(|crashes| std::mem::take(&mut *crashes.lock()));
        let Work::Encoded { function, codec, arguments: Ok(arguments), .. } = self.take_work()
        else {
            unreachable!("only a registered function has killed workers")
        };
        Quarantine::new(function, codec, arguments, crashes.unwrap_or_default())
    }

    /// Of a pack: run `with` on its calls.
    pub(crate) fn with_pack<R>(&self, with: impl FnOnce(&mut PackSlice) -> R) -> Option<R> {
        match &mut *self.life.lock() {
            Life::Open { work: Work::Pack(slice), .. } => Some(with(slice)),
            _ => None,
        }
    }

    /// What a thread or loop needs for one attempt. What can run once is gone afterwards. `Spent`: the task was
    /// given up before.
    pub(crate) fn take_work(&self) -> Work {
        let mut life = self.life.lock();
        let Life::Open { work, .. } = &mut *life else { return Work::Spent };
        match work {
            Work::Repeatable(closure) => Work::Repeatable(closure.clone()),
            Work::Encoded { function, index, codec, arguments } => Work::Encoded {
                function: function.clone(),
                index: *index,
                codec: *codec,
                arguments: arguments.clone(),
            },
            #[cfg(feature = "async")]
            Work::Future(future) => Work::Future(future.take()),
            Work::Once(_) | Work::External(_) | Work::Pack(_) | Work::Spent => {
                std::mem::replace(work, Work::Spent)
            }
        }
    }

    /// Of a future: have the attempt dropped at its next await.
    #[cfg(feature = "async")]
    pub(crate) fn abort(&self, attempt: u32) {
        if let Life::Open { work: Work::Future(future), .. } = &*self.life.lock()
            && let Some(seat) = future.seat()
        {
            seat.abort(attempt);
        }
    }

    /// Of a future: the loop that it is on.
    #[cfg(feature = "async")]
    pub(crate) fn aloop(&self) -> Option<AsyncLoop> {
        match &*self.life.lock() {
            Life::Open { work: Work::Future(future), .. } => Some(future.seat()?.aloop().clone()),
            _ => None,
        }
    }

    /// It was not accepted: what was to be run goes back.
    pub(crate) fn give_back(&self) -> Work {
        match &mut *self.life.lock() {
            #[cfg(feature = "async")]
            Life::Open { work: Work::Future(future), .. } => {
                future.set_seat(None);
                Work::Future(future.take())
            }
            Life::Open { work, .. } => std::mem::replace(work, Work::Spent),
            Life::Ended { .. } => Work::Spent,
        }
    }

    /// Whether the task has ended. Cheap enough to spin on.
    pub(crate) fn is_done(&self) -> bool {
        // Pairs with the release in `resolve`.
        self.done.load(Ordering::Acquire)
    }

    /// Store how the task ended and tell its listener.
    pub(crate) fn resolve(&self, outcome: Result<Payload, TaskError>, ended: Ended) -> Farewell {
        let attempts = ended.attempts;
        let mut life = self.life.lock();
        let Life::Open { work, listener } = &mut *life else {
            unreachable!("a task is resolved once")
        };
        let unused = std::mem::replace(work, Work::Spent);
        let listener = std::mem::replace(listener, Listener::Nobody);
        let outcome = outcome.map(|payload| payload.into_stored(&unused));
        let (outcome, callback, listener) = match listener {
            Listener::Callback(callback) => {
                let callback: Callback = Box::new(move || callback(outcome, attempts));
                (None, Some(callback), Listener::Nobody)
            }
            listener => (Some(outcome), None, listener),
        };
        *life = Life::Ended { outcome, ended };
        // Pairs with the acquire in `is_done`; the mutex covers the outcome itself.
        self.done.store(true, Ordering::Release);
        drop(life);
        let _none = listener.tell(|| unreachable!("a callback was given its outcome"));
        Farewell { unused, callback }
    }

    /// Take the outcome, with the number of attempts, if it is there.
    pub(crate) fn take_outcome(&self) -> Option<(Outcome, u32)> {
        match &mut *self.life.lock() {
            Life::Ended { outcome, ended } => Some((outcome.take()?, ended.attempts)),
            Life::Open { .. } => None,
        }
    }

    /// The same, by its last owner.
    #[inline]
    pub(crate) fn take_alone<R>(
        &mut self,
        with: impl FnOnce(Option<(Outcome, u32)>, &Name) -> R,
    ) -> R {
        match self.life.get_mut() {
            Life::Ended { outcome, ended } => {
                with(outcome.take().map(|outcome| (outcome, ended.attempts)), &self.name)
            }
            Life::Open { .. } => with(None, &self.name),
        }
    }

    /// How the task ended, once it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        match &*self.life.lock() {
            Life::Ended { ended, .. } => Some(ended.clone()),
            Life::Open { .. } => None,
        }
    }

    /// Who is to be told of the end from now on, in place of who was. It comes back if the end has come.
    pub(crate) fn listen(&self, new: Listener) -> Result<Listener, Listener> {
        match &mut *self.life.lock() {
            Life::Open { listener, .. } => Ok(std::mem::replace(listener, new)),
            Life::Ended { .. } => Err(new),
        }
    }
}

impl fmt::Debug for TaskCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskCell")
            .field("name", &self.name)
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}
