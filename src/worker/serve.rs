//! Serving calls, one after the other.

use std::io;
use std::time::Instant;

use super::current;
use crate::codec::CodecId;
use crate::registry;
use crate::transport::channel::{Incoming, WorkerEnd};
use crate::transport::frame::{Outcome, OutcomeFrame};

/// Until no more calls will come.
pub(super) fn serve(end: WorkerEnd) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Incoming::Call { ticket, codec, function, arguments } = end.receive(&mut buffer) else {
            return Ok(());
        };

        current::begin(ticket, function);
        let started = Instant::now();
        let outcome = run(function, codec, arguments);
        let ran_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        current::end();

        end.reply(ticket, &OutcomeFrame { outcome, ran_ns })?;
    }
}

fn run(function: &str, codec: u8, arguments: &[u8]) -> Outcome {
    let entry = match registry::find(function) {
        Ok(entry) => entry,
        Err(error) => {
            return Outcome::UnknownFunction { message: error.to_string() };
        }
    };
    match CodecId::try_from(codec) {
        Ok(codec) => (entry.run)(codec, arguments),
        Err(error) => Outcome::BadArguments { message: error.to_string() },
    }
}
