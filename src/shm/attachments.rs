//! Buffers beside the bytes: while a value is encoded the buffers in it are collected, and while one is decoded
//! they are found by their number. What stands in the bytes is that number, and which part of the buffer.
//!
//! serde has no way to hand something on from value to value, so this goes by the thread.

use std::cell::{Cell, RefCell};

use super::attachment::Attachment;
use super::buffer::Grade;

/// What a thread does with values at the moment.
enum Context {
    Nothing,
    Collecting(Vec<Attachment>),
    /// Those of the lent grade are taken out.
    Received(Vec<Option<Attachment>>),
    /// Looking at types, with values that nobody uses.
    Tracing,
}

thread_local! {
    static CONTEXT: RefCell<Context> = const { RefCell::new(Context::Nothing) };

    /// Why the last buffer could not be sent. A codec may have dropped the words.
    static REFUSAL: RefCell<Option<&'static str>> = const { RefCell::new(None) };

    /// Whether a buffer was met while nobody collected.
    static MISSED: Cell<bool> = const { Cell::new(false) };
}

/// Encode something by `encode`, whose buffers join those in `attachments`, behind which it is numbered.
///
/// Most values have no buffers, and those should not pay for any. So `encode` is tried without collecting
/// first: a buffer that is met then refuses, and everything is done once more. `encode` starts anew each time
/// that it is called.
#[inline]
pub(crate) fn encode_beside<E>(
    attachments: &mut Vec<Attachment>,
    mut encode: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    match encode() {
        Err(_) if MISSED.replace(false) => collect_into(attachments, encode),
        done => done,
    }
}

#[cold]
fn collect_into<R>(attachments: &mut Vec<Attachment>, encode: impl FnOnce() -> R) -> R {
    REFUSAL.set(None);
    let entered = Entered::new(Context::Collecting(std::mem::take(attachments)));
    let result = encode();
    if let Context::Collecting(collected) = entered.leave() {
        *attachments = collected;
    }
    result
}

/// Why a buffer could not be encoded, if that is what an encoder has just failed of.
#[cold]
pub(crate) fn take_refusal() -> Option<&'static str> {
    REFUSAL.take()
}

/// Encode something by `encode`. What it sends away is among the attachments, in the order of its numbers.
#[cfg(test)]
pub(crate) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Vec<Attachment>) {
    let mut attachments = Vec::new();
    let result = collect_into(&mut attachments, encode);
    (result, attachments)
}

/// Decode something by `decode` that came with these attachments. Those that it does not take are dropped.
pub(crate) fn with_received<R>(attachments: Vec<Attachment>, decode: impl FnOnce() -> R) -> R {
    let slots = attachments.into_iter().map(Some).collect();
    let entered = Entered::new(Context::Received(slots));
    let result = decode();
    drop(entered.leave());
    result
}

/// Let buffers be decoded from made-up values, as empty ones.
pub(crate) fn traced<R>(trace: impl FnOnce() -> R) -> R {
    let entered = Entered::new(Context::Tracing);
    let result = trace();
    drop(entered.leave());
    result
}

/// Restores what was before, by a panic too.
struct Entered {
    before: Option<Context>,
}

impl Entered {
    fn new(context: Context) -> Self {
        Self { before: Some(CONTEXT.replace(context)) }
    }

    fn leave(mut self) -> Context {
        let before = self.before.take().expect("left once");
        CONTEXT.replace(before)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            // Attachments are dropped after the context is free again.
            let after = CONTEXT.replace(before);
            drop(after);
        }
    }
}

/// The form in which both grades stand in the bytes.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Written {
    /// The number of the attachment. An empty slice needs none.
    pub(super) attachment: Option<u32>,
    /// In bytes.
    pub(super) start: u64,
    /// In elements.
    pub(super) length: u64,
    pub(super) element_size: u32,
    pub(super) element_align: u32,
}

/// Where a slice lies.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// An empty slice needs none.
    pub(super) attachment: Option<Attachment>,
    /// In bytes.
    pub(super) start: usize,
    /// In elements.
    pub(super) length: usize,
}

