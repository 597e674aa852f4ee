//! What an outcome is to the user whose task it ends.

use super::error::{PanicReport, TaskErrorKind};
use crate::transport::frame::Outcome;

/// What went wrong, if nothing was returned. `pid`: where.
#[cold]
pub(crate) fn failure_kind(outcome: Outcome, pid: Option<u32>) -> TaskErrorKind {
    match outcome {
        Outcome::Returned { .. } => unreachable!("what was returned is no failure"),
        Outcome::Panicked { message, location } => {
            TaskErrorKind::Panicked(PanicReport { message, location, pid })
        }
        Outcome::Unencodable { message } => {
            let reason = format!("the worker could not encode it: {message}");
            TaskErrorKind::Undeliverable { reason }
        }
        Outcome::Undeliverable { message: reason } => TaskErrorKind::Undeliverable { reason },
        Outcome::UnknownFunction { message: reason }
        | Outcome::BadArguments { message: reason } => TaskErrorKind::Rejected { reason },
    }
}
