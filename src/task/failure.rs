//! The error that a task returns when it does not care which kind of error it was: any error's message and
//! causes, as text, which crosses from a worker process.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a task returns that may fail in any way.
///
/// ```
/// use atasker::{TaskResult, task};
/// use std::path::Path;
///
/// #[task]
/// fn lines(path: &Path) -> TaskResult<usize> {
///     Ok(std::fs::read_to_string(path)?.lines().count())   // `?` on any error
/// }
/// ```
pub type TaskResult<T> = Result<T, TaskFailure>;

/// Causes are followed this far; a chain may be a circle.
const CHAIN_MAX: usize = 64;

/// The message of any error, and the messages of what caused it.
///
/// It is made by `?` from whatever is or becomes a `Box<dyn Error + Send + Sync>`: errors, `anyhow::Error`,
/// texts. (So it can't be an [`Error`] itself; [`into_error`](Self::into_error) gives one.)
///
/// `{}` shows the message, `{:#}` the causes too.
///
/// ```
/// use atasker::TaskFailure;
/// let failure = TaskFailure::from("disk full".parse::<u8>().unwrap_err());
/// assert_eq!(failure.message(), "invalid digit found in string");
/// assert_eq!(TaskFailure::new("no such page").to_string(), "no such page");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskFailure {
    message: String,
    causes: Vec<String>,
}

impl TaskFailure {
    /// With a message and no cause.
    ///
    /// ```
    /// # use atasker::TaskFailure;
    /// let failure = TaskFailure::new(format!("page {} is blank", 7));
    /// assert_eq!(failure.message(), "page 7 is blank");
    /// ```
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new() }
    }

    /// Of an error that is only borrowed, or not `Send`.
    ///
    /// ```
    /// # use atasker::TaskFailure;
    /// let error: Box<dyn std::error::Error> = "out of paper".into();
    /// assert_eq!(TaskFailure::of(&*error).message(), "out of paper");
    /// ```
    pub fn of(error: &(dyn Error + '_)) -> Self {
        Self::from_lines(chain_of(error))
    }

    /// Say what was being done when this happened. The message so far becomes the first cause.
    ///
    /// ```
    /// # use atasker::TaskFailure;
    /// let failure = TaskFailure::new("disk full").context("saving page 7");
    /// assert_eq!(format!("{failure:#}"), "saving page 7: disk full");
    /// ```
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let cause = std::mem::replace(&mut self.message, message.into());
        self.causes.insert(0, cause);
        self
    }

    /// What went wrong.
    ///
    /// ```
    /// # use atasker::TaskFailure;
    /// assert_eq!(TaskFailure::new("disk full").message(), "disk full");
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What caused it, the nearest cause first.
    ///
    /// ```
    /// # use atasker::TaskFailure;
    /// let failure = TaskFailure::new("disk full").context("saving");
    /// assert_eq!(failure.chain(), ["disk full"]);
    /// ```
    pub fn chain(&self) -> &[String] {
        &self.causes
    }

    /// As an [`Error`] whose [`source`](Error::source) is the first cause, and so on.
    ///
    /// ```
    /// # use atasker::TaskFailure;
    /// use std::error::Error;
    /// let error = TaskFailure::new("disk full").context("saving").into_error();
    /// assert_eq!(error.to_string(), "saving");
    /// assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("disk full"));
    /// ```
    pub fn into_error(self) -> FailureError {
        let mut source = None;
        for message in self.causes.into_iter().rev() {
            source = Some(Box::new(FailureError { message, source }));
        }
        FailureError { message: self.message, source }
    }

    /// The message and the causes.
    pub(crate) fn lines(&self) -> Vec<String> {
        std::iter::once(&self.message).chain(&self.causes).cloned().collect()
    }

    fn from_lines(lines: Vec<String>) -> Self {
        let mut lines = lines.into_iter();
        Self { message: lines.next().unwrap_or_default(), causes: lines.collect() }
    }
}

/// The message of an error, and those of its causes.
pub(crate) fn chain_of(error: &(dyn Error + '_)) -> Vec<String> {
    let mut lines = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause.filter(|_| lines.len() < CHAIN_MAX) {
        lines.push(error.to_string());
        cause = error.source();
    }
    lines
}

impl fmt::Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            for cause in &self.causes {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for TaskFailure {
    fn from(error: E) -> Self {
        Self::of(&*error.into())
    }
}

impl From<TaskFailure> for Box<dyn Error> {
    fn from(failure: TaskFailure) -> Self {
        Box::new(failure.into_error())
    }
}

#[cfg(feature = "anyhow")]
impl From<TaskFailure> for anyhow::Error {
    fn from(failure: TaskFailure) -> Self {
        Self::new(failure.into_error())
    }
}

/// A [`TaskFailure`] as an [`Error`].
///
/// ```
/// let error = atasker::TaskFailure::new("disk full").into_error();
/// let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
/// assert_eq!(boxed.to_string(), "disk full");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureError {
    message: String,
    source: Option<Box<FailureError>>,
}

impl fmt::Display for FailureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for FailureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    fn parse() -> Result<u8, Outer> {
        "x".parse().map_err(Outer)
    }

    #[test]
    fn question_mark_takes_any_error_and_keeps_its_chain() {
        fn check(f: impl FnOnce() -> TaskResult<()>, expected: &str) {
            let failure = f().expect_err("it fails");
            assert_eq!(format!("{failure:#}"), expected);
        }
        check(|| parse().map(|_| ()).map_err(Into::into), "outer: invalid digit found in string");
        check(|| Err("text")?, "text");
        check(|| Err(String::from("text"))?, "text");
        check(|| Err(TaskFailure::new("again"))?, "again");
        check(|| Err::<(), _>(Box::<dyn Error + Send + Sync>::from("boxed"))?.pipe(), "boxed");
        #[cfg(feature = "anyhow")]
        check(
            || {
                Err(anyhow::Error::from(Outer("x".parse::<u8>().expect_err("no number")))
                    .context("while"))?
            },
            "while: outer: invalid digit found in string",
        );
    }

    trait Pipe: Sized {
        fn pipe(self) -> TaskResult<Self> {
            Ok(self)
        }
    }
    impl Pipe for () {}

    #[test]
    fn a_failure_leaves_by_question_mark_too() {
        fn boxed() -> Result<(), Box<dyn Error>> {
            Err(TaskFailure::new("inner").context("outer"))?
        }
        let error = boxed().expect_err("it fails");
        assert_eq!(error.to_string(), "outer");
        assert_eq!(error.source().expect("has a cause").to_string(), "inner");
        #[cfg(feature = "anyhow")]
        {
            fn any() -> anyhow::Result<()> {
                Err(TaskFailure::new("inner").context("outer"))?
            }
            assert_eq!(format!("{:#}", any().expect_err("it fails")), "outer: inner");
        }
    }

    #[test]
    fn a_circle_of_causes_ends() {
        #[derive(Debug)]
        struct Ouroboros;
        impl fmt::Display for Ouroboros {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tail")
            }
        }
        impl Error for Ouroboros {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&Ouroboros)
            }
        }
        assert_eq!(TaskFailure::from(Ouroboros).chain().len(), CHAIN_MAX - 1);
    }
}
