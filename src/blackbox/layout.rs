//! Where everything stands in the box. Offsets and lengths in bytes, but for words, which are numbered.

use super::circle::Circle;
use crate::sys::snapshot::{HEAD_WORDS, STACK_BYTES};

/// What the worker writes all the time, and what it looks at.
pub(super) const STATE: usize = 0;
pub(super) const STATE_WORDS: usize = 64;

// Words of the state. Those that different sides or threads write lie in different cache lines.

/// The number of the task that runs; 0 between tasks.
pub(super) const NUMBER: usize = 0;
/// Its attempt and, above, its function's index.
pub(super) const CALL: usize = 1;
/// Of which attempt the next two words are, as [`request`] makes it; 0 while they change.
pub(super) const USED_WHOSE: usize = 2;
/// The CPU time of the process when it began, in nanoseconds.
pub(super) const CPU_BEGIN: usize = 3;
/// What memory it had of its own then, in bytes; all ones if that could not be told.
pub(super) const MEMORY_BEGIN: usize = 4;

/// The only word that the coordinator writes: who is asked to give up, as [`request`] makes it.
pub(super) const REQUEST: usize = 8;

/// Whose progress the following two words are; 0 while they change.
pub(super) const PROGRESS_NUMBER: usize = 16;
pub(super) const PROGRESS_ATTEMPT: usize = 17;
pub(super) const PROGRESS_DONE: usize = 18;
pub(super) const PROGRESS_TOTAL: usize = 19;

const CRUMBS_COUNT: usize = 24;
const PANICS_COUNT: usize = 32;
/// Panics up to this one were caught, and cost their task only.
pub(super) const PANICS_CAUGHT: usize = 33;

/// The thread that serves, and overflows its stack.
pub(super) const SERVING_THREAD: usize = 40;
/// In KiB, before the worker had done anything: what the kernel lets it inherit.
pub(super) const PEAK_INHERITED: usize = 41;

/// The last that the task has said of itself.
pub(super) const CRUMBS: Circle = Circle { at: 4096, kept: 32, bytes: 256, count: CRUMBS_COUNT };
pub(super) const PANICS: Circle =
    Circle { at: CRUMBS.end(), kept: 4, bytes: 1024, count: PANICS_COUNT };

/// Where a picture of a thread is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    /// In the first page, which has memory: a handler writes there itself.
    pub(super) head: usize,
    /// Here the kernel writes, which gives up where memory is short.
    pub(super) status: usize,
    pub(super) stack: usize,
    pub(super) maps: usize,
}

pub(super) const STATUS_BYTES: usize = 4096;
/// A few thousand mappings.
pub(super) const MAPS_BYTES: usize = 256 << 10;

impl Picture {
    const fn at(head: usize, status: usize) -> Self {
        let stack = status + STATUS_BYTES;
        Self { head, status, stack, maps: stack + STACK_BYTES }
    }

    const fn end(&self) -> usize {
        self.maps + MAPS_BYTES
    }
}

/// Of what the worker died of.
pub(super) const CRASH: Picture = Picture::at(1024, PANICS.end());
/// Of its serving thread, when that was asked for.
pub(super) const INQUIRY: Picture = Picture::at(2048, CRASH.end());

const _: () = assert!(CRASH.head + HEAD_WORDS * 8 <= INQUIRY.head);
const _: () = assert!(INQUIRY.head + HEAD_WORDS * 8 <= CRUMBS.at);

/// What has memory from the start.
pub(super) const COMMITTED: usize = PANICS.end();
/// All of it.
pub(super) const LENGTH: usize = INQUIRY.end();

/// The word that asks this attempt to give up. One word, so that it always names one attempt.
pub(super) fn request(number: u64, attempt: u32) -> u64 {
    number << 16 | u64::from(attempt & 0xffff)
}
