//! A [`Deserializer`] around another that limits how deep values nest and how many elements they may
//! have, so that no input overflows the stack or keeps a loop going. It also keeps the words of an error,
//! which postcard would drop.
//!
//! Everything here is generic and inlined: for flat values nothing of it remains in the machine code but
//! one subtraction for each compound value.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::DEPTH_MAX;

/// Elements that take no bytes (`Vec<()>`) are let through up to this number.
const EMPTY_ELEMENTS_MAX: usize = 1 << 16;

/// What one decoding shares between its levels.
pub(crate) struct Context {
    /// How many more elements of sequences and maps there may be. Each takes at least a byte, or nothing.
    elements_left: Cell<usize>,
    /// The first error, while it travels through a deserializer that would not keep its words.
    fault: Cell<Option<Fault>>,
}

impl Context {
    pub(crate) fn new(input_bytes: usize) -> Self {
        Self {
            elements_left: Cell::new(input_bytes.saturating_add(EMPTY_ELEMENTS_MAX)),
            fault: Cell::new(None),
        }
    }

    /// What went wrong, in the best words that are known.
    #[cold]
    pub(crate) fn fault(&self, error: impl fmt::Display) -> Fault {
        self.fault.take().unwrap_or_else(|| Fault::new(&error))
    }

    /// Keep the words, and give the inner deserializer an error of its own kind.
    #[cold]
    fn stash<E: de::Error>(&self, fault: Fault) -> E {
        let error = E::custom(&fault.0);
        self.fault.set(Some(fault));
        error
    }

    #[inline]
    fn charge(&self, elements: usize) -> Result<(), Fault> {
        match self.elements_left.get().checked_sub(elements) {
            Some(left) => {
                self.elements_left.set(left);
                Ok(())
            }
            None => Err(Fault::new(&"more elements are announced than there are bytes")),
        }
    }
}

/// An error that keeps its words. Boxed, so that results stay small.
#[derive(Debug)]
pub(crate) struct Fault(
    #[expect(
        clippy::box_collection,
        reason = "a `Box<str>` would make every result a word longer"
    )]
    Box<String>,
);

impl Fault {
    #[cold]
    fn new(message: &dyn fmt::Display) -> Self {
        Self(Box::new(message.to_string()))
    }
}

impl Fault {
    #[cold]
    fn too_deep() -> Self {
        Self::new(&format_args!("the value is nested deeper than {DEPTH_MAX} levels"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(&message)
    }
}

/// The deserializer of a value, `depth_left` levels of which may follow.
pub(crate) struct Limited<'c, D> {
    inner: D,
    context: &'c Context,
    depth_left: u32,
}

impl<'c, D> Limited<'c, D> {
    #[inline]
    pub(crate) fn new(inner: D, context: &'c Context) -> Self {
        Self { inner, context, depth_left: DEPTH_MAX }
    }

    #[inline]
    fn guard<V>(&self, visitor: V) -> Guard<'c, V> {
        Guard { visitor, context: self.context, depth_left: self.depth_left, counted: false }
    }

    #[inline]
    fn descend<V>(&self, visitor: V, counted: bool) -> Result<Guard<'c, V>, Fault> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(Fault::too_deep)?;
        Ok(Guard { visitor, context: self.context, depth_left, counted })
    }
}

macro_rules! forward_flat {
    ($($outer:ident => $inner:ident),* $(,)?) => {$(
        #[inline]
        fn $outer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let (guard, context) = (self.guard(visitor), self.context);
            self.inner.$inner(guard).map_err(|error| context.fault(error))
        }
    )*};
}

