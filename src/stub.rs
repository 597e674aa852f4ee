//! Stands in for `task::call` and `worker` until they are merged.

use std::marker::PhantomData;

use crate::codec::{CodecId, DecodeError, EncodeError};
use crate::registry::TaskEntry;
use crate::registry::returned::Describe;
use crate::task::options::Declared;
use crate::transport::frame::Outcome;

pub struct Call<R> {
    pub body: Body<R>,
    output: PhantomData<fn() -> R>,
}

pub enum Body<R> {
    Process {
        entry: &'static TaskEntry,
        encoded: Result<Vec<u8>, EncodeError>,
        decode: fn(CodecId, &[u8]) -> Result<R, DecodeError>,
    },
    Once {
        name: &'static str,
        declared: Declared,
        describe: Describe<R>,
        closure: Box<dyn FnOnce() -> R + Send>,
    },
    Repeatable {
        name: &'static str,
        declared: Declared,
        describe: Describe<R>,
        closure: Box<dyn Fn() -> R + Send>,
    },
}

impl<R: 'static> Call<R> {
    #[doc(hidden)]
    pub fn __new_process(
        entry: &'static TaskEntry,
        encoded: Result<Vec<u8>, EncodeError>,
        decode: fn(CodecId, &[u8]) -> Result<R, DecodeError>,
    ) -> Self {
        Self { body: Body::Process { entry, encoded, decode }, output: PhantomData }
    }

    #[doc(hidden)]
    pub fn __new_io(
        name: &'static str,
        declared: Declared,
        describe: Describe<R>,
        closure: impl FnOnce() -> R + Send + 'static,
    ) -> Self {
        let closure = Box::new(closure);
        Self { body: Body::Once { name, declared, describe, closure }, output: PhantomData }
    }

    #[doc(hidden)]
    pub fn __new_io_repeatable(
        name: &'static str,
        declared: Declared,
        describe: Describe<R>,
        closure: impl Fn() -> R + Send + 'static,
    ) -> Self {
        let closure = Box::new(closure);
        Self { body: Body::Repeatable { name, declared, describe, closure }, output: PhantomData }
    }

    /// Runs in this process, through the bytes if it is a process task.
    pub fn run_here(self) -> Result<R, String> {
        match self.body {
            Body::Process { entry, encoded, decode } => {
                let encoded = encoded.map_err(|error| error.to_string())?;
                match (entry.run)(CodecId::Postcard, &encoded) {
                    Outcome::Returned { value, .. } => {
                        decode(CodecId::Postcard, &value).map_err(|error| error.to_string())
                    }
                    other => Err(format!("{other:?}")),
                }
            }
            Body::Once { closure, .. } => Ok(closure()),
            Body::Repeatable { closure, .. } => {
                closure();
                Ok(closure())
            }
        }
    }
}

pub mod worker {
    pub fn run_if_spawned() {
        eprintln!("run_if_spawned");
    }
}

pub fn stop_default_supervisor() {
    eprintln!("stop_default_supervisor");
}
