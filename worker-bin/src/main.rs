//! A worker program with the stock tasks. It does nothing on its own: a supervisor starts it.

use std::process::ExitCode;

use atasker_worker as _;

const EXPLANATION: &str = "\
atasker-worker: this is a worker program. It waits for no input and does nothing when it is started by hand.

It serves the stock tasks of atasker (sha256_file, count_primes, mandelbrot, and some that crash) to the
program that starts it:
    atasker run --worker atasker-worker jobs.jsonl      a batch file
    Supervisor::builder().worker_program(\"atasker-worker\")      in Rust

`atasker list --worker atasker-worker` shows its tasks.";

fn main() -> ExitCode {
    atasker::worker::run_if_spawned();
    eprintln!("{EXPLANATION}");
    ExitCode::from(2)
}
