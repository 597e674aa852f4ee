//! Where a task is when it is asked, for the stack of one that is stuck.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use atasker::{Stack, TaskErrorKind, task};

use crate::watch::{each_transport, eventually, long_enough};

/// Spins until it is asked to end, or for ever.
#[task]
fn spin(heeds: bool) -> u32 {
    let current = atasker::current();
    spin_inside(&current, heeds)
}

#[inline(never)]
fn spin_inside(current: &atasker::Current, heeds: bool) -> u32 {
    while !(heeds && current.is_cancelled()) {
        std::hint::spin_loop();
    }
    7
}

#[test]
fn a_soft_timeout_shows_where_the_task_is() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        // It may have begun, and not have come so far.
        let spins =
            |stack: &Stack| stack.backtrace().to_string().contains("whereabouts::spin_inside");
        let stack = long_enough(|soft_timeout| {
            let call = spin::call(false).soft_timeout(soft_timeout);
            let task = supervisor.submit(call).expect("accepted");
            eventually("its stack is seen", || task.info().stack.is_some());
            let stack = task.info().stack.expect("it was there");
            assert!(task.cancel());
            spins(&stack).then_some(stack)
        });
        let backtrace = stack.backtrace().to_string();
        assert!(backtrace.ends_with(')') && !backtrace.contains("atasker::worker"), "{backtrace}");
        // Seen in the error of a timeout, too.
        long_enough(|soft_timeout| {
            let call = spin::call(false).soft_timeout(soft_timeout).timeout(soft_timeout * 20);
            let error = supervisor.submit(call).expect("accepted").wait().unwrap_err();
            let TaskErrorKind::TimedOut { stack, .. } = error.kind() else { panic!("{error}") };
            stack.as_ref().is_some_and(spins).then_some(())
        });
        // And it does no harm: the worker goes on.
        let call = spin::call(true).soft_timeout(Duration::from_millis(20));
        let task = supervisor.submit(call).expect("accepted");
        assert_eq!(task.wait().expect("it heeds"), 7);
    });
}

/// Is first in one function, until it is asked to end, and then in another, until the folder is gone.
#[task(retries = 1, retry_on(error), soft_timeout = "300ms")]
fn be_in_turn(folder: &Path) -> Result<(), String> {
    if File::create_new(folder.join("begun")).is_ok() {
        linger_inside(&atasker::current());
        return Err("once more".to_owned());
    }
    wait_inside(folder);
    Ok(())
}

/// Until the signal that asks where it is has come for certain.
#[inline(never)]
fn linger_inside(current: &atasker::Current) {
    while !current.is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(200));
}

#[inline(never)]
fn wait_inside(folder: &Path) {
    while folder.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_attempt_does_not_show_where_the_one_before_it_was() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        let folder = tempfile::tempdir().expect("a folder");
        let task = supervisor.submit(be_in_turn::call(folder.path())).expect("accepted");
        eventually("the first has failed", || task.info().attempts == 2);
        let shows = |name: &str| {
            let stack = task.info().stack;
            stack.is_some_and(|stack| stack.backtrace().to_string().contains(name))
        };
        eventually("the second is asked", || {
            assert!(!shows("whereabouts::linger_inside"), "that was the first");
            shows("whereabouts::wait_inside")
        });
        drop(folder);
        task.wait().expect("it runs").expect("it ends");
    });
}
