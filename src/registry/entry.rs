//! What is registered, and the way from a name to it.

use std::sync::OnceLock;

use super::find::{FindError, Names};
use crate::codec::arguments::Parameter;
use crate::codec::{Bytes, CodecId};
use crate::task::options::Declared;
use crate::transport::frame::Ran;

/// A function that `#[task]` made callable in a worker process.
#[derive(Debug)]
pub struct TaskEntry {
    /// The full path: `crate::module::function`.
    pub path: &'static str,
    /// As declared: `thumbnail(path: &Path, size: u32) -> TaskResult<Vec<u8>>`.
    pub signature: &'static str,
    /// In their order.
    pub parameters: &'static [Parameter],
    /// The doc comment, without its indentation; empty if there is none.
    pub docs: &'static str,
    /// Where it is declared.
    pub file: &'static str,
    /// Where it is declared.
    pub line: u32,
    /// Of the signature and the shapes of its types; computed at the first call.
    pub digest: fn() -> u64,
    /// The options on the attribute.
    pub declared: Declared,
    /// Decode the arguments, call the function, encode what it returned. Panics are caught.
    /// A plain result is in the third then, which is empty before.
    pub run: fn(CodecId, &[u8], &mut Bytes) -> Ran,
}

impl TaskEntry {
    /// The name of the function alone.
    pub fn name(&self) -> &'static str {
        self.path.rsplit("::").next().unwrap_or(self.path)
    }

    /// `file:line`
    pub(crate) fn location(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// What the linker collects.
#[derive(Debug)]
pub struct RegisteredTask(pub &'static TaskEntry);

inventory::collect!(RegisteredTask);

/// Everything registered in this program, in no particular order.
pub(crate) fn entries() -> &'static [&'static TaskEntry] {
    &registry().entries
}

/// The function of that name: its full path, or as much of the path's end as says which one is meant.
pub fn find(name: &str) -> Result<&'static TaskEntry, FindError> {
    let registry = registry();
    registry.names.find(name).map(|position| registry.entries[position])
}

/// The same, with its index.
pub(crate) fn find_index(name: &str) -> Result<(u32, &'static TaskEntry), FindError> {
    let registry = registry();
    let position = registry.names.find(name)?;
    Ok((position as u32, registry.entries[position]))
}

/// The function of that index. Indexes are those of [`entries`], the same in every process of a program.
#[inline]
pub(crate) fn entry_at(index: u32) -> Option<&'static TaskEntry> {
    registry().entries.get(index as usize).copied()
}

/// The index of a function of this program.
pub(crate) fn index_of(entry: &'static TaskEntry) -> u32 {
    let address = std::ptr::from_ref(entry).addr();
    let addresses = &registry().addresses;
    match addresses.binary_search_by_key(&address, |&(address, _)| address) {
        Ok(at) => addresses[at].1,
        // The constant has several addresses, and this one is not that which was registered.
        Err(_) => registry().names.find(entry.path).map_or(u32::MAX, |position| position as u32),
    }
}

/// Whether every full path is registered once. Computed once.
pub fn check_clashes() -> Result<(), FindError> {
    registry().names.check_clashes()
}

struct Registry {
    entries: Vec<&'static TaskEntry>,
    /// Where each entry stands, sorted, and its index.
    addresses: Vec<(usize, u32)>,
    names: Names,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut entries: Vec<_> =
            inventory::iter::<RegisteredTask>.into_iter().map(|registered| registered.0).collect();
        entries.sort_by_key(|entry| (entry.path, entry.file, entry.line));
        let names = Names::new(entries.iter().map(|entry| (entry.path, Some(entry.location()))));
        let mut addresses: Vec<_> = entries
            .iter()
            .zip(0..)
            .map(|(&entry, index)| (std::ptr::from_ref(entry).addr(), index))
            .collect();
        addresses.sort_unstable();
        Registry { entries, addresses, names }
    })
}
