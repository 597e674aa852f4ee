//! The digest of a function: its signature and the serde shapes of its types, so that two programs notice
//! when they mean different functions by one name.
//!
//! A shape is found by having the type deserialize itself from made-up values, and taking down what it asks
//! for. An enum is asked for once for each of its variants. (`serde-reflection` does this too, but asks no
//! further for an enum that stands in a sequence or an option, and follows a recursive first variant until
//! the stack is full.) What can't be traced, such as a type that refuses made-up values, adds what it asked
//! for until then; its name stands in the signature.

use std::collections::HashMap;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::panics;
use crate::codec::arguments::{BorrowedParameter, OwnedParameter};
use crate::codec::lent::LendsInWorker;
use crate::shm::attachments;

/// Beyond this depth sequences, maps and options are empty, so that recursive types end.
const DEPTH_EXPLORED: u32 = 12;

/// Beyond this depth a type is given up.
const DEPTH_MAX: u32 = 64;

/// After so many values sequences, maps and options are empty, so that types which branch end soon.
const VALUES_EXPLORED: u32 = 10_000;

/// How often a type may be asked for its next variant.
const PASSES_MAX: usize = 1_000;

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

    /// Add the shape of `T`.
    pub fn trace<T: DeserializeOwned>(&mut self) {
        self.add("type");
        let mut trace = Trace { shapes: self, enums: HashMap::new(), values: 0 };
        for _ in 0..PASSES_MAX {
            let visited = trace.variants_visited();
            trace.values = 0;
            // This runs the type's own code on values that it has never seen: it may refuse or panic.
            let _ = panics::catch(|| {
                let tracer = Tracer { trace: &mut trace, depth: 0 };
                attachments::traced(|| drop(T::deserialize(tracer)));
            });
            // A pass that comes to no new variant is the last: so is the first one where there are none.
            if trace.variants_visited() == visited || trace.is_complete() {
                break;
            }
        }
    }

    fn add(&mut self, text: &str) {
        // Ended by a byte that is in no text, so that two texts differ from the same in one.
        for byte in text.bytes().chain([0xff]) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// What is known of a type that is being traced.
struct Trace<'s> {
    shapes: &'s mut Shapes,
    /// By the name of the Rust type, which tells apart what has one name for serde.
    enums: HashMap<&'static str, Variants>,
    /// How many values this pass asked for.
    values: u32,
}

/// The variants of an enum.
#[derive(Default)]
struct Variants {
    count: usize,
    /// These have been asked for: the first so many.
    visited: usize,
    /// One that came to an end, to be taken where all have been visited.
    ending: Option<usize>,
}

impl Trace<'_> {
    fn variants_visited(&self) -> usize {
        self.enums.values().map(|variants| variants.visited).sum()
    }

    fn is_complete(&self) -> bool {
        self.enums.values().all(|variants| variants.visited == variants.count)
    }
}

/// Deserializes made-up values.
struct Tracer<'t, 's> {
    trace: &'t mut Trace<'s>,
    depth: u32,
}

/// Why a type was given up. Nobody reads the reason.
#[derive(Debug, thiserror::Error)]
#[error("the type can't be traced")]
struct Untraceable;

impl de::Error for Untraceable {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'s> Tracer<'_, 's> {
    fn note(&mut self, what: &str) {
        self.trace.shapes.add(what);
        self.trace.values = self.trace.values.saturating_add(1);
    }

    fn note_names(&mut self, kind: &str, name: &str, parts: &[&str]) {
        self.note(kind);
        self.note(name);
        for part in parts {
            self.trace.shapes.add(part);
        }
        self.trace.shapes.add("");
    }

    /// Whether to look into what may be empty.
    fn explores(&self) -> bool {
        self.depth < DEPTH_EXPLORED && self.trace.values < VALUES_EXPLORED
    }

    fn inner(&mut self) -> Result<Tracer<'_, 's>, Untraceable> {
        if self.depth == DEPTH_MAX {
            return Err(Untraceable);
        }
        Ok(Tracer { trace: &mut *self.trace, depth: self.depth + 1 })
    }

    fn elements(self, left: usize) -> Elements<Self> {
        Elements { tracer: self, left }
    }
}

