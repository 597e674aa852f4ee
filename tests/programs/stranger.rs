//! A worker program whose tasks are not those of the program that starts it.

use atasker::task;

/// Twice the number.
#[task]
fn double(number: i64) -> i64 {
    2 * number
}

/// Becomes another program, as the thread that `main` runs in: in this test's own workers the harness has that.
#[task]
fn become_a_sleeper() -> String {
    use std::os::unix::process::CommandExt;
    std::process::Command::new("sleep").arg("1000").exec().to_string()
}

fn main() {
    atasker::worker::run_if_spawned();
    let _ = (double::call(1), become_a_sleeper::call());
    eprintln!("this is a worker program: it does nothing by itself");
}
