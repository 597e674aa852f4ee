//! Many calls through one iterator, with a bounded number of them on their way.
//!
//! `source` takes the calls one by one and submits them. `ordered` is `map`, which packs small calls
//! (`packer`), `unordered` and `stream` are its relatives.

mod ordered;
mod packer;
mod source;
mod stream;
mod unordered;

pub use ordered::Map;
pub use stream::MapStream;
pub use unordered::MapUnordered;

macro_rules! debug_without_calls {
    ($name:ident<$($parameter:tt),+>) => {
        impl<$($parameter),+> std::fmt::Debug for $name<$($parameter),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("window", &self.window).finish_non_exhaustive()
            }
        }
    };
}

use debug_without_calls;
