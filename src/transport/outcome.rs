//! Outcomes as bytes: a number that says which variant it is, the texts of the variant, and the value at
//! the end. Both transports carry these; each frames them in its own way. All numbers little-endian.
//!
//! Decoding takes nothing for granted: what a worker sends is the input of a stranger.

use crate::codec::Bytes;
use crate::task::id::{TaskId, Ticket};
use crate::transport::frame::Outcome;

pub(super) const RETURNED: u8 = 1;
pub(super) const RETURNED_ERROR: u8 = 2;
const PANICKED: u8 = 3;
const PANICKED_SOMEWHERE: u8 = 4;
const UNENCODABLE: u8 = 5;
const UNKNOWN_FUNCTION: u8 = 6;
const BAD_ARGUMENTS: u8 = 7;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LayoutError {
    #[error("a message of no known kind")]
    Kind,
    #[error("a message that ends before its end")]
    Short,
    #[error("a message with something behind its end")]
    Trailing,
    #[error("a text that is not UTF-8")]
    Text,
}

/// Append the texts and the value of an outcome. Its variant.
pub(super) fn encode(outcome: &Outcome, bytes: &mut Vec<u8>) -> u8 {
    let one = |text, variant, bytes: &mut Vec<u8>| {
        push_text(text, bytes);
        variant
    };
    match outcome {
        Outcome::Returned { value, error: None } => {
            bytes.extend_from_slice(value.bytes());
            RETURNED
        }
        Outcome::Returned { value, error: Some(texts) } => {
            bytes.extend(length_u32(texts.len()).to_le_bytes());
            for text in texts {
                push_text(text, bytes);
            }
            bytes.extend_from_slice(value.bytes());
            RETURNED_ERROR
        }
        Outcome::Panicked { message, location: None } => one(message, PANICKED, bytes),
        Outcome::Panicked { message, location: Some(location) } => {
            push_text(message, bytes);
            one(location, PANICKED_SOMEWHERE, bytes)
        }
        Outcome::Unencodable { message } | Outcome::Undeliverable { message } => {
            one(message, UNENCODABLE, bytes)
        }
        Outcome::UnknownFunction { message } => one(message, UNKNOWN_FUNCTION, bytes),
        Outcome::BadArguments { message } => one(message, BAD_ARGUMENTS, bytes),
    }
}

/// The outcome that [`encode`] made these bytes of.
pub(super) fn decode(variant: u8, bytes: &[u8]) -> Result<Outcome, LayoutError> {
    let returned =
        |value, error| Outcome::Returned { value: Bytes::from_slice(value).into(), error };
    let mut reader = Reader(bytes);
    let outcome = match variant {
        RETURNED => return Ok(returned(bytes, None)),
        RETURNED_ERROR => {
            let error = Some(reader.texts()?);
            return Ok(returned(reader.0, error));
        }
        PANICKED => Outcome::Panicked { message: reader.text()?, location: None },
        PANICKED_SOMEWHERE => {
            Outcome::Panicked { message: reader.text()?, location: Some(reader.text()?) }
        }
        UNENCODABLE => Outcome::Unencodable { message: reader.text()? },
        UNKNOWN_FUNCTION => Outcome::UnknownFunction { message: reader.text()? },
        BAD_ARGUMENTS => Outcome::BadArguments { message: reader.text()? },
        _ => return Err(LayoutError::Kind),
    };
    if reader.0.is_empty() { Ok(outcome) } else { Err(LayoutError::Trailing) }
}

fn push_text(text: &str, bytes: &mut Vec<u8>) {
    let text = truncated(text);
    bytes.extend(length_u32(text.len()).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("texts were truncated, and no error has 2^32 causes")
}

/// A message of many megabytes helps nobody.
fn truncated(text: &str) -> &str {
    const TEXT_BYTES_MAX: usize = 1 << 20;
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, LayoutError> {
    std::str::from_utf8(bytes).map_err(|_| LayoutError::Text)
}

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], LayoutError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(LayoutError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], LayoutError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(LayoutError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, LayoutError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, LayoutError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, LayoutError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, LayoutError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn ticket(&mut self) -> Result<Ticket, LayoutError> {
        let slot = self.u32()?;
        let attempt = self.u32()?;
        let number = self.u64()?;
        Ok(Ticket { task: TaskId { number, slot }, attempt })
    }

    pub(super) fn text(&mut self) -> Result<String, LayoutError> {
        let length = usize::try_from(self.u32()?).map_err(|_| LayoutError::Short)?;
        text(self.take(length)?).map(str::to_owned)
    }

    /// Each text takes four bytes at least, so a lie about their number ends early.
    pub(super) fn texts(&mut self) -> Result<Vec<String>, LayoutError> {
        let count = self.u32()?;
        (0..count).map(|_| self.text()).collect()
    }
}
