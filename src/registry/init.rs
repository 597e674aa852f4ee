//! What `#[worker_init]` registers: what a worker runs before its first task.

use super::panics::{Panicked, catch};
use crate::codec::arguments::CrossesToWorker;
use crate::codec::wire::Wire;
use crate::codec::{self, CodecId};

/// A function that `#[worker_init]` marked.
#[derive(Debug)]
pub struct WorkerInit {
    /// The full path: `crate::module::function`.
    pub path: &'static str,
    /// Where it is declared.
    pub file: &'static str,
    /// Where it is declared.
    pub line: u32,
    /// Run it, with the data from the builder if there are any: the name of their type
    /// ([`std::any::type_name`]) and their bytes.
    pub run: RunInit,
}

/// Runs an initialiser with the name of its data's type and their bytes, or says why it failed.
pub type RunInit = fn(Option<(&str, &[u8])>) -> Result<(), String>;

inventory::collect!(WorkerInit);

/// How the binary codec begins an `Option`: <https://postcard.jamesmunns.com/wire-format>.
const NONE: &[u8] = &[0];
const SOME: &[u8] = &[1];

/// All of them, in the order of their paths, in which they are to be run.
pub(crate) fn worker_inits() -> Vec<&'static WorkerInit> {
    let mut inits: Vec<_> = inventory::iter::<WorkerInit>.into_iter().collect();
    inits.sort_by_key(|init| (init.path, init.file, init.line));
    inits
}

/// The data of the builder as what `init(data: T)` takes. An `Option<U>` takes a `U`, or no data.
pub fn init_data<T: CrossesToWorker>(data: Option<(&str, &[u8])>) -> Result<T, String> {
    let wanted = std::any::type_name::<T>();
    let optional =
        wanted.strip_prefix("core::option::Option<").and_then(|rest| rest.strip_suffix('>'));
    let some;
    let data = match (data, optional) {
        (None, Some(_)) => Some((wanted, NONE)),
        (Some((given, bytes)), Some(inner)) if given == inner => {
            some = [SOME, bytes].concat();
            Some((wanted, &*some))
        }
        _ => data,
    };
    match data {
        None => Err(format!("it takes data (`{wanted}`), and the supervisor's builder gave none")),
        Some((given, _)) if given != wanted => {
            Err(format!("it takes `{wanted}`, and the supervisor's builder gave `{given}`"))
        }
        Some((_, bytes)) => codec::decode::<Wire<T>>(CodecId::Postcard, bytes)
            .map(|data| data.0)
            .map_err(|error| format!("its data could not be decoded: {error}")),
    }
}

/// Run an initialiser, `init`, which tells the message and chain of its error if it has one.
pub fn run_init(
    path: &str,
    init: impl FnOnce() -> Result<Option<Vec<String>>, String>,
) -> Result<(), String> {
    let reason = match catch(init) {
        Ok(Ok(None)) => return Ok(()),
        Ok(Ok(Some(chain))) => chain.join(": "),
        Ok(Err(reason)) => reason,
        Err(Panicked { message, location: None }) => format!("it panicked: {message}"),
        Err(Panicked { message, location: Some(location) }) => {
            format!("it panicked at {location}: {message}")
        }
    };
    Err(format!("the initialiser `{path}` failed: {reason}"))
}

#[cfg(test)]
mod tests;
