//! What the workers of these tests can do.

use std::io::Write;

use crate::codec::CodecId;
use crate::registry::entry::{RegisteredTask, TaskEntry};
use crate::registry::init::WorkerInit;
use crate::sys::faults;
use crate::task::options::Declared;
use crate::transport::frame::Outcome;

fn returned(value: impl Into<Vec<u8>>) -> Outcome {
    Outcome::Returned { value: value.into().into(), error: None }
}

fn text(arguments: &[u8]) -> &str {
    std::str::from_utf8(arguments).expect("text")
}

macro_rules! functions {
    ($($name:ident = $run:expr;)*) => {
        $(inventory::submit! {
            RegisteredTask(&TaskEntry {
                path: concat!(module_path!(), "::", stringify!($name)),
                signature: "",
                parameters: &[],
                docs: "",
                file: file!(),
                line: line!(),
                digest: || 0,
                declared: Declared::DEFAULT,
                run: |codec, arguments, _buffer| {
                    let run: fn(CodecId, &[u8]) -> Outcome = $run;
                    run(codec, arguments).into()
                },
            })
        })*
    };
}

functions! {
    echo = |_, arguments| returned(arguments);
    act = |_, arguments| {
        act(arguments);
        returned(arguments)
    };
    produce = |_, arguments| returned(vec![9; text(arguments).parse().expect("a length")]);
    fail = |_, _| Outcome::Returned { value: vec![1].into(), error: Some(vec!["top".into(), "cause".into()]) };
    panicking = |_, _| Outcome::Panicked { message: "oh".into(), location: Some("here:1:1".into()) };
    segfault = |_, _| {
        faults::write_to_nowhere();
        returned("survived")
    };
    abort = |_, _| std::process::abort();
    exit = |_, arguments| std::process::exit(text(arguments).parse().expect("a code"));
    end_thread = |_, _| faults::end_thread();
    hang = |_, _| loop {
        std::thread::park();
    };
    environment = |_, arguments| {
        returned(std::env::var(text(arguments)).map_or("unset".into(), |value| format!("set to {value}")))
    };
    shell = |_, arguments| {
        let output = std::process::Command::new("/bin/sh").arg("-c").arg(text(arguments)).output();
        returned(output.expect("a shell").stdout)
    };
    directory = |_, _| returned(std::env::current_dir().expect("a directory").display().to_string());
    descriptors = |_, _| returned(open_descriptors().join("\n"));
    stderr = |_, arguments| {
        std::io::stderr().write_all(arguments).expect("a standard error");
        returned("")
    };
    stdout = |_, arguments| {
        println!("{}", text(arguments));
        returned("")
    };
    current = |_, _| returned(format!("{:?}", crate::worker::current_task()));
    log = |_, arguments| {
        tracing::warn!(target: "a::target", answer = 42, "{}", text(arguments));
        log::info!(target: "b::target", "{}", text(arguments));
        tracing::trace!(target: "c::target", "below the level");
        tracing::error!(target: "unwanted", "not for the filter");
        returned("")
    };
    garbage = |_, arguments| {
        faults::for_each_descriptor(|fd| {
            let _ = rustix::net::send(fd, arguments, rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL);
        });
        returned("")
    };
    overflow = |_, arguments| returned(deeper(arguments.len() as u64).to_le_bytes());
    leave_a_child = |_, arguments| {
        let child = faults::fork_and_stay(text(arguments).parse().expect("seconds"));
        returned(child.to_string())
    };
    interruptible = |_, _| {
        faults::handle_without_restart(libc::SIGUSR1);
        returned("")
    };
    initialised_with = |_, _| returned(std::env::var("TEST_INITIALISED").unwrap_or_default());
}

/// What one call of a pack does, which all have the same function.
fn act(arguments: &[u8]) {
    let text = text(arguments);
    match text.split_once(' ').unwrap_or((text, "")) {
        // Opening waits until the test opens the other end, and reading until it lets go of that.
        ("wait", path) => _ = std::fs::read(path).expect("a fifo"),
        ("note", path) => {
            let mut notes = std::fs::File::options().append(true).open(path).expect("a file");
            notes.write_all(b"begun\n").expect("it can be written");
        }
        ("abort", _) => std::process::abort(),
        ("exit", code) => std::process::exit(code.parse().expect("a code")),
        _ => {}
    }
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    deeper(depth + 1) + frame[3]
}

/// Descriptors and what they are.
pub(super) fn open_descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("a list");
    let mut open: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let target = std::fs::read_link(entry.path()).ok()?;
            let own = target.to_string_lossy().ends_with("/fd");
            (!own).then(|| format!("{} {}", entry.file_name().display(), target.display()))
        })
        .collect();
    open.sort();
    open
}

inventory::submit! {
    WorkerInit { path: "process_tests", file: file!(), line: line!(), run: initialise }
}

fn initialise(data: Option<(&str, &[u8])>) -> Result<(), String> {
    match data {
        Some((_, b"fail")) => Err("no licence".to_owned()),
        Some((_, b"panic")) => panic!("init panics"),
        Some((_, b"exit")) => std::process::exit(9),
        Some((_, b"hang")) => loop {
            std::thread::park();
        },
        Some((name @ "a::Type", bytes)) => {
            let value = format!("{name}: {}", String::from_utf8_lossy(bytes));
            crate::sys::environment::set_at_start("TEST_INITIALISED", value.as_ref());
            Ok(())
        }
        _ => Ok(()),
    }
}
