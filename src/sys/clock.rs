//! The clock that only goes forward, as a number that processes can compare.

use rustix::time::{ClockId, Timespec};

/// It counts from about the machine's start, so that nanoseconds last for centuries.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = rustix::time::clock_gettime(ClockId::Monotonic);
    tv_sec.cast_unsigned() * 1_000_000_000 + tv_nsec.cast_unsigned()
}
