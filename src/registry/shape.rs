//! The digest of a function: its signature and the serde shapes of its types, so that two programs notice
//! when they mean different functions by one name.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_reflection::{Error as TraceError, Registry, Samples, Tracer, TracerConfig};

use super::panics;
use crate::codec::arguments::{BorrowedParameter, OwnedParameter};
use crate::codec::lent::LendsInWorker;
use crate::codec::limited::{Context, Whole};

/// Bounds the work on a type whose variants can't be enumerated.
const PASSES_MAX: usize = 2_000;

/// Bounds the elements that one pass over a type may ask for.
const ELEMENTS_MAX: usize = 100_000;

/// FNV-1a over all that is told to it.
///
/// Fowler, Noll, Vo: <http://www.isthe.com/chongo/tech/comp/fnv/>
#[derive(Clone, Copy, Debug)]
pub struct Shapes {
    hash: u64,
}

/// The digest of a function with this signature, of whose types `types` tells.
pub fn digest(signature: &str, types: impl FnOnce(&mut Shapes)) -> u64 {
    let mut shapes = Shapes { hash: 0xcbf2_9ce4_8422_2325 };
    shapes.add(signature);
    types(&mut shapes);
    shapes.hash
}

impl Shapes {
    /// Trace the type of an owned parameter.
    pub fn owned<P: OwnedParameter<N>, const N: usize>(&mut self) {
        (P::ops().trace)(self);
    }

    /// Trace the type of a borrowed parameter.
    pub fn borrowed<P: BorrowedParameter<N>, const N: usize>(&mut self) {
        self.trace::<<P::Type as LendsInWorker<P::Form>>::Shape>();
    }

    /// Add the shape of `T`. If it can't be traced, nothing: its name stands in the signature.
    pub fn trace<T: DeserializeOwned>(&mut self) {
        // Tracing runs the type's own code on values that it has never seen.
        if let Ok(Some(shape)) = panics::catch(shape_of::<T>) {
            self.add(&shape);
        }
    }

    fn add(&mut self, text: &str) {
        // Ended by a byte that is in no text, so that two texts differ from the same in one.
        for byte in text.bytes().chain([0xff]) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn shape_of<T: DeserializeOwned>() -> Option<String> {
    // An enum inside another type is traced by repetition too, but only once its name is known.
    let mut enums = BTreeSet::new();
    for _ in 0..PASSES_MAX {
        match trace_with::<T>(&enums) {
            Ok((format, registry)) => return Some(format!("{format}{registry:?}")),
            Err(TraceError::MissingVariants(missing)) => {
                let known = enums.len();
                enums.extend(missing);
                if enums.len() == known {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
    None
}

fn trace_with<T: DeserializeOwned>(
    enums: &BTreeSet<String>,
) -> Result<(String, Registry), TraceError> {
    let mut tracer = Tracer::new(TracerConfig::default());
    let samples = Samples::new();
    let mut shape = String::new();
    for _ in 0..PASSES_MAX {
        let context = Context::new(ELEMENTS_MAX);
        let (format, _) = tracer.trace_type_once_with_seed(&samples, Whole::<T>::new(&context))?;
        shape = format!("{format:?}");
        // Every name is asked: asking is what makes the tracer go on to the next variant.
        let incomplete =
            enums.iter().filter(|name| tracer.check_incomplete_enum(name).is_some()).count();
        if incomplete == 0 {
            break;
        }
    }
    Ok((shape, tracer.registry()?))
}
