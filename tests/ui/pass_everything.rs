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

    #[task(crate = crate::renamed::tasks)]
    #[must_use]
    pub(crate) async fn awaited(name: &str, f: fn(&str) -> usize, more: Option<&str>) -> usize {
        std::future::ready(()).await;
        f(name) + more.map_or(0, str::len)
    }

    #[task(retries = 2, retry_on(error), priority = "high", timeout = "1s", label = "again")]
    pub(crate) async fn again(name: &str, config: Vec<u8>, more: Option<&[u8]>) -> TaskResult<usize> {
        std::future::ready(()).await;
        Ok(name.len() + config.len() + more.map_or(0, <[u8]>::len))
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
    drop(inner::awaited("x", str::len, None));
    drop(inner::awaited::call("x", str::len, Some("y")));
    drop(inner::again("x", Vec::new(), None));
    drop(inner::again::call("x", vec![1], Some(&[2])));

    #[atasker::task]
    fn local(call: u8, local: u8) -> u8 {
        call + local
    }
    assert_eq!(local(1, 2), 3);
    drop(local::call(1, 2));

    // A macro hands types on in a group of their own.
    macro_rules! length {
        ($name:ident, $type:ty) => {
            #[atasker::task]
            fn $name(of: $type) -> usize {
                of.len()
            }
        };
    }
    length!(of_text, &str);
    length!(of_bytes, &[u8]);
    drop((of_text::call("x"), of_bytes::call(b"x")));

    #[atasker::task]
    #[allow(unused_parens)]
    fn in_parentheses(text: (&str)) -> usize {
        text.len()
    }
    drop(in_parentheses::call("x"));

    let number: u8 = "7".parse()?;
    assert_eq!(number, 7);
    Ok(())
}
