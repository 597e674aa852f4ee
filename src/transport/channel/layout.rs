//! The bytes of the channel transport: calls to the worker, outcomes back. All numbers little-endian.
//!
//! ```text
//! call     kind u8 = 1 · codec u8 · length of name u16 · slot u32 · attempt u32 · number u64
//!          · name · arguments
//! retire   kind u8 = 2
//! outcome  kind u8 = 3 · variant u8 · 0 u16 · slot u32 · attempt u32 · number u64 · ran_ns u64
//!          · texts of the variant · value
//! end      kind u8 = 4
//! large    kind u8 = 5; the next message is of more than one fragment
//! text     length u32 · UTF-8
//! ```
//!
//! Decoding takes nothing for granted: what a worker sends is the input of a stranger.

use crate::task::id::{TaskId, Ticket};
use crate::transport::frame::{CallFrame, Outcome, OutcomeFrame};

const CALL: u8 = 1;
const RETIRE: u8 = 2;
const OUTCOME: u8 = 3;
const END: u8 = 4;
const LARGE: u8 = 5;

const RETURNED: u8 = 1;
const RETURNED_ERROR: u8 = 2;
const PANICKED: u8 = 3;
const PANICKED_SOMEWHERE: u8 = 4;
const UNENCODABLE: u8 = 5;
const UNKNOWN_FUNCTION: u8 = 6;
const BAD_ARGUMENTS: u8 = 7;

const HEAD: usize = 20;
const OUTCOME_HEAD: usize = HEAD + 8;

/// The whole of a retire message.
pub(super) const RETIRE_MESSAGE: [u8; 1] = [RETIRE];
/// What the coordinator sends itself behind a dead worker's last outcome.
pub(super) const END_MESSAGE: [u8; 1] = [END];

/// Announces a message of more than one fragment, in both directions.
pub(super) const LARGE_MESSAGE: [u8; 1] = [LARGE];

/// A result shorter than this is copied out of the buffer it came in, which is two hundred kilobytes
/// whatever arrives, so that unread results do not hold that much each.
const COPY_OUT_MAX: usize = 128 << 10;

/// What a worker can be sent.
#[derive(Debug)]
pub(super) enum ToWorker<'a> {
    Call {
        ticket: Ticket,
        /// A number, because the other side may have codecs that this build lacks.
        codec: u8,
        function: &'a str,
        arguments: &'a [u8],
    },
    Retire,
}

/// What can stand in the way back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FromWorker {
    Outcome(Ticket, OutcomeFrame),
    End,
}

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

/// `None` if the function's name is longer than any real one.
pub(super) fn encode_call(ticket: Ticket, call: CallFrame<'_>) -> Option<Vec<u8>> {
    let name_length = u16::try_from(call.function.len()).ok()?;
    let mut bytes = Vec::with_capacity(HEAD + call.function.len() + call.arguments.len());
    bytes.extend([CALL, call.codec as u8]);
    bytes.extend(name_length.to_le_bytes());
    push_ticket(&mut bytes, ticket);
    bytes.extend(call.function.as_bytes());
    bytes.extend(call.arguments);
    Some(bytes)
}

pub(super) fn decode_to_worker(bytes: &[u8]) -> Result<ToWorker<'_>, LayoutError> {
    let mut reader = Reader(bytes);
    match reader.u8()? {
        CALL => {
            let codec = reader.u8()?;
            let name_length = reader.u16()?;
            let ticket = reader.ticket()?;
            let function = text(reader.take(usize::from(name_length))?)?;
            Ok(ToWorker::Call { ticket, codec, function, arguments: reader.0 })
        }
        RETIRE if reader.0.is_empty() => Ok(ToWorker::Retire),
        RETIRE => Err(LayoutError::Trailing),
        _ => Err(LayoutError::Kind),
    }
}

