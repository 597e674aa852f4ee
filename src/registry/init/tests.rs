//! Nothing is registered here: the workers that other unit tests start would run it, too.

use serde::{Deserialize, Serialize};

use super::{init_data, run_init};
use crate::TaskFailure;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Initial {
    level: u8,
}

fn check(data: Option<(&str, &[u8])>, expected: Result<Initial, &str>) {
    assert_eq!(init_data::<Initial>(data), expected.map_err(str::to_owned));
}

#[test]
fn an_initialiser_gets_the_data_that_it_takes() {
    let name = std::any::type_name::<Initial>();
    check(Some((name, &[2])), Ok(Initial { level: 2 }));
    check(
        Some((name, &[1, 2])),
        Err("its data could not be decoded: bytes are left over after the value (1 of them)"),
    );
    let none = format!("it takes data (`{name}`), and the supervisor's builder gave none");
    check(None, Err(&none));
    let other = format!("it takes `{name}`, and the supervisor's builder gave `u8`");
    check(Some(("u8", &[2])), Err(&other));
}

#[test]
fn an_optional_parameter_takes_the_data_or_none() {
    let name = std::any::type_name::<Initial>();
    assert_eq!(init_data::<Option<Initial>>(None), Ok(None));
    assert_eq!(init_data(Some((name, &[7]))), Ok(Some(Initial { level: 7 })));
    let whole = std::any::type_name::<Option<Initial>>();
    assert_eq!(init_data(Some((whole, &[1, 7]))), Ok(Some(Initial { level: 7 })));
    assert!(init_data::<Option<Initial>>(Some(("u8", &[7]))).is_err());
}

#[test]
fn a_failure_says_which_initialiser_and_why() {
    let failed = |reason: &str| Err(format!("the initialiser `a::b` failed: {reason}"));
    let failure = || Some(TaskFailure::new("no level").context("reading").lines());
    assert_eq!(run_init("a::b", || Ok(None)), Ok(()));
    assert_eq!(run_init("a::b", || Ok(failure())), failed("reading: no level"));
    assert_eq!(run_init("a::b", || Err("no data".to_owned())), failed("no data"));
    assert_eq!(run_init("a::b", || panic!("level one")), failed("it panicked: level one"));
}
