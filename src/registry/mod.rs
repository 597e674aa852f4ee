//! Functions by name: what `#[task]` and `#[worker_init]` registered at link time, how a name is resolved,
//! and how a registered function is run on encoded arguments.
//!
//! Read [`entry`], then [`find`] and [`catalogue`], then [`run`]. Knows nothing of pools or processes; the
//! worker and the supervisor use it.

pub(crate) mod catalogue;
pub(crate) mod entry;
pub(crate) mod find;
pub(crate) mod init;
pub(crate) mod io;
pub(crate) mod panics;
pub(crate) mod returned;
pub(crate) mod run;
pub(crate) mod shape;

pub(crate) use catalogue::{Catalogue, catalogue};
pub use catalogue::{FunctionInfo, ParameterInfo};
pub(crate) use entry::{TaskEntry, check_clashes, entry_at, find, find_index, index_of};
pub(crate) use find::FindError;

#[cfg(test)]
mod tests;
