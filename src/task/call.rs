//! A call: what is to be run and how it is to be treated. Plain data until it is submitted.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
#[cfg(feature = "json")]
use std::sync::Arc;

use super::cell::{Function, Given, Name, Repeatable, Returned, Stored, Work};
use super::info::Pool;
use super::options::{Declared, Options, Priority, Wanted};
#[cfg(feature = "async")]
use crate::async_loop::{BoxFuture, FutureWork};
#[cfg(feature = "json")]
use crate::codec;
use crate::codec::{Bytes, CodecId, DecodeError, EncodeError, Encoded};
use crate::registry::TaskEntry;
use crate::registry::returned::Describe;

/// A task that has not been submitted yet: function, arguments, options.
///
/// Made by `f::call(…)` of a function marked `#[task]`, or by [`Call::by_name`]. The options given here
/// stand above those of the attribute.
///
/// ```
/// use atasker::{Priority, task};
/// use std::time::Duration;
///
/// #[task]
/// fn area(width: u32, height: u32) -> u64 {
///     u64::from(width) * u64::from(height)
/// }
///
/// let call = area::call(3, 4)
///     .priority(Priority::High)
///     .timeout(Duration::from_secs(5))
///     .label("the kitchen");
/// # drop(call);
/// ```
#[must_use = "a call does nothing until it is submitted"]
pub struct Call<T> {
    pub(crate) name: Name,
    pub(crate) work: Work,
    /// What the attribute says, unless that stands with the function, or nothing.
    pub(crate) declared: Option<Box<Options>>,
    /// Absent as long as nothing is said.
    pub(crate) wanted: Option<Box<Wanted>>,
    pub(crate) pool: Pool,
    pub(crate) read: ReadResult<T>,
}

/// A call with longer arguments travels alone.
pub(crate) const PACKED_BYTES_MAX: usize = 1 << 10;

/// How the handle makes the caller's value of what came back.
pub(crate) enum ReadResult<T> {
    Encoded(fn(CodecId, &[u8]) -> Result<T, DecodeError>),
    Value(fn(Box<dyn Any + Send>) -> Option<T>),
}

impl<T> Clone for ReadResult<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ReadResult<T> {}

impl<T> ReadResult<T> {
    /// The value, or what is wrong with it.
    pub(crate) fn read(self, stored: Stored) -> Result<T, String> {
        match (self, stored) {
            (Self::Encoded(decode), Stored::Encoded { codec, value }) => {
                match value.decode(|bytes| decode(codec, bytes)) {
                    Ok(decoded) => decoded.map_err(|error| error.to_string()),
                    Err(error) => Err(format!("it could not be fetched from the worker: {error}")),
                }
            }
            (Self::Value(downcast), Stored::Value(value)) => {
                downcast(value).ok_or_else(|| "it is of another type".to_owned())
            }
            _ => Err("it came back in another form than it was sent".to_owned()),
        }
    }
}

impl<T> Call<T> {
    /// A label of its function or of the caller's stays.
    #[cfg(feature = "extras")]
    pub(crate) fn label_unless_given(mut self, label: &str) -> Self {
        self.name.label_unless_given(Some(label.to_owned()));
        self
    }

    /// The arguments, if this is a call of that function of which nothing is said that is not declared.
    #[inline(always)]
    pub(crate) fn plain_arguments(&self, of: &Function, in_codec: CodecId) -> Option<&Bytes> {
        match &self.work {
            Work::Encoded { function, codec, arguments: Ok(arguments), .. }
                if self.wanted.is_none()
                    && self.name.given.is_none()
                    && *codec == in_codec
                    && function.is(of) =>
            {
                arguments.plain_up_to(PACKED_BYTES_MAX)
            }
            _ => None,
        }
    }

    /// Whether nothing is lost if it is forgotten. Of most that is so, and quicker to see than to do.
    #[inline(always)]
    pub(crate) fn has_nothing_to_drop(&self) -> bool {
        matches!(self.name.function, Cow::Borrowed(_))
            && self.name.given.is_none()
            && self.declared.is_none()
            && self.wanted.is_none()
            && matches!(
                &self.work,
                Work::Encoded { function: Function::Typed(_), arguments: Ok(arguments), .. }
                    if arguments.has_no_memory()
            )
    }

    /// The function, codec and arguments of a call that may travel with others: one without options of its own
    /// but its priority, of a function of this program.
    pub(crate) fn packable(&self) -> Option<(&Function, CodecId, &Bytes)> {
        let Work::Encoded { function, codec, arguments: Ok(arguments), .. } = &self.work else {
            return None;
        };
        let plain = self.name.given.is_none()
            && matches!(function, Function::Typed(_))
            && match &self.wanted {
                None => declared_of(&self.work, self.declared.as_deref()).is_plain(),
                Some(_) => self.options().is_plain(),
            };
        let arguments = arguments.plain_up_to(PACKED_BYTES_MAX).filter(|_| plain)?;
        Some((function, *codec, arguments))
    }

