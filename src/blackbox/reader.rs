//! The coordinator's end: reads what the worker has left, and asks it to give up. Whatever it reads may have been
//! written by a task gone mad.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::layout::{
    CALL, COMMITTED, CPU_BEGIN, CPU_WHOSE, LENGTH, NUMBER, PROGRESS_ATTEMPT, PROGRESS_DONE,
    PROGRESS_NUMBER, PROGRESS_TOTAL, REQUEST, STATE, STATE_WORDS, request,
};
use crate::shm::Board;
use crate::task::info::Progress;

/// The coordinator's end of one worker's box.
#[derive(Debug)]
pub(crate) struct BlackBox {
    board: Board,
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
        let state = self.state();
        // Acquire: as in `progress`.
        let whose = || state[CPU_WHOSE].load(Ordering::Acquire);
        let before = whose();
        let used = state[CPU_BEGIN].load(Ordering::Acquire);
        let is_its = before == request(number, attempt) && whose() == before;
        is_its.then_some(Duration::from_nanos(used))
    }

    /// How far this attempt says that it has come.
    pub(crate) fn progress(&self, number: u64, attempt: u32) -> Option<Progress> {
        let state = self.state();
        // Acquire: what is read between the two looks is not older than the first nor younger than the second.
        // Pairs with `Recorder::progress`.
        let whose = || state[PROGRESS_NUMBER].load(Ordering::Acquire);
        let before = whose();
        let of = state[PROGRESS_ATTEMPT].load(Ordering::Acquire);
        let done = state[PROGRESS_DONE].load(Ordering::Acquire);
        let total = state[PROGRESS_TOTAL].load(Ordering::Acquire);
        let is_its = before == number && whose() == number && of == u64::from(attempt);
        is_its.then_some(Progress { done, total })
    }

    fn state(&self) -> &[AtomicU64; STATE_WORDS] {
        self.board.words(STATE)
    }
}
