//! The library through its public boundary, in one binary. Worker processes are this binary again.
#![allow(
    clippy::unwrap_used,
    clippy::needless_for_each,
    clippy::manual_assert,
    clippy::cast_possible_wrap,
    reason = "in tests they do no harm"
)]

mod admission;
mod background;
mod buffers;
mod calls;
mod catalogue;
mod coordinator;
mod crashes;
mod extras;
mod fleet;
mod gathered;
mod handles;
mod host;
mod jobs;
mod lifecycle;
mod limits;
mod loop_ends;
mod loops;
mod macros;
mod memory;
mod payloads;
mod python;
mod quarantine;
mod refused;
mod reports;
mod returned;
mod rights;
mod rings;
mod said;
mod schedulers;
mod scribble;
mod starts;
mod suspended;
mod tasks;
mod telling;
mod threads;
mod tidy;
mod watch;
mod whereabouts;

atasker::test_worker!();