    /// Declared and said together.
    pub(crate) fn options(&self) -> Options {
        let declared = declared_of(&self.work, self.declared.as_deref());
        self.wanted.as_ref().map_or(*declared, |wanted| wanted.over(*declared))
    }

    /// Its priority, declared or said.
    pub(crate) fn priority_wanted(&self) -> Priority {
        let wanted = self.wanted.as_ref().and_then(|wanted| wanted.priority);
        wanted.unwrap_or_else(|| declared_of(&self.work, self.declared.as_deref()).priority)
    }

    /// The function's full path, or the type of the closure.
    pub fn name(&self) -> &str {
        &self.name.function
    }

    pub(super) fn wanted(&mut self) -> &mut Wanted {
        self.wanted.get_or_insert_default()
    }

    pub(super) fn given(&mut self) -> &mut Given {
        self.name.given.get_or_insert_default()
    }
}

/// What the attribute of the function says, or of the closure.
pub(crate) fn declared_of<'a>(work: &Work, declared: Option<&'a Options>) -> &'a Options {
    match (declared, work) {
        (Some(declared), _) => declared,
        (None, &Work::Encoded { function: Function::Typed(entry), .. }) => &entry.declared.options,
        (None, _) => &Options::DEFAULT,
    }
}

impl<T> Call<T> {
    /// For `#[task]`.
    #[doc(hidden)]
    #[inline(always)]
    pub fn __new_process(
        entry: &'static TaskEntry,
        arguments: Result<Encoded, EncodeError>,
        decode: fn(CodecId, &[u8]) -> Result<T, DecodeError>,
    ) -> Self {
        Self {
            name: Name::declared(entry.path, entry.declared.label),
            work: Work::Encoded {
                function: Function::Typed(entry),
                index: u32::MAX,
                codec: CodecId::BINARY,
                arguments,
            },
            declared: None,
            wanted: None,
            pool: Pool::Processes,
            read: ReadResult::Encoded(decode),
        }
    }
}

impl Call<()> {
    /// A call that was made before. Its value is dropped unseen.
    pub(crate) fn again(function: Function, codec: CodecId, arguments: Encoded) -> Self {
        let name = match &function {
            Function::Typed(entry) => Name::declared(entry.path, entry.declared.label),
            Function::Named(name) => Name { function: Cow::Owned(name.to_string()), given: None },
        };
        let arguments = Ok(arguments);
        Self {
            name,
            work: Work::Encoded { function, index: u32::MAX, codec, arguments },
            declared: None,
            wanted: None,
            pool: Pool::Processes,
            read: ReadResult::Encoded(|_, _| Ok(())),
        }
    }
}

#[cfg(feature = "json")]
impl Call<serde_json::Value> {
    /// A call of a function by its name, which the worker's program knows and this one need not.
    ///
    /// `name` is a full path (`crate::module::function`) or its last parts, as long as they are unambiguous.
    /// `arguments` is an array, in the order of the parameters, or an object, by their names. A name that
    /// means nothing is an error at the submission; arguments that do not fit reject the task. What the
    /// function's attribute declares holds here too.
    ///
    /// ```
    /// use atasker::Call;
    /// use serde_json::json;
    /// let by_position = Call::by_name("area", json!([3, 4]));
    /// let by_parameter = Call::by_name("area", json!({"width": 3, "height": 4}));
    /// # drop((by_position, by_parameter));
    /// ```
    pub fn by_name(name: impl AsRef<str>, arguments: impl Into<serde_json::Value>) -> Self {
        let arguments: serde_json::Value = arguments.into();
        let name = name.as_ref();
        Self {
            name: Name { function: Cow::Owned(name.to_owned()), given: None },
            work: Work::Encoded {
                function: Function::Named(Arc::from(name)),
                index: u32::MAX,
                codec: CodecId::Json,
                arguments: codec::encode(CodecId::Json, &arguments).map(Encoded::from),
            },
            declared: None,
            wanted: None,
            pool: Pool::Processes,
            read: ReadResult::Encoded(|codec, bytes| codec::decode(codec, bytes)),
        }
    }
}

