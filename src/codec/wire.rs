//! The form in which an argument or a result crosses: bytes as bytes, paths with whatever bytes they
//! have, everything else as serde has it.
//!
//! The types are told apart by their `TypeId`, which the compiler decides while it generates the code.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bytes;

/// A value to be encoded.
pub(crate) struct WireRef<'a, T>(pub(crate) &'a T);

/// A value that was decoded.
pub(crate) struct Wire<T>(pub(crate) T);

impl<T: Serialize + 'static> Serialize for WireRef<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Decided while the code is generated: for other types nothing of this remains.
        let special = [
            TypeId::of::<Vec<u8>>(),
            TypeId::of::<Option<Vec<u8>>>(),
            TypeId::of::<PathBuf>(),
            TypeId::of::<Option<PathBuf>>(),
        ];
        if !special.contains(&TypeId::of::<T>()) {
            return self.0.serialize(serializer);
        }
        let value = self.0 as &dyn Any;
        if let Some(bytes) = value.downcast_ref::<Vec<u8>>() {
            serializer.serialize_bytes(bytes)
        } else if let Some(bytes) = value.downcast_ref::<Option<Vec<u8>>>() {
            bytes.as_deref().map(BorrowedBytes::from).serialize(serializer)
        } else if let Some(path) = value.downcast_ref::<PathBuf>() {
            BorrowedPath::from(path.as_path()).serialize(serializer)
        } else if let Some(path) = value.downcast_ref::<Option<PathBuf>>() {
            path.as_deref().map(BorrowedPath::from).serialize(serializer)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de, T: Deserialize<'de> + 'static> Deserialize<'de> for Wire<T> {
    #[inline]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = TypeId::of::<T>();
        let value = if wanted == TypeId::of::<Vec<u8>>() {
            same_type(bytes::deserialize(deserializer)?)
        } else if wanted == TypeId::of::<Option<Vec<u8>>>() {
            let bytes = Option::<BorrowedBytes<'de>>::deserialize(deserializer)?;
            same_type(bytes.map(|bytes| bytes.0.into_owned()))
        } else if wanted == TypeId::of::<PathBuf>() {
            same_type(BorrowedPath::deserialize(deserializer)?.0.into_owned())
        } else if wanted == TypeId::of::<Option<PathBuf>>() {
            let path = Option::<BorrowedPath<'de>>::deserialize(deserializer)?;
            same_type(path.map(|path| path.0.into_owned()))
        } else {
            T::deserialize(deserializer)?
        };
        Ok(Self(value))
    }
}

/// `value`, whose type is `T` by another name.
fn same_type<A: 'static, T: 'static>(value: A) -> T {
    let mut slot = Some(value);
    (&mut slot as &mut dyn Any)
        .downcast_mut::<Option<T>>()
        .and_then(Option::take)
        .expect("the types were compared and the slot was just filled")
}

/// Text, in the input if that is possible (JSON has escapes).
#[derive(Serialize)]
pub(crate) struct BorrowedStr<'a>(pub(crate) Cow<'a, str>);

impl<'a> From<&'a str> for BorrowedStr<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'de> Deserialize<'de> for BorrowedStr<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(StrVisitor).map(Self)
    }
}

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}

/// Bytes, in the input if that is possible.
pub(crate) struct BorrowedBytes<'a>(pub(crate) Cow<'a, [u8]>);

impl<'a> From<&'a [u8]> for BorrowedBytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl Serialize for BorrowedBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for BorrowedBytes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bytes::borrowed(deserializer).map(Self)
    }
}

/// A path. In the binary codecs it is bytes, for a Linux path need not be text; text and bytes look the
/// same there.
pub(crate) struct BorrowedPath<'a>(pub(crate) Cow<'a, Path>);

impl<'a> From<&'a Path> for BorrowedPath<'a> {
    fn from(path: &'a Path) -> Self {
        Self(Cow::Borrowed(path))
    }
}

impl Serialize for BorrowedPath<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.0.serialize(serializer)
        } else {
            serializer.serialize_bytes(self.0.as_os_str().as_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for BorrowedPath<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = if deserializer.is_human_readable() {
            match deserializer.deserialize_str(StrVisitor)? {
                Cow::Borrowed(text) => Cow::Borrowed(Path::new(text)),
                Cow::Owned(text) => Cow::Owned(PathBuf::from(text)),
            }
        } else {
            match bytes::borrowed(deserializer)? {
                Cow::Borrowed(bytes) => Cow::Borrowed(Path::new(OsStr::from_bytes(bytes))),
                Cow::Owned(bytes) => Cow::Owned(PathBuf::from(OsString::from_vec(bytes))),
            }
        };
        Ok(Self(path))
    }
}
