//! The lent grade: memory that one process at a time has the use of.

use std::fmt;
use std::marker::PhantomData;

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::attachment::Attachment;
use super::attachments::{self, Part, Written};
use super::buffer::{Buffer, Grade};
use super::error::BufferError;
use super::pool::{self, Contents, Wanted};
use super::sealed_slice::SealedSlice;
use crate::sync::Mutex;

/// Elements in memory that is handed over to a worker process, not copied.
///
/// It belongs to one process at a time. As an argument of a [`#[task]`](macro@crate::task) it moves to the
/// worker, which changes it in place; in the result it comes back. Nothing is copied on the way, however large
/// it is. What was sent is gone here: the handle that stays behind answers with [`BufferError::Sent`], also
/// if the task fails, and from `call(…)` on, whether or not that call is ever submitted. A task that is tried again finds in
/// it what the attempt before has written. One that a worker has made is copied when it is submitted with a call that may be
/// tried again after an error or a panic: its maker would have it back with the first attempt.
///
/// The memory is recycled when nobody has the use of it, since fresh memory costs forty times as much as a
/// copy. A worker keeps mapped what it had. So a buffer that has been with a worker which is still alive
/// can't be had as a Rust slice here: a worker gone mad might write it meanwhile. Safe code copies out of it
/// ([`to_vec`](Self::to_vec), [`read_at`](Self::read_at)); the worker itself, which trusts its coordinator, reads
/// and writes it in place ([`as_mut_slice`](Self::as_mut_slice)).
///
/// What many tasks read is better [sealed](Self::seal).
///
/// Each buffer takes one descriptor and at least 64 KiB. Some that nobody has are kept to be used again, also after
/// the last supervisor.
///
/// A process that is forked from this one does not have the memory, and dies of touching it there. Sealed buffers
/// it has.
///
/// ```
/// use atasker::{Blob, task};
///
/// /// Inverts an image in place.
/// #[task]
/// fn invert(mut image: Blob) -> Blob {
///     for pixel in image.as_mut_slice().expect("a worker may") {
///         *pixel = !*pixel;
///     }
///     image
/// }
///
/// # fn main() -> Result<(), atasker::BufferError> {
/// let image = Blob::from_slice(&[0, 1, 255])?;
/// let inverted = invert(image);                  // in a worker: `supervisor.submit(invert::call(image))`
/// assert_eq!(inverted.to_vec()?, [255, 254, 0]);
/// # Ok(()) }
/// ```
pub struct SharedSlice<T: Pod> {
    pub(super) holding: Mutex<Holding>,
    /// In bytes.
    pub(super) start: usize,
    pub(super) length: usize,
    elements: PhantomData<T>,
}

/// Bytes in memory that is handed over to a worker process, not copied.
///
/// ```
/// # fn main() -> Result<(), atasker::BufferError> {
/// let mut blob = atasker::Blob::from_slice(b"hello")?;
/// blob.write_at(0, b"J")?;
/// let mut start = [0; 3];
/// blob.read_at(0, &mut start)?;
/// assert_eq!((&start, &blob.to_vec()?[..]), (b"Jel", &b"Jello"[..]));
/// # Ok(()) }
/// ```
pub type Blob = SharedSlice<u8>;

pub(super) struct Holding {
    pub(super) place: Place,
    /// So many [`Reading`](crate::Reading)s are alive.
    pub(super) readings: usize,
}

pub(super) enum Place {
    /// An empty slice has no memory.
    Here(Option<Held>),
    Sent,
}

/// An attachment that no other handle in this process has.
pub(super) struct Held(pub(super) Attachment);

impl Held {
    fn new(attachment: Attachment) -> Option<Self> {
        // Not `then_some`: what is dropped lets go.
        attachment.buffer().hold().then(|| Self(attachment))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.buffer().let_go();
    }
}

impl<T: Pod> SharedSlice<T> {
    /// So many zeros. It can be read and written in place.
    ///
    /// # Errors
    ///
    /// This one and those below: a lack of memory or descriptors, and a length that can't be.
    ///
    /// ```
    /// use atasker::SharedSlice;
    /// # fn main() -> Result<(), atasker::BufferError> {
    /// let mut samples = SharedSlice::<f32>::zeroed(1000)?;
    /// samples.as_mut_slice().expect("it was never sent")[1] = 0.5;
    /// # Ok(()) }
    /// ```
    pub fn zeroed(length: usize) -> Result<Self, BufferError> {
        let Some(bytes) = bytes_of::<T>(length)? else { return Ok(Self::empty()) };
        Ok(Self::of(zeroed_buffer(bytes)?, length))
    }

    /// A copy of these elements. Whether it can be read in place depends on where the memory has been.
    ///
    /// ```
    /// # fn main() -> Result<(), atasker::BufferError> {
    /// let points = atasker::SharedSlice::from_slice(&[[0.0_f64, 1.0], [2.0, 3.0]])?;
    /// assert_eq!(points.len(), 2);
    /// # Ok(()) }
    /// ```
    pub fn from_slice(elements: &[T]) -> Result<Self, BufferError> {
        let mut slice = Self::recycled(elements.len())?;
        slice.write_at(0, elements)?;
        Ok(slice)
    }

