//! What is allowed, in a crate that allows little.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, rust_2018_idioms, unused_qualifications)]

/// A crate by another name.
mod renamed {
    pub(crate) use ::atasker as tasks;
}

/// Private types in the signatures of public functions.
mod inner {
    use atasker::{Priority, TaskResult, task};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(crate) struct Config {
        level: u8,
    }

    #[task(priority = Priority::Low)]
    pub(crate) fn configure(config: Config, name: Option<&Config>) -> TaskResult<u8> {
        Ok(config.level + name.map_or(0, |config| config.level))
    }

    pub(crate) fn config(level: u8) -> Config {
        Config { level }
    }

    #[task(crate = crate::renamed::tasks, handle = Renamed)]
    pub(crate) fn renamed(value: u8) -> u8 {
        value
    }

    #[task]
    #[cfg(any())]
    pub(crate) fn absent(value: Missing) -> u8 {
        value
    }

    #[task(io, crate = crate::renamed::tasks)]
    #[must_use]
    #[inline(never)]
    pub(crate) fn io(io: &str, f: fn(&str) -> usize) -> usize {
        f(io)
    }

    #[atasker::worker_init]
    fn load(_config: &Config) -> Result<(), String> {
        Ok(())
    }
}

/// Stands for an attribute such as `#[tokio::main]`, which goes with the body.
#[atasker::main]
#[inline(never)]
fn main() -> Result<(), std::num::ParseIntError> {
    assert_eq!(inner::configure(inner::config(1), None).as_ref(), Ok(&1));
    drop(inner::configure::call(inner::config(1), Some(&inner::config(2))));
    assert_eq!(inner::renamed(3), 3);
    drop(inner::Renamed::call(3));
    assert_eq!(inner::io("x", str::len), 1);
    drop(inner::io::call("x", str::len));

    #[atasker::task]
    fn local(call: u8, local: u8) -> u8 {
        call + local
    }
    assert_eq!(local(1, 2), 3);
    drop(local::call(1, 2));

    let number: u8 = "7".parse()?;
    assert_eq!(number, 7);
    Ok(())
}
