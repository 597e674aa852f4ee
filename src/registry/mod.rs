//! Stand-in.
use crate::codec::CodecId;
use crate::transport::frame::Outcome;

pub(crate) struct TaskEntry {
    pub(crate) name: &'static str,
    pub(crate) run: fn(CodecId, &[u8]) -> Outcome,
}
#[derive(Debug, thiserror::Error)]
#[error("no function `{0}`")]
pub(crate) struct FindError(String);
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct FunctionInfo {
    pub(crate) name: String,
}

inventory::collect!(TaskEntry);
pub(crate) fn find(name: &str) -> Result<&'static TaskEntry, FindError> {
    inventory::iter::<TaskEntry>()
        .find(|entry| entry.name == name)
        .ok_or_else(|| FindError(name.to_owned()))
}
pub(crate) fn catalogue() -> Vec<FunctionInfo> {
    inventory::iter::<TaskEntry>()
        .map(|entry| FunctionInfo {
            name: entry.name.to_owned(),
        })
        .collect()
}
pub(crate) struct WorkerInit {
    pub(crate) run: fn(Option<(&str, &[u8])>) -> Result<(), String>,
}
inventory::collect!(WorkerInit);
pub(crate) fn worker_inits() -> impl Iterator<Item = &'static WorkerInit> {
    inventory::iter::<WorkerInit>()
}
pub(crate) mod panics {
    pub(crate) fn install_hook() {}
}
