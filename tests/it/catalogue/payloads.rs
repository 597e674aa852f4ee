//! Arguments and results of every length, and types that do not serialise as they should.

use atasker::{Blob, Call, SubmitError, TaskErrorKind, task};
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::misdeeds::allocate;
use super::{Scene, cases};
use crate::tasks;

cases! {
    on_all_kinds
    everywhere {
        payloads_of_every_border,
        several_gigabytes,
        types_that_fail_on_the_way_there,
        types_that_fail_on_the_way_back,
        lists_that_are_too_deep,
        no_memory_for_a_result,
    }
    on_rings {
        no_memory_for_a_buffer,
    }
}

/// What stands in an entry (24 and 48 bytes), in a slot (16 KiB), and in a message of a channel (about 208 KiB), each with
/// a few bytes around for what is written before it; nothing at all; and what goes beside.
fn payloads_of_every_border(scene: &Scene) {
    scene.keep_memory();
    let borders = [24, 48, 1024, (16 << 10) - 4096, 16 << 10, 64 << 10, 208 << 10];
    for length in
        borders.into_iter().flat_map(|border| border - 8..border + 9).chain([0, 1, 5 << 20])
    {
        let payload: Vec<u8> = (0..length).map(|n: usize| (n % 251) as u8).collect();
        let back = scene.run(tasks::reverse::call(&payload)).expect("it runs");
        assert!(back.iter().rev().eq(&payload), "{length}");
    }
}

/// A hundred megabytes, or as many as `ATASKER_TEST_PAYLOAD_MB` says: there, and half of it back.
fn several_gigabytes(scene: &Scene) {
    scene.keep_memory();
    let chosen = std::env::var("ATASKER_TEST_PAYLOAD_MB").ok().and_then(|text| text.parse().ok());
    let length = chosen.unwrap_or(100_usize) << 20;
    let seen = scene.run(crate::payloads::length_and_last::call(&vec![5; length]));
    assert_eq!(seen.expect("it runs"), (length, Some(5)));
    let made = scene.run(crate::payloads::bytes::call(length / 2)).expect("it runs");
    assert!(made.len() == length / 2 && made.last() == Some(&3));
}

/// A value that misbehaves in one of its four crossings: `1` and `2` there, `3` and `4` back.
#[derive(Debug)]
struct Moody {
    crossing: u8,
    how: String,
}

impl Moody {
    fn new(crossing: u8, how: &str) -> Self {
        Self { crossing, how: how.to_owned() }
    }
}

fn is_worker() -> bool {
    atasker::worker::current_task().is_some()
}

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let now = if is_worker() { 3 } else { 1 };
        if now != self.crossing {
            return (self.crossing, &self.how, "").serialize(serializer);
        }
        match &*self.how {
            "fail" => Err(S::Error::custom("moody in serialising")),
            "panic" => panic!("moody in serialising"),
            // More than is expected behind it, less than is expected, and a length that can't be.
            "trailing" => (self.crossing, &self.how, "", [1_u64; 9]).serialize(serializer),
            "short" => self.crossing.serialize(serializer),
            "absurd length" => {
                let mut list = serializer.serialize_seq(Some(usize::MAX / 2))?;
                list.serialize_element(&self.crossing)?;
                list.end()
            }
            other => panic!("no such mood: {other}"),
        }
    }
}

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (crossing, how, _) = <(u8, String, String)>::deserialize(deserializer)?;
        let now = if is_worker() { 2 } else { 4 };
        match &*how {
            "fail" if now == crossing => Err(D::Error::custom("moody in deserialising")),
            "panic" if now == crossing => panic!("moody in deserialising"),
            _ => Ok(Self { crossing, how }),
        }
    }
}

/// Asks no mood on the way there.
#[task]
fn make_moody(crossing: u8, how: &str) -> Moody {
    Moody::new(crossing, how)
}

#[task]
fn take_moody(moody: Moody) -> u8 {
    moody.crossing
}

fn types_that_fail_on_the_way_there(scene: &Scene) {
    let refused = scene.submit(take_moody::call(Moody::new(1, "fail"))).expect_err("can't go");
    assert!(matches!(refused, SubmitError::Unencodable { .. }), "{refused}");
    // In the caller's own thread, before there is a task.
    let panicked = std::panic::catch_unwind(|| take_moody::call(Moody::new(1, "panic")));
    panicked.map(drop).expect_err("the caller's own code panics");
    for how in ["fail", "panic"] {
        let error = scene.run(take_moody::call(Moody::new(2, how))).expect_err("can't be read");
        assert!(matches!(error.kind(), TaskErrorKind::Rejected { .. }), "{how}: {error}");
        assert!(!error.may_have_run() && error.to_string().contains("moody"), "{error}");
    }
    for how in ["trailing", "short", "absurd length"] {
        match scene.submit(take_moody::call(Moody::new(1, how))) {
            Ok(task) => {
                let error = task.wait().expect_err("can't be read");
                assert!(matches!(error.kind(), TaskErrorKind::Rejected { .. }), "{how}: {error}");
            }
            Err(refused) => assert!(matches!(refused, SubmitError::Unencodable { .. }), "{how}"),
        }
    }
}

