//! The arguments of a call, one after another: encoded where the call is made, decoded in the worker.
//!
//! The binary codecs take them as one tuple, which in both is its elements with nothing between. JSON
//! takes an array by position or an object by name.
//!
//! What `#[task]` generates drives this: for each task a helper type implements [`OwnedParameter<N>`] or
//! [`BorrowedParameter<N>`] for its parameter number `N`. So each bound is checked at one place, the
//! parameter's type, and a type that does not fit is reported once.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::encoded::{ATTACHMENTS_MAX, Encoded, too_many};
use super::lent::LendsInWorker;
use super::wire::{Wire, WireRef};
use super::{Bytes, CodecId, Decoder, EncodeError, encode_binary};
use crate::registry::shape::Shapes;
use crate::shm::attachment::Attachment;
use crate::shm::attachments::encode_beside;

/// A parameter as its function declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, without `r#`.
    pub name: &'static str,
    /// Its type, as written.
    pub type_name: &'static str,
}

/// A type whose values can be encoded here and decoded there.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't cross to a worker process: derive serde's `Serialize` and `Deserialize` \
               for it, or use `#[task(io)]`, which stays in this process",
    label = "can't cross to a worker process"
)]
pub trait CrossesToWorker: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> CrossesToWorker for T {}

/// An error type whose values can be encoded here and decoded there.
#[diagnostic::on_unimplemented(
    message = "the error `{Self}` can't cross to a worker process: return `atasker::TaskResult`, into \
               which `?` turns any error, or derive serde's `Serialize` and `Deserialize` for it",
    label = "its error can't cross to a worker process"
)]
pub trait ErrorCrossesToWorker: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<E: Serialize + DeserializeOwned + 'static> ErrorCrossesToWorker for E {}

/// Parameter number `N` of a task is of type `Type`.
pub trait OwnedParameter<const N: usize> {
    /// The type as declared.
    type Type;

    /// What can be done with its values. The bound is checked here, and not at `Type`, because rustc finds
    /// better words for it here.
    fn ops() -> ParameterOps<Self::Type>;
}

/// What can be done with the values of an owned parameter.
pub struct ParameterOps<T> {
    put: fn(&T, &mut Bytes) -> Result<(), EncodeError>,
    take: fn(Argument<'_, '_>) -> Result<T, BadArguments>,
    pub(crate) trace: fn(&mut Shapes),
}

impl<T> std::fmt::Debug for ParameterOps<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParameterOps").finish_non_exhaustive()
    }
}

/// [`OwnedParameter::ops`]
pub fn parameter_ops<T: CrossesToWorker>() -> ParameterOps<T> {
    ParameterOps {
        put: |value, bytes| encode_binary(&WireRef(value), bytes),
        take: |argument| argument.read::<Wire<T>>().map(|value| value.0),
        trace: Shapes::trace::<T>,
    }
}

/// Parameter number `N` of a task is of type `&Type` or `Option<&Type>`.
pub trait BorrowedParameter<const N: usize> {
    /// How it crosses.
    type Form;
    /// The type behind the reference.
    type Type: ?Sized + LendsInWorker<Self::Form>;
}

/// What holds argument `N` of `P` in the worker while the function borrows it.
pub struct Held<'de, P: BorrowedParameter<N>, const N: usize>(
    <P::Type as LendsInWorker<P::Form>>::Held<'de>,
);

/// Encodes arguments where a call is made. The first error is kept for [`finish`](Self::finish).
#[derive(Debug)]
pub struct ArgumentsEncoder {
    parameters: &'static [Parameter],
    bytes: Bytes,
    /// The buffers in the arguments so far.
    attachments: Vec<Attachment>,
    error: Option<EncodeError>,
}

impl ArgumentsEncoder {
    /// For a function with these parameters, in the default codec.
    #[inline(always)]
    pub fn new(parameters: &'static [Parameter]) -> Self {
        Self { parameters, bytes: Bytes::new(), attachments: Vec::new(), error: None }
    }

    /// Append argument `N`.
    #[inline(always)]
    pub fn owned<P: OwnedParameter<N>, const N: usize>(&mut self, value: &P::Type) {
        self.put(N, |bytes| (P::ops().put)(value, bytes));
    }

    /// Append argument `N`.
    #[inline]
    pub fn borrowed<P: BorrowedParameter<N>, const N: usize>(&mut self, value: &P::Type) {
        self.put(N, |bytes| P::Type::put(value, bytes));
    }

    /// Append argument `N`.
    #[inline]
    pub fn borrowed_option<P: BorrowedParameter<N>, const N: usize>(
        &mut self,
        value: Option<&P::Type>,
    ) {
        self.put(N, |bytes| P::Type::put_option(value, bytes));
    }

    /// All arguments, or what was wrong with the first that could not be encoded.
    #[inline(always)]
    pub fn finish(self) -> Result<Encoded, EncodeError> {
        match self.error {
            None if self.attachments.len() > ATTACHMENTS_MAX => {
                Err(EncodeError::new(too_many(self.attachments.len())))
            }
            None => Ok(Encoded::new(self.bytes, self.attachments)),
            Some(error) => Err(error),
        }
    }

    #[inline(always)]
    fn put(&mut self, position: usize, encode: impl Fn(&mut Bytes) -> Result<(), EncodeError>) {
        let before = self.bytes.len();
        let done = encode_beside(&mut self.attachments, || {
            self.bytes.truncate(before);
            encode(&mut self.bytes)
        });
        if let Err(error) = done {
            let message = describe(self.parameters, position, &error.to_string());
            self.error.get_or_insert(EncodeError::new(message));
        }
    }
}

