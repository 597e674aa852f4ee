//! Arguments and results to bytes and back. The only place that names a codec crate.
//!
//! What is decoded comes from another process and is not believed: no announced length is trusted, bytes
//! left over are an error, and so is a value nested deeper than [`DEPTH_MAX`]. Decoding runs code of the
//! user's types, which may panic; whoever calls [`decode`] guards against that.
//!
//! Knows nothing of tasks, pools or processes.

pub(crate) mod arguments;
pub(crate) mod bytes;
pub(crate) mod encoded;
#[cfg(feature = "json")]
mod json;
pub(crate) mod lent;
pub(crate) mod limited;
pub(crate) mod small;
pub(crate) mod wire;

use serde::{Deserialize, Serialize};

use crate::shm::attachments;
pub use encoded::Encoded;
use limited::Limited;
pub use small::Bytes;
use small::Full;

/// How many values may be nested in one another.
pub(crate) const DEPTH_MAX: u32 = 128;

/// How bytes are to be read. The number is what crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum CodecId {
    /// The default: compact, and quick to encode.
    Postcard = 1,
    /// For calls by name with dynamic values.
    #[cfg(feature = "json")]
    Json = 2,
    /// bincode 2 in its standard configuration.
    #[cfg(feature = "bincode")]
    Bincode = 3,
}

impl CodecId {
    /// Of typed calls.
    pub(crate) const BINARY: Self = Self::Postcard;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postcard => "postcard",
            #[cfg(feature = "json")]
            Self::Json => "json",
            #[cfg(feature = "bincode")]
            Self::Bincode => "bincode",
        }
    }
}

impl From<CodecId> for u8 {
    fn from(id: CodecId) -> Self {
        id as Self
    }
}

impl TryFrom<u8> for CodecId {
    type Error = UnknownCodec;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            1 => Ok(Self::Postcard),
            #[cfg(feature = "json")]
            2 => Ok(Self::Json),
            #[cfg(feature = "bincode")]
            3 => Ok(Self::Bincode),
            _ => Err(UnknownCodec(number)),
        }
    }
}

/// A codec that this build of the library does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown codec {0}; the programs must be built with the same features of `atasker` \
     (`json` is 2, `bincode` is 3)"
)]
pub struct UnknownCodec(u8);

/// A value could not be turned into bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(Box<str>);

impl EncodeError {
    pub(crate) fn new(message: impl Into<Box<str>>) -> Self {
        Self(message.into())
    }
}

/// Bytes could not be turned into a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes hold something else than what is wanted.
    #[error("{0}")]
    Malformed(String),
    /// The value ends before the bytes do.
    #[error("bytes are left over after the value ({0} of them)")]
    Trailing(usize),
}

/// Encode one value.
pub(crate) fn encode<T: Serialize + ?Sized>(id: CodecId, value: &T) -> Result<Bytes, EncodeError> {
    let mut bytes = Bytes::new();
    encode_to(id, value, &mut bytes)?;
    Ok(bytes)
}

/// Encode one value behind what `bytes` holds already.
#[inline]
pub(crate) fn encode_to<T: Serialize + ?Sized>(
    id: CodecId,
    value: &T,
    bytes: &mut Bytes,
) -> Result<(), EncodeError> {
    match id {
        CodecId::Postcard => encode_binary(value, bytes),
        #[cfg(feature = "json")]
        CodecId::Json => serde_json::to_writer(bytes, value).map_err(failed),
        #[cfg(feature = "bincode")]
        CodecId::Bincode => {
            let config = bincode::config::standard();
            bincode::serde::encode_into_writer(value, Appended(bytes), config).map_err(failed)
        }
    }
}

/// The same in the codec of typed calls.
#[inline]
pub(crate) fn encode_binary<T: Serialize + ?Sized>(
    value: &T,
    bytes: &mut Bytes,
) -> Result<(), EncodeError> {
    let mut serializer = postcard::Serializer { output: Appended(bytes) };
    value.serialize(&mut serializer).map_err(failed)
}

/// Why a value was not encoded for which there is no room.
const NO_MEMORY: &str = "there is no memory for what it is as bytes";

/// In the words of the buffer that was refused, which postcard would drop, or in the codec's own.
#[cold]
fn failed(error: impl std::fmt::Display) -> EncodeError {
    EncodeError::new(attachments::take_refusal().map_or_else(|| in_words(error), str::to_owned))
}

/// What the codec says, or what to do where that would help nobody.
#[cold]
fn in_words(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    if text == postcard::Error::WontImplement.to_string() {
        "its serde form needs a format that describes itself (`untagged`, `flatten`, `serde_json::Value`): send it as a \
         `String`, or call by name with JSON"
            .to_owned()
    } else if text == postcard::Error::SerializeBufferFull.to_string() || text.contains(NO_MEMORY) {
        NO_MEMORY.to_owned()
    } else {
        text
    }
}

/// Decode one value, which must take all of `bytes`.
#[inline]
pub(crate) fn decode<'de, T: Deserialize<'de>>(
    id: CodecId,
    bytes: &'de [u8],
) -> Result<T, DecodeError> {
    let mut decoder = Decoder::new(id, bytes);
    let value = decoder.next()?;
    decoder.finish()?;
    Ok(value)
}

/// Decodes values that stand one after another. JSON has only one.
pub(crate) struct Decoder<'de> {
    id: CodecId,
    rest: &'de [u8],
}

impl<'de> Decoder<'de> {
    #[inline]
    pub(crate) fn new(id: CodecId, bytes: &'de [u8]) -> Self {
        Self { id, rest: bytes }
    }

    #[inline]
    pub(crate) fn next<T: Deserialize<'de>>(&mut self) -> Result<T, DecodeError> {
        match self.id {
            CodecId::Postcard => {
                let context = limited::Context::new(self.rest.len());
                let mut deserializer = postcard::Deserializer::from_bytes(self.rest);
                let value =
                    T::deserialize(Limited::new(&mut deserializer, &context)).map_err(malformed)?;
                self.rest = deserializer.finalize().map_err(malformed)?;
                Ok(value)
            }
            #[cfg(feature = "json")]
            CodecId::Json => {
                // `from_slice` rejects what follows the value, and nesting beyond 128 levels.
                let value = serde_json::from_slice(self.rest).map_err(malformed)?;
                self.rest = &[];
                Ok(value)
            }
            #[cfg(feature = "bincode")]
            CodecId::Bincode => {
                let context = limited::Context::new(self.rest.len());
                // No limit in the configuration: it reads from a slice, whose end is the limit, and
                // `Limited` never lets it allocate what a length announces.
                let (value, read) = bincode::serde::seed_decode_from_slice(
                    limited::Whole::new(&context),
                    self.rest,
                    bincode::config::standard(),
                )
                .map_err(|error| malformed(context.fault(error)))?;
                self.rest = &self.rest[read..];
                Ok(value)
            }
        }
    }

    #[inline]
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}

#[cold]
fn malformed(error: impl std::fmt::Display) -> DecodeError {
    DecodeError::Malformed(in_words(error))
}

/// Appends to what is there already.
struct Appended<'a>(&'a mut Bytes);

impl From<Full> for postcard::Error {
    fn from(_: Full) -> Self {
        Self::SerializeBufferFull
    }
}

impl postcard::ser_flavors::Flavor for Appended<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        Ok(self.0.push(byte)?)
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        Ok(self.0.append(bytes)?)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "bincode")]
impl bincode::enc::write::Writer for Appended<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.append(bytes).map_err(|Full| bincode::error::EncodeError::Other(NO_MEMORY))
    }
}

#[cfg(test)]
mod tests;