macro_rules! flat {
    ($($name:ident, $visit:ident($value:expr);)*) => {$(
        fn $name<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Untraceable> {
            self.note(stringify!($visit));
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_, '_> {
    type Error = Untraceable;

    // Not zero, which `NonZero` refuses.
    flat! {
        deserialize_bool, visit_bool(true);
        deserialize_i8, visit_i8(1);
        deserialize_i16, visit_i16(1);
        deserialize_i32, visit_i32(1);
        deserialize_i64, visit_i64(1);
        deserialize_i128, visit_i128(1);
        deserialize_u8, visit_u8(1);
        deserialize_u16, visit_u16(1);
        deserialize_u32, visit_u32(1);
        deserialize_u64, visit_u64(1);
        deserialize_u128, visit_u128(1);
        deserialize_f32, visit_f32(1.0);
        deserialize_f64, visit_f64(1.0);
        deserialize_char, visit_char('1');
        deserialize_str, visit_borrowed_str("1");
        deserialize_string, visit_borrowed_str("1");
        deserialize_bytes, visit_borrowed_bytes(b"1");
        deserialize_byte_buf, visit_borrowed_bytes(b"1");
        deserialize_identifier, visit_borrowed_str("1");
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Untraceable> {
        self.note("unit");
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Untraceable> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, _: V) -> Result<V::Value, Untraceable> {
        self.note("any");
        Err(Untraceable)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Untraceable> {
        self.note("option");
        if self.explores() { visitor.visit_some(self.inner()?) } else { visitor.visit_none() }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.note_names("unit struct", name, &[]);
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.note_names("newtype struct", name, &[]);
        visitor.visit_newtype_struct(self.inner()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Untraceable> {
        self.note("seq");
        let count = usize::from(self.explores());
        visitor.visit_seq(self.elements(count))
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Untraceable> {
        self.note("map");
        let count = usize::from(self.explores());
        visitor.visit_map(self.elements(count))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        mut self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.note_names("tuple", &len.to_string(), &[]);
        visitor.visit_seq(self.elements(len))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.note_names("tuple struct", name, &[&len.to_string()]);
        visitor.visit_seq(self.elements(len))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.note_names("struct", name, fields);
        visitor.visit_seq(self.elements(fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.note_names("enum", name, variants);
        let key = std::any::type_name::<V::Value>();
        let known = self.trace.enums.entry(key).or_default();
        known.count = variants.len();
        let position = if known.visited < known.count {
            known.visited += 1;
            known.visited - 1
        } else {
            known.ending.ok_or(Untraceable)?
        };
        self.note(variants[position]);
        let value =
            visitor.visit_enum(Variant { tracer: self.inner()?, name: variants[position] })?;
        self.trace.enums.entry(key).or_default().ending.get_or_insert(position);
        Ok(value)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a compound value.
struct Elements<T> {
    tracer: T,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<Tracer<'_, '_>> {
    type Error = Untraceable;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Untraceable> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(self.tracer.inner()?).map(Some)
    }
}

impl<'de> MapAccess<'de> for Elements<Tracer<'_, '_>> {
    type Error = Untraceable;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Untraceable> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Untraceable> {
        seed.deserialize(self.tracer.inner()?)
    }
}

/// One variant of an enum.
struct Variant<'t, 's> {
    tracer: Tracer<'t, 's>,
    name: &'static str,
}

impl<'de, 't, 's> EnumAccess<'de> for Variant<'t, 's> {
    type Error = Untraceable;
    type Variant = Tracer<'t, 's>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Untraceable> {
        let variant = seed.deserialize(BorrowedStrDeserializer::new(self.name))?;
        Ok((variant, self.tracer))
    }
}

impl<'de> VariantAccess<'de> for Tracer<'_, '_> {
    type Error = Untraceable;

    fn unit_variant(mut self) -> Result<(), Untraceable> {
        self.note("unit variant");
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<S::Value, Untraceable> {
        self.note("newtype variant");
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        mut self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.note_names("tuple variant", &len.to_string(), &[]);
        visitor.visit_seq(self.elements(len))
    }

    fn struct_variant<V: Visitor<'de>>(
        mut self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Untraceable> {
        self.note_names("struct variant", "", fields);
        visitor.visit_seq(self.elements(fields.len()))
    }
}

#[cfg(test)]
mod tests;
