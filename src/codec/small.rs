//! The bytes of encoded values, of which most are few.
//!
//! A `SmallVec` ends the process where a few more bytes find no memory, is appended to in many steps, and shows only
//! what is in it, so that it can't be copied as a whole of fixed length.

use std::fmt;
use std::io;
use std::ops::Deref;

use super::NO_MEMORY;

/// So many bytes need no memory of their own.
pub(crate) const FEW: usize = 15;
/// All bytes are in `many`, most often because `few` can't hold them.
const SPILLED: u8 = FEW as u8 + 1;

/// Bytes: a few in place, where they cost least, more in memory of their own. Whoever appends is told if there is none.
#[derive(Clone, Default)]
pub struct Bytes {
    few: [u8; FEW],
    /// How many bytes are in `few`, or [`SPILLED`].
    used: u8,
    /// All bytes, if `used` says so. Otherwise empty, and kept for its memory.
    #[expect(clippy::box_collection, reason = "rarely there, while every task has such bytes")]
    many: Option<Box<Vec<u8>>>,
}

/// There is no memory for more.
#[derive(Debug)]
pub(crate) struct Full;

impl Bytes {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { few: [0; FEW], used: 0, many: None }
    }

    /// With memory for so many, of which more than few are sure to come. Should there be none, whoever appends learns of it.
    pub(crate) fn with_room(bytes: usize) -> Self {
        let mut many = Vec::new();
        let _ = many.try_reserve_exact(bytes);
        Self { many: Some(Box::new(many)), ..Self::new() }
    }

    #[inline]
    pub(crate) fn from_slice(bytes: &[u8]) -> Self {
        let mut few = [0; FEW];
        match few.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self { few, used: bytes.len() as u8, many: None }
            }
            None => bytes.to_vec().into(),
        }
    }

    /// The bytes with what follows them in place, and how many they are, if that is where they are.
    #[inline(always)]
    pub(crate) fn few(&self) -> Option<(&[u8; FEW], usize)> {
        (self.used != SPILLED).then_some((&self.few, usize::from(self.used)))
    }

    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) -> Result<(), Full> {
        if let Some(place) = self.few.get_mut(usize::from(self.used)) {
            *place = byte;
            self.used += 1;
            return Ok(());
        }
        self.append_to_many(&[byte])
    }

    #[inline(always)]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let used = usize::from(self.used);
        let end = used + bytes.len();
        if let Some(place) = self.few.get_mut(used..end) {
            place.copy_from_slice(bytes);
            self.used = end as u8;
            return Ok(());
        }
        self.append_to_many(bytes)
    }

    #[inline(never)]
    fn append_to_many(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let many = self.many.get_or_insert_default();
        let few = self.few.get(..usize::from(self.used)).unwrap_or(&[]);
        let more = few.len() + bytes.len();
        if many.capacity() - many.len() < more {
            many.try_reserve(more).map_err(|_no_memory| Full)?;
        }
        many.extend_from_slice(few);
        many.extend_from_slice(bytes);
        self.used = SPILLED;
        Ok(())
    }

    /// Forget what stands behind the first `length` bytes.
    #[inline(always)]
    pub(crate) fn truncate(&mut self, length: usize) {
        match &mut self.many {
            Some(many) if self.used == SPILLED => many.truncate(length),
            _ => self.used = self.used.min(length.min(FEW) as u8),
        }
    }

    /// Forget all, and keep the memory.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        if let Some(many) = &mut self.many {
            many.clear();
        }
    }

    /// Whether nothing is lost if it is forgotten.
    #[inline(always)]
    pub(crate) fn has_no_memory(&self) -> bool {
        self.many.is_none()
    }

    /// How many bytes of memory it has.
    pub(crate) fn capacity(&self) -> usize {
        self.many.as_ref().map_or(0, |many| many.capacity())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        let few = self.few.get(..usize::from(self.used));
        few.unwrap_or_else(|| self.many.as_ref().map_or(&[], |many| many))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self { few: [0; FEW], used: SPILLED, many: Some(Box::new(bytes)) }
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        match bytes.many {
            Some(many) if bytes.used == SPILLED => *many,
            _ => bytes.to_vec(),
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl io::Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.append(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(Full) => Err(io::Error::new(io::ErrorKind::OutOfMemory, NO_MEMORY)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Append(Vec<u8>),
        Truncate(usize),
        Clear,
        Again,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => any::<u8>().prop_map(Step::Push),
            4 => prop::collection::vec(any::<u8>(), 0..2 * FEW).prop_map(Step::Append),
            1 => (0..3 * FEW).prop_map(Step::Truncate),
            1 => Just(Step::Clear),
            1 => Just(Step::Again),
        ]
    }

    proptest! {
        #[test]
        fn they_are_what_a_vector_is(steps in prop::collection::vec(step(), 0..24)) {
            let (mut bytes, mut model) = (Bytes::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Push(byte) => {
                        bytes.push(byte).expect("memory");
                        model.push(byte);
                    }
                    Step::Append(more) => {
                        bytes.write_all(&more).expect("memory");
                        model.extend(more);
                    }
                    Step::Truncate(length) => {
                        bytes.truncate(length);
                        model.truncate(length);
                    }
                    Step::Clear => {
                        bytes.clear();
                        model.clear();
                    }
                    Step::Again => bytes = Bytes::from(Vec::from(bytes.clone())),
                }
                prop_assert_eq!(&bytes[..], &model[..]);
                prop_assert_eq!(bytes.few().map(|(few, count)| &few[..count]), bytes.few().map(|_| &model[..]));
                prop_assert_eq!(&bytes, &Bytes::from_slice(&model));
                prop_assert_eq!(format!("{bytes:?}"), format!("{model:?}"));
            }
            prop_assert_eq!(Vec::from(bytes), model);
        }
    }

    /// Every task has its arguments' and its result's.
    #[test]
    fn a_few_take_three_words_and_no_memory() {
        assert_eq!(size_of::<Bytes>(), 24);
        for length in 0..2 * FEW {
            let mut bytes = Bytes::new();
            bytes.append(&vec![7; length]).expect("memory");
            for bytes in [bytes, Bytes::from_slice(&vec![7; length])] {
                let few = bytes.few().map(|(_, count)| count);
                assert_eq!(few, (length <= FEW).then_some(length));
                assert_eq!(bytes.has_no_memory(), length <= FEW);
            }
        }
    }
}
