//! Models of the ring's protocol, see README.md. Nothing at all without `--cfg loom`.
#![cfg(loom)]
#![expect(dead_code, reason = "a model takes of the rules what it is about")]

/// As the library has it, with loom's atomics.
mod sync {
    pub(crate) mod atomic {
        pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

        pub(crate) fn full_barrier() {
            loom::sync::atomic::fence(Ordering::SeqCst);
        }
    }
}

#[path = "../../src/transport/ring/bell.rs"]
mod bell;
#[path = "../../src/transport/ring/role.rs"]
mod role;
#[path = "../../src/transport/ring/sleep.rs"]
mod sleep;
#[path = "../../src/transport/ring/word.rs"]
mod word;

#[cfg(test)]
mod entry;
#[cfg(test)]
mod futex;
#[cfg(test)]
mod looking_after;
#[cfg(test)]
mod positions;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod waking;
