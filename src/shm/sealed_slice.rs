//! The sealed grade: memory that nobody can ever write.
#![expect(unsafe_code, reason = "slices in memory that other processes have mapped")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::attachments::{self, Part, Written};
use super::buffer::Grade;
use super::error::BufferError;
use super::shared_slice::SharedSlice;

/// Elements in memory that is immutable for good, for any number of tasks to read at once.
///
/// There is one copy in memory, which each worker maps once, and so it is a slice like any other, here and
/// there. Clones are of the handle. The kernel keeps everybody from writing it (`F_SEAL_WRITE`), and the
/// receiver of one checks that.
///
/// ```
/// use atasker::{SealedSlice, task};
///
/// #[task]
/// fn distance(from: SealedSlice<f32>, to: SealedSlice<f32>) -> f32 {
///     from.iter().zip(to.iter()).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
/// }
///
/// # fn main() -> Result<(), atasker::BufferError> {
/// let origin = SealedSlice::from_slice(&[0.0, 0.0])?;
/// let calls = [SealedSlice::from_slice(&[3.0, 4.0])?, origin.clone()]
///     .map(|point| distance::call(origin.clone(), point));
/// # drop(calls);
/// # Ok(()) }
/// ```
pub struct SealedSlice<T: Pod> {
    part: Part,
    elements: PhantomData<T>,
}

/// Bytes in memory that is immutable for good.
///
/// ```
/// # fn main() -> Result<(), atasker::BufferError> {
/// let font = atasker::SealedBlob::from_slice(b"many bytes")?;
/// assert!(font.starts_with(b"many"));
/// # Ok(()) }
/// ```
pub type SealedBlob = SealedSlice<u8>;

impl<T: Pod> SealedSlice<T> {
    /// A copy of these elements.
    ///
    /// To make one without a copy, fill [`SharedSlice::zeroed`] in place and [`seal`](SharedSlice::seal) it.
    ///
    /// # Errors
    ///
    /// A lack of memory or descriptors.
    pub fn from_slice(elements: &[T]) -> Result<Self, BufferError> {
        SharedSlice::unmapped_copy(elements)?.seal()
    }

    pub(super) fn of(part: Part) -> Self {
        Self { part, elements: PhantomData }
    }
}

impl<T: Pod> Deref for SealedSlice<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Part { attachment: Some(attachment), start, length } = &self.part else { return &[] };
        let address = attachment.buffer().memory().at(*start, length * size_of::<T>()).cast::<T>();
        assert!(address.is_aligned(), "the start was checked");
        // SAFETY: so many elements lie there, as `at` asserts, aligned as asserted, and initialised, because `Pod`
        // is anything. They stay mapped as long as `self` keeps the attachment. Nobody can ever write them: the
        // file is sealed against that, which was checked if it came from elsewhere, and against losing
        // the seal; and nobody in this process maps it writable.
        unsafe { std::slice::from_raw_parts(address.as_ptr(), *length) }
    }
}

impl<T: Pod> AsRef<[T]> for SealedSlice<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: Pod> Clone for SealedSlice<T> {
    fn clone(&self) -> Self {
        Self::of(self.part.clone())
    }
}

impl<T: Pod> fmt::Debug for SealedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSlice").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// As an argument or result of a task only.
impl<T: Pod> Serialize for SealedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let take = || Ok(self.part.clone());
        let is_readable = serializer.is_human_readable();
        let written = attachments::write::<T>(is_readable, take).map_err(ser::Error::custom)?;
        Sealed(written).serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SealedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Err(de::Error::custom(attachments::NOT_IN_TEXT));
        }
        let Sealed(written) = Sealed::deserialize(deserializer)?;
        let part = attachments::read::<T>(written, Grade::Sealed).map_err(de::Error::custom)?;
        Ok(Self::of(part))
    }
}

/// The name tells this grade from the other in the digest of a function.
#[derive(Serialize, Deserialize)]
struct Sealed(Written);