    /// So many elements, filled in by `fill`, which gets them zeroed. Whether it can be read in place afterwards
    /// depends on where the memory has been.
    ///
    /// ```
    /// # fn main() -> Result<(), atasker::BufferError> {
    /// let squares = atasker::SharedSlice::<u64>::build(100, |squares| {
    ///     for (n, square) in (0..).zip(squares) {
    ///         *square = n * n;
    ///     }
    /// })?;
    /// assert_eq!(squares.to_vec()?[9], 81);
    /// # Ok(()) }
    /// ```
    #[expect(clippy::missing_panics_doc, reason = "what was just made was never sent")]
    pub fn build(length: usize, fill: impl FnOnce(&mut [T])) -> Result<Self, BufferError> {
        let mut slice = Self::zeroed(length)?;
        // Memory that nobody else has mapped is rare where workers keep what they had: it serves again and again
        // as a draft, and what is sent is a copy in memory that is no worse for having been sent.
        let sent_before = match bytes_of::<T>(length)? {
            None => None,
            Some(bytes) => pool::take_idle(bytes, Wanted::Exposed)?,
        };
        fill(slice.as_mut_slice().expect("it was never sent"));
        match sent_before {
            None => Ok(slice),
            Some(buffer) => {
                let draft = slice.as_mut_slice().expect("it was never sent");
                buffer.writable().copy_in(0, bytemuck::cast_slice(draft));
                Ok(Self::of(buffer, length))
            }
        }
    }

    /// So many elements of unspecified value: what this program had in the memory before. The cheapest, if all
    /// of it is [written](Self::write_at) anyway.
    ///
    /// ```
    /// # fn main() -> Result<(), atasker::BufferError> {
    /// let mut bytes = atasker::Blob::recycled(1 << 20)?;
    /// for (number, chunk) in [[1; 1 << 19], [2; 1 << 19]].iter().enumerate() {
    ///     bytes.write_at(number << 19, chunk)?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn recycled(length: usize) -> Result<Self, BufferError> {
        let Some(bytes) = bytes_of::<T>(length)? else { return Ok(Self::empty()) };
        let (buffer, _) = pool::take(bytes, Wanted::Any)?;
        Ok(Self::of(buffer, length))
    }

    /// In elements, wherever they are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether it was sent to a task with this handle, which is good for nothing any more.
    pub fn is_sent(&self) -> bool {
        matches!(self.holding.lock().place, Place::Sent)
    }

    /// Make it immutable for good, for any number of tasks to read at once.
    ///
    /// It costs a copy, unless no other process has ever had the memory.
    ///
    /// ```
    /// # fn main() -> Result<(), atasker::BufferError> {
    /// let table = atasker::SharedSlice::from_slice(&[1_u32, 2, 3])?.seal()?;
    /// assert_eq!(table[1], 2);
    /// # Ok(()) }
    /// ```
    pub fn seal(self) -> Result<SealedSlice<T>, BufferError> {
        let (start, length) = (self.start, self.length);
        let Some(attachment) = self.take()? else { return Ok(SealedSlice::of(Part::EMPTY)) };
        let bytes = length * size_of::<T>();
        let failed = |error| BufferError::of_system(error, bytes);
        let sealed = match attachment.into_buffer() {
            Ok(buffer) if buffer.exposures().is_unmapped() => {
                Attachment::own(buffer.seal().map_err(failed)?)
            }
            Ok(buffer) => return copy_sealed(&Attachment::own(buffer), start, length),
            Err(attachment) => return copy_sealed(&attachment, start, length),
        };
        Ok(SealedSlice::of(Part { attachment: Some(sealed), start, length }))
    }

    /// Copy all elements out. `target` must be as long.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn copy_to_slice(&self, target: &mut [T]) -> Result<(), BufferError> {
        assert_eq!(target.len(), self.length, "the target is of another length than the buffer");
        self.read_at(0, target)
    }

    /// A copy of all elements.
    pub fn to_vec(&self) -> Result<Vec<T>, BufferError> {
        let mut elements = Vec::new();
        if let Some(attachment) = self.attachment()? {
            attachment.buffer().memory().append_elements(self.start, self.length, &mut elements);
        }
        Ok(elements)
    }

    /// Copy out as many elements as `target` is long, from the one at `start` on.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn read_at(&self, start: usize, target: &mut [T]) -> Result<(), BufferError> {
        let offset = self.offset_of(start, target.len());
        if let Some(attachment) = self.attachment()? {
            attachment.buffer().memory().copy_out(offset, bytemuck::cast_slice_mut(target));
        }
        Ok(())
    }

    /// Copy these elements in, from the one at `start` on.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn write_at(&mut self, start: usize, elements: &[T]) -> Result<(), BufferError> {
        let offset = self.offset_of(start, elements.len());
        if let Some(attachment) = self.attachment()? {
            attachment.buffer().writable().copy_in(offset, bytemuck::cast_slice(elements));
        }
        Ok(())
    }

    fn of(buffer: Buffer, length: usize) -> Self {
        let part = Part { attachment: Some(Attachment::own(buffer)), start: 0, length };
        Self::of_part(part).expect("nobody else has it yet")
    }

    fn empty() -> Self {
        Self::of_part(Part::EMPTY).expect("there is nothing that somebody could have")
    }

    /// `None` if another handle has it, such as one that an earlier attempt at a task has kept.
    fn of_part(Part { attachment, start, length }: Part) -> Option<Self> {
        let held = match attachment {
            Some(attachment) => Some(Held::new(attachment)?),
            None => None,
        };
        let holding = Holding { place: Place::Here(held), readings: 0 };
        Some(Self { holding: Mutex::new(holding), start, length, elements: PhantomData })
    }

    /// As `from_slice`, in memory that can be sealed.
    pub(super) fn unmapped_copy(elements: &[T]) -> Result<Self, BufferError> {
        let Some(bytes) = bytes_of::<T>(elements.len())? else { return Ok(Self::empty()) };
        let (buffer, _) = pool::take(bytes, Wanted::Unmapped)?;
        buffer.writable().copy_in(0, bytemuck::cast_slice(elements));
        Ok(Self::of(buffer, elements.len()))
    }

    /// Where element `start` lies, `count` of which follow.
    fn offset_of(&self, start: usize, count: usize) -> usize {
        assert!(
            start <= self.length && count <= self.length - start,
            "beyond the end of the shared buffer"
        );
        // Less than the length in bytes, which is a `usize`.
        self.start + start * size_of::<T>()
    }

    /// A clone, so that the memory stays mapped while it is copied.
    fn attachment(&self) -> Result<Option<Attachment>, BufferError> {
        match &self.holding.lock().place {
            Place::Here(held) => Ok(held.as_ref().map(|held| held.0.clone())),
            Place::Sent => Err(BufferError::Sent),
        }
    }

    /// Take the memory away from this handle.
    fn take(&self) -> Result<Option<Attachment>, BufferError> {
        let mut holding = self.holding.lock();
        if holding.readings > 0 {
            return Err(BufferError::InUse);
        }
        match std::mem::replace(&mut holding.place, Place::Sent) {
            Place::Here(held) => Ok(held.map(|held| held.0.clone())),
            Place::Sent => Err(BufferError::Sent),
        }
    }
}

