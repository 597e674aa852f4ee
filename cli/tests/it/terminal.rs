//! What somebody sees who looks on.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{atasker, watched};

/// What the command writes to a terminal that is its standard error.
fn seen(arguments: &[&str]) -> String {
    seen_beside(arguments, |_| Stdio::null())
}

/// The same, with its results where `results` has them go, which is given the terminal.
fn seen_beside(arguments: &[&str], results: impl FnOnce(&File) -> Stdio) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it can be used");
    let name = ptsname(&terminal, Vec::new()).expect("it has a name");
    let name = name.to_str().expect("a plain one");
    let end = OpenOptions::new().read(true).write(true).open(name).expect("it can be opened");
    let mut command = atasker(arguments);
    command.stdin(Stdio::null()).stdout(results(&end)).stderr(end);
    let mut child = command.spawn().expect("the command starts");
    // It holds the other end too, and the reading below would wait for it.
    drop(command);
    watched(move || {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        let mut terminal = File::from(terminal);
        // The end is an error: the other side of the terminal is closed (EIO, pty(7)).
        while let Ok(count @ 1..) = terminal.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
        }
        child.wait().expect("it can be waited for");
        String::from_utf8(text).expect("text")
    })
}

#[test]
fn results_on_the_same_terminal_have_lines_of_their_own() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let jobs = directory.path().join("jobs");
    let text = "{\"task\": \"count_primes\", \"args\": [0, 2000000]}\n".repeat(20);
    std::fs::write(&jobs, text).expect("it can be written");
    let arguments = ["run", crate::support::path_text(&jobs)];
    let text = seen_beside(&arguments, |terminal| terminal.try_clone().expect("a copy").into());
    assert!(text.contains(" running, "), "{text:?}");
    let results: Vec<_> = text.split("{\"line\":").collect();
    assert_eq!(results.len(), 21, "{text:?}");
    for before in &results[..20] {
        assert!(before.is_empty() || before.ends_with(['\n', 'K']), "{before:?}");
    }
}

#[test]
fn progress_is_shown_on_a_terminal_only() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let jobs = directory.path().join("jobs");
    let text = concat!(
        "{\"task\": \"count_primes\", \"args\": [0, 10]}\n",
        "{\"task\": \"panic\", \"args\": [\"out of cheese\"]}\n",
        "{\"task\": \"count_primes\", \"args\": [0, 1000000000000], \"id\": \"pri\\nm\\u001b[31mes\", \"timeout\": \"3s\"}\n",
    );
    std::fs::write(&jobs, text).expect("it can be written");
    let jobs = crate::support::path_text(&jobs);
    let seen_text = seen(&["run", jobs]);
    assert!(seen_text.contains("\r\x1b[2K"), "{seen_text:?}");
    assert!(seen_text.contains(" 66 %  2 done (1 failed), 1 running, "), "{seen_text:?}");
    assert!(seen_text.contains("/s, ETA "), "{seen_text:?}");
    // It says itself how far it is.
    assert!(seen_text.contains("; pri m [31mes at 0 %"), "{seen_text:?}");
    // What workers print scrolls by above the line.
    assert!(seen_text.contains("\r\x1b[2Kout of cheese\r\n"), "{seen_text:?}");
    // In the end the line is gone, and the summary stands alone.
    let (_, summary) = seen_text.rsplit_once("\x1b[2K").expect("it was drawn");
    assert!(summary.starts_with("3 jobs in "), "{seen_text:?}");
    assert_eq!(seen(&["run", "--quiet", "-j", "1", "/dev/null"]), "");

    let piped = crate::support::run(&["run", jobs], "");
    assert!(!piped.stderr.contains(['\r', '\x1b']), "{:?}", piped.stderr);
}
