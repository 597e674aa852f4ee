//! What is kept of a task that has killed its worker too often.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::call::Call;
use super::cell::Function;
use super::crash::CrashReport;
use crate::codec::{self, CodecId, Encoded};

/// Says that bytes are a saved quarantine, and in which form.
const MARK: &str = "atasker quarantine 1";

/// A task that has killed its worker process as often as its [crash limit](Call::crash_limit) allows, with all that
/// is needed to see it happen again: the function, its arguments as they were sent, and the reports of the
/// crashes.
///
/// [`call`](Self::call) makes the same call again, for a supervisor that runs it where a debugger sees it, say
/// [inline](crate::SupervisorBuilder::inline). [`to_bytes`](Self::to_bytes) takes it to another day and another
/// machine. Cheap to clone.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use atasker::{Limits, Quarantine, RetryOn, Stop, Supervisor, TaskError, TaskErrorKind, task};
///
/// #[task(retries = 5, retry_on(crash), crash_limit = 2)]
/// fn decode(bytes: &[u8]) -> usize { bytes.len() }
///
/// /// What a program may do with errors: keep what kills workers.
/// fn keep(error: &TaskError, folder: &std::path::Path) -> std::io::Result<()> {
///     if let TaskErrorKind::Quarantined(quarantine) = error.kind() {
///         let bytes = quarantine.to_bytes().map_err(std::io::Error::other)?;
///         std::fs::write(folder.join(format!("{}.bad", quarantine.function())), bytes)?;
///     }
///     Ok(())
/// }
///
/// /// What is run under a debugger later on.
/// fn reproduce(file: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
///     let quarantine = Quarantine::from_bytes(&std::fs::read(file)?)?;
///     let here = Supervisor::builder().inline().start()?;
///     here.submit(quarantine.call())?.wait()?;
///     Ok(())
/// }
/// # let _ = (keep, reproduce);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Quarantine(Arc<Kept>);

struct Kept {
    function: Function,
    codec: CodecId,
    arguments: Encoded,
    crashes: Vec<CrashReport>,
}

/// What is saved.
#[derive(Serialize, Deserialize)]
struct Saved {
    mark: String,
    function: String,
    codec: u8,
    arguments: Vec<u8>,
}

/// Why a [`Quarantine`] can't be saved or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuarantineError {
    /// The arguments contain shared buffers, which are memory, not bytes.
    #[error("the arguments contain shared buffers, which can't be saved")]
    SharedBuffers,
    /// These bytes are none that [`Quarantine::to_bytes`] gave.
    #[error("this is no saved quarantine: {0}")]
    Malformed(String),
}

impl Quarantine {
    pub(crate) fn new(
        function: Function,
        codec: CodecId,
        arguments: Encoded,
        crashes: Vec<CrashReport>,
    ) -> Self {
        Self(Arc::new(Kept { function, codec, arguments, crashes }))
    }

    /// The function's full path, or as a call by name had it.
    pub fn function(&self) -> &str {
        self.0.function.name()
    }

    /// How the arguments are encoded: `postcard`, or `json` for calls by name.
    pub fn codec(&self) -> &'static str {
        self.0.codec.name()
    }

    /// The arguments as they were sent. Those of a call by name are the JSON text that was given.
    pub fn arguments(&self) -> &[u8] {
        self.0.arguments.bytes()
    }

    /// The reports of the crashes, the last at the end; at most of the latest sixteen. None after
    /// [`from_bytes`](Self::from_bytes).
    pub fn crashes(&self) -> &[CrashReport] {
        &self.0.crashes
    }

    /// The same function with the same arguments, and with what its attribute declares, but neither retries nor a
    /// crash limit. What it returns, should it come to that, is dropped.
    pub fn call(&self) -> Call<()> {
        let Kept { function, codec, arguments, .. } = &*self.0;
        let call = Call::again(function.clone(), *codec, arguments.clone());
        call.retries(0).crash_limit(u32::MAX)
    }

    /// Everything but the reports, to be saved. The program that reads it must have the function with the same
    /// signature, and be built with the same features of this crate.
    ///
    /// # Errors
    /// [`QuarantineError::SharedBuffers`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, QuarantineError> {
        if !self.0.arguments.attachments().is_empty() {
            return Err(QuarantineError::SharedBuffers);
        }
        let saved = Saved {
            mark: MARK.to_owned(),
            function: self.function().to_owned(),
            codec: self.0.codec.into(),
            arguments: self.arguments().to_owned(),
        };
        let bytes = codec::encode(CodecId::BINARY, &saved);
        bytes.map(Vec::from).map_err(|error| QuarantineError::Malformed(error.to_string()))
    }

    /// What [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`QuarantineError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, QuarantineError> {
        let malformed = |error: &dyn fmt::Display| QuarantineError::Malformed(error.to_string());
        let saved: Saved =
            codec::decode(CodecId::BINARY, bytes).map_err(|error| malformed(&error))?;
        let Saved { mark, function, codec, arguments } = saved;
        if mark != MARK {
            return Err(malformed(&"it begins with something else"));
        }
        let codec = CodecId::try_from(codec).map_err(|error| malformed(&error))?;
        Ok(Self::new(Function::Named(function.into()), codec, arguments.into(), Vec::new()))
    }
}

impl fmt::Debug for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantine")
            .field("function", &self.function())
            .field("codec", &self.codec())
            .field("arguments", &format_args!("{} bytes", self.arguments().len()))
            .field("crashes", &self.crashes())
            .finish()
    }
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.crashes() {
            [] => write!(f, "is quarantined: it has killed its worker processes"),
            [crash] => {
                write!(f, "is quarantined, because it has killed its worker process; it {crash}")
            }
            [.., crash] => write!(
                f,
                "is quarantined, because it has killed {} worker processes; the last time it {crash}",
                self.crashes().len()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_again() {
        let function = || Function::Named("a::f".into());
        let saved = Quarantine::new(function(), CodecId::BINARY, vec![1, 2, 3].into(), Vec::new());
        let bytes = saved.to_bytes().expect("there are no buffers in it");
        let read = Quarantine::from_bytes(&bytes).expect("it was saved");
        let parts =
            |it: &Quarantine| (it.function().to_owned(), it.codec(), it.arguments().to_owned());
        assert_eq!(parts(&read), ("a::f".to_owned(), "postcard", vec![1, 2, 3]));
        assert_eq!(read.call().name(), "a::f");
        for broken in [&bytes[1..], &bytes[..bytes.len() - 1], &[bytes.clone(), vec![0]].concat()] {
            let error = Quarantine::from_bytes(broken).expect_err("it is broken");
            assert!(matches!(error, QuarantineError::Malformed(_)), "{error}");
        }
    }
}
