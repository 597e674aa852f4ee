//! The outcomes of an entry, one after the other: what the worker appends and the coordinator checks.
//!
//! Each is a head of four bytes (its variant in the lowest four bits, the length of its body in the rest)
//! and its body, see `transport::outcome`.

use crate::transport::frame::{Outcome, OutcomeFrame};
use crate::transport::outcome::{self, LayoutError};

pub(super) const HEAD_BYTES: usize = 4;
const VARIANT_BITS: u32 = 4;
/// A longer body has no place in a slot.
const BODY_BYTES_MAX: usize = super::layout::AREA_BYTES - HEAD_BYTES;
/// The variant of an outcome that stands behind a header, see `parcels`. Its body begins with its own variant.
pub(super) const EXTENDED: u8 = 15;

/// Takes an extended outcome apart. An error is a lie.
pub(super) type Unpack<'a> = dyn FnMut(&[u8]) -> Result<Outcome, String> + 'a;

/// Why outcomes are not what they should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("{0}")]
    Lie(String),
}

/// The head of an outcome of this variant and length.
pub(super) fn head(variant: u8, length: usize) -> [u8; HEAD_BYTES] {
    debug_assert!(length <= BODY_BYTES_MAX && variant < 1 << VARIANT_BITS);
    ((length as u32) << VARIANT_BITS | u32::from(variant)).to_le_bytes()
}

/// The outcomes of several calls in a row, checked to be so many and whole. What is in them is decoded by
/// whoever reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackOutcomes {
    bytes: Vec<u8>,
    count: u32,
    /// Of these, how many are values that are no `Err`.
    values: u32,
    /// Those that were extended, each behind its offset.
    extended: Vec<(usize, Outcome)>,
}

impl PackOutcomes {
    /// How many calls a pack can have.
    pub(crate) const CALLS_MAX: u32 = super::word::CALLS_MAX;

    /// The first `count` outcomes in `bytes`, and how many bytes they take. Decoded so far that reading
    /// them can't fail later.
    pub(super) fn check(
        mut bytes: Vec<u8>,
        count: u32,
        unpack: &mut Unpack<'_>,
    ) -> Result<Self, Broken> {
        let mut rest = &bytes[..];
        let mut values = 0;
        let mut extended = Vec::new();
        for _ in 0..count {
            let (variant, body, after) = split(rest)?;
            match variant {
                outcome::RETURNED => values += 1,
                EXTENDED => {
                    let outcome = unpack(body).map_err(Broken::Lie)?;
                    values += u32::from(matches!(outcome, Outcome::Returned { error: None, .. }));
                    extended.push((bytes.len() - rest.len(), outcome));
                }
                variant => _ = outcome::decode(variant, body)?,
            }
            rest = after;
        }
        let length = bytes.len() - rest.len();
        bytes.truncate(length);
        Ok(Self { bytes, count, values, extended })
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How many of them are values that are no `Err`.
    pub(crate) fn values(&self) -> u32 {
        self.values
    }

    pub(super) fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// The value that stands at `offset`, if that is what stands there, and the offset of what is behind it.
    #[inline]
    pub(crate) fn value(&self, offset: usize) -> Option<(&[u8], usize)> {
        let (variant, body, after) = split(self.bytes.get(offset..)?).ok()?;
        (variant == outcome::RETURNED).then(|| (body, self.bytes.len() - after.len()))
    }

    /// The offset of what stands behind the outcome at `offset`.
    pub(crate) fn after(&self, offset: usize) -> Option<usize> {
        let (_, _, after) = split(self.bytes.get(offset..)?).ok()?;
        Some(self.bytes.len() - after.len())
    }

    /// The outcome that stands at `offset`, or its value, if it returned one without an error, lent out; and
    /// the offset of the next.
    pub(crate) fn read(&self, offset: usize) -> Option<(Read<'_>, usize)> {
        let rest = self.bytes.get(offset..)?;
        let (variant, body, after) = split(rest).ok()?;
        let read = match variant {
            outcome::RETURNED => Read::Value(body),
            EXTENDED => Read::Extended(offset),
            variant => Read::Other(outcome::decode(variant, body).ok()?),
        };
        Some((read, self.bytes.len() - after.len()))
    }
}

impl PackOutcomes {
    /// The one that [stands](Read::Extended) at this offset.
    pub(crate) fn extended(&self, offset: usize) -> Option<&Outcome> {
        self.extended.iter().find(|(other, _)| *other == offset).map(|(_, outcome)| outcome)
    }

