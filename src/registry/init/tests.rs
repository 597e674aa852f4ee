use serde::{Deserialize, Serialize};

use super::worker_inits;
use crate::{TaskFailure, TaskResult, worker_init};

#[worker_init]
fn initialise(data: &Initial) -> TaskResult<()> {
    match data.level {
        0 => Err(TaskFailure::new("no level").context("reading")),
        1 => panic!("level one"),
        _ => Ok(()),
    }
}

/// Named like what the attribute might need for itself.
#[worker_init]
fn run_init() {}

#[derive(Serialize, Deserialize)]
struct Initial {
    level: u8,
}

#[test]
fn initialisers_run_with_their_data() {
    let inits = worker_inits();
    let [with, without] = inits[..] else { panic!("there are two: {inits:?}") };
    let path = "atasker::registry::init::tests::initialise";
    assert_eq!((with.path, without.path), (path, "atasker::registry::init::tests::run_init"));
    let name = std::any::type_name::<Initial>();
    let failed = |reason: &str| Err(format!("the initialiser `{path}` failed: {reason}"));

    assert_eq!((with.run)(Some((name, &[2]))), Ok(()));
    assert_eq!((with.run)(Some((name, &[0]))), failed("reading: no level"));
    assert_eq!((with.run)(Some((name, &[1]))), failed("it panicked: level one"));
    assert_eq!(
        (with.run)(Some((name, &[1, 2]))),
        failed("its data could not be decoded: bytes are left over after the value (1 of them)")
    );
    assert_eq!(
        (with.run)(None),
        failed(&format!("it takes data (`{name}`), and the supervisor's builder gave none"))
    );
    assert_eq!(
        (with.run)(Some(("u8", &[2]))),
        failed(&format!("it takes `{name}`, and the supervisor's builder gave `u8`"))
    );
    assert_eq!((without.run)(None), Ok(()));
    assert_eq!((without.run)(Some(("u8", &[2]))), Ok(()));
}
