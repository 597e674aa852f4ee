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
mod cases;
mod coordinator;
mod crashes;
mod handles;
mod lifecycle;
mod loops;
mod macros;
mod payloads;
mod rings;
mod scribble;
mod tasks;
mod threads;
mod tidy;
mod watch;

atasker::test_worker!();