impl<T: Send + 'static> Call<T> {
    /// A closure for the thread pool: what [`spawn_blocking`](crate::Supervisor::spawn_blocking) submits,
    /// here with options.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Call, Priority, Supervisor};
    /// let supervisor = Supervisor::builder().start()?;
    /// let call = Call::closure(|| 6 * 7).priority(Priority::High);
    /// assert_eq!(supervisor.submit(call)?.wait()?, 42);
    /// # Ok(()) }
    /// ```
    pub fn closure<F>(closure: F) -> Self
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let name = std::any::type_name::<F>();
        Self::__new_io(name, Declared::DEFAULT, |_| None, closure)
    }

    /// For a pool of this process, where values stay what they are.
    fn here(pool: Pool, name: Name, declared: Options, work: Work) -> Self {
        let read = ReadResult::Value(|value| value.downcast::<T>().ok().map(|value| *value));
        let declared = (declared != Options::DEFAULT).then(|| Box::new(declared));
        Self { name, work, declared, wanted: None, pool, read }
    }

    /// For `#[task(io)]`.
    #[doc(hidden)]
    pub fn __new_io(
        name: &'static str,
        declared: Declared,
        describe: Describe<T>,
        closure: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let once = Box::new(move || returned(closure(), describe));
        let Declared { options, label } = declared;
        Self::here(Pool::Threads, Name::declared(name, label), options, Work::Once(once))
    }

    /// For `#[task(io, retries = …)]`.
    #[doc(hidden)]
    pub fn __new_io_repeatable(
        name: &'static str,
        declared: Declared,
        describe: Describe<T>,
        closure: impl Fn() -> T + Send + 'static,
    ) -> Self {
        let repeatable = Repeatable::new(move || returned(closure(), describe));
        let Declared { options, label } = declared;
        let name = Name::declared(name, label);
        Self::here(Pool::Threads, name, options, Work::Repeatable(repeatable))
    }

    pub(crate) fn external(
        name: &str,
        start: impl FnOnce(crate::supervisor::external::Slot) + Send + 'static,
    ) -> Self {
        let name = Name { function: Cow::Owned(name.to_owned()), given: None };
        Self::here(Pool::Threads, name, Options::DEFAULT, Work::External(Box::new(start)))
    }
}

#[cfg(feature = "async")]
impl<T: Send + 'static> Call<T> {
    /// A future for a loop: what [`spawn`](crate::Supervisor::spawn) submits, here with options.
    ///
    /// It runs on the loop of [`on_loop`](Self::on_loop), or else on the
    /// [default one](crate::Supervisor::default_loop). A timeout and a cancellation drop it at its next await, and
    /// its place is free then.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use atasker::{Call, Supervisor, TaskStatus};
    /// use std::time::Duration;
    /// let supervisor = Supervisor::builder().start()?;
    /// let call = Call::future(std::future::pending::<()>()).timeout(Duration::from_millis(10));
    /// let error = supervisor.submit(call)?.wait().unwrap_err();
    /// assert_eq!(error.status(), TaskStatus::TimedOut);
    /// # Ok(()) }
    /// ```
    pub fn future<F>(future: F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        Self::__new_future(std::any::type_name::<F>(), Declared::DEFAULT, |_| None, future)
    }

    /// For `#[task]` on an `async fn`.
    #[doc(hidden)]
    pub fn __new_future(
        name: &'static str,
        declared: Declared,
        describe: Describe<T>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Self {
        let work = FutureWork::once(boxed(future, describe));
        Self::on_loops(name, declared, work)
    }

    /// For `#[task(retries = …)]` on an `async fn`.
    #[doc(hidden)]
    pub fn __new_future_repeatable<F>(
        name: &'static str,
        declared: Declared,
        describe: Describe<T>,
        make: impl Fn() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let work = FutureWork::repeatable(move || boxed(make(), describe));
        Self::on_loops(name, declared, work)
    }

    fn on_loops(name: &'static str, declared: Declared, work: FutureWork) -> Self {
        let Declared { options, label } = declared;
        Self::here(Pool::Loops, Name::declared(name, label), options, Work::Future(work))
    }
}

#[cfg(feature = "async")]
fn boxed<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
    describe: Describe<T>,
) -> BoxFuture {
    // Not an async block: that would drop the future while its panic unwinds, so that another panic in its Drop
    // would abort the process.
    let mut future = Box::pin(future);
    Box::pin(std::future::poll_fn(move |context| {
        future.as_mut().poll(context).map(|value| returned(value, describe))
    }))
}

fn returned<T: Send + 'static>(value: T, describe: Describe<T>) -> Returned {
    let error = describe(&value);
    Returned { value: Box::new(value), error }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("name", &self.name)
            .field("pool", &self.pool)
            .field("options", &self.options())
            .finish_non_exhaustive()
    }
}
