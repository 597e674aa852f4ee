//! The clock that deadlines are measured by.

use rustix::time::{ClockId, Timespec};

/// Nanoseconds of the monotonic clock, which an `Instant` shows too. It counts from about the machine's start, so that they
/// last for centuries.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = rustix::time::clock_gettime(ClockId::Monotonic);
    tv_sec.cast_unsigned() * 1_000_000_000 + tv_nsec.cast_unsigned()
}
