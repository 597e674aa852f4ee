//! Small helpers around tasks that many programs write for themselves. Feature `extras`, off by default.
//!
//! | | for |
//! |---|---|
//! | [`FunctionCollection`] | what is to be run in order, say at the start of a program: each function's result by its name, errors in one place |
//! | [`TaskCollection`] | the same side by side, as tasks on any pool |
//! | [`Locals`] | values of a thread, by name |
//! | [`Locker`] | a lock that gives up, and cries for help, when it can't be had in time |

mod collection;
mod function_collection;
mod locals;
mod locker;
mod task_collection;

pub use collection::{CollectionOutcome, Rank};
pub use function_collection::FunctionCollection;
pub use locals::Locals;
pub use locker::{LockTimeout, Locker, LockerGuard};
pub use task_collection::TaskCollection;