fn types_that_fail_on_the_way_back(scene: &Scene) {
    for (crossing, how) in [
        (3, "fail"),
        (3, "panic"),
        (4, "fail"),
        (4, "panic"),
        (3, "trailing"),
        (3, "short"),
        (3, "absurd length"),
    ] {
        let error = scene.run(make_moody::call(crossing, how)).expect_err("can't come back");
        let kind = error.kind();
        assert!(
            matches!(kind, TaskErrorKind::Undeliverable { .. } | TaskErrorKind::Panicked(_)),
            "{crossing} {how}: {error}"
        );
        assert!(error.may_have_run());
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct List(Option<Box<List>>);

impl List {
    fn of(depth: usize) -> Self {
        (0..depth).fold(Self(None), |list, _| Self(Some(Box::new(list))))
    }

    fn depth(&self) -> usize {
        std::iter::successors(Some(self), |list| list.0.as_deref()).count() - 1
    }
}

/// Lists that are dropped one by one, since a deep one would overflow the stack.
impl Drop for List {
    fn drop(&mut self) {
        let mut rest = self.0.take();
        while let Some(mut list) = rest {
            rest = list.0.take();
        }
    }
}

#[task]
fn depth(list: List) -> usize {
    list.depth()
}

#[task]
fn make_list(depth: usize) -> List {
    List::of(depth)
}

/// In a recursive type, input that is nested deeply is refused before the stack is full.
fn lists_that_are_too_deep(scene: &Scene) {
    assert_eq!(scene.run(depth::call(List::of(20))).expect("it runs"), 20);
    assert_eq!(scene.run(make_list::call(20)).expect("it runs").depth(), 20);
    for too_deep in [300, 2_000] {
        match scene.submit(depth::call(List::of(too_deep))) {
            Ok(task) => {
                let error = task.wait().expect_err("too deep");
                assert!(matches!(error.kind(), TaskErrorKind::Rejected { .. }), "{error}");
            }
            Err(refused) => {
                assert!(matches!(refused, SubmitError::Unencodable { .. }), "{refused}");
            }
        }
        let error = scene.run(make_list::call(too_deep)).expect_err("too deep");
        assert!(matches!(error.kind(), TaskErrorKind::Undeliverable { .. }), "{error}");
    }
}

/// The result is made, and there is no memory for it to come back in.
fn no_memory_for_a_result(scene: &Scene) {
    let said = "there is no memory for what it is as bytes";
    let error = scene.run(limited_numbers::call(24 << 20)).expect_err("no memory for its bytes");
    assert!(error.to_string().contains(said), "{error}");
    scene.crash(allocate::call(1 << 47));
    let by_name = Call::by_name("limited_numbers", serde_json::json!([16 << 20]));
    let error = scene.run(by_name).expect_err("no memory for its text");
    assert!(error.to_string().contains(said), "{error}");
    scene.crash(allocate::call(1 << 47));
    let error = scene.run(limited::call(40 << 20));
    // Whether it can be told depends on where memory is short; in no case does anything hang.
    if let Ok(bytes) = error {
        assert_eq!(bytes.len(), 40 << 20);
    }
}

/// Makes a result after which there is hardly any address space left.
#[task]
fn limited(length: usize) -> Vec<u8> {
    let made = vec![1; length];
    super::surroundings::limit_address_space(8 << 20);
    made
}

/// The same of a result whose bytes come a few at a time.
#[task]
fn limited_numbers(length: usize) -> Vec<u16> {
    let made = vec![u16::MAX / 8; length];
    super::surroundings::limit_address_space(8 << 20);
    made
}

fn no_memory_for_a_buffer(scene: &Scene) {
    Blob::zeroed(1 << 50).expect_err("nobody has so much");
    let failed = scene.run(crate::buffers::make::call(1 << 50)).expect("it runs");
    let failure = failed.expect_err("nobody has so much");
    assert!(failure.to_string().contains("shared buffer"), "{failure}");
}
