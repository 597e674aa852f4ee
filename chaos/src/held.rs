//! What a process holds, to be compared before and after.

use std::time::{Duration, Instant};

use atasker::SharedSlice;

use crate::mischief::children;
use crate::watchdog;

/// What this process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    descriptors: usize,
    threads: usize,
    /// Mappings of shared memory.
    segments: usize,
    children: usize,
}

impl Held {
    pub(crate) fn count() -> Self {
        let count =
            |kind: &str| std::fs::read_dir(format!("/proc/self/{kind}")).expect("procfs").count();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            segments: maps.lines().filter(|line| line.contains("memfd:")).count(),
            children: children().len(),
        }
    }

    fn covers(&self, now: &Self) -> bool {
        now.descriptors <= self.descriptors
            && now.threads <= self.threads
            && now.segments <= self.segments
            && now.children <= self.children
    }

    /// Wait until the process holds no more than this. Some may be about to end.
    pub(crate) fn await_again(&self, patience: Duration) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            let now = Self::count();
            if self.covers(&now) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let threads = watchdog::threads().join(", ");
                return Err(format!("{self:?} before, but {now:?} after; threads: {threads}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Have the library keep as many buffers for further use as it ever will.
pub(crate) fn fill_pool_of_buffers() {
    let buffers: Vec<_> = (0..200).map(|_| SharedSlice::<u8>::zeroed(1)).collect();
    drop(buffers);
}
