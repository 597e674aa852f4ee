//! What a task is to its user: the [`Call`](call::Call) that describes it, the
//! [`TaskHandle`](handle::TaskHandle) that waits for it, the [`TaskError`](error::TaskError) that says what
//! became of it, and the plain words (priorities, limits, identities) that these are made of. Knows nothing
//! of admission, processes or the core.

pub(crate) mod call;
pub(crate) mod cause;
pub(crate) mod cell;
pub(crate) mod crash;
pub(crate) mod current;
pub(crate) mod end;
pub(crate) mod error;
pub(crate) mod failure;
pub(crate) mod handle;
pub(crate) mod id;
pub(crate) mod info;
pub(crate) mod listener;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod pack;
pub(crate) mod quarantine;
pub(crate) mod said;
mod treatment;
pub(crate) mod wait;
