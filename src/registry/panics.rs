//! Panics as values. The place of a panic is known only to the panic hook; a worker process installs one,
//! the host's process never gets one from this library.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::blackbox::recorder;

/// What is known of a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked {
    pub(crate) message: String,
    /// `file:line:column`; `None` where no hook is installed.
    pub(crate) location: Option<String>,
}

/// The message of a panic that has none.
const NO_TEXT: &str = "a value of another type than a string";

thread_local! {
    /// Where this thread panicked last.
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Let panics be located from now on. For a worker's process only; the hook that was there runs as well.
pub(crate) fn install_hook() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let location = info.location().map(ToString::to_string);
        // Should nobody catch it, there is nobody to tell of it afterwards.
        if let Some(recorder) = recorder() {
            let message = info.payload_as_str().unwrap_or(NO_TEXT);
            recorder.on_panic(location.as_deref().unwrap_or_default(), message);
        }
        // The thread may be past its thread locals, or in the middle of `take_location`.
        let _ = LOCATION.try_with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = location;
            }
        });
        previous(info);
    }));
}

/// Run `f`; if it panics, say how. What `f` may have left half-changed must not be looked at again.
#[inline]
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(f)).map_err(caught)
}

/// Drop a value of the user's. A panic of its Drop is nobody's business here.
pub(crate) fn let_go<T>(value: T) {
    let _ = catch(|| drop(value));
}

/// Wake whoever waits, by code of the user's, whose panic is no business of others that are to be woken.
pub(crate) fn wake(waker: Waker) {
    let _ = catch(|| waker.wake());
}

/// Log something. A subscriber that panics must not keep anything from its end.
pub(crate) fn say(log: impl FnOnce()) {
    let before = SAYING.try_with(|saying| saying.replace(true));
    let _ = catch(log);
    let _ = SAYING.try_with(|saying| saying.set(before.unwrap_or_default()));
}

/// Whether this thread is within what it logs: then it must wait for nothing that it is to do itself afterwards.
pub(crate) fn is_saying() -> bool {
    SAYING.try_with(Cell::get).unwrap_or_default()
}

thread_local! {
    static SAYING: Cell<bool> = const { Cell::new(false) };
}

#[cold]
fn caught(payload: Box<dyn Any + Send>) -> Panicked {
    let location = take_location();
    if let Some(recorder) = recorder() {
        recorder.on_panics_caught();
    }
    let message = message_of(&*payload);
    // The payload is a value of the user's, and its Drop may panic too; and so on. The second is leaked.
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    Panicked { message, location }
}

fn take_location() -> Option<String> {
    LOCATION.try_with(|last| last.try_borrow_mut().ok()?.take()).ok().flatten()
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        NO_TEXT.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_all_kinds_of_payloads() {
        let check = |f: fn(), message: &str| {
            assert_eq!(catch(f).map_err(|panicked| panicked.message), Err(message.to_owned()));
        };
        check(|| panic!("plain"), "plain");
        check(|| panic!("number {}", 7), "number 7");
        check(|| std::panic::panic_any(7), "a value of another type than a string");
        assert_eq!(catch(|| 7), Ok(7));
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_survived() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any(Self);
            }
        }
        // Its Drop panics with another of its kind, for ever.
        let panicked = catch(|| std::panic::panic_any(Bomb)).expect_err("it panics");
        assert_eq!(panicked.message, "a value of another type than a string");
    }

    /// In a process of its own, because the hook is the process's.
    #[test]
    fn with_the_hook_places_are_known() {
        let child = std::process::Command::new(std::env::current_exe().expect("it runs"))
            .args(["--exact", "registry::panics::tests::child_with_the_hook", "--ignored"])
            .output()
            .expect("it can be started");
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    }

    #[test]
    #[ignore = "run by `with_the_hook_places_are_known`"]
    fn child_with_the_hook() {
        install_hook();
        let panicked = catch(|| panic!("here")).expect_err("it panics");
        let location = panicked.location.expect("the hook runs");
        assert!(location.contains("panics.rs:"), "{location}");
        // Not that of an earlier panic.
        let resumed = catch(|| std::panic::resume_unwind(Box::new("no hook runs")));
        assert_eq!(resumed.expect_err("it panics").location, None);
    }
}