/// How many bytes so many elements are; `None` for none.
pub(super) fn bytes_of<T: Pod>(length: usize) -> Result<Option<usize>, BufferError> {
    const { assert!(size_of::<T>() > 0, "elements without a size need no memory") };
    const { assert!(align_of::<T>() <= 4096, "memory is aligned to pages only") };
    let bytes = length.checked_mul(size_of::<T>()).ok_or(BufferError::TooLong)?;
    Ok((bytes > 0).then_some(bytes))
}

fn zeroed_buffer(bytes: usize) -> Result<Buffer, BufferError> {
    let (buffer, contents) = pool::take(bytes, Wanted::Private)?;
    if contents == Contents::Leftovers {
        buffer.writable().fill_with_zeros(0..bytes);
    }
    Ok(buffer)
}

/// A sealed copy of elements that others may have mapped.
fn copy_sealed<T: Pod>(
    from: &Attachment,
    start: usize,
    length: usize,
) -> Result<SealedSlice<T>, BufferError> {
    let bytes = length * size_of::<T>();
    let (buffer, _) = pool::take(bytes, Wanted::Unmapped)?;
    from.buffer().memory().copy_to(start, bytes, buffer.writable());
    let sealed = buffer.seal().map_err(|error| BufferError::of_system(error, bytes))?;
    let attachment = Some(Attachment::own(sealed));
    Ok(SealedSlice::of(Part { attachment, start: 0, length }))
}

impl<T: Pod> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSlice")
            .field("len", &self.length)
            .field("is_sent", &self.is_sent())
            .finish_non_exhaustive()
    }
}

/// As an argument or result of a task only. Sends the buffer away, from behind the reference.
impl<T: Pod> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let take = || match self.take() {
            Ok(attachment) => Ok(Part { attachment, start: self.start, length: self.length }),
            Err(BufferError::InUse) => Err("the shared buffer is being read and can't be sent"),
            Err(_) => Err("the shared buffer was sent to a task and is no longer here"),
        };
        let is_readable = serializer.is_human_readable();
        let written = attachments::write::<T>(is_readable, take).map_err(ser::Error::custom)?;
        Lent(written).serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Err(de::Error::custom(attachments::NOT_IN_TEXT));
        }
        let Lent(written) = Lent::deserialize(deserializer)?;
        let part = attachments::read::<T>(written, Grade::Lent).map_err(de::Error::custom)?;
        Self::of_part(part).ok_or_else(|| de::Error::custom("a lent buffer that is in use here"))
    }
}

/// The name tells this grade from the other in the digest of a function.
#[derive(Serialize, Deserialize)]
struct Lent(Written);
