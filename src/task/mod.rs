//! What a task is to its user: the call that describes it, the handle that waits for it, the error that
//! says what became of it, and the plain words (priorities, limits, identities) that these are made of.
//! Knows nothing of pools, processes or the core.

pub(crate) mod failure;
pub(crate) mod id;
pub(crate) mod options;
