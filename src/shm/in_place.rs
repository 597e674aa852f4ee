//! The elements of a lent buffer in place, as Rust slices.
#![expect(unsafe_code, reason = "slices in memory that other processes may have mapped")]

use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use bytemuck::Pod;

use super::mapping::Memory;
use super::shared_slice::{Held, Place, SharedSlice};

/// The elements of a [`SharedSlice`] in place. While it lives the buffer can't be sent.
///
/// ```
/// use atasker::{SharedSlice, task};
///
/// #[task]
/// fn mean(samples: SharedSlice<f32>) -> f32 {
///     let samples = samples.as_slice().expect("a worker may");
///     samples.iter().sum::<f32>() / samples.len() as f32
/// }
///
/// # fn main() -> Result<(), atasker::BufferError> {
/// assert_eq!(mean(SharedSlice::zeroed(10)?), 0.0);
/// # Ok(()) }
/// ```
pub struct Reading<'s, T: Pod> {
    of: &'s SharedSlice<T>,
    elements: &'s [T],
}

impl<T: Pod> Deref for Reading<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.elements
    }
}

impl<T: Pod> Drop for Reading<'_, T> {
    fn drop(&mut self) {
        self.of.holding.lock().readings -= 1;
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Reading<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.elements.fmt(f)
    }
}

impl<T: Pod> SharedSlice<T> {
    /// The elements in place, if no other process can write them now: it was made here by
    /// [`zeroed`](Self::zeroed), or this is a worker, or the workers that had the memory are dead.
    ///
    /// While the answer lives the buffer can't be sent.
    pub fn as_slice(&self) -> Option<Reading<'_, T>> {
        let mut holding = self.holding.lock();
        let address = match &holding.place {
            Place::Here(Some(Held(attachment))) if attachment.buffer().exposures().is_private() => {
                self.address_in(attachment.buffer().memory())
            }
            Place::Here(None) => NonNull::dangling(),
            Place::Here(Some(_)) | Place::Sent => return None,
        };
        holding.readings += 1;
        // SAFETY: so many elements lie there, aligned and initialised (`address_in`), or there are none. They stay
        // mapped: `self` keeps the attachment, which can't be sent while there is a reading. Nobody writes them:
        // no other process can, and this one would need `&mut self`.
        let elements = unsafe { std::slice::from_raw_parts(address.as_ptr(), self.length) };
        Some(Reading { of: self, elements })
    }

    /// As [`as_slice`](Self::as_slice), for writing.
    pub fn as_mut_slice(&mut self) -> Option<&mut [T]> {
        let is_private = match &self.holding.lock().place {
            Place::Here(Some(Held(attachment))) => attachment.buffer().exposures().is_private(),
            Place::Here(None) => true,
            Place::Sent => false,
        };
        // SAFETY: no other process can write it.
        if is_private { unsafe { self.as_mut_slice_unchecked() } } else { None }
    }

    /// The elements in place, whoever else may have them mapped; `None` once it was sent.
    ///
    /// # Safety
    ///
    /// While the slice lives, no worker that has had this memory, for this buffer or for an earlier one, may
    /// write it. One that works as it should does not; one that has gone mad, by a wild pointer, might. And this
    /// buffer must not be sent meanwhile: neither it nor a value that contains it may be passed to a
    /// `call(…)`.
    pub unsafe fn as_slice_unchecked(&self) -> Option<&[T]> {
        let address = match &self.holding.lock().place {
            Place::Here(Some(Held(attachment))) => self.address_in(attachment.buffer().memory()),
            Place::Here(None) => return Some(&[]),
            Place::Sent => return None,
        };
        // SAFETY: so many elements lie there, aligned and initialised (`address_in`). That they stay mapped and that
        // nobody writes them is what the caller promises.
        Some(unsafe { std::slice::from_raw_parts(address.as_ptr(), self.length) })
    }

    /// As [`as_slice_unchecked`](Self::as_slice_unchecked), for writing.
    ///
    /// # Safety
    ///
    /// As there, and no such worker may read it either.
    pub unsafe fn as_mut_slice_unchecked(&mut self) -> Option<&mut [T]> {
        let address = match &self.holding.lock().place {
            Place::Here(Some(Held(attachment))) => self.address_in(attachment.buffer().writable()),
            Place::Here(None) => return Some(&mut []),
            Place::Sent => return None,
        };
        // SAFETY: so many elements lie there, aligned and initialised (`address_in`). They stay mapped, since
        // sending the buffer takes a reference to `self`, and nobody in this process has another one. That
        // nobody else uses them is what the caller promises.
        Some(unsafe { std::slice::from_raw_parts_mut(address.as_ptr(), self.length) })
    }

    /// Where the elements lie. They are in bounds and committed, since the memory was taken for them or checked
    /// when it was received; aligned, since memory starts with a page and `start` was checked; and
    /// initialised, because all memory that is mapped is, and `Pod` is anything.
    fn address_in(&self, memory: &Memory) -> NonNull<T> {
        let address = memory.at(self.start, self.length * size_of::<T>()).cast::<T>();
        assert!(address.is_aligned(), "the start was checked");
        address
    }
}
