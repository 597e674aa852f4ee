//! Running a registered function on encoded arguments. Every step that runs code of the user's is guarded:
//! whatever panics, an outcome comes back.

use super::entry::TaskEntry;
use super::panics::{Panicked, catch};
use super::returned::ReturnOps;
use crate::codec::Encoded;
use crate::codec::arguments::{Arguments, ArgumentsDecoder, BadArguments};
use crate::codec::encoded::{ATTACHMENTS_MAX, too_many};
use crate::codec::{Bytes, CodecId};
use crate::shm::attachments;
use crate::transport::frame::Outcome;

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
    fn run(codec: CodecId, bytes: &[u8], buffer: Bytes) -> Outcome;

    /// [`TaskEntry::digest`]
    fn digest() -> u64;
}

/// The first step: take the encoded arguments apart.
pub fn parse<P: ProcessTask>(codec: CodecId, bytes: &[u8]) -> Result<Arguments<'_>, Outcome> {
    Arguments::parse(P::ENTRY.path, P::ENTRY.parameters, codec, bytes).map_err(refused)
}

/// The second: decode them one after the other.
pub fn decode<'d, T>(
    arguments: &'d Arguments<'_>,
    each: impl FnOnce(&mut ArgumentsDecoder<'d>) -> Result<T, BadArguments>,
) -> Result<T, Outcome> {
    match catch(|| arguments.decode(each)) {
        Ok(decoded) => decoded.map_err(refused),
        Err(Panicked { message, .. }) => Err(Outcome::BadArguments {
            message: format!("decoding the arguments panicked: {message}"),
        }),
    }
}

/// The third: call the function, and encode what it returned.
pub fn call<P: ProcessTask>(
    codec: CodecId,
    mut buffer: Bytes,
    function: impl FnOnce() -> P::Output,
) -> Outcome {
    let value = match catch(function) {
        Ok(value) => value,
        Err(Panicked { message, location }) => return Outcome::Panicked { message, location },
    };
    let ops = P::returns();
    let mut buffers = Vec::new();
    let outcome = catch(|| {
        let encoded = attachments::encode_beside(&mut buffers, || {
            buffer.clear();
            (ops.encode)(codec, &value, &mut buffer)
        });
        match encoded {
            Ok(()) if buffers.len() > ATTACHMENTS_MAX => {
                Outcome::Unencodable { message: too_many(buffers.len()) }
            }
            Ok(()) => Outcome::Returned {
                value: Encoded::new(std::mem::take(&mut buffer), std::mem::take(&mut buffers)),
                error: (ops.describe)(&value),
            },
            Err(error) => Outcome::Unencodable { message: error.to_string() },
        }
    })
    .unwrap_or_else(|Panicked { message, .. }| Outcome::Unencodable {
        message: format!("encoding it panicked: {message}"),
    });
    // The value has been encoded: what its Drop does is no longer the caller's business.
    if std::mem::needs_drop::<P::Output>() {
        let _ = catch(|| drop(value));
    }
    outcome
}

fn refused(BadArguments(message): BadArguments) -> Outcome {
    Outcome::BadArguments { message }
}
