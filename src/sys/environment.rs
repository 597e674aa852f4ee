//! Changing the environment of this process.
//!
//! Only a worker at its start does that, in its one thread that could look, before any user code.
#![expect(
    unsafe_code,
    reason = "changing the environment is unsafe while another thread may read it"
)]

use std::ffi::OsStr;

/// Remove a variable. To be called before the process has a second thread that reads the environment.
pub(crate) fn remove_at_start(name: &str) {
    // SAFETY: called by a worker at its start only, whose other threads (libtest's idle main thread, the
    // lifeline) neither read nor change the environment.
    unsafe { std::env::remove_var(name) };
}

/// Set a variable, under the same condition.
pub(crate) fn set_at_start(name: &str, value: &OsStr) {
    // SAFETY: as in `remove_at_start`.
    unsafe { std::env::set_var(name, value) };
}
