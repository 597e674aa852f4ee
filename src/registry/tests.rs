//! The attributes and the registry together, through the bytes.
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Catalogue, TaskEntry, catalogue, find};
use crate::codec::{Bytes, CodecId};
use crate::task::call::Call;
use crate::task::cell::{Returned, Stored, Work};
use crate::task::options::{Priority, RetryOn};
use crate::transport::frame::Outcome;
use crate::{Backoff, TaskFailure, TaskResult, task};

/// The encoded arguments of a call for a worker.
fn encoded<T>(call: Call<T>) -> Result<Bytes, crate::codec::EncodeError> {
    let Work::Encoded { arguments, .. } = call.work else { panic!("not for a worker") };
    arguments.map(|arguments| arguments.into_parts().0)
}

fn run_bytes(entry: &TaskEntry, codec: CodecId, arguments: &[u8]) -> Outcome {
    let mut buffer = Bytes::new();
    let ran = (entry.run)(codec, arguments, &mut buffer);
    ran.into_outcome(buffer)
}

/// Runs in this process, through the bytes.
trait RunHere<T> {
    fn run_here(self) -> Result<T, String>;
}

impl<T> RunHere<T> for Call<T> {
    fn run_here(self) -> Result<T, String> {
        let entry = find(self.name()).expect("it is registered");
        let read = self.read;
        let encoded = encoded(self).map_err(|error| error.to_string())?;
        let codec = CodecId::Postcard;
        match run_bytes(entry, codec, &encoded) {
            Outcome::Returned { value: bytes, .. } => {
                read.read(Stored::Encoded { codec, value: bytes })
            }
            other => Err(format!("{other:?}")),
        }
    }
}

/// What a user may call his own things must not matter to what the attribute generates.
mod shadows {
    #![expect(dead_code, non_camel_case_types, reason = "they only stand in the way")]
    pub(super) struct Result;
    pub(super) struct Option;
    pub(super) struct Vec;
    pub(super) struct String;
    pub(super) mod core {}
    pub(super) mod std {}
    pub(super) type u64 = ();
}

/// Makes it small.
///
/// # Second
///   indented
#[task(timeout = "1m30s", retries = 2, retry_on(crash, timeout), priority = "high", label = "l")]
fn thumbnail(path: &Path, size: u32) -> TaskResult<Vec<u8>> {
    if size == 0 {
        return Err(TaskFailure::new("no pixels").context("scaling"));
    }
    Ok(format!("{}:{size}", path.display()).into_bytes())
}

