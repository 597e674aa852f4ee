//! Running a registered function on encoded arguments. Every step that runs code of the user's is guarded:
//! whatever panics, an outcome comes back.

use std::cell::Cell;

use super::entry::TaskEntry;
use super::panics::{Panicked, catch};
use super::returned::ReturnOps;
use crate::codec::Encoded;
use crate::codec::arguments::{Arguments, ArgumentsDecoder, BadArguments};
use crate::codec::encoded::{ATTACHMENTS_MAX, too_many};
use crate::codec::{Bytes, CodecId};
use crate::shm::attachment::Attachment;
use crate::shm::attachments;
use crate::transport::frame::{Outcome, Ran};

/// What `#[task]` says of a function that runs in worker processes. The type that implements it is a helper,
/// which stands for the function and its parameters.
pub trait ProcessTask {
    /// What the function returns.
    type Output;

    /// What is registered.
    const ENTRY: &'static TaskEntry;

    /// What can be done with its values.
    fn returns() -> ReturnOps<Self::Output>;

    /// [`TaskEntry::run`]
    fn run(codec: CodecId, bytes: &[u8], buffer: &mut Bytes) -> Ran;

    /// [`TaskEntry::digest`]
    fn digest() -> u64;
}

/// How far a call has come. What panics is blamed on that.
#[derive(Debug)]
pub struct Progress(Cell<Step>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Decodes,
    Runs,
    Encodes,
}

impl Progress {
    /// The arguments are decoded. Now the function is called.
    #[inline]
    pub fn calls(&self) {
        self.0.set(Step::Runs);
    }
}

/// Decode the arguments and call the function, both by `call`, and encode what it returned into `buffer`.
#[inline]
pub fn run<P: ProcessTask>(
    codec: CodecId,
    bytes: &[u8],
    buffer: &mut Bytes,
    call: impl for<'d> FnOnce(ArgumentsDecoder<'d>, &Progress) -> Result<P::Output, BadArguments>,
) -> Ran {
    let arguments = match Arguments::parse(P::ENTRY.path, P::ENTRY.parameters, codec, bytes) {
        Ok(arguments) => arguments,
        Err(error) => return refused(error).into(),
    };
    let progress = Progress(Cell::new(Step::Decodes));
    let ops = P::returns();
    let mut value = None;
    let mut buffers = Vec::new();
    let ended = catch(|| -> Result<Option<Vec<String>>, Outcome> {
        let called = call(arguments.decoder(), &progress);
        let value = value.insert(called.map_err(refused)?);
        progress.0.set(Step::Encodes);
        let encoded = attachments::encode_beside(&mut buffers, || {
            buffer.clear();
            (ops.encode)(codec, value, buffer)
        });
        match encoded {
            Ok(()) => Ok((ops.describe)(value)),
            Err(error) => Err(Outcome::Unencodable { message: error.to_string() }),
        }
    });
    let ran = match ended {
        Ok(Ok(None)) if buffers.is_empty() => Ran::Plain,
        Ok(Ok(error)) => returned(std::mem::take(buffer), buffers, error).into(),
        Ok(Err(outcome)) => outcome.into(),
        Err(panicked) => blame(progress.0.get(), panicked).into(),
    };
    // The value has been encoded: what its Drop does is no longer the caller's business.
    if std::mem::needs_drop::<P::Output>() {
        let _ = catch(|| drop(value));
    }
    ran
}

#[cold]
fn returned(bytes: Bytes, buffers: Vec<Attachment>, error: Option<Vec<String>>) -> Outcome {
    if buffers.len() > ATTACHMENTS_MAX {
        return Outcome::Unencodable { message: too_many(buffers.len()) };
    }
    Outcome::Returned { value: Encoded::new(bytes, buffers), error }
}

#[cold]
fn blame(step: Step, Panicked { message, location }: Panicked) -> Outcome {
    match step {
        Step::Decodes => {
            Outcome::BadArguments { message: format!("decoding the arguments panicked: {message}") }
        }
        Step::Runs => Outcome::Panicked { message, location },
        Step::Encodes => {
            Outcome::Unencodable { message: format!("encoding it panicked: {message}") }
        }
    }
}

#[cold]
fn refused(error: BadArguments) -> Outcome {
    Outcome::BadArguments { message: error.to_string() }
}
