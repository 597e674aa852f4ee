//! Two positions: an entry that is passed over, and what is staged in its place or behind it.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use crate::threads::spawn;
use crate::word::{self, Begin, Commit, Taken, Word};

struct Ring {
    words: [AtomicU64; 3],
    /// How often the worker has run what was staged as this generation.
    ran: [AtomicU32; 4],
    over: AtomicU32,
}

impl Ring {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            words: Default::default(),
            ran: Default::default(),
            over: AtomicU32::new(0),
        })
    }

    fn stage(&self, position: usize, generation: u32) {
        word::stage(&self.words[position], Word::staged(generation, 1));
    }

    /// As the worker does it, until told and dry.
    fn serve(&self) {
        let mut position = 0;
        while position < self.words.len() {
            let word = &self.words[position];
            let over = self.over.load(Ordering::Acquire) != 0;
            let seen = word::look(word);
            if !seen.is_staged() {
                if over {
                    return;
                }
                thread::yield_now();
                continue;
            }
            let begun = match word::begin(word, seen) {
                Begin::Begun(now) => {
                    let generation = (1..4).find(|&one| now.has_generation(one));
                    let generation = generation.expect("one that was staged") as usize;
                    self.ran[generation].fetch_add(1, Ordering::Relaxed);
                    now
                }
                Begin::End(end) if end.is_skipped() => end,
                Begin::End(_) => continue,
                Begin::Killed => return,
            };
            if word::commit(word, begun) == Commit::Done {
                position += 1;
            }
        }
    }

    fn ran(&self, generation: usize) -> u32 {
        self.ran[generation].load(Ordering::Relaxed)
    }
}

/// Skipped, forgotten because nothing is behind it any more, and its position used again.
#[test]
fn what_is_staged_where_another_was_forgotten_runs_once() {
    loom::model(|| {
        let ring = Ring::new();
        ring.stage(0, 1);
        ring.stage(1, 2);
        let worker = spawn(&ring, Ring::serve);
        let first = word::skip(&ring.words[0], 1);
        let second = word::take_back(&ring.words[1], 2, 0);
        let mut tail = if second == Taken::Kept(0) { 1 } else { 2 };
        if tail == 1 && first == Taken::Kept(0) && word::unskip(&ring.words[0], 1) {
            tail = 0;
        }
        ring.stage(tail, 3);
        ring.over.store(1, Ordering::Release);
        worker.join().expect("it does not panic");
        assert_eq!(ring.ran(1), u32::from(first != Taken::Kept(0)));
        assert_eq!(ring.ran(2), u32::from(second != Taken::Kept(0)));
        assert_eq!(ring.ran(3), 1);
        let last = word::look(&ring.words[tail]);
        assert!(last.is_done() && last.has_generation(3) && last.begun() == 1);
    });
}
