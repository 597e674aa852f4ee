//! Background workers.

mod body;
mod builder;
mod handle;
mod info;
mod machine;
mod queue;
pub(crate) mod registry;
mod run;
mod shell;
mod start;
mod timing;
mod traits;
mod turn;

pub use builder::{BackgroundWorkerBuilder, WithCode};
pub use handle::BackgroundWorker;
pub use info::{BackgroundKind, BackgroundStatus, BackgroundWorkerInfo};
pub use machine::OnFailure;
pub use queue::{PutError, PutErrorKind, WorkQueue};
pub use run::{Returns, Run, RunError};
pub use start::Start;
pub use timing::{MissedTicks, Timing};
#[cfg(feature = "async")]
pub use traits::AsyncBackground;
pub use traits::{Background, Hooks, ProcessBackground};
