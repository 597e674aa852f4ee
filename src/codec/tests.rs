use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use serde::de::DeserializeOwned;

use super::wire::{BorrowedStr, Wire, WireRef};
use super::*;

const CODECS: &[CodecId] = &[
    CodecId::Postcard,
    #[cfg(feature = "json")]
    CodecId::Json,
    #[cfg(feature = "bincode")]
    CodecId::Bincode,
];

/// The codecs that trust lengths unless they are kept from it.
const BINARY: &[CodecId] = &[
    CodecId::Postcard,
    #[cfg(feature = "bincode")]
    CodecId::Bincode,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(i64),
    Tuple(u8, String),
    Struct { name: String, map: BTreeMap<String, Option<f32>>, nested: Vec<Shape> },
}

fn shapes() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        Just(Shape::Unit),
        any::<i64>().prop_map(Shape::Newtype),
        (any::<u8>(), ".*").prop_map(|(number, text)| Shape::Tuple(number, text)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let numbers = prop::option::of(any::<i16>().prop_map(f32::from));
        let map = prop::collection::btree_map(".{0,4}", numbers, 0..3);
        (".*", map, prop::collection::vec(inner, 0..4))
            .prop_map(|(name, map, nested)| Shape::Struct { name, map, nested })
    })
}

proptest! {
    #[test]
    fn values_come_back(shape in shapes()) {
        for codec in CODECS {
            let bytes = encode(*codec, &shape).expect("it can be encoded");
            prop_assert_eq!(decode::<Shape>(*codec, &bytes), Ok(shape.clone()));
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for codec in CODECS {
            let _ = decode::<Shape>(*codec, &bytes);
            let _ = decode::<Vec<()>>(*codec, &bytes);
            let _ = decode::<(u128, char, Option<String>, BTreeMap<u8, i8>)>(*codec, &bytes);
            let _ = decode::<Wire<Option<Vec<u8>>>>(*codec, &bytes);
            let _ = decode::<BorrowedStr<'_>>(*codec, &bytes);
        }
    }

    /// Every proper beginning of a value is refused, and so is the value with anything behind it.
    #[test]
    fn every_byte_counts(shape in shapes(), more in any::<u8>()) {
        for codec in BINARY {
            let mut bytes = encode(*codec, &shape).expect("it can be encoded");
            for end in 0..bytes.len() {
                prop_assert!(decode::<Shape>(*codec, &bytes[..end]).is_err());
            }
            bytes.push(more).expect("memory");
            prop_assert_eq!(decode::<Shape>(*codec, &bytes), Err(DecodeError::Trailing(1)));
        }
    }
}

#[cfg(feature = "json")]
#[test]
fn json_refuses_what_follows_the_value() {
    assert_eq!(decode::<u8>(CodecId::Json, b" 7 \n"), Ok(7));
    assert!(decode::<u8>(CodecId::Json, b"7 7").is_err());
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Unit;

/// The bytes are no `T`, and the error says so in these words.
fn refuses<T: DeserializeOwned + std::fmt::Debug>(bytes: &[u8], codec: CodecId, words: &str) {
    let error = decode::<T>(codec, bytes).expect_err("absurd").to_string();
    assert!(error.contains(words), "{codec:?}: {error}");
}

#[test]
#[expect(clippy::zero_sized_map_values, reason = "entries that take no bytes")]
fn absurd_lengths_are_refused_without_being_believed() {
    let postcard_max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let bincode_max = [253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for codec in BINARY {
        let bytes: &[u8] = if *codec == CodecId::Postcard { &postcard_max } else { &bincode_max };
        refuses::<Vec<u64>>(bytes, *codec, "");
        refuses::<String>(bytes, *codec, "");
        refuses::<Wire<Vec<u8>>>(bytes, *codec, "");
        refuses::<Wire<Option<Vec<u8>>>>(&[&[1], bytes].concat(), *codec, "");
        // Elements that take no bytes would keep it busy for ever.
        refuses::<Vec<()>>(bytes, *codec, "more elements are announced than there are bytes");
        refuses::<BTreeMap<Unit, Unit>>(bytes, *codec, "more elements are announced");
        refuses::<serde::de::IgnoredAny>(bytes, *codec, "");
    }
    for codec in CODECS {
        let some = encode(*codec, &vec![(); 1000]).expect("it can be encoded");
        assert_eq!(decode::<Vec<()>>(*codec, &some).map(|units| units.len()), Ok(1000));
    }
}

impl<T> std::fmt::Debug for Wire<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    next: Option<Box<List>>,
}

fn nested(levels: usize) -> List {
    (0..levels).fold(List { next: None }, |list, _| List { next: Some(Box::new(list)) })
}

#[test]
fn deep_values_are_refused_before_the_stack_is_full() {
    for codec in CODECS {
        let shallow = encode(*codec, &nested(50)).expect("it can be encoded");
        assert!(decode::<List>(*codec, &shallow).is_ok(), "{codec:?}");
    }
    for codec in BINARY {
        // A mebibyte of `Some`.
        let deep = vec![1; 1 << 20];
        refuses::<List>(&deep, *codec, "the value is nested deeper than 128 levels");
    }
    #[cfg(feature = "json")]
    refuses::<List>("{\"next\":".repeat(1 << 16).as_bytes(), CodecId::Json, "recursion limit");
}

#[test]
fn errors_of_the_types_own_keep_their_words() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "u8")]
    struct Even(#[expect(dead_code, reason = "only decoded")] u8);

    impl TryFrom<u8> for Even {
        type Error = String;
        fn try_from(number: u8) -> Result<Self, String> {
            if number.is_multiple_of(2) {
                Ok(Self(number))
            } else {
                Err(format!("{number} is odd"))
            }
        }
    }

    for codec in CODECS {
        let bytes = encode(*codec, &vec![(true, Some(7u8))]).expect("it can be encoded");
        let error = decode::<Vec<(bool, Option<Even>)>>(*codec, &bytes).expect_err("odd");
        assert!(error.to_string().contains("7 is odd"), "{codec:?}: {error}");
    }
}