/// The arguments of a call as they arrived in the worker.
#[derive(Debug)]
pub struct Arguments<'b> {
    parameters: &'static [Parameter],
    form: Form<'b>,
}

#[derive(Debug)]
enum Form<'b> {
    Binary(CodecId, &'b [u8]),
    #[cfg(feature = "json")]
    Json(Vec<Option<serde_json::Value>>),
}

/// Why arguments were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadArguments(Box<str>);

impl BadArguments {
    #[cold]
    pub(crate) fn new(message: impl Into<Box<str>>) -> Self {
        Self(message.into())
    }
}

impl<'b> Arguments<'b> {
    /// For the function at `path` with these parameters.
    #[inline]
    pub(crate) fn parse(
        path: &str,
        parameters: &'static [Parameter],
        codec: CodecId,
        bytes: &'b [u8],
    ) -> Result<Self, BadArguments> {
        let form = match codec {
            #[cfg(feature = "json")]
            CodecId::Json => {
                let name = path.rsplit("::").next().unwrap_or(path);
                Form::Json(super::json::arguments(name, parameters, bytes)?)
            }
            binary => Form::Binary(binary, bytes),
        };
        // Used by JSON only.
        let _ = path;
        Ok(Self { parameters, form })
    }

    /// For decoding them one after another.
    #[inline]
    pub(crate) fn decoder(&self) -> ArgumentsDecoder<'_> {
        let source = match &self.form {
            Form::Binary(codec, bytes) => Source::Binary(Decoder::new(*codec, bytes)),
            #[cfg(feature = "json")]
            Form::Json(values) => Source::Json(values),
        };
        ArgumentsDecoder { parameters: self.parameters, source }
    }
}

/// Decodes arguments in the worker, in the order of the parameters.
pub struct ArgumentsDecoder<'d> {
    parameters: &'static [Parameter],
    source: Source<'d>,
}

enum Source<'d> {
    Binary(Decoder<'d>),
    #[cfg(feature = "json")]
    Json(&'d [Option<serde_json::Value>]),
}

impl<'d> ArgumentsDecoder<'d> {
    /// Argument `N`.
    #[inline]
    pub fn owned<P: OwnedParameter<N>, const N: usize>(&mut self) -> Result<P::Type, BadArguments> {
        (P::ops().take)(self.argument::<N>())
    }

    /// What lends argument `N`.
    pub fn borrowed<P: BorrowedParameter<N>, const N: usize>(
        &mut self,
    ) -> Result<Held<'d, P, N>, BadArguments> {
        P::Type::take(self.argument::<N>()).map(Held)
    }

    /// What lends argument `N`, if it was given.
    pub fn borrowed_option<P: BorrowedParameter<N>, const N: usize>(
        &mut self,
    ) -> Result<Option<Held<'d, P, N>>, BadArguments> {
        Ok(P::Type::take_option(self.argument::<N>())?.map(Held))
    }

    /// All arguments have been decoded. An error if something is left.
    #[inline]
    pub fn finish(self) -> Result<(), BadArguments> {
        match self.source {
            Source::Binary(decoder) => {
                decoder.finish().map_err(|error| BadArguments::new(error.to_string()))
            }
            #[cfg(feature = "json")]
            Source::Json(_) => Ok(()),
        }
    }

    #[inline]
    fn argument<const N: usize>(&mut self) -> Argument<'_, 'd> {
        Argument { decoder: self, position: N }
    }
}

/// Argument `N` of `P`, borrowed from what holds it.
pub fn lend<'a, P: BorrowedParameter<N>, const N: usize>(held: &'a Held<'_, P, N>) -> &'a P::Type {
    P::Type::lend(&held.0)
}

/// As [`lend`], for an option.
pub fn lend_option<'a, P: BorrowedParameter<N>, const N: usize>(
    held: &'a Option<Held<'_, P, N>>,
) -> Option<&'a P::Type> {
    held.as_ref().map(lend::<P, N>)
}

/// One argument that is to be decoded next.
#[doc(hidden)]
pub struct Argument<'a, 'd> {
    decoder: &'a mut ArgumentsDecoder<'d>,
    position: usize,
}

impl<'d> Argument<'_, 'd> {
    #[inline]
    pub(crate) fn read<T: Deserialize<'d>>(self) -> Result<T, BadArguments> {
        let Self { decoder: ArgumentsDecoder { parameters, source }, position } = self;
        match source {
            Source::Binary(decoder) => {
                decoder.next().map_err(|error| refused(parameters, position, &error))
            }
            #[cfg(feature = "json")]
            Source::Json(values) => match values.get(position).and_then(Option::as_ref) {
                Some(value) => {
                    T::deserialize(value).map_err(|error| refused(parameters, position, &error))
                }
                None => super::json::left_out(&parameters[position]),
            },
        }
    }
}

#[cold]
fn refused(
    parameters: &[Parameter],
    position: usize,
    error: &dyn std::fmt::Display,
) -> BadArguments {
    BadArguments::new(describe(parameters, position, &error.to_string()))
}

/// ``argument 2 `size` (u32): …``
#[cold]
fn describe(parameters: &[Parameter], position: usize, message: &str) -> String {
    let Parameter { name, type_name } = parameters[position];
    format!("argument {} `{name}` ({type_name}): {message}", position + 1)
}
