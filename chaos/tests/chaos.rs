//! A short run of the chaos with a seed that is always the same, and one with a fresh one, which is printed.

use std::process::Command;

fn run(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_atasker-chaos"))
        .args(arguments)
        .output()
        .expect("the chaos run starts");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    println!("{out}");
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("nothing lost, nothing doubled, nothing hung"), "{out}");
}

#[test]
fn with_a_seed_that_is_always_the_same() {
    run(&["--seed", "1", "--for", "12s"]);
}

#[test]
fn with_a_fresh_seed() {
    run(&["--for", "12s"]);
}

#[test]
fn over_channels() {
    run(&["--seed", "2", "--for", "5s", "--transport", "channel"]);
}

#[test]
fn races_that_are_decided_by_a_hair() {
    let binary = env!("CARGO_BIN_EXE_atasker-chaos");
    let arguments = ["--race-timeouts", "2000", "--race-cancels", "1000"];
    let output = Command::new(binary).args(arguments).output().expect("the races start");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
