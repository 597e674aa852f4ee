//! How long the calls of each function took lately: for the next map to begin with, and for single calls to travel
//! together.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::executor::Executor;
use crate::registry::{self, entry};
use crate::task::cell::Function;

/// Nanoseconds, by where the worker's registry has the function; zero until it has run.
#[derive(Debug, Default)]
pub(crate) struct Paces(OnceLock<Box<[AtomicU64]>>);

/// What is shorter is not told apart.
const FLOOR_NS: u64 = 1_000;

impl Paces {
    #[inline]
    pub(crate) fn of(&self, index: u32) -> Option<u64> {
        let pace = self.0.get()?.get(index as usize)?.load(Ordering::Relaxed);
        (pace > 0).then_some(pace)
    }

    /// Calls took so long each. One that had to wait for a core says little of the others, so it falls at once and
    /// rises slowly.
    #[inline]
    pub(crate) fn learn(&self, executor: &Executor, index: u32, pace_ns: u64) {
        let paces = self.0.get_or_init(|| {
            let count = executor.catalogue().map(|catalogue| catalogue.functions().len());
            let count = count.unwrap_or_else(|| entry::entries().len());
            (0..count).map(|_| AtomicU64::new(0)).collect()
        });
        let Some(pace) = paces.get(index as usize) else { return };
        let before = pace.load(Ordering::Relaxed);
        let now = match before {
            0 => pace_ns,
            _ if pace_ns < before => before - (before - pace_ns).div_ceil(2),
            _ => before + (pace_ns.min(2 * before + FLOOR_NS) - before) / 8,
        };
        // A lost one does no harm.
        pace.store(now.max(1), Ordering::Relaxed);
    }

    /// The same for a function whose calls have not been submitted yet.
    pub(crate) fn of_function(&self, executor: &Executor, function: &Function) -> Option<u64> {
        self.of(index_of(executor, function)?)
    }

    pub(crate) fn learn_of(&self, executor: &Executor, function: &Function, pace_ns: u64) {
        if let Some(index) = index_of(executor, function) {
            self.learn(executor, index, pace_ns);
        }
    }
}

fn index_of(executor: &Executor, function: &Function) -> Option<u32> {
    match (function, executor.catalogue()) {
        (Function::Typed(entry), None) => Some(registry::index_of(entry)),
        (function, Some(catalogue)) => Some(catalogue.find(function.name()).ok()?.0),
        (Function::Named(_), None) => None,
    }
}
