//! atasker
#![allow(dead_code, missing_docs, unused_imports)]

// The attributes name this crate from outside, and its own unit tests use them.
#[cfg(test)]
extern crate self as atasker;

mod codec;
mod registry;
mod sync;
mod task;
mod transport {
    pub(crate) mod frame;
}

pub use codec::{CodecId, DecodeError, EncodeError};
pub use registry::{Catalogue, FindError, FunctionInfo, ParameterInfo, catalogue};
pub use task::failure::{FailureError, TaskFailure, TaskResult};
pub use task::id::TaskId;
pub use task::options::{Backoff, Limits, Priority, RetryOn};

#[cfg(feature = "macros")]
pub use atasker_macros::{main, task, worker_init};

/// What the attributes expand to. Not for use by hand, and not covered by any promise.
#[doc(hidden)]
pub mod __private {
    pub use crate::codec::arguments::{
        Argument, Arguments, ArgumentsDecoder, ArgumentsEncoder, BadArguments, BorrowedParameter,
        CrossesToWorker, ErrorCrossesToWorker, Held, OwnedParameter, Parameter, ParameterOps, lend,
        lend_option, parameter_ops,
    };
    pub use crate::codec::lent::{AsBytes, AsDeclared, LendsInWorker};
    pub use crate::codec::{CodecId, UnknownCodec};
    pub use crate::registry::entry::{RegisteredTask, TaskEntry, check_clashes, find};
    pub use crate::registry::init::{RunInit, WorkerInit, init_data, run_init};
    pub use crate::registry::io::{
        GivenAgain, GoesToThread, IoBorrowed, IoTask, Owned, given_again, goes_to_thread,
        lend_owned, own, own_option,
    };
    pub use crate::registry::returned::{
        AsDisplay, AsError, AsFailure, AsSilent, Describe, PlainKind, ResultKind, ReturnOps,
        Returned, ReturnsToCaller, Speaks, ViaDisplay, ViaError, ViaFailure, ViaPlain, ViaSilent,
    };
    pub use crate::registry::run::{ProcessTask, call, decode, parse};
    pub use crate::registry::shape::{Shapes, digest};
    pub use crate::task::options::Declared;
    pub use crate::transport::frame::Outcome;
    pub use inventory;

    pub use crate::stub::stop_default_supervisor;
}

mod stub;
pub use stub::{Call, worker};
