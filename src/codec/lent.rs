//! What a task may take by reference: how it is encoded from the reference, and what holds it in the
//! worker while the function borrows it. Text, bytes and paths are lent out of the received bytes, without
//! a copy.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::arguments::{Argument, BadArguments, CrossesToWorker};
use super::wire::{BorrowedBytes, BorrowedPath, BorrowedStr, Wire, WireRef};
use super::{Bytes, EncodeError, encode_binary};

/// A reference crosses as serde has its target.
#[derive(Debug)]
pub struct AsDeclared;

/// A byte slice crosses as bytes.
#[derive(Debug)]
pub struct AsBytes;

/// A type `T` that a task may take as `&T` or `Option<&T>`.
#[diagnostic::on_unimplemented(
    message = "`&{Self}` can't cross to a worker process: derive serde's `Serialize` and `Deserialize` \
               for `{Self}`, or use `#[task(io)]`, which stays in this process",
    label = "can't cross to a worker process"
)]
pub trait LendsInWorker<Form> {
    /// What holds the value in the worker.
    type Held<'de>;

    /// An owned type of the same shape.
    type Shape: DeserializeOwned;

    /// Append the encoded value.
    fn put(&self, bytes: &mut Bytes) -> Result<(), EncodeError>;

    /// As [`put`](Self::put), for `Option<&Self>`.
    fn put_option(value: Option<&Self>, bytes: &mut Bytes) -> Result<(), EncodeError>;

    /// Decode what holds the value.
    fn take<'de>(argument: Argument<'_, 'de>) -> Result<Self::Held<'de>, BadArguments>;

    /// As [`take`](Self::take), for `Option<&Self>`.
    fn take_option<'de>(
        argument: Argument<'_, 'de>,
    ) -> Result<Option<Self::Held<'de>>, BadArguments>;

    /// Borrow from what holds it.
    fn lend<'a>(held: &'a Self::Held<'_>) -> &'a Self;
}

/// The five functions, for a target that has an encodable reference form and a decodable held form.
macro_rules! lend {
    (shape: $shape:ty, held: $held:ty, read: $read:ty, encode: $encode:expr, hold: $hold:expr) => {
        type Held<'de> = $held;
        type Shape = $shape;

        fn put(&self, bytes: &mut Bytes) -> Result<(), EncodeError> {
            encode_binary(&$encode(self), bytes)
        }

        fn put_option(value: Option<&Self>, bytes: &mut Bytes) -> Result<(), EncodeError> {
            encode_binary(&value.map($encode), bytes)
        }

        fn take<'de>(argument: Argument<'_, 'de>) -> Result<Self::Held<'de>, BadArguments> {
            argument.read::<$read>().map($hold)
        }

        fn take_option<'de>(
            argument: Argument<'_, 'de>,
        ) -> Result<Option<Self::Held<'de>>, BadArguments> {
            Ok(argument.read::<Option<$read>>()?.map($hold))
        }

        fn lend<'a>(held: &'a Self::Held<'_>) -> &'a Self {
            held
        }
    };
}

#[diagnostic::do_not_recommend]
impl<T: CrossesToWorker> LendsInWorker<AsDeclared> for T {
    lend!(shape: T, held: T, read: Wire<T>, encode: WireRef, hold: |value| value.0);
}

#[diagnostic::do_not_recommend]
impl<T: CrossesToWorker> LendsInWorker<AsDeclared> for [T] {
    lend!(shape: Vec<T>, held: Vec<T>, read: Wire<Vec<T>>, encode: std::convert::identity, hold: |value| value.0);
}

impl LendsInWorker<AsBytes> for [u8] {
    lend!(
        shape: Vec<u8>,
        held: Cow<'de, [u8]>,
        read: BorrowedBytes<'de>,
        encode: BorrowedBytes::from,
        hold: |bytes| bytes.0
    );
}

impl LendsInWorker<AsDeclared> for str {
    lend!(
        shape: String,
        held: Cow<'de, str>,
        read: BorrowedStr<'de>,
        encode: BorrowedStr::from,
        hold: |text| text.0
    );
}

impl LendsInWorker<AsDeclared> for Path {
    lend!(
        shape: PathBuf,
        held: Cow<'de, Path>,
        read: BorrowedPath<'de>,
        encode: BorrowedPath::from,
        hold: |path| path.0
    );
}
