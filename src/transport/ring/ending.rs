//! The end of a ring: the thread that served it is gone, and later on, for certain, all of its worker.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::deliver::check_word;
use super::layout::{COLLECTOR_MARK, Entry, WAITER_MARK};
use super::link::RingLink;
use super::records::State;
use super::sleep::Listener;
use super::word::{self, Taken};
use crate::sys::death_mark;
use crate::transport::{Delivery, Fate};

/// What is known of the end of the thread that serves a ring.
#[derive(Debug, Default)]
pub(super) struct Loss {
    /// Where the words stand that the kernel marks then: for the collector, for a waiter. Zero as long as the worker has
    /// not said so.
    words: [AtomicUsize; 2],
    /// Somebody has it in hand.
    is_taken: AtomicBool,
}

impl RingLink {
    /// The word that changes, and is woken at, when the thread that serves this ring ends. `None`: that thread has left
    /// none, or not yet.
    pub(super) fn mark(&self, who: Listener) -> Option<&AtomicU32> {
        let of_waiter = self.loss.words[1].load(Ordering::Relaxed);
        if of_waiter == 0 && !self.learn_marks() {
            return None;
        }
        let index = usize::from(who == Listener::Waiter);
        Some(self.segment().u32_at(self.loss.words[index].load(Ordering::Relaxed)))
    }

    #[cold]
    fn learn_marks(&self) -> bool {
        let [of_collector, of_waiter] = [COLLECTOR_MARK, WAITER_MARK].map(|mark| {
            let word = death_mark::futex(self.segment().u32s_at(mark))?;
            Some(mark + word * size_of::<AtomicU32>())
        });
        let (Some(of_collector), Some(of_waiter)) = (of_collector, of_waiter) else { return false };
        self.loss.words[0].store(of_collector, Ordering::Relaxed);
        self.loss.words[1].store(of_waiter, Ordering::Release);
        true
    }

    /// Whether that thread has ended, and nobody has taken it in hand.
    #[inline]
    pub(super) fn has_loss(&self) -> bool {
        // The kernel marks last what was left first, which is the collector's.
        let of_waiter = self.loss.words[1].load(Ordering::Acquire);
        of_waiter != 0
            && death_mark::is_marked(self.segment().u32_at(of_waiter).load(Ordering::Acquire))
            && !self.loss.is_taken.load(Ordering::Relaxed)
    }

    /// Take it in hand that the thread that served this ring has ended. `false`: it has not, or somebody has.
    pub(crate) fn take_loss(&self) -> bool {
        self.has_loss() && !self.loss.is_taken.swap(true, Ordering::Relaxed)
    }

    /// The thread that served this ring is gone, and the process dies, but other threads of it may not be through.
    /// Delivers what was committed; says what was begun beside that. Nothing is delivered afterwards. `None`: it was
    /// closed before.
    pub(crate) fn close(&self, deliveries: &mut Vec<Delivery>) -> Option<Vec<Fate>> {
        let state = &mut *self.lock();
        if state.over {
            return None;
        }
        // What it had committed before a lie counts; a lie now costs what is behind it.
        let _lie = self.drain_locked(state, true, deliveries);
        state.over = true;
        state.unheard.extend(state.pending.iter().map(|call| call.ticket));
        self.discard_calls(&mut state.discards, state.pending.drain(..));
        self.outstanding.store(0, Ordering::Relaxed);
        let mut believed = !state.corrupt;
        let (mut fates, mut untouched) = (Vec::new(), Vec::new());
        // What was taken back or killed has been settled.
        let staged = || state.records.iter().filter(|(_, record)| record.state == State::Staged);
        for (position, record) in staged() {
            // Taken back for good, so that a thread that is not gone, but has the mark that says so, begins nothing more.
            let word = self.word(Entry::at(position).word());
            let begun = match check_word(word::look(word), record) {
                Ok(_plausible) => match word::take_back(word, record.generation, 0) {
                    Taken::Kept(0) if record.delivered == 0 => 0,
                    Taken::Kept(begun) if (record.begun_min()..=record.calls).contains(&begun) => {
                        begun
                    }
                    Taken::Kept(_) | Taken::TooLate(_) => record.calls,
                },
                Err(_lie) => {
                    believed = false;
                    continue;
                }
            };
            match begun {
                0 => untouched.push(position),
                _ => fates.push(Fate { ticket: record.ticket, begun }),
            }
        }
        if !believed {
            // What a liar says of its entries is worth nothing: all may have begun.
            fates = staged().map(|(_, record)| record.in_doubt()).collect();
            untouched.clear();
        }
        // It is given to others, before the death of this worker is certain.
        for position in untouched {
            self.take_back_lent(state, position);
        }
        Some(fates)
    }

    /// The worker is dead for certain: what [`close`](Self::close) does, unless it was closed before, and nothing that
    /// was lent to it is used by it any more. To be followed by [`let_go`](Self::let_go).
    pub(crate) fn on_worker_died(&self, deliveries: &mut Vec<Delivery>) -> Option<Vec<Fate>> {
        let fates = self.close(deliveries);
        // After all that it had committed was read.
        let books = self.parcels().peer().on_died();
        let mut state = self.lock();
        self.discard_all_lent(&mut state);
        self.discard_books(&mut state, books);
        drop(state);
        fates
    }
}