macro_rules! forward_compound {
    ($($name:ident($($argument:ident: $type:ty),*) counted: $counted:literal),* $(,)?) => {$(
        #[inline]
        fn $name<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V)
            -> Result<V::Value, Fault>
        {
            let (guard, context) = (self.descend(visitor, $counted)?, self.context);
            self.inner.$name($($argument,)* guard).map_err(|error| context.fault(error))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Limited<'_, D> {
    type Error = Fault;

    forward_flat! {
        deserialize_bool => deserialize_bool,
        deserialize_i8 => deserialize_i8, deserialize_i16 => deserialize_i16,
        deserialize_i32 => deserialize_i32, deserialize_i64 => deserialize_i64,
        deserialize_i128 => deserialize_i128,
        deserialize_u8 => deserialize_u8, deserialize_u16 => deserialize_u16,
        deserialize_u32 => deserialize_u32, deserialize_u64 => deserialize_u64,
        deserialize_u128 => deserialize_u128,
        deserialize_f32 => deserialize_f32, deserialize_f64 => deserialize_f64,
        deserialize_char => deserialize_char,
        deserialize_str => deserialize_str, deserialize_bytes => deserialize_bytes,
        // Read in place and copied by the visitor: the inner one might allocate the announced length first.
        deserialize_string => deserialize_str, deserialize_byte_buf => deserialize_bytes,
        deserialize_unit => deserialize_unit,
        deserialize_identifier => deserialize_identifier,
    }

    forward_compound! {
        deserialize_any() counted: true,
        deserialize_ignored_any() counted: true,
        deserialize_option() counted: false,
        deserialize_unit_struct(name: &'static str) counted: false,
        deserialize_newtype_struct(name: &'static str) counted: false,
        deserialize_seq() counted: true,
        deserialize_map() counted: true,
        deserialize_tuple(len: usize) counted: false,
        deserialize_tuple_struct(name: &'static str, len: usize) counted: false,
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) counted: false,
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) counted: false,
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Stands between the inner deserializer and the user's visitor.
struct Guard<'c, V> {
    visitor: V,
    context: &'c Context,
    depth_left: u32,
    /// Whether the input says how many elements there are.
    counted: bool,
}

macro_rules! visit_flat {
    ($($name:ident($type:ty)),* $(,)?) => {$(
        #[inline]
        fn $name<E: de::Error>(self, value: $type) -> Result<Self::Value, E> {
            self.visitor.$name::<Fault>(value).map_err(|fault| self.context.stash(fault))
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Guard<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit_flat! {
        visit_bool(bool),
        visit_i8(i8), visit_i16(i16), visit_i32(i32), visit_i64(i64), visit_i128(i128),
        visit_u8(u8), visit_u16(u16), visit_u32(u32), visit_u64(u64), visit_u128(u128),
        visit_f32(f32), visit_f64(f64), visit_char(char),
        visit_str(&str), visit_borrowed_str(&'de str), visit_string(String),
        visit_bytes(&[u8]), visit_borrowed_bytes(&'de [u8]), visit_byte_buf(Vec<u8>),
    }

    #[inline]
    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        self.visitor.visit_none::<Fault>().map_err(|fault| self.context.stash(fault))
    }

    #[inline]
    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        self.visitor.visit_unit::<Fault>().map_err(|fault| self.context.stash(fault))
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        let Self { visitor, context, depth_left, .. } = self;
        visitor
            .visit_some(Limited { inner, context, depth_left })
            .map_err(|fault| context.stash(fault))
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        let Self { visitor, context, depth_left, .. } = self;
        visitor
            .visit_newtype_struct(Limited { inner, context, depth_left })
            .map_err(|fault| context.stash(fault))
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<Self::Value, A::Error> {
        let Self { visitor, context, depth_left, counted } = self;
        Elements::new(inner, context, depth_left, counted, A::size_hint)
            .and_then(|elements| visitor.visit_seq(elements))
            .map_err(|fault| context.stash(fault))
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<Self::Value, A::Error> {
        let Self { visitor, context, depth_left, counted } = self;
        Elements::new(inner, context, depth_left, counted, A::size_hint)
            .and_then(|elements| visitor.visit_map(elements))
            .map_err(|fault| context.stash(fault))
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<Self::Value, A::Error> {
        let Self { visitor, context, depth_left, .. } = self;
        visitor
            .visit_enum(Limited { inner, context, depth_left })
            .map_err(|fault| context.stash(fault))
    }
}

/// The elements of a sequence or map.
struct Elements<'c, A> {
    inner: A,
    context: &'c Context,
    depth_left: u32,
    /// Whether each element is to be charged, because their number is not known beforehand.
    charged_singly: bool,
}

impl<'c, A> Elements<'c, A> {
    #[inline]
    fn new(
        inner: A,
        context: &'c Context,
        depth_left: u32,
        counted: bool,
        size_hint: impl FnOnce(&A) -> Option<usize>,
    ) -> Result<Self, Fault> {
        let mut charged_singly = false;
        if counted {
            match size_hint(&inner) {
                Some(announced) => context.charge(announced)?,
                None => charged_singly = true,
            }
        }
        Ok(Self { inner, context, depth_left, charged_singly })
    }

    #[inline]
    fn seed<S>(&self, seed: S) -> Seed<'c, S> {
        Seed { inner: seed, context: self.context, depth_left: self.depth_left }
    }

    #[inline]
    fn charge(&self) -> Result<(), Fault> {
        if self.charged_singly { self.context.charge(1) } else { Ok(()) }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.charge()?;
        let seed = self.seed(seed);
        self.inner.next_element_seed(seed).map_err(|error| self.context.fault(error))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<'_, A> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.charge()?;
        let seed = self.seed(seed);
        self.inner.next_key_seed(seed).map_err(|error| self.context.fault(error))
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let seed = self.seed(seed);
        self.inner.next_value_seed(seed).map_err(|error| self.context.fault(error))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'c, A: EnumAccess<'de>> EnumAccess<'de> for Limited<'c, A> {
    type Error = Fault;
    type Variant = Limited<'c, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Fault> {
        let Self { inner, context, depth_left } = self;
        let seed = Seed { inner: seed, context, depth_left };
        let (value, variant) = inner.variant_seed(seed).map_err(|error| context.fault(error))?;
        Ok((value, Limited { inner: variant, context, depth_left }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Limited<'_, A> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault> {
        self.inner.unit_variant().map_err(|error| self.context.fault(error))
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        let Self { inner, context, depth_left } = self;
        inner
            .newtype_variant_seed(Seed { inner: seed, context, depth_left })
            .map_err(|error| context.fault(error))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        let (guard, context) = (self.guard(visitor), self.context);
        self.inner.tuple_variant(len, guard).map_err(|error| context.fault(error))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let (guard, context) = (self.guard(visitor), self.context);
        self.inner.struct_variant(fields, guard).map_err(|error| context.fault(error))
    }
}

/// The seed of an element, which gets the deserializer limited.
struct Seed<'c, S> {
    inner: S,
    context: &'c Context,
    depth_left: u32,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Seed<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let Self { inner: seed, context, depth_left } = self;
        seed.deserialize(Limited { inner, context, depth_left })
            .map_err(|fault| context.stash(fault))
    }
}

/// The seed of a whole value: for deserializers that want a seed.
pub(crate) struct Whole<'c, T> {
    context: &'c Context,
    value: PhantomData<fn() -> T>,
}

impl<'c, T> Whole<'c, T> {
    pub(crate) fn new(context: &'c Context) -> Self {
        Self { context, value: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Whole<'_, T> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T, D::Error> {
        T::deserialize(Limited::new(inner, self.context)).map_err(|fault| self.context.stash(fault))
    }
}
