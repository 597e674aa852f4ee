//! What a program knows, as plain data: what a worker tells its coordinator, and what a list shows.

use serde::{Deserialize, Serialize};

use super::entry::{TaskEntry, entries};
use super::find::{FindError, Names};
use crate::task::options::Options;

/// A registered function, described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionInfo {
    /// The full path: `crate::module::function`.
    pub path: String,
    /// As declared: `thumbnail(path: &Path, size: u32) -> TaskResult<Vec<u8>>`.
    pub signature: String,
    /// In their order.
    pub parameters: Vec<ParameterInfo>,
    /// The doc comment; empty if there is none.
    pub docs: String,
    /// Of the signature and of the shapes of its types.
    pub digest: u64,
    /// What its attribute declares.
    pub(crate) options: Options,
    pub(crate) label: Option<String>,
}

/// A parameter of a registered function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParameterInfo {
    /// Its name.
    pub name: String,
    /// Its type, as written.
    pub type_name: String,
}

impl From<&TaskEntry> for FunctionInfo {
    fn from(entry: &TaskEntry) -> Self {
        Self {
            path: entry.path.to_owned(),
            signature: entry.signature.to_owned(),
            parameters: entry
                .parameters
                .iter()
                .map(|parameter| ParameterInfo {
                    name: parameter.name.to_owned(),
                    type_name: parameter.type_name.to_owned(),
                })
                .collect(),
            docs: entry.docs.to_owned(),
            digest: (entry.digest)(),
            options: entry.declared.options,
            label: entry.declared.label.map(str::to_owned),
        }
    }
}

/// All functions registered in this program, by path.
pub(crate) fn catalogue() -> Vec<FunctionInfo> {
    let mut functions: Vec<FunctionInfo> =
        entries().iter().map(|entry| FunctionInfo::from(*entry)).collect();
    functions.sort_by(|a, b| a.path.cmp(&b.path));
    functions
}

/// The functions of another program, which can be found by name as those of this one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    functions: Vec<FunctionInfo>,
    names: Names,
}

impl Catalogue {
    /// Of what the other program told.
    pub(crate) fn new(functions: Vec<FunctionInfo>) -> Self {
        let names = Names::new(functions.iter().map(|function| (&function.path, None)));
        Self { functions, names }
    }

    /// All of them, in the order in which they were told.
    pub(crate) fn functions(&self) -> &[FunctionInfo] {
        &self.functions
    }

    /// The function of that name: its full path, or as much of its end as says which one is meant.
    /// With its index, which is the same in the other program's registry.
    pub(crate) fn find(&self, name: &str) -> Result<(u32, &FunctionInfo), FindError> {
        self.names.find(name).map(|position| (position as u32, &self.functions[position]))
    }
}
