//! `atasker doctor`: what of the kernel is here that worker processes build on.

use std::io::Write as _;
use std::process::ExitCode;

use crate::failure::{self, Failure};

/// Show it.
pub(crate) fn doctor() -> Result<ExitCode, Failure> {
    let facilities = atasker::probe();
    let lines: Vec<_> = facilities.iter().map(ToString::to_string).collect();
    let text = lines.join("\n") + "\n";
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::write("standard output", &error))?;
    let all = facilities.iter().all(|facility| facility.is_there);
    Ok(ExitCode::from(if all { failure::ALL_GOOD } else { failure::SOME_FAILED }))
}
