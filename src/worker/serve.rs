//! Serving calls, one after the other.

use std::io;
use std::time::Instant;

use crate::blackbox::Recorder;
use crate::codec::{Bytes, CodecId, Encoded};
use crate::registry::{self, TaskEntry};
use crate::shm::attachments;
use crate::sys;
use crate::transport::channel::{Incoming, WorkerEnd};
use crate::transport::frame::{MEASURED, Outcome, OutcomeFrame, Ran};
use crate::transport::ring::{RingCall, RingEnd};

/// The exit code of a worker whose queue was overwritten.
const EXIT_OVERWRITTEN: i32 = 70;

/// This worker's queue says that it is being killed, and it is not.
pub(super) fn end_unkilled() {
    let message = "atasker: this worker's queue says that it is being killed, and nobody kills it: a task has \
                   written over memory that is not its own\n";
    // Past the lock of standard error, which another thread may hold for ever.
    let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
    sys::process::exit_now(EXIT_OVERWRITTEN);
}

/// Serve what comes through a ring, until no more calls will come.
pub(super) fn serve_ring(end: RingEnd, recorder: Recorder) {
    end.serve(|call, buffer| {
        let RingCall { number, attempt, function, codec, arguments, attachments } = call;
        recorder.begin(number, attempt, function);
        let ran = match registry::entry_at(function) {
            Some(entry) if attachments.is_empty() => run(recorder, entry, codec, arguments, buffer),
            Some(entry) => attachments::with_received(std::mem::take(attachments), || {
                run(recorder, entry, codec, arguments, buffer)
            }),
            // The coordinator has the registry of this very program, or its catalogue.
            None => Outcome::UnknownFunction { message: format!("no function {function}") }.into(),
        };
        recorder.end();
        ran
    });
}

/// Serve what comes over a channel, until no more calls will come.
pub(super) fn serve_channel(end: WorkerEnd, recorder: Recorder) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Incoming::Call { ticket, codec, function, arguments } = end.receive(&mut buffer) else {
            return Ok(());
        };
        let started = Instant::now();
        let outcome = match registry::find_index(function) {
            Ok((index, entry)) => {
                recorder.begin(ticket.task.number, ticket.attempt, index);
                let mut result = Bytes::new();
                let ran = run(recorder, entry, codec, arguments, &mut result);
                recorder.end();
                match ran.into_outcome(result) {
                    Outcome::Returned { value, .. } if !value.attachments().is_empty() => {
                        Outcome::Unencodable { message: Encoded::NEEDS_RING.to_owned() }
                    }
                    outcome => outcome,
                }
            }
            Err(error) => Outcome::UnknownFunction { message: error.to_string() },
        };
        let ran_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        end.reply(ticket, &OutcomeFrame { outcome, ran_ns })?;
    }
}

#[inline]
fn run(
    recorder: Recorder,
    entry: &TaskEntry,
    codec: u8,
    arguments: &[u8],
    buffer: &mut Bytes,
) -> Ran {
    match CodecId::try_from(codec).or_else(|error| measured(recorder, codec).ok_or(error)) {
        Ok(codec) => (entry.run)(codec, arguments, buffer),
        Err(error) => Outcome::BadArguments { message: error.to_string() }.into(),
    }
}

/// The codec of a call whose CPU time or memory is limited, which begins to be counted here.
#[cold]
fn measured(recorder: Recorder, codec: u8) -> Option<CodecId> {
    let codec = CodecId::try_from(codec.checked_sub(MEASURED)?).ok()?;
    recorder.note_used(sys::process::cpu_time(), sys::memory::held_by(std::process::id()));
    Some(codec)
}
