//! What crosses: a call, and the outcome of one. The layout in bytes is the codec's.

use std::sync::Arc;

use crate::codec::{Bytes, CodecId, Encoded};
use crate::shm::attachment::Attachment;

/// A call on its way to a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallFrame<'a> {
    /// The full path or an unambiguous short name.
    pub(crate) function: &'a str,
    /// Where the worker's registry has it.
    pub(crate) index: u32,
    /// One, or how many calls of the function this pack has.
    pub(crate) calls: u32,
    /// Whether it is a pack, be it of one call.
    pub(crate) is_pack: bool,
    /// How the arguments are encoded, and how the result is wanted.
    pub(crate) codec: CodecId,
    /// Whether the worker is to note how much CPU time its process has used, and how much memory it has, when the call
    /// begins.
    pub(crate) is_measured: bool,
    /// Of a pack, each behind its length in two bytes.
    pub(crate) arguments: &'a [u8],
    /// The same, if they are so many that they are not to be copied under a lock.
    pub(crate) shared: Option<&'a Arc<Bytes>>,
    /// The buffers in them. A pack has none.
    pub(crate) attachments: &'a [Attachment],
}

/// Added to the codec's number of a call that [is measured](CallFrame::is_measured). So a worker looks for it only
/// where it finds no codec that it knows, and calls that are not measured pay nothing.
pub(crate) const MEASURED: u8 = 0x80;

impl CallFrame<'_> {
    /// The codec's number as it crosses.
    pub(crate) fn codec_number(&self) -> u8 {
        u8::from(self.codec) | if self.is_measured { MEASURED } else { 0 }
    }

    /// Longer arguments are to be [shared](Self::shared).
    pub(crate) const COPIED_BYTES_MAX: usize = super::ring::layout::AREA_BYTES;
    /// The longest arguments that a pack can have together.
    pub(crate) const PACK_BYTES_MAX: usize = super::ring::layout::AREA_BYTES;
}

/// How an attempt ended in the worker, and what it had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutcomeFrame {
    pub(crate) outcome: Outcome,
    /// Nanoseconds that the function ran, measured beside it.
    pub(crate) ran_ns: u64,
}

/// How an attempt ended that came to an end by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned.
    Returned {
        /// What it returned, encoded, an `Err` included.
        value: Encoded,
        /// If it is an `Err`: its message and causes.
        error: Option<Vec<String>>,
    },
    /// It panicked.
    Panicked {
        /// With what.
        message: String,
        /// `file:line:column`, where known.
        location: Option<String>,
    },
    /// It ran, but what it returned could not be encoded.
    Unencodable {
        /// What the codec said.
        message: String,
    },
    /// It ran, but what it returned could not be taken here. Never said by a worker.
    Undeliverable {
        /// What there is a lack of.
        message: String,
    },
    /// The worker's program has no such function. It never ran.
    UnknownFunction {
        /// What there is instead.
        message: String,
    },
    /// The arguments could not be decoded. It never ran.
    BadArguments {
        /// Which, and what is wrong with it.
        message: String,
    },
}

impl Outcome {
    /// The buffers in what was returned.
    pub(crate) fn into_attachments(self) -> Vec<Attachment> {
        match self {
            Self::Returned { value, .. } => value.into_parts().1,
            _ => Vec::new(),
        }
    }
}

/// How a call ended in the worker, beside the buffer into which its value was to be encoded.
///
/// Most return a value and nothing else. That stays in the buffer into which it was encoded: moving it from
/// result to result costs as much as a small function.
#[derive(Debug)]
#[must_use]
pub enum Ran {
    /// It returned a value that is no `Err` and has no buffers in it. Its bytes are in the buffer.
    Plain,
    /// Anything else.
    Otherwise(Box<Outcome>),
}

impl Ran {
    /// The outcome. `buffer`: the one that the call was given.
    pub(crate) fn into_outcome(self, buffer: Bytes) -> Outcome {
        match self {
            Self::Plain => Outcome::Returned { value: buffer.into(), error: None },
            Self::Otherwise(outcome) => *outcome,
        }
    }
}

impl From<Outcome> for Ran {
    #[cold]
    fn from(outcome: Outcome) -> Self {
        Self::Otherwise(Box::new(outcome))
    }
}
