//! Where everything stands in the box. Offsets and lengths in bytes, but for words, which are numbered.

/// What the writer writes all the time, and what it looks at.
pub(super) const STATE: usize = 0;
pub(super) const STATE_WORDS: usize = 64;

// Words of the state. Those that different sides or threads write lie in different cache lines.

/// The number of the task that runs; 0 between tasks.
pub(super) const NUMBER: usize = 0;
/// Its attempt and, above, its function's index.
pub(super) const CALL: usize = 1;
/// Of which attempt the next word is, as [`request`] makes it; 0 while that changes.
pub(super) const CPU_WHOSE: usize = 2;
/// The CPU time of the process when it began, in nanoseconds.
pub(super) const CPU_BEGIN: usize = 3;

/// The only word that the coordinator writes: who is asked to give up, as [`request`] makes it.
pub(super) const REQUEST: usize = 8;

/// Whose progress the following two words are; 0 while they change.
pub(super) const PROGRESS_NUMBER: usize = 16;
pub(super) const PROGRESS_ATTEMPT: usize = 17;
pub(super) const PROGRESS_DONE: usize = 18;
pub(super) const PROGRESS_TOTAL: usize = 19;

/// How many breadcrumbs there were.
pub(super) const CRUMBS_COUNT: usize = 24;

/// The last breadcrumbs, in a circle.
pub(super) const CRUMBS: usize = 4096;
pub(super) const CRUMBS_KEPT: usize = 32;
pub(super) const CRUMB_BYTES: usize = 256;
/// In front of the text: which it is, from 1 (0 while it is written), number, attempt with the length above.
pub(super) const CRUMB_WORDS: usize = 3;
pub(super) const CRUMB_TEXT_MAX: usize = CRUMB_BYTES - CRUMB_WORDS * 8;

/// All of it.
pub(super) const LENGTH: usize = CRUMBS + CRUMBS_KEPT * CRUMB_BYTES;
/// What has memory from the start.
pub(super) const COMMITTED: usize = LENGTH;

/// The word that asks this attempt to give up. One word, so that it always names one attempt.
pub(super) fn request(number: u64, attempt: u32) -> u64 {
    number << 16 | u64::from(attempt & 0xffff)
}