impl Part {
    pub(super) const EMPTY: Self = Self { attachment: None, start: 0, length: 0 };

    fn written<T>(&self, attachment: Option<u32>) -> Written {
        Written {
            attachment,
            start: self.start as u64,
            length: self.length as u64,
            element_size: size_of::<T>() as u32,
            element_align: align_of::<T>() as u32,
        }
    }
}

/// Why it is not in JSON.
pub(super) const NOT_IN_TEXT: &str = "a shared buffer has no form in text, such as JSON, so it can't be given to a function by name, nor come back from one";

/// Send a part away. `take` is asked for it only if that is possible.
pub(super) fn write<T>(
    is_human_readable: bool,
    take: impl FnOnce() -> Result<Part, &'static str>,
) -> Result<Written, &'static str> {
    let written = if is_human_readable {
        Err(NOT_IN_TEXT)
    } else {
        CONTEXT.with_borrow_mut(|context| match context {
            Context::Collecting(attachments) => collected::<T>(attachments, take),
            Context::Nothing | Context::Received(_) | Context::Tracing => {
                MISSED.set(true);
                Err(
                    "a shared buffer can only be sent to a worker as an argument or result of a task",
                )
            }
        })
    };
    if let Err(refusal) = written {
        REFUSAL.set(Some(refusal));
    }
    written
}

fn collected<T>(
    attachments: &mut Vec<Attachment>,
    take: impl FnOnce() -> Result<Part, &'static str>,
) -> Result<Written, &'static str> {
    let part = take()?;
    let Some(attachment) = &part.attachment else { return Ok(part.written::<T>(None)) };
    let id = attachment.id();
    let known = attachments.iter().position(|known| known.id() == id);
    let number = known.unwrap_or_else(|| {
        if attachments.is_empty() {
            // Mostly it is the only one.
            attachments.reserve_exact(1);
        }
        attachments.push(attachment.clone());
        attachments.len() - 1
    });
    Ok(part.written::<T>(Some(number as u32)))
}

/// Find what was sent, if it is there and large enough and of this grade.
pub(super) fn read<T>(written: Written, grade: Grade) -> Result<Part, String> {
    CONTEXT.with_borrow_mut(|context| match context {
        Context::Received(slots) => received::<T>(slots, written, grade),
        Context::Tracing => Ok(Part::EMPTY),
        // Where there is nothing else, nobody has said that there are buffers.
        _ if written.attachment.is_none() && written.length == 0 => Ok(Part::EMPTY),
        Context::Nothing | Context::Collecting(_) => {
            Err("a shared buffer can only come as an argument or result of a task".to_owned())
        }
    })
}

fn received<T>(
    slots: &mut [Option<Attachment>],
    written: Written,
    grade: Grade,
) -> Result<Part, String> {
    let element = (u64::from(written.element_size), u64::from(written.element_align));
    if element != (size_of::<T>() as u64, align_of::<T>() as u64) {
        return Err("the elements of the shared buffer are of another size".to_owned());
    }
    let Some(number) = written.attachment else {
        return match written.length {
            0 => Ok(Part::EMPTY),
            _ => Err("a shared buffer with elements but no memory".to_owned()),
        };
    };
    let slot = slots.get_mut(number as usize).ok_or("a shared buffer that was not sent")?;
    let attachment = slot.as_ref().ok_or("a lent buffer twice")?;
    if attachment.grade() != grade {
        return Err("a shared buffer of the other grade".to_owned());
    }
    let end =
        written.length.checked_mul(element.0).and_then(|size| size.checked_add(written.start));
    let committed = attachment.buffer().committed() as u64;
    // A buffer starts with a page, which is aligned for everything that it may hold.
    if end.is_none_or(|end| end > committed) || !written.start.is_multiple_of(element.1) {
        return Err("a part of a shared buffer that is not there".to_owned());
    }
    let attachment = match grade {
        Grade::Lent => slot.take(),
        Grade::Sealed => slot.clone(),
    };
    // Both are less than what is committed, which is a `usize`.
    Ok(Part { attachment, start: written.start as usize, length: written.length as usize })
}
