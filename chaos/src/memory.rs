//! The memory of this process: what is allocated, counted to the byte, and what is resident; and whether it stays
//! the same while tasks come and go.

#![expect(unsafe_code, reason = "an allocator that counts, and a word to the one of libc")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::sync::atomic::{AtomicIsize, Ordering};

/// How much more than at first may be allocated between two lives, in KiB. Nothing of a supervisor is left then.
const ALLOCATED_BETWEEN_LIVES: u64 = 1 << 10;
/// The same while a supervisor lives. It remembers how its last 64 workers ended, each with up to a quarter of a MiB of
/// stack and mappings, and keeps room for as many tasks as there ever were at once.
const ALLOCATED_WITHIN_LIFE: u64 = 16 << 10;
/// How much more than at first may be resident between two lives, in KiB. An allocator can't give back a page on which
/// anything is left.
const RESIDENT_BETWEEN_LIVES: u64 = 16 << 10;
/// What libc's allocator takes from the kernel for itself alone, and of how much it keeps when it is free. Said, because
/// otherwise it keeps as much as the largest piece that it was ever asked for, in each arena.
const ALLOCATOR_KEEPS: libc::c_int = 128 << 10;

/// In bytes. Threads may give back what others have taken.
static ALLOCATED: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

/// The system's allocator, counted.
struct Counting;

// SAFETY: whatever is asked is asked of the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller promises what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above, and `pointer` came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) };
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: as above, and `pointer` came from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn count(taken: usize, given_back: usize) {
    let grown = taken.cast_signed() - given_back.cast_signed();
    ALLOCATED.fetch_add(grown, Ordering::Relaxed);
}

/// Have the allocator give back what is not in use. To be called before there are other threads.
pub(crate) fn keep_little() {
    for setting in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: these settings have no preconditions.
        unsafe { libc::mallopt(setting, ALLOCATOR_KEEPS) };
    }
}

/// What this process uses at one moment, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// On the heap, without what the allocator keeps for further use.
    pub(crate) allocated: u64,
    /// Without what is shared with workers: of that, buffers are kept. With the stacks of all threads.
    pub(crate) resident: u64,
}

impl Memory {
    /// After what is not in use has been given back to the kernel.
    pub(crate) fn now() -> Self {
        // SAFETY: it has no preconditions.
        unsafe { libc::malloc_trim(0) };
        let allocated = ALLOCATED.load(Ordering::Relaxed).max(0).cast_unsigned() as u64 >> 10;
        let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let resident = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        let resident = resident.expect("the kernel tells the memory of every process");
        Self { allocated, resident }
    }
}

/// Memory that has to stay the same, as it was each time when it was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Flat {
    seen: Vec<Memory>,
    /// By how much it may be more than at first.
    tolerance: Memory,
}

impl Flat {
    /// From now on, no supervisor being there.
    pub(crate) fn between_lives() -> Self {
        let (allocated, resident) = (ALLOCATED_BETWEEN_LIVES, RESIDENT_BETWEEN_LIVES);
        Self::from_now(Memory { allocated, resident })
    }

    /// From now on, while a supervisor lives that has nothing to do.
    pub(crate) fn within_life() -> Self {
        // Threads and workers come and go with the limits, so what is resident is not compared.
        Self::from_now(Memory { allocated: ALLOCATED_WITHIN_LIFE, resident: u64::MAX })
    }

    fn from_now(tolerance: Memory) -> Self {
        Self { seen: vec![Memory::now()], tolerance }
    }

    /// Look again. What has grown, if it has by more than it may.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let (first, now) = (self.seen[0], Memory::now());
        self.seen.push(now);
        let grown = [now.allocated, now.resident];
        let grown = grown.iter().zip([first.allocated, first.resident]);
        let may = [self.tolerance.allocated, self.tolerance.resident];
        let is_flat = grown.zip(may).all(|((now, first), may)| now.saturating_sub(first) <= may);
        if is_flat { Ok(()) } else { Err(format!("memory grows: {self}")) }
    }
}

impl fmt::Display for Flat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.seen.len() - 1;
        // Not more of them than fit into a line.
        let mut shown: Vec<usize> = (0..=8).map(|part| last * part / 8).collect();
        shown.dedup();
        for (what, of) in [
            ("allocated", (|memory| memory.allocated) as fn(&Memory) -> u64),
            ("resident", |memory| memory.resident),
        ] {
            let all: Vec<u64> = self.seen.iter().map(of).collect();
            let shown: Vec<String> = shown.iter().map(|at| all[*at].to_string()).collect();
            let most = all.iter().max().unwrap_or(&0);
            write!(f, "{what} {}, at most {most} KiB", shown.join(" "))?;
            f.write_str(if what == "allocated" { "; " } else { "" })?;
        }
        Ok(())
    }
}