#[task]
#[expect(
    clippy::needless_pass_by_value,
    clippy::too_many_arguments,
    clippy::trivially_copy_pass_by_ref,
    reason = "one of each kind"
)]
fn mixed(
    text: &str,
    bytes: &[u8],
    numbers: &[f64],
    map: HashMap<String, (u8, i64)>,
    maybe: Option<&str>,
    r#type: Option<PathBuf>,
    mut owned: Vec<u8>,
    flag: &bool,
) -> String {
    owned.push(0);
    format!("{text:?} {bytes:?} {numbers:?} {} {maybe:?} {:?} {owned:?} {flag}", map.len(), r#type)
}

#[task(handle = Nothing)]
fn nothing() {}

/// Named like what the attribute might need for itself.
#[task]
fn bytes(bytes: u8) -> u8 {
    bytes
}

#[task]
fn codec(run: u8, encoder: u8, arguments: u8, local: u8, outcome: u8) -> u8 {
    run + encoder + arguments + local + outcome
}

#[task]
fn run(call: u8) -> u8 {
    call
}

#[task]
#[expect(clippy::ptr_arg, reason = "one of each kind")]
fn borrowing(text: &str, bytes: Option<&[u8]>, path: &Path, run: &Vec<u8>) -> (usize, bool, bool) {
    (text.len() + run.len(), bytes.is_some(), path.is_absolute())
}

mod hygiene {
    #[expect(unused_imports, reason = "that it is not used is the point")]
    use super::shadows::*;

    #[crate::task(retries = 1)]
    pub(super) fn shadowed(
        codec: &str,
        bytes: u32,
    ) -> ::std::result::Result<u32, ::std::string::String> {
        if codec.is_empty() { Err(codec.into()) } else { Ok(bytes) }
    }
}

fn run_json(name: &str, json: &str) -> Outcome {
    let entry = find(name).unwrap_or_else(|error| panic!("{error}"));
    run_bytes(entry, CodecId::Json, json.as_bytes())
}

/// The returned JSON, or what was said instead of it.
fn check(name: &str, json: &str, expected: Result<&str, &str>) {
    let outcome = match run_json(name, json) {
        Outcome::Returned { value, .. } => {
            Ok(String::from_utf8(value.bytes().to_vec()).expect("JSON is text"))
        }
        Outcome::BadArguments { message } => Err(message),
        other => Err(format!("{other:?}")),
    };
    assert_eq!(outcome, expected.map(str::to_owned).map_err(str::to_owned), "{name} {json}");
}

#[test]
fn a_call_goes_through_the_bytes() {
    let call = thumbnail::call(Path::new("a.png"), 7);
    assert_eq!(call.run_here(), Ok(Ok(b"a.png:7".to_vec())));
    assert_eq!(
        thumbnail::call(Path::new("a.png"), 0).run_here(),
        Ok(Err(TaskFailure::new("no pixels").context("scaling")))
    );
    assert_eq!(thumbnail(Path::new("b"), 1), Ok(b"b:1".to_vec()));
    assert_eq!(bytes::call(7).run_here(), Ok(7));
    assert_eq!(codec::call(1, 2, 3, 4, 5).run_here(), Ok(15));
    assert_eq!(run::call(7).run_here(), Ok(7));
    assert_eq!(Nothing::call().run_here(), Ok(()));
    assert_eq!(
        borrowing::call("ab", Some(b""), Path::new("/"), &vec![1]).run_here(),
        Ok((3, true, true))
    );
    assert_eq!(hygiene::shadowed::call("x", 7).run_here(), Ok(Ok(7)));
    assert_eq!(hygiene::shadowed::call("", 7).run_here(), Ok(Err(String::new())));
}

#[test]
fn every_kind_of_parameter_arrives() {
    let map = HashMap::from([("a".to_owned(), (1, -1))]);
    let here = mixed("t\n", b"\x00\xff", &[0.5], map.clone(), None, None, vec![9], &true);
    let there = mixed::call("t\n", b"\x00\xff", &[0.5], map.clone(), None, None, vec![9], &true);
    assert_eq!(there.run_here(), Ok(here));
    let path = Some(PathBuf::from("/x"));
    let here = mixed("", b"", &[], map.clone(), Some("é"), path.clone(), vec![], &false);
    let there = mixed::call("", b"", &[], map, Some("é"), path, vec![], &false);
    assert_eq!(there.run_here(), Ok(here));
}

#[test]
fn json_arguments_by_position_and_by_name() {
    check("thumbnail", r#"["a.png", 7]"#, Ok("[97,46,112,110,103,58,55]"));
    check("thumbnail", r#"{"size": 7, "path": "a.png"}"#, Ok("[97,46,112,110,103,58,55]"));
    check("nothing", "[]", Ok("null"));
    check("nothing", "{}", Ok("null"));
    // Escapes can't be lent out of the text.
    check("borrowing", r#"["\u00e9\n", [1], "\/\u0061", [1, 2]]"#, Ok("[5,true,true]"));
    // An option may be left out, by position only at the end.
    check("borrowing", r#"{"text": "", "path": "x", "run": []}"#, Ok("[0,false,false]"));
    check("borrowing", r#"["", null, "x", []]"#, Ok("[0,false,false]"));
    check(
        "mixed",
        r#"{"text": "a\"b", "bytes": [1], "numbers": [1, 2.5], "map": {"k": [1, 2]},
            "type": "\\p", "owned": [], "flag": false}"#,
        Ok(r#""\"a\\\"b\" [1] [1.0, 2.5] 1 None Some(\"\\\\p\") [0] false""#),
    );
}

#[test]
fn json_errors_say_which_argument_is_wrong() {
    for (json, expected) in [
        (r#"["a", "x"]"#, "argument 2 `size` (u32): invalid type: string \"x\", expected u32"),
        (
            r#"{"path": 1, "size": 1}"#,
            "argument 1 `path` (&Path): invalid type: integer `1`, expected a string",
        ),
        (r#"["a", -1]"#, "argument 2 `size` (u32): invalid value: integer `-1`, expected u32"),
        (r#"["a"]"#, "missing argument `size` (u32)"),
        ("[]", "missing argument `path` (&Path)"),
        (r#"{"size": 1}"#, "missing argument `path` (&Path)"),
        (
            r#"{"path": "a", "siez": 1}"#,
            "unknown argument `siez`; did you mean `size`? `thumbnail(path: &Path, size: u32)` takes 2",
        ),
        (
            r#"{"path": "a", "size": 1, "quality": 1}"#,
            "unknown argument `quality`; `thumbnail(path: &Path, size: u32)` takes 2",
        ),
        (r#"["a", 1, 2]"#, "3 arguments given, `thumbnail(path: &Path, size: u32)` takes 2"),
        (
            "\"a\"",
            "the arguments are a string, and should be an array (by position) or an object (by name)",
        ),
        ("[", "the arguments are not JSON: EOF while parsing a list at line 1 column 1"),
        ("[] []", "the arguments are not JSON: trailing characters at line 1 column 4"),
    ] {
        check("thumbnail", json, Err(expected));
    }
    check("nothing", "[1]", Err("1 argument given, `nothing()` takes 0"));
    check(
        "borrowing",
        r#"["", "text", "", []]"#,
        Err(
            "argument 2 `bytes` (Option<&[u8]>): invalid type: string \"text\", expected an array of bytes",
        ),
    );
}

#[test]
fn bytes_that_are_no_arguments_are_refused() {
    let entry = find("thumbnail").expect("it is registered");
    let refused = |bytes: &[u8]| match run_bytes(entry, CodecId::Postcard, bytes) {
        Outcome::BadArguments { message } => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(b"\x01a\x07x"), "bytes are left over after the value (1 of them)");
    assert!(refused(b"\x01a").starts_with("argument 2 `size` (u32): "));
    assert!(refused(b"\xff\xff\xff\xff\x0f").starts_with("argument 1 `path` (&Path): "));
}

#[test]
fn an_error_tells_its_chain_beside_the_value() {
    let told = |name: &str, json: &str| match run_json(name, json) {
        Outcome::Returned { value, error } => {
            (String::from_utf8(value.bytes().to_vec()).expect("text"), error)
        }
        other => panic!("{other:?}"),
    };
    let (value, error) = told("thumbnail", r#"["a", 0]"#);
    assert_eq!(value, r#"{"message":"scaling","causes":["no pixels"]}"#);
    assert_eq!(error, Some(vec!["scaling".to_owned(), "no pixels".to_owned()]));
    assert_eq!(told("thumbnail", r#"["a", 1]"#).1, None);
    for (kind, expected) in [
        ("error", vec!["outer", "inner"]),
        ("display", vec!["shown"]),
        ("silent", vec!["an error without a message (atasker::registry::tests::Silent)"]),
    ] {
        let (_, error) = told(&format!("fails_{kind}"), "[]");
        assert_eq!(error.expect("it failed"), expected);
    }
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] Inner);

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("inner")]
struct Inner;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Silent;

type Alias = Result<u8, Outer>;

#[task]
fn fails_error() -> Alias {
    Err(Outer(Inner))
}

#[task]
fn fails_display() -> Result<(), String> {
    Err("shown".into())
}

#[task]
fn fails_silent() -> Result<u8, Silent> {
    Err(Silent)
}

/// Panics where its kind says.
#[derive(Debug)]
struct Bomb(u8);

impl Serialize for Bomb {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 1, "serialized a bomb");
        if self.0 == 4 {
            return Err(serde::ser::Error::custom("not this bomb"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kind = u8::deserialize(deserializer)?;
        assert_ne!(kind, 2, "deserialized a bomb");
        Ok(Self(kind))
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(self.0 != 3 || std::thread::panicking(), "dropped a bomb");
    }
}

#[task]
fn explode(bomb: Bomb) -> Bomb {
    assert_ne!(bomb.0, 5, "ran a bomb");
    bomb
}

#[test]
fn code_of_the_users_types_may_panic_anywhere() {
    let explode = |kind: u8| run_json("explode", &format!("[{kind}]"));
    let Outcome::Unencodable { message } = explode(1) else { panic!("1") };
    assert!(message.starts_with("encoding it panicked: "), "{message}");
    let Outcome::BadArguments { message } = explode(2) else { panic!("2") };
    assert!(message.starts_with("decoding the arguments panicked: "), "{message}");
    // It was encoded before.
    assert_eq!(
        explode(3),
        Outcome::Returned { value: Bytes::from_slice(b"3").into(), error: None }
    );
    assert_eq!(explode(4), Outcome::Unencodable { message: "not this bomb".into() });
    let Outcome::Panicked { message, .. } = explode(5) else { panic!("5") };
    assert!(message.contains("ran a bomb"), "{message}");
    // What can't be encoded is told when the call is submitted, and which argument it was.
    let encoded = encoded(explode::call(Bomb(4)));
    // postcard drops the words.
    let error = encoded.expect_err("it can't be encoded").to_string();
    assert!(error.starts_with("argument 1 `bomb` (Bomb): "), "{error}");
}

#[test]
fn what_is_registered_is_described() {
    let functions = catalogue();
    assert!(functions.is_sorted_by_key(|function| &function.path));
    let catalogue = Catalogue::new(functions);
    let (index, function) = catalogue.find("thumbnail").expect("it is registered");
    assert_eq!(function.path, "atasker::registry::tests::thumbnail");
    let entry = super::entry::entry_at(index).expect("an index is the same everywhere");
    assert_eq!(entry.path, function.path);
    assert_eq!(function.signature, "thumbnail(path: &Path, size: u32) -> TaskResult<Vec<u8>>");
    assert_eq!(function.docs, "Makes it small.\n\n# Second\n  indented");
    assert_eq!(function.parameters[1].name, "size");
    assert_eq!(function.parameters[1].type_name, "u32");
    let (_, function) = catalogue.find("mixed").expect("it is registered");
    assert_eq!(function.parameters[5].name, "type");
    assert_eq!(function.parameters[3].type_name, "HashMap<String, (u8, i64)>");
    assert_eq!(catalogue.find("nothing").expect("it is registered").1.signature, "nothing()");

    let entry = find("tests::thumbnail").expect("it is registered");
    assert!(entry.file.ends_with("tests.rs"), "{}", entry.file);
    let declaration = include_str!("tests.rs").lines().nth(entry.line as usize - 1);
    assert!(declaration.is_some_and(|line| line.starts_with("fn thumbnail")), "{declaration:?}");
    assert_eq!(super::check_clashes(), Ok(()));
}

#[test]
fn options_of_the_attribute() {
    #[task(
        io,
        priority = Priority::Low,
        queue_timeout = "1.5s",
        delay = "10ms",
        retries = 3,
        retry_on(panic, error),
        backoff("100ms", "5s"),
    )]
    #[expect(clippy::needless_pass_by_value, reason = "one of each kind")]
    fn all(text: &str, owned: String, maybe: Option<&[u8]>, constant: &'static str) -> usize {
        text.len() + owned.len() + maybe.map_or(0, <[u8]>::len) + constant.len()
    }

    use std::time::Duration;
    let declared = find("thumbnail").expect("it is registered").declared;
    assert_eq!(declared.label, Some("l"));
    assert_eq!(declared.options.priority, Priority::High);
    assert_eq!(declared.options.timeout, Some(Duration::from_secs(90)));
    assert_eq!(declared.options.retry.retries, 2);
    assert!(declared.options.retry.allows(RetryOn::Crash, 1));
    assert!(!declared.options.retry.allows(RetryOn::Panic, 1));

    let call = all::call("a", "b".into(), Some(b"c"), "d");
    assert_eq!(call.name(), "atasker::registry::tests::all");
    assert!(call.wanted.is_none(), "it says nothing that is not declared");
    let options = call.options();
    let Work::Repeatable(closure) = call.work else { panic!("it has retries") };
    for _ in 0..2 {
        let Returned { value, error } = closure.call();
        assert_eq!((value.downcast_ref(), error), (Some(&4_usize), None));
    }
    assert_eq!(options.priority, Priority::Low);
    assert_eq!(options.queue_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(options.delay, Some(Duration::from_millis(10)));
    let backoff = Backoff::exponential(Duration::from_millis(100), Duration::from_secs(5));
    assert_eq!(options.retry.backoff, backoff);
    assert!(!options.retry.allows(RetryOn::Crash, 1));
    assert!(options.retry.allows(RetryOn::Error, 3));
}

#[test]
fn io_tasks_need_no_serde() {
    struct Connection(std::cell::Cell<u8>);

    #[task(io)]
    #[expect(clippy::needless_pass_by_value, reason = "one of each kind")]
    fn fetch(fetch: Connection, text: &str) -> std::io::Result<(Connection, String)> {
        match text {
            "" => Err(std::io::Error::other("nothing to fetch")),
            text => Ok((Connection(std::cell::Cell::new(fetch.0.get() + 1)), text.to_owned())),
        }
    }

    let call = |text: &str| {
        let call = fetch::call(Connection(std::cell::Cell::new(1)), text);
        let Work::Once(closure) = call.work else { panic!("it runs once") };
        let Returned { value, error } = closure();
        let value = call.read.read(Stored::Value(value)).expect("it is of its own type");
        (value, error)
    };
    let (value, described) = call("x");
    assert_eq!(described, None);
    let (connection, text) = value.expect("there is something");
    assert_eq!((connection.0.get(), text.as_str()), (2, "x"));
    assert_eq!(call("").1, Some(vec!["nothing to fetch".to_owned()]));
    assert!(find("fetch").is_err());
}

mod one {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Config {
        level: u8,
    }
    #[crate::task]
    pub(super) fn same_name(config: Config, _number: Option<u8>) -> Config {
        config
    }
}

mod two {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Config {
        level: u16,
    }
    #[crate::task]
    pub(super) fn same_name(config: Config, _number: Option<u8>) -> Config {
        config
    }
}

mod three {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Config {
        level: u8,
    }
    #[crate::task]
    pub(super) fn same_name(config: Config, _number: Option<u8>) -> Config {
        config
    }
}

#[test]
fn a_digest_is_of_the_shape_of_the_types() {
    let digest = |name: &str| (find(name).expect("it is registered").digest)();
    assert_ne!(digest("one::same_name"), digest("two::same_name"));
    assert_eq!(digest("one::same_name"), digest("three::same_name"));
    assert_eq!(digest("one::same_name"), digest("one::same_name"));
}