pub(super) fn encode_outcome(ticket: Ticket, frame: &OutcomeFrame) -> Vec<u8> {
    let (variant, texts, value) = parts(&frame.outcome);
    let length = texts.iter().map(|text| 4 + text.len()).sum::<usize>() + value.len();
    let mut bytes = Vec::with_capacity(OUTCOME_HEAD + 4 + length);
    bytes.extend([OUTCOME, variant, 0, 0]);
    push_ticket(&mut bytes, ticket);
    bytes.extend(frame.ran_ns.to_le_bytes());
    if variant == RETURNED_ERROR {
        bytes.extend(length_u32(texts.len()).to_le_bytes());
    }
    for text in texts {
        let text = truncated(text);
        bytes.extend(length_u32(text.len()).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes.extend(value);
    bytes
}

pub(super) fn decode_from_worker(bytes: Vec<u8>) -> Result<FromWorker, LayoutError> {
    let mut reader = Reader(&bytes);
    match reader.u8()? {
        OUTCOME => {}
        END if bytes.len() == END_MESSAGE.len() => return Ok(FromWorker::End),
        END => return Err(LayoutError::Trailing),
        _ => return Err(LayoutError::Kind),
    }
    let variant = reader.u8()?;
    reader.u16()?;
    let ticket = reader.ticket()?;
    let ran_ns = reader.u64()?;
    let outcome = match variant {
        RETURNED => return Ok(returned(ticket, ran_ns, None, reader.0.len(), bytes)),
        RETURNED_ERROR => {
            let error = reader.texts()?;
            return Ok(returned(ticket, ran_ns, Some(error), reader.0.len(), bytes));
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
    if !reader.0.is_empty() {
        return Err(LayoutError::Trailing);
    }
    Ok(FromWorker::Outcome(ticket, OutcomeFrame { outcome, ran_ns }))
}

/// `length` bytes at the end of `bytes` are the value.
fn returned(
    ticket: Ticket,
    ran_ns: u64,
    error: Option<Vec<String>>,
    length: usize,
    mut bytes: Vec<u8>,
) -> FromWorker {
    let start = bytes.len() - length;
    let value = if length < COPY_OUT_MAX {
        bytes[start..].to_vec()
    } else {
        bytes.drain(..start);
        bytes
    };
    FromWorker::Outcome(
        ticket,
        OutcomeFrame { outcome: Outcome::Returned { value, error }, ran_ns },
    )
}

/// Variant, texts and value of an outcome.
fn parts(outcome: &Outcome) -> (u8, Vec<&str>, &[u8]) {
    match outcome {
        Outcome::Returned { value, error: None } => (RETURNED, Vec::new(), value),
        Outcome::Returned { value, error: Some(texts) } => {
            (RETURNED_ERROR, texts.iter().map(String::as_str).collect(), value)
        }
        Outcome::Panicked { message, location: None } => (PANICKED, vec![message], &[]),
        Outcome::Panicked { message, location: Some(location) } => {
            (PANICKED_SOMEWHERE, vec![message, location], &[])
        }
        Outcome::Unencodable { message } => (UNENCODABLE, vec![message], &[]),
        Outcome::UnknownFunction { message } => (UNKNOWN_FUNCTION, vec![message], &[]),
        Outcome::BadArguments { message } => (BAD_ARGUMENTS, vec![message], &[]),
    }
}

fn push_ticket(bytes: &mut Vec<u8>, ticket: Ticket) {
    bytes.extend(ticket.task.slot.to_le_bytes());
    bytes.extend(ticket.attempt.to_le_bytes());
    bytes.extend(ticket.task.number.to_le_bytes());
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

fn text(bytes: &[u8]) -> Result<&str, LayoutError> {
    std::str::from_utf8(bytes).map_err(|_| LayoutError::Text)
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], LayoutError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(LayoutError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LayoutError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(LayoutError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, LayoutError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, LayoutError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, LayoutError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, LayoutError> {
        self.array().map(u64::from_le_bytes)
    }

    fn ticket(&mut self) -> Result<Ticket, LayoutError> {
        let slot = self.u32()?;
        let attempt = self.u32()?;
        let number = self.u64()?;
        Ok(Ticket { task: TaskId { number, slot }, attempt })
    }

    fn text(&mut self) -> Result<String, LayoutError> {
        let length = usize::try_from(self.u32()?).map_err(|_| LayoutError::Short)?;
        text(self.take(length)?).map(str::to_owned)
    }

    /// Each text takes four bytes at least, so a lie about their number ends early.
    fn texts(&mut self) -> Result<Vec<String>, LayoutError> {
        let count = self.u32()?;
        (0..count).map(|_| self.text()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecId;
    use proptest::prelude::*;

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let value = prop::collection::vec(any::<u8>(), 0..200);
        prop_oneof![
            (value, prop::option::of(prop::collection::vec(any::<String>(), 0..4)))
                .prop_map(|(value, error)| Outcome::Returned { value, error }),
            (any::<String>(), prop::option::of(any::<String>()))
                .prop_map(|(message, location)| Outcome::Panicked { message, location }),
            any::<String>().prop_map(|message| Outcome::Unencodable { message }),
            any::<String>().prop_map(|message| Outcome::UnknownFunction { message }),
            any::<String>().prop_map(|message| Outcome::BadArguments { message }),
        ]
    }

    fn tickets() -> impl Strategy<Value = Ticket> {
        (any::<u64>(), any::<u32>(), any::<u32>())
            .prop_map(|(number, slot, attempt)| Ticket { task: TaskId { number, slot }, attempt })
    }

    proptest! {
        #[test]
        fn an_outcome_comes_back_whole(ticket in tickets(), outcome in outcomes(), ran_ns: u64) {
            let frame = OutcomeFrame { outcome, ran_ns };
            let bytes = encode_outcome(ticket, &frame);
            prop_assert_eq!(decode_from_worker(bytes), Ok(FromWorker::Outcome(ticket, frame)));
        }

        #[test]
        fn a_call_comes_back_whole(ticket in tickets(), function: String, arguments: Vec<u8>) {
            let call = CallFrame { function: &function, codec: CodecId::Postcard, arguments: &arguments };
            let bytes = encode_call(ticket, call).expect("a short name");
            let ToWorker::Call { ticket: got, codec, function: name, arguments: rest } =
                decode_to_worker(&bytes).expect("a call") else { panic!("a call") };
            prop_assert_eq!((got, codec, name, rest), (ticket, CodecId::Postcard as u8, &*function, &*arguments));
        }

        #[test]
        fn any_bytes_are_refused_or_decoded(bytes: Vec<u8>, kind in 0_u8..6, variant in 0_u8..9) {
            let _ = decode_to_worker(&bytes);
            let _ = decode_from_worker(bytes.clone());
            let mut likely = vec![kind, variant];
            likely.extend(bytes);
            let _ = decode_to_worker(&likely);
            let _ = decode_from_worker(likely);
        }

        #[test]
        fn a_cut_outcome_is_refused(ticket in tickets(), message: String, cut in 1_usize..8) {
            let frame = OutcomeFrame { outcome: Outcome::Unencodable { message }, ran_ns: 0 };
            let mut bytes = encode_outcome(ticket, &frame);
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            prop_assert!(decode_from_worker(bytes).is_err());
        }
    }
}