#[test]
fn byte_vectors_look_the_same_whichever_way_they_go() {
    let bytes = vec![0u8, 1, 200, 255];
    for codec in CODECS {
        let by_element = encode(*codec, &bytes).expect("it can be encoded");
        let as_bytes = encode(*codec, &WireRef(&bytes)).expect("it can be encoded");
        assert_eq!(by_element, as_bytes, "{codec:?}");
        assert_eq!(decode::<Vec<u8>>(*codec, &as_bytes).as_ref(), Ok(&bytes));
        assert_eq!(
            decode::<Wire<Vec<u8>>>(*codec, &by_element).map(|wire| wire.0),
            Ok(bytes.clone())
        );

        let maybe = Some(bytes.clone());
        let as_bytes = encode(*codec, &WireRef(&maybe)).expect("it can be encoded");
        assert_eq!(encode(*codec, &maybe).as_ref(), Ok(&as_bytes));
        assert_eq!(
            decode::<Wire<Option<Vec<u8>>>>(*codec, &as_bytes).map(|wire| wire.0),
            Ok(maybe)
        );
    }
    #[cfg(feature = "json")]
    assert!(decode::<Wire<Vec<u8>>>(CodecId::Json, b"\"text\"").is_err());
}

#[cfg(feature = "json")]
#[test]
fn text_with_escapes_is_not_lent_but_decoded() {
    for (json, expected, lent) in [(r#""plain""#, "plain", true), (r#""a\n\u00e9""#, "a\né", false)]
    {
        let text = decode::<BorrowedStr<'_>>(CodecId::Json, json.as_bytes()).expect("it is text").0;
        assert_eq!(text, expected);
        assert_eq!(matches!(text, std::borrow::Cow::Borrowed(_)), lent);
    }
}

#[test]
fn paths_need_not_be_text() {
    use std::os::unix::ffi::OsStringExt;
    let path = PathBuf::from(std::ffi::OsString::from_vec(vec![b'/', 0xff, b'x']));
    for codec in BINARY {
        let bytes = encode(*codec, &WireRef(&path)).expect("it can be encoded");
        assert_eq!(decode::<Wire<PathBuf>>(*codec, &bytes).map(|wire| wire.0), Ok(path.clone()));
        // One that is text looks like text.
        let text = encode(*codec, &WireRef(&PathBuf::from("/tmp/é"))).expect("it can be encoded");
        assert_eq!(decode::<String>(*codec, &text), Ok("/tmp/é".to_owned()));
    }
    #[cfg(feature = "json")]
    assert!(encode(CodecId::Json, &WireRef(&path)).is_err());
}

#[test]
fn a_codec_crosses_as_its_number() {
    for codec in CODECS {
        let bytes = encode(CodecId::Postcard, codec).expect("it can be encoded");
        assert_eq!(*bytes, [u8::from(*codec)]);
        assert_eq!(decode::<CodecId>(CodecId::Postcard, &bytes), Ok(*codec));
    }
    let error = decode::<CodecId>(CodecId::Postcard, &[9]).expect_err("there is no 9");
    assert!(error.to_string().starts_with("unknown codec 9;"), "{error}");
}
