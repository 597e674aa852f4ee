//! Bugs that are planted in the library are found by the chaos run.
//!
//! This needs a build of its own, and minutes:
//! `cargo test -p atasker-chaos --test planted -- --ignored --nocapture`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// `src/core/sabotage.rs` and `src/sabotage.rs` say what they are.
const BUGS: [&str; 13] = [
    "WakeUpDropped",
    "BeginUnchecked",
    "GenerationUnchecked",
    "OutcomesSwapped",
    "WrongWorkerKilled",
    "RequeueForgottenAtDeath",
    "RetryBeforeDeathConfirmed",
    "ResolvedTwiceInRaceWithKill",
    "RestForgotten",
    "PoisonTriedAgain",
    "SoftTimeoutForgotten",
    "CpuReadOnce",
    "SpareNotReplaced",
];

/// A bug for which a minute is too short: one worker in a life may be left stopped for good, and must run a task then.
const RARE: (&str, u64) = ("StoppedWorkerLeft", 300);

/// A bug that breaks no promise: whoever is not rung looks all the same, only later.
const HARMLESS: &str = "BellDropped";

/// In seconds.
const MINUTE: u64 = 60;

/// The exit codes of a run that has found something: a broken promise, a panic, a hang.
const FOUND: [i32; 3] = [1, 101, 3];

#[test]
#[ignore = "it builds everything anew, and takes minutes"]
fn each_planted_bug_is_found_within_a_minute() {
    let binary = build();
    // The same without a bug: otherwise what is found need not be the bug.
    for harmless in ["nothing", HARMLESS] {
        assert!(
            !is_found(&binary, harmless, MINUTE),
            "something is found though {harmless} was planted"
        );
    }
    let missed: Vec<_> = BUGS
        .into_iter()
        .map(|bug| (bug, MINUTE))
        .chain([RARE])
        .filter(|(bug, seconds)| !is_found(&binary, bug, *seconds))
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

fn build() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sabotage");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--package", "atasker-chaos"])
        .env("RUSTFLAGS", "--cfg atasker_sabotage")
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the sabotaged library builds");
    target.join("debug/atasker-chaos")
}

fn is_found(binary: &Path, bug: &str, seconds: u64) -> bool {
    let start = Instant::now();
    let output = Command::new(binary)
        // Short lives, so that there are many.
        .args([
            "--for",
            &format!("{seconds}s"),
            "--patience",
            "20s",
            "--chapters",
            "2",
            "--chapter-tasks",
            "500",
        ])
        .env("ATASKER_SABOTAGE", bug)
        .output()
        .expect("the chaos run starts");
    let found = output.status.code().is_some_and(|code| FOUND.contains(&code));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let what = said.lines().find(|line| line.contains("VIOLATED") || line.contains("HUNG"));
    let what = what.or_else(|| said.lines().next()).unwrap_or("nothing was found");
    println!("{bug}: {:.1} s: {what}", start.elapsed().as_secs_f64());
    found
}
