//! The worker's end: says what runs, how far it is, and hears whether it is asked to give up.

use std::fmt::{self, Write};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::layout::{
    CALL, CPU_BEGIN, CPU_WHOSE, CRUMB_BYTES, CRUMB_TEXT_MAX, CRUMB_WORDS, CRUMBS, CRUMBS_COUNT,
    CRUMBS_KEPT, LENGTH, NUMBER, PROGRESS_ATTEMPT, PROGRESS_DONE, PROGRESS_NUMBER, PROGRESS_TOTAL,
    REQUEST, STATE, STATE_WORDS, request,
};
use crate::shm::Board;

/// A worker's end of its box, which it has for life.
#[derive(Clone, Copy, Debug)]
pub struct Recorder {
    board: &'static Board,
    state: &'static [AtomicU64; STATE_WORDS],
}

/// The attempt that runs in a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) number: u64,
    pub(crate) attempt: u32,
    /// Its function's index in the registry.
    pub(crate) function: u32,
}

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// This worker's. `None` in a process that is no worker.
#[inline]
pub fn recorder() -> Option<Recorder> {
    RECORDER.get().copied()
}

impl Recorder {
    /// Take charge of the box that the coordinator has sent. To be called once in a process.
    pub(crate) fn install(descriptor: OwnedFd) -> io::Result<Self> {
        let recorder = Self::new(Board::open(descriptor, LENGTH)?);
        Ok(*RECORDER.get_or_init(|| recorder))
    }

    /// Mapped for good, because whatever runs in a worker may write here until its end.
    pub(super) fn new(board: Board) -> Self {
        let board = &*Box::leak(Box::new(board));
        Self { board, state: board.words(STATE) }
    }

    #[inline]
    pub(crate) fn begin(self, number: u64, attempt: u32, function: u32) {
        // A worker runs one task at a time, and whoever looks while one ends may see a part of the next.
        let call = u64::from(function) << 32 | u64::from(attempt);
        self.state[CALL].store(call, Ordering::Relaxed);
        self.state[NUMBER].store(number, Ordering::Relaxed);
    }

    /// The task that runs has begun when the process had used so much CPU time.
    pub(crate) fn note_cpu_time(self, used: Duration) {
        let Some(Running { number, attempt, .. }) = self.running() else { return };
        self.state[CPU_WHOSE].store(0, Ordering::Relaxed);
        // Release: pairs with `BlackBox::cpu_time_at_begin`, which takes no time for another attempt's.
        self.state[CPU_BEGIN].store(used.as_nanos() as u64, Ordering::Release);
        self.state[CPU_WHOSE].store(request(number, attempt), Ordering::Release);
    }

    #[inline]
    pub(crate) fn end(self) {
        self.state[NUMBER].store(0, Ordering::Relaxed);
    }

    /// The task that this worker runs, whichever of its threads asks.
    #[inline]
    pub(crate) fn running(self) -> Option<Running> {
        let number = self.state[NUMBER].load(Ordering::Relaxed);
        let call = self.state[CALL].load(Ordering::Relaxed);
        (number != 0).then_some(Running {
            number,
            attempt: call as u32,
            function: (call >> 32) as u32,
        })
    }

    /// Whether the coordinator has asked this attempt to give up.
    #[inline]
    pub(crate) fn is_asked_to_end(self, running: Running) -> bool {
        self.state[REQUEST].load(Ordering::Relaxed) == request(running.number, running.attempt)
    }

    /// How far the task that runs has come. Without one nothing happens.
    pub(crate) fn progress(self, done: u64, total: u64) {
        let Some(running) = self.running() else { return };
        self.state[PROGRESS_NUMBER].store(0, Ordering::Relaxed);
        // Release: nobody takes what follows for what was said before. Pairs with `BlackBox::progress`.
        self.state[PROGRESS_ATTEMPT].store(u64::from(running.attempt), Ordering::Release);
        self.state[PROGRESS_DONE].store(done, Ordering::Release);
        self.state[PROGRESS_TOTAL].store(total, Ordering::Release);
        self.state[PROGRESS_NUMBER].store(running.number, Ordering::Release);
    }

    /// Leave a breadcrumb of the task that runs. Without one nothing happens.
    pub fn breadcrumb(self, text: fmt::Arguments<'_>) {
        let Some(running) = self.running() else { return };
        // Threads of the task may do this at the same time, each in a place of its own.
        let count = self.state[CRUMBS_COUNT].fetch_add(1, Ordering::Relaxed);
        let at = CRUMBS + (count % CRUMBS_KEPT as u64) as usize * CRUMB_BYTES;
        let head: &[AtomicU64; CRUMB_WORDS] = self.board.words(at);
        head[0].store(0, Ordering::Relaxed);
        let mut crumb = Crumb { board: self.board, at: at + CRUMB_WORDS * 8, length: 0 };
        // What does not fit is left out, and what panics has said enough.
        let _ = match text.as_str() {
            Some(text) => crumb.write_str(text),
            None => crumb.write_fmt(text),
        };
        let length = (crumb.length as u64) << 32;
        head[1].store(running.number, Ordering::Relaxed);
        head[2].store(length | u64::from(running.attempt), Ordering::Relaxed);
        // Release: whoever sees the count sees the rest. A reader of a living worker looks at it twice.
        head[0].store(count + 1, Ordering::Release);
    }
}

/// The text of a breadcrumb while it is written.
struct Crumb<'a> {
    board: &'a Board,
    at: usize,
    length: usize,
}

impl Write for Crumb<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut end = text.len().min(CRUMB_TEXT_MAX - self.length);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.board.copy_in(self.at + self.length, &text.as_bytes()[..end]);
        self.length += end;
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
