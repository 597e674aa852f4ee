//! What a function returns: how it is encoded, and, for a `Result`, what its error says.
//!
//! `Result` hides behind aliases, and errors come with and without `Display` and `Error`. Which is the case
//! is decided where the type is known, in what `#[task]` generates, by method lookup: the expression
//! `(&&&&&Returned::<R>::NEW).kind()` takes the first of the `Via…` traits, from the most references to
//! the fewest, whose bounds `R` meets. (Tolnay, "Autoref-based stable specialization".)

use std::fmt;
use std::marker::PhantomData;

use super::shape::Shapes;
use crate::codec::arguments::{CrossesToWorker, ErrorCrossesToWorker};
use crate::codec::wire::{Wire, WireRef};
use crate::codec::{Bytes, CodecId, DecodeError, EncodeError, decode, encode_to};
use crate::task::failure::{TaskFailure, chain_of};

/// What a task may return: the caller gets it on whichever thread it waits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be returned by a task: the caller may wait on another thread, so return \
               something that is `Send` and borrows nothing",
    label = "not `Send`"
)]
pub trait ReturnsToCaller: Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + 'static> ReturnsToCaller for T {}

/// Asks what `R` is. See the module.
pub struct Returned<R>(PhantomData<fn() -> R>);

impl<R> Returned<R> {
    /// The question.
    pub const NEW: Self = Self(PhantomData);
}

impl<R> fmt::Debug for Returned<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Returned")
    }
}

/// How an error of type `E` says what it is: its message first, then its causes.
pub trait Speaks<E> {
    /// The message and the causes.
    fn lines(error: &E) -> Vec<String>;
}

macro_rules! kinds {
    ($(
        $(#[$doc:meta])* $speaker:ident, $via:ident on $receiver:ty,
        [$($parameter:ident $(: $bound:path)?),*], $error:ty: |$value:ident| $lines:expr;
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $speaker;

        impl<$($parameter $(: $bound + 'static)?),*> Speaks<$error> for $speaker {
            fn lines($value: &$error) -> Vec<String> {
                $lines
            }
        }

        $(#[$doc])*
        pub trait $via<T, E> {
            /// This is the kind.
            fn kind(&self) -> ResultKind<E, $speaker> {
                ResultKind(PhantomData)
            }
        }

        impl<T, $($parameter $(: $bound + 'static)?),*> $via<T, $error> for $receiver {}
    )*};
}

kinds! {
    /// A `Result` whose error is a [`TaskFailure`].
    AsFailure, ViaFailure on &&&&Returned<Result<T, TaskFailure>>,
    [], TaskFailure: |error| error.lines();

    /// A `Result` whose error is an error.
    AsError, ViaError on &&&Returned<Result<T, E>>,
    [E: std::error::Error], E: |error| chain_of(error);

    /// A `Result` whose error has a message.
    AsDisplay, ViaDisplay on &&Returned<Result<T, E>>,
    [E: fmt::Display], E: |error| vec![error.to_string()];

    /// A `Result` whose error has no message.
    AsSilent, ViaSilent on &Returned<Result<T, E>>,
    [E], E: |_error| vec![format!("an error without a message ({})", std::any::type_name::<E>())];
}

/// Not a `Result`.
pub trait ViaPlain {
    /// This is the kind.
    fn kind(&self) -> PlainKind {
        PlainKind
    }
}

impl<R> ViaPlain for Returned<R> {}

/// A `Result`, and how its error speaks.
pub struct ResultKind<E, S>(PhantomData<fn(E) -> S>);

impl<E, S> fmt::Debug for ResultKind<E, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResultKind")
    }
}

/// Any other type.
#[derive(Debug)]
pub struct PlainKind;

/// What the error of a returned value says: its message, then its causes. `None` if it is not an `Err`.
pub type Describe<R> = fn(&R) -> Option<Vec<String>>;

/// What can be done with the values that a function returns.
pub struct ReturnOps<R> {
    /// What the error of a value says.
    pub describe: Describe<R>,
    /// Encode a value in the worker.
    ///
    /// JSON is read by those who know no Rust types, so an `Ok(value)` is just `value` there, and an
    /// `Err(error)` just `error`: which of them it is, stands beside it.
    pub encode: fn(CodecId, &R, &mut Bytes) -> Result<(), EncodeError>,
    /// Decode a value where the call was made. From JSON, the value of an `Ok`.
    pub decode: fn(CodecId, &[u8]) -> Result<R, DecodeError>,
    /// Trace the shape of the type.
    pub trace: fn(&mut Shapes),
}

impl<R> fmt::Debug for ReturnOps<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReturnOps").finish_non_exhaustive()
    }
}

impl<E, S: Speaks<E>> ResultKind<E, S> {
    /// What the error of a value says.
    pub fn describe<T>(self) -> Describe<Result<T, E>>
    where
        Result<T, E>: ReturnsToCaller,
    {
        |value| value.as_ref().err().map(S::lines)
    }

    /// All that can be done with such values.
    pub fn ops<T: CrossesToWorker>(self) -> ReturnOps<Result<T, E>>
    where
        E: ErrorCrossesToWorker,
        Result<T, E>: ReturnsToCaller,
    {
        ReturnOps {
            describe: self.describe(),
            encode: |codec, value, bytes| {
                let value = value.as_ref().map(WireRef).map_err(WireRef);
                match (codec, &value) {
                    #[cfg(feature = "json")]
                    (CodecId::Json, Ok(value)) => encode_to(codec, value, bytes),
                    #[cfg(feature = "json")]
                    (CodecId::Json, Err(error)) => encode_to(codec, error, bytes),
                    (_, value) => encode_to(codec, value, bytes),
                }
            },
            decode: |codec, bytes| match codec {
                #[cfg(feature = "json")]
                CodecId::Json => decode::<Wire<T>>(codec, bytes).map(|value| Ok(value.0)),
                _ => decode::<Result<Wire<T>, Wire<E>>>(codec, bytes)
                    .map(|value| value.map(|value| value.0).map_err(|error| error.0)),
            },
            trace: |shapes| {
                shapes.trace::<T>();
                shapes.trace::<E>();
            },
        }
    }
}

impl PlainKind {
    /// Nothing is an error.
    pub fn describe<R: ReturnsToCaller>(self) -> Describe<R> {
        |_| None
    }

    /// All that can be done with such values.
    pub fn ops<R: CrossesToWorker + ReturnsToCaller>(self) -> ReturnOps<R> {
        ReturnOps {
            describe: self.describe(),
            encode: |codec, value, bytes| encode_to(codec, &WireRef(value), bytes),
            decode: |codec, bytes| decode::<Wire<R>>(codec, bytes).map(|value| value.0),
            trace: Shapes::trace::<R>,
        }
    }
}
