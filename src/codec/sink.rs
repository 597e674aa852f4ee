//! Where encoded values are collected.

use std::io;

use super::Bytes;

const FEW: usize = 16;
/// Beyond what `few` could hold.
const SPILLED: usize = FEW + 1;

/// Collects bytes that come a few at a time: the first in place, where they cost least, all of them in memory of its
/// own if they are more. That memory is asked for, not taken for granted.
#[derive(Debug)]
pub struct Sink {
    few: [u8; FEW],
    /// How many bytes are in `few`, or [`SPILLED`].
    used: usize,
    /// All bytes, if `few` can't hold them.
    many: Vec<u8>,
}

/// There is no memory for more.
#[derive(Debug)]
pub(crate) struct Full;

impl Sink {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { few: [0; FEW], used: 0, many: Vec::new() }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) -> Result<(), Full> {
        if let Some(place) = self.few.get_mut(self.used) {
            *place = byte;
            self.used += 1;
            return Ok(());
        }
        self.append_to_many(&[byte])
    }

    #[inline(always)]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.used + bytes.len();
        if let Some(place) = self.few.get_mut(self.used..end) {
            place.copy_from_slice(bytes);
            self.used = end;
            return Ok(());
        }
        self.append_to_many(bytes)
    }

    #[inline(never)]
    fn append_to_many(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if let Some(few) = self.few.get(..self.used) {
            self.many.try_reserve(few.len() + bytes.len()).map_err(|_no_memory| Full)?;
            self.many.extend_from_slice(few);
            self.used = SPILLED;
        } else if self.many.capacity() - self.many.len() < bytes.len() {
            self.many.try_reserve(bytes.len()).map_err(|_no_memory| Full)?;
        }
        self.many.extend_from_slice(bytes);
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        if self.used == SPILLED { self.many.len() } else { self.used }
    }

    /// Forget what stands behind the first `length` bytes.
    #[inline(always)]
    pub(crate) fn truncate(&mut self, length: usize) {
        if self.used == SPILLED {
            self.many.truncate(length);
        } else {
            self.used = self.used.min(length);
        }
    }

    /// Forget all, and keep the memory.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.many.clear();
        self.used = 0;
    }

    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.few.get(..self.used).unwrap_or(&self.many)
    }

    /// How many bytes of memory it keeps.
    pub(crate) fn capacity(&self) -> usize {
        self.many.capacity()
    }

    #[inline(always)]
    pub(crate) fn into_bytes(self) -> Bytes {
        if self.used == SPILLED {
            Bytes::from_vec(self.many)
        } else {
            Bytes::from_buf_and_len(self.few, self.used)
        }
    }
}

impl Default for Sink {
    fn default() -> Self {
        Self::new()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(Full) => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
