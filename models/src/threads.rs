//! The threads of a model.

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

/// Start one that does something with what all of them share.
pub(crate) fn spawn<T: 'static, R: 'static>(
    shared: &Arc<T>,
    act: impl FnOnce(&T) -> R + 'static,
) -> JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || act(&shared))
}
