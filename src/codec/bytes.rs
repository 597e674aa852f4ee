//! Byte vectors as bytes.
//!
//! serde takes a `Vec<u8>` element by element, which costs ten times as much. In the binary codecs the
//! bytes that cross are the same either way; in JSON they are an array of numbers.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

/// Owned.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    borrowed(deserializer).map(Cow::into_owned)
}

/// Without a copy where the input allows it.
pub(crate) fn borrowed<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'de, [u8]>, D::Error> {
    if deserializer.is_human_readable() {
        // JSON would take a text for bytes.
        deserializer.deserialize_seq(BytesVisitor)
    } else {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

/// At most this many bytes are reserved on the word of a length that was announced.
const RESERVED_BYTES_MAX: usize = 1 << 16;

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of bytes")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(bytes))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes.to_vec()))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let announced = elements.size_hint().unwrap_or(0);
        let mut bytes = Vec::with_capacity(announced.min(RESERVED_BYTES_MAX));
        while let Some(byte) = elements.next_element()? {
            bytes.push(byte);
        }
        Ok(Cow::Owned(bytes))
    }
}
