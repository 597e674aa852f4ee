//! Notes in a circle: the last few texts, each with the attempt that it is about.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use super::layout::STATE_WORDS;
use super::recorder::Running;
use crate::shm::Board;

/// Where a circle of notes lies, and how large it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circle {
    pub(super) at: usize,
    /// So many notes are kept.
    pub(super) kept: usize,
    /// Of one note.
    pub(super) bytes: usize,
    /// The word of the state that counts them.
    pub(super) count: usize,
}

/// In front of a text: which it is, from 1 (0 while it is written); the number; the attempt with the length above.
const HEAD_WORDS: usize = 3;
const HEAD_BYTES: usize = HEAD_WORDS * 8;

/// A note as it was read: words of a stranger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// They count from 1.
    pub(super) index: u64,
    pub(super) number: u64,
    pub(super) attempt: u32,
    pub(super) text: String,
}

impl Circle {
    pub(super) const fn end(&self) -> usize {
        self.at + self.kept * self.bytes
    }

    const fn text_max(&self) -> usize {
        self.bytes - HEAD_BYTES
    }

    /// Leave a note. Threads may do this at the same time, each in a place of its own.
    #[inline]
    pub(super) fn leave(
        &self,
        board: &Board,
        state: &[AtomicU64; STATE_WORDS],
        of: Running,
        text: fmt::Arguments<'_>,
    ) {
        let index = state[self.count].fetch_add(1, Ordering::Relaxed) + 1;
        let at = self.at + (index % self.kept as u64) as usize * self.bytes;
        let head: &[AtomicU64; HEAD_WORDS] = board.words(at);
        head[0].store(0, Ordering::Relaxed);
        let mut writer = Text { board, at: at + HEAD_BYTES, length: 0, max: self.text_max() };
        // What does not fit is left out.
        let _ = match text.as_str() {
            Some(text) => writer.write_str(text),
            None => writer.write_fmt(text),
        };
        let length = (writer.length as u64) << 32;
        head[1].store(of.number, Ordering::Relaxed);
        head[2].store(length | u64::from(of.attempt), Ordering::Relaxed);
        // Release: whoever sees the index sees the rest. Pairs with `read`.
        head[0].store(index, Ordering::Release);
    }

    /// The notes that are there, the oldest first.
    pub(super) fn read(&self, board: &Board) -> Vec<Note> {
        let places = (0..self.kept).map(|place| self.at + place * self.bytes);
        let mut notes: Vec<_> = places.filter_map(|at| self.read_one(board, at)).collect();
        notes.sort_by_key(|note| note.index);
        notes
    }

    fn read_one(&self, board: &Board, at: usize) -> Option<Note> {
        let head: &[AtomicU64; HEAD_WORDS] = board.words(at);
        // Acquire: pairs with the release in `leave`.
        let index = head[0].load(Ordering::Acquire);
        let number = head[1].load(Ordering::Relaxed);
        let more = head[2].load(Ordering::Relaxed);
        let length = usize::try_from(more >> 32).unwrap_or(usize::MAX);
        if index == 0 || length > self.text_max() {
            return None;
        }
        let mut bytes = Vec::new();
        board.append_to(at + HEAD_BYTES, length, &mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // It may have been overwritten meanwhile, if its writer still lives.
        let is_whole = head[0].load(Ordering::Acquire) == index;
        is_whole.then_some(Note { index, number, attempt: more as u32, text })
    }
}

/// The text of a note while it is written.
struct Text<'a> {
    board: &'a Board,
    at: usize,
    length: usize,
    max: usize,
}

impl Write for Text<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut end = text.len().min(self.max - self.length);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.board.copy_in(self.at + self.length, &text.as_bytes()[..end]);
        self.length += end;
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}
