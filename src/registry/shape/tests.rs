use std::collections::HashMap;
use std::num::NonZero;

use serde::{Deserialize, Serialize};

use super::*;

fn shape<T: DeserializeOwned>() -> u64 {
    digest("f()", Shapes::trace::<T>)
}

/// The same type in several places, but for the type of a field of its last variant.
macro_rules! colour {
    ($module:ident, $depth:ty) => {
        mod $module {
            #[derive(serde::Serialize, serde::Deserialize)]
            pub(super) enum Colour {
                Mixed(Box<Colour>, Box<Colour>),
                Red,
                Green { depth: Option<$depth> },
            }
        }
    };
}
colour!(shallow, u8);
colour!(deep, u16);
colour!(also_deep, u16);

#[derive(Serialize, Deserialize)]
struct Holds<T>(Vec<T>, Option<T>);

type Pair<A, B> = HashMap<String, (A, Option<B>)>;

#[test]
fn variants_are_told_apart_wherever_the_enum_stands() {
    assert_ne!(shape::<shallow::Colour>(), shape::<deep::Colour>());
    assert_eq!(shape::<deep::Colour>(), shape::<also_deep::Colour>());
    assert_ne!(shape::<Holds<shallow::Colour>>(), shape::<Holds<deep::Colour>>());
    assert_eq!(shape::<Holds<deep::Colour>>(), shape::<Holds<also_deep::Colour>>());
    // Two types that have one name for serde.
    assert_ne!(
        shape::<Pair<shallow::Colour, shallow::Colour>>(),
        shape::<Pair<shallow::Colour, deep::Colour>>()
    );
}

#[test]
fn plain_types_are_told_apart() {
    let shapes = [
        shape::<u8>(),
        shape::<NonZero<u16>>(),
        shape::<String>(),
        shape::<Vec<u8>>(),
        shape::<Option<u8>>(),
        shape::<(u8, u16)>(),
        shape::<(u16, u8)>(),
        shape::<[u8; 2]>(),
        shape::<[u8; 3]>(),
        shape::<()>(),
        shape::<HashMap<u8, u8>>(),
        shape::<Result<u8, u16>>(),
        shape::<Result<u16, u8>>(),
    ];
    let different: std::collections::HashSet<_> = shapes.iter().collect();
    assert_eq!(different.len(), shapes.len());
}

#[test]
fn no_type_keeps_the_tracer_for_ever() {
    #[derive(Serialize, Deserialize)]
    struct Endless(Box<Endless>);
    #[derive(Serialize, Deserialize)]
    enum NoEnd {
        A(Box<NoEnd>),
        B(Box<NoEnd>),
    }
    #[derive(Serialize, Deserialize)]
    struct Branches {
        all: [Vec<Branches>; 8],
        maybe: Option<Box<Branches>>,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        A(u8),
        B(String),
    }
    #[derive(Deserialize)]
    #[serde(try_from = "u8")]
    struct Refuses;
    impl TryFrom<u8> for Refuses {
        type Error = String;
        fn try_from(_: u8) -> Result<Self, String> {
            Err("never".into())
        }
    }
    struct Panics;
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("this type panics when it is traced");
        }
    }

    for shape in [
        shape::<Endless>,
        shape::<NoEnd>,
        shape::<Branches>,
        shape::<Untagged>,
        shape::<Refuses>,
        shape::<Vec<Panics>>,
    ] {
        assert_eq!(shape(), shape());
    }
    // What comes before is taken down all the same.
    assert_ne!(shape::<(u8, Refuses)>(), shape::<(u16, Refuses)>());
}
