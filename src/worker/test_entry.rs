//! The entry of a worker in a test binary, whose `main` is not the user's: a test that serves.

use std::sync::atomic::{AtomicBool, Ordering};

#[doc(hidden)]
pub use inventory;

/// Where the test stands, as `module_path!` says it there.
#[derive(Debug)]
#[doc(hidden)]
pub struct TestEntry {
    pub module_path: &'static str,
}

inventory::collect!(TestEntry);

static RUNNING: AtomicBool = AtomicBool::new(false);

/// Let the test binary start itself as a worker.
///
/// In a test binary `main` belongs to the test harness, so [`run_if_spawned`](crate::worker::run_if_spawned)
/// can't be its first line. This macro defines a test named `atasker_worker` that takes its place: the
/// supervisor starts the binary again with that test selected. In a normal run it passes at once. Write it
/// once in each test crate that starts a supervisor.
///
/// ```
/// #[cfg(test)]
/// mod tests {
///     atasker::test_worker!();
/// }
/// ```
#[macro_export]
macro_rules! test_worker {
    () => {
        /// Where this test binary becomes a worker.
        #[cfg(test)]
        #[test]
        fn atasker_worker() {
            $crate::worker::test_entry::run_if_spawned();
        }

        #[cfg(test)]
        const _: () = {
            use $crate::worker::test_entry::inventory;
            inventory::submit! {
                $crate::worker::test_entry::TestEntry { module_path: module_path!() }
            }
        };
    };
}

#[doc(hidden)]
pub fn run_if_spawned() {
    if let Some(marker) = super::take_marker() {
        RUNNING.store(true, Ordering::Relaxed);
        super::start::become_worker(&marker);
    }
}

/// Whether this worker runs within libtest.
pub(super) fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

/// The test's name as libtest knows it, if there is one.
pub(crate) fn path() -> Option<String> {
    let entry = inventory::iter::<TestEntry>().next()?;
    // libtest leaves the crate's name out.
    Some(match entry.module_path.split_once("::") {
        Some((_, module)) => format!("{module}::atasker_worker"),
        None => "atasker_worker".to_owned(),
    })
}
