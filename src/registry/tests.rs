//! The attribute and the registry together, through the bytes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{catalogue, find};
use crate::codec::CodecId;
use crate::task::options::{Declared, Priority, RetryOn};
use crate::transport::frame::Outcome;
use crate::{TaskFailure, TaskResult, task};

/// Makes it small.
///
/// # Second
///   indented
#[task(
    timeout = "1m30s",
    retries = 2,
    retry_on(crash, timeout),
    priority = "high",
    label = "l"
)]
fn thumbnail(path: &Path, size: u32) -> TaskResult<Vec<u8>> {
    if size == 0 {
        return Err(TaskFailure::new("no pixels").context("scaling"));
    }
    Ok(format!("{}:{size}", path.display()).into_bytes())
}

#[task]
fn mixed(
    text: &str,
    bytes: &[u8],
    numbers: &[f64],
    map: HashMap<String, (u8, i64)>,
    maybe: Option<&str>,
    r#type: Option<PathBuf>,
    owned: Vec<u8>,
    flag: &bool,
) -> String {
    format!(
        "{text:?} {bytes:?} {numbers:?} {} {maybe:?} {:?} {owned:?} {flag}",
        map.len(),
        r#type
    )
}

#[test]
fn a_call_goes_through_the_bytes() {
    let call = thumbnail::call(Path::new("a.png"), 7);
    assert_eq!(call.run_here(), Ok(Ok(b"a.png:7".to_vec())));
    assert_eq!(
        thumbnail::call(Path::new("a.png"), 0).run_here(),
        Ok(Err(TaskFailure::new("no pixels").context("scaling")))
    );
    assert_eq!(thumbnail(Path::new("b"), 1), Ok(b"b:1".to_vec()));
}