    /// The same, which is not there any more afterwards.
    pub(crate) fn take_extended(&mut self, offset: usize) -> Option<Outcome> {
        let index = self.extended.iter().position(|(other, _)| *other == offset)?;
        Some(self.extended.swap_remove(index).1)
    }
}

/// One outcome of a pack.
#[derive(Debug)]
pub(crate) enum Read<'a> {
    /// It returned this, encoded, and it is no `Err`.
    Value(&'a [u8]),
    /// It came with buffers, and is to be had by this offset.
    Extended(usize),
    Other(Outcome),
}

/// The one outcome of a single call.
pub(super) fn check_one(
    bytes: &[u8],
    ran_ns: u64,
    unpack: &mut Unpack<'_>,
) -> Result<OutcomeFrame, Broken> {
    let (variant, body, after) = split(bytes)?;
    if !after.is_empty() {
        return Err(LayoutError::Trailing.into());
    }
    let outcome = match variant {
        EXTENDED => unpack(body).map_err(Broken::Lie)?,
        variant => outcome::decode(variant, body)?,
    };
    Ok(OutcomeFrame { outcome, ran_ns })
}

/// Variant and body of the first outcome, and what follows.
#[inline]
fn split(bytes: &[u8]) -> Result<(u8, &[u8], &[u8]), LayoutError> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(LayoutError::Short)?;
    let head = u32::from_le_bytes(*head);
    let length = (head >> VARIANT_BITS) as usize;
    let (body, after) = rest.split_at_checked(length).ok_or(LayoutError::Short)?;
    Ok(((head & ((1 << VARIANT_BITS) - 1)) as u8, body, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn no_header(_body: &[u8]) -> Result<Outcome, String> {
        Err("nothing here is extended".to_owned())
    }

    fn append(outcome: &Outcome, bytes: &mut Vec<u8>) {
        let mut body = Vec::new();
        let variant = outcome::encode(outcome, &mut body);
        bytes.extend(head(variant, body.len()));
        bytes.extend(body);
    }

    #[test]
    fn outcomes_are_read_one_after_the_other() {
        let panicked = Outcome::Panicked { message: "oh".into(), location: None };
        let mut bytes = Vec::new();
        append(&Outcome::Returned { value: vec![7].into(), error: None }, &mut bytes);
        append(&panicked, &mut bytes);
        let length = bytes.len();
        bytes.extend([9, 9]);
        let pack = PackOutcomes::check(bytes, 2, &mut no_header).expect("they are whole");
        assert_eq!((pack.count(), pack.byte_count()), (2, length));
        let (Read::Value(value), next) = pack.read(0).expect("the first") else {
            panic!("a value")
        };
        assert_eq!(value, [7]);
        let (Read::Other(other), end) = pack.read(next).expect("the second") else {
            panic!("no value")
        };
        assert_eq!((other, end), (panicked, length));
        assert!(pack.read(end).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes: Vec<u8>, count in 0_u32..5) {
            let _ = check_one(&bytes, 0, &mut no_header);
            if let Ok(pack) = PackOutcomes::check(bytes, count, &mut no_header) {
                let mut offset = 0;
                for _ in 0..count {
                    offset = pack.read(offset).expect("it was checked").1;
                }
                prop_assert_eq!(offset, pack.byte_count());
            }
        }
    }
}
