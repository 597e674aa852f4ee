//! What a task in this process and its owner say to each other while it runs: what the black box is for one in a
//! worker.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::info::Progress;

/// Part of every task's cell.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Attempts up to this one are asked to give up.
    asked_to_end: AtomicU32,
    /// Whose progress the next two are.
    attempt: AtomicU32,
    done: AtomicU64,
    total: AtomicU64,
}

impl Said {
    /// Ask this attempt, and any before, to give up.
    pub(crate) fn ask_to_end(&self, attempt: u32) {
        self.asked_to_end.fetch_max(attempt, Ordering::Relaxed);
    }

    pub(crate) fn is_asked_to_end(&self, attempt: u32) -> bool {
        attempt <= self.asked_to_end.load(Ordering::Relaxed)
    }

    pub(crate) fn set_progress(&self, attempt: u32, done: u64, total: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        // Release: pairs with `progress`. Attempts do not overlap, so at worst one number is of the next report.
        self.attempt.store(attempt, Ordering::Release);
    }

    pub(crate) fn progress(&self, attempt: u32) -> Option<Progress> {
        if self.attempt.load(Ordering::Acquire) != attempt {
            return None;
        }
        let done = self.done.load(Ordering::Relaxed);
        Some(Progress { done, total: self.total.load(Ordering::Relaxed) })
    }
}
