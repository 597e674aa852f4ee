//! The coordinator's end: reads what the worker has left, and asks it to give up. Whatever it reads may have been
//! written by a task gone mad.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::circle::{Circle, Note};
use super::layout::{
    CALL, COMMITTED, CPU_BEGIN, CRASH, CRUMBS, INQUIRY, LENGTH, MEMORY_BEGIN, NUMBER, PANICS,
    PANICS_CAUGHT, PEAK_INHERITED, PROGRESS_ATTEMPT, PROGRESS_DONE, PROGRESS_NUMBER,
    PROGRESS_TOTAL, REQUEST, SERVING_THREAD, STATE, STATE_WORDS, USED_WHOSE, request,
};
use super::painting::Painting;
use crate::shm::Board;
use crate::task::info::Progress;

/// The coordinator's end of one worker's box.
#[derive(Debug)]
pub(crate) struct BlackBox {
    board: Board,
}

/// What a dead worker has left.
#[derive(Clone, Debug)]
pub(crate) struct Remains {
    /// Number and attempt of the task that ran; the number is 0 if none did.
    pub(crate) running: (u64, u32),
    crumbs: Vec<Note>,
    /// Those that nobody has caught, as far as this crate knows.
    panics: Vec<Note>,
    progress: Option<(u64, u32, Progress)>,
    /// How it died, if by a signal that is handled.
    pub(crate) crash: Option<Arc<Painting>>,
    /// Where its serving thread was when it was last asked.
    pub(crate) inquiry: Option<Arc<Painting>>,
    /// How much memory it is said to have had before it had any, in KiB.
    pub(crate) peak_inherited: u64,
}

/// A panic that nobody has caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uncaught<'a> {
    pub(crate) location: &'a str,
    pub(crate) message: &'a str,
}

impl BlackBox {
    /// A new one, and what its worker is to be sent.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let (board, descriptor) = Board::create(LENGTH, COMMITTED)?;
        Ok((Self { board }, descriptor))
    }

    /// Ask this attempt to give up. If it does not run there (any more), nothing happens.
    pub(crate) fn request_end(&self, number: u64, attempt: u32) {
        self.state()[REQUEST].store(request(number, attempt), Ordering::Relaxed);
    }

    /// Number and attempt of the task that runs, if one does: what the worker says.
    pub(crate) fn running(&self) -> Option<(u64, u32)> {
        let state = self.state();
        let number = state[NUMBER].load(Ordering::Relaxed);
        let attempt = state[CALL].load(Ordering::Relaxed) as u32;
        (number != 0).then_some((number, attempt))
    }

    /// How much CPU time the process had used when this attempt began, if that was to be noted and it has.
    pub(crate) fn cpu_time_at_begin(&self, number: u64, attempt: u32) -> Option<Duration> {
        self.used_at_begin(number, attempt, CPU_BEGIN).map(Duration::from_nanos)
    }

    /// How many bytes of its own the process had then, by its own account.
    pub(crate) fn memory_at_begin(&self, number: u64, attempt: u32) -> Option<u64> {
        self.used_at_begin(number, attempt, MEMORY_BEGIN).filter(|bytes| *bytes != u64::MAX)
    }

    fn used_at_begin(&self, number: u64, attempt: u32, word: usize) -> Option<u64> {
        let state = self.state();
        // Acquire: as in `progress`.
        let whose = || state[USED_WHOSE].load(Ordering::Acquire);
        let before = whose();
        let used = state[word].load(Ordering::Acquire);
        let is_its = before == request(number, attempt) && whose() == before;
        is_its.then_some(used)
    }

    /// The thread that serves: what the worker says.
    pub(crate) fn serving_thread(&self) -> Option<u32> {
        let thread = self.state()[SERVING_THREAD].load(Ordering::Relaxed);
        u32::try_from(thread).ok().filter(|thread| *thread != 0)
    }

    /// How far this attempt says that it has come.
    pub(crate) fn progress(&self, number: u64, attempt: u32) -> Option<Progress> {
        self.last_progress()
            .filter(|(of, of_attempt, _)| (*of, *of_attempt) == (number, attempt))
            .map(|(.., progress)| progress)
    }

    /// What was said last, and by which attempt.
    fn last_progress(&self) -> Option<(u64, u32, Progress)> {
        let state = self.state();
        // Acquire: what is read between the two looks is not older than the first nor younger than the second.
        // Pairs with `Recorder::progress`.
        let whose = || state[PROGRESS_NUMBER].load(Ordering::Acquire);
        let number = whose();
        let attempt = state[PROGRESS_ATTEMPT].load(Ordering::Acquire);
        let done = state[PROGRESS_DONE].load(Ordering::Acquire);
        let total = state[PROGRESS_TOTAL].load(Ordering::Acquire);
        let attempt = u32::try_from(attempt).ok()?;
        let is_one = number != 0 && whose() == number;
        is_one.then_some((number, attempt, Progress { done, total }))
    }

    /// Where the serving thread was when it was last asked, if that was in this attempt.
    pub(crate) fn inquiry(&self, number: u64, attempt: u32) -> Option<Arc<Painting>> {
        Painting::read(&self.board, &INQUIRY, Some((number, attempt))).map(Arc::new)
    }

    /// All that a dead worker has left.
    pub(crate) fn remains(&self) -> Remains {
        let state = self.state();
        let caught = state[PANICS_CAUGHT].load(Ordering::Relaxed);
        let read = |circle: Circle| circle.read(&self.board);
        let picture = |picture| Painting::read(&self.board, picture, None).map(Arc::new);
        Remains {
            running: self.running().unwrap_or_default(),
            crumbs: read(CRUMBS),
            panics: read(PANICS).into_iter().filter(|panic| panic.index > caught).collect(),
            progress: self.last_progress(),
            crash: picture(&CRASH),
            inquiry: picture(&INQUIRY),
            peak_inherited: state[PEAK_INHERITED].load(Ordering::Relaxed),
        }
    }

    fn state(&self) -> &[AtomicU64; STATE_WORDS] {
        self.board.words(STATE)
    }
}

impl Remains {
    /// The breadcrumbs of this attempt, the oldest first.
    pub(crate) fn crumbs(&self, number: u64, attempt: u32) -> impl Iterator<Item = &str> {
        of(&self.crumbs, number, attempt)
    }

    /// The panics of this attempt that nobody has caught, the first first.
    pub(crate) fn panics(&self, number: u64, attempt: u32) -> impl Iterator<Item = Uncaught<'_>> {
        of(&self.panics, number, attempt).map(|text| {
            let (location, message) = text.split_once('\0').unwrap_or(("", text));
            Uncaught { location, message }
        })
    }

    /// The last that this attempt has said of how far it is.
    pub(crate) fn progress(&self, number: u64, attempt: u32) -> Option<Progress> {
        let (of, of_attempt, progress) = self.progress?;
        ((of, of_attempt) == (number, attempt)).then_some(progress)
    }
}

fn of(notes: &[Note], number: u64, attempt: u32) -> impl Iterator<Item = &str> {
    let its = move |note: &&Note| note.number == number && note.attempt == attempt;
    notes.iter().filter(its).map(|note| &*note.text)
}
