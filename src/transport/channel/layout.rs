//! The bytes of the channel transport: calls to the worker, outcomes back. All numbers little-endian.
//!
//! ```text
//! call     kind u8 = 1 · codec u8 · length of name u16 · slot u32 · attempt u32 · number u64
//!          · name · arguments
//! retire   kind u8 = 2
//! outcome  kind u8 = 3 · variant u8 · 0 u16 · slot u32 · attempt u32 · number u64 · ran_ns u64
//!          · texts of the variant · value
//! end      kind u8 = 4
//! large    kind u8 = 5; the next message, an outcome, is of more than one fragment
//! parts    kind u8 = 6 · length u64; the next messages are together a call of this length
//! text     length u32 · UTF-8
//! ```
//!
//! Decoding takes nothing for granted: what a worker sends is the input of a stranger.

use crate::codec::Bytes;
use crate::task::id::Ticket;
use crate::transport::frame::{CallFrame, Outcome, OutcomeFrame};
use crate::transport::outcome::{self, LayoutError, Reader, text};

const CALL: u8 = 1;
const RETIRE: u8 = 2;
const OUTCOME: u8 = 3;
const END: u8 = 4;
const LARGE: u8 = 5;
const PARTS: u8 = 6;

const HEAD: usize = 20;
const OUTCOME_HEAD: usize = HEAD + 8;
const VARIANT_AT: usize = 1;
/// What is reserved for an outcome, whose size is not known yet.
const FIRST_BYTES: usize = 64;

/// The whole of a retire message.
pub(super) const RETIRE_MESSAGE: [u8; 1] = [RETIRE];
/// What the coordinator sends itself behind a dead worker's last outcome.
pub(super) const END_MESSAGE: [u8; 1] = [END];

/// Announces an outcome that is a message of more than one fragment.
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

/// `None` if the function's name is longer than any real one.
pub(super) fn encode_call(ticket: Ticket, call: CallFrame<'_>) -> Option<Vec<u8>> {
    let name_length = u16::try_from(call.function.len()).ok()?;
    let mut bytes = Vec::with_capacity(HEAD + call.function.len() + call.arguments.len());
    bytes.extend([CALL, call.codec_number()]);
    bytes.extend(name_length.to_le_bytes());
    push_ticket(&mut bytes, ticket);
    bytes.extend(call.function.as_bytes());
    bytes.extend(call.arguments);
    Some(bytes)
}

/// Announces a call of this length that comes in parts.
pub(super) fn encode_parts(length: u64) -> [u8; 9] {
    let mut bytes = [PARTS; 9];
    bytes[1..].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// The length of the call that is announced, if this is such an announcement.
pub(super) fn decode_parts(bytes: &[u8]) -> Option<u64> {
    let length = bytes.strip_prefix(&[PARTS])?;
    Some(u64::from_le_bytes(length.try_into().ok()?))
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
    let mut bytes = Vec::with_capacity(OUTCOME_HEAD + FIRST_BYTES);
    bytes.extend([OUTCOME, 0, 0, 0]);
    push_ticket(&mut bytes, ticket);
    bytes.extend(frame.ran_ns.to_le_bytes());
    bytes[VARIANT_AT] = outcome::encode(&frame.outcome, &mut bytes);
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
        outcome::RETURNED => {
            return Ok(returned(ticket, ran_ns, None, reader.0.len(), bytes));
        }
        outcome::RETURNED_ERROR => {
            let error = reader.texts()?;
            return Ok(returned(ticket, ran_ns, Some(error), reader.0.len(), bytes));
        }
        variant => outcome::decode(variant, reader.0)?,
    };
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
        Bytes::from_slice(&bytes[start..])
    } else {
        bytes.drain(..start);
        Bytes::from(bytes)
    };
    FromWorker::Outcome(
        ticket,
        OutcomeFrame { outcome: Outcome::Returned { value: value.into(), error }, ran_ns },
    )
}

fn push_ticket(bytes: &mut Vec<u8>, ticket: Ticket) {
    bytes.extend(ticket.task.slot.to_le_bytes());
    bytes.extend(ticket.attempt.to_le_bytes());
    bytes.extend(ticket.task.number.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecId;
    use crate::task::id::TaskId;
    use proptest::prelude::*;

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let value = prop::collection::vec(any::<u8>(), 0..200);
        prop_oneof![
            (value, prop::option::of(prop::collection::vec(any::<String>(), 0..4)))
                .prop_map(|(value, error)| Outcome::Returned { value: value.into(), error }),
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
            let call = CallFrame {
                function: &function,
                index: 0,
                calls: 1,
                is_pack: false,
                codec: CodecId::Postcard,
                is_measured: false,
                arguments: &arguments,
                shared: None,
                attachments: &[],
            };
            let bytes = encode_call(ticket, call).expect("a short name");
            let ToWorker::Call { ticket: got, codec, function: name, arguments: rest } =
                decode_to_worker(&bytes).expect("a call") else { panic!("a call") };
            prop_assert_eq!((got, codec, name, rest), (ticket, CodecId::Postcard as u8, &*function, &*arguments));
        }

        #[test]
        fn a_length_comes_back_and_is_no_call(length: u64) {
            let bytes = encode_parts(length);
            prop_assert_eq!(decode_parts(&bytes), Some(length));
            prop_assert!(decode_to_worker(&bytes).is_err());
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
