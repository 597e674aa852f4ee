//! The worker's end: says what runs, how far it is, what went wrong, and hears whether it is asked to give up.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::layout::{
    CALL, CPU_BEGIN, CRASH, CRUMBS, INQUIRY, LENGTH, MAPS_BYTES, MEMORY_BEGIN, NUMBER, PANICS,
    PANICS_CAUGHT, PEAK_INHERITED, PROGRESS_ATTEMPT, PROGRESS_DONE, PROGRESS_NUMBER,
    PROGRESS_TOTAL, Picture, REQUEST, SERVING_THREAD, STATE, STATE_WORDS, STATUS_BYTES, USED_WHOSE,
    request,
};
use crate::shm::Board;
use crate::sys::snapshot::{Canvas, Part, STACK_BYTES};
use crate::sys::{crash, process};

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
    /// Take charge of the box that the coordinator has sent, and paint into it what this process dies of. To be
    /// called once, by the thread that will serve.
    pub(crate) fn install(descriptor: OwnedFd) -> io::Result<Self> {
        let recorder = Self::new(Board::open(descriptor, LENGTH)?);
        recorder.state[SERVING_THREAD].store(process::thread_id().into(), Ordering::Relaxed);
        recorder.state[PEAK_INHERITED].store(process::peak_memory_kib(), Ordering::Relaxed);
        crash::install(recorder.canvas(&CRASH), recorder.canvas(&INQUIRY))?;
        Ok(*RECORDER.get_or_init(|| recorder))
    }

    /// Mapped for good, because whatever runs in a worker may write here until its end.
    pub(super) fn new(board: Board) -> Self {
        let board = &*Box::leak(Box::new(board));
        Self { board, state: board.words(STATE) }
    }

    fn canvas(self, picture: &Picture) -> Canvas {
        let part = |at, length| Part { address: self.board.address(at, length), length };
        Canvas::new(
            self.board.words(picture.head),
            self.board.words(STATE + NUMBER * 8),
            self.board.address(picture.stack, STACK_BYTES),
            part(picture.maps, MAPS_BYTES),
            part(picture.status, STATUS_BYTES),
        )
    }

    #[inline]
    pub(crate) fn begin(self, number: u64, attempt: u32, function: u32) {
        // A worker runs one task at a time, and whoever looks while one ends may see a part of the next.
        let call = u64::from(function) << 32 | u64::from(attempt);
        self.state[CALL].store(call, Ordering::Relaxed);
        self.state[NUMBER].store(number, Ordering::Relaxed);
    }

    /// The task that runs has begun when the process had used so much CPU time, and had so much memory of its own.
    pub(crate) fn note_used(self, cpu: Duration, memory: Option<u64>) {
        let Some(Running { number, attempt, .. }) = self.running() else { return };
        self.state[USED_WHOSE].store(0, Ordering::Relaxed);
        // Release: pairs with `BlackBox::used_at_begin`, which takes nothing for another attempt's.
        self.state[CPU_BEGIN].store(cpu.as_nanos() as u64, Ordering::Release);
        self.state[MEMORY_BEGIN].store(memory.unwrap_or(u64::MAX), Ordering::Release);
        self.state[USED_WHOSE].store(request(number, attempt), Ordering::Release);
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
    #[doc(hidden)]
    pub fn breadcrumb(self, text: fmt::Arguments<'_>) {
        if let Some(running) = self.running() {
            CRUMBS.leave(self.board, self.state, running, text);
        }
    }

    /// Some thread panics while the task runs: where, and with what.
    pub(crate) fn on_panic(self, location: &str, message: &str) {
        if let Some(running) = self.running() {
            PANICS.leave(self.board, self.state, running, format_args!("{location}\0{message}"));
        }
    }

    /// All of them so far were caught.
    pub(crate) fn on_panics_caught(self) {
        let count = self.state[PANICS.count].load(Ordering::Relaxed);
        self.state[PANICS_CAUGHT].store(count, Ordering::Relaxed);
    }
}
