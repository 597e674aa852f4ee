//! atasker
#![allow(dead_code, missing_docs, unreachable_pub)]
mod sync;
mod sys;
mod task;
mod core { pub(crate) mod effect; }
mod admission;
mod transport;
pub mod process;
pub mod worker;

/// Stand-ins until the real ones land.
mod codec {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    #[repr(u8)]
    pub(crate) enum CodecId { Postcard = 1, Json = 2, Bincode = 3 }
    pub(crate) mod bytes {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};
        pub(crate) fn serialize<S: Serializer>(bytes: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
            bytes.serialize(serializer)
        }
        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
            Vec::deserialize(deserializer)
        }
    }
}
mod registry;
