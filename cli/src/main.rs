//! The `atasker` command: batches of tasks in crash-isolated worker processes.
//!
//! Read `options`, then `run`, which is the command's main job; `list` and `bench` stand beside it. Every
//! subcommand returns what it was stopped by as a [`Failure`], and main says it.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "rates, shares and times, none of them negative, are rounded for people anyway"
)]

mod bench;
mod doctor;
mod failure;
mod list;
mod log;
mod options;
mod run;
mod screen;
mod text;

use std::process::ExitCode;

// The stock tasks: naming the crate is what links them.
use atasker_worker as _;

use self::failure::Failure;
use self::options::Command;

fn main() -> ExitCode {
    // Without `--worker`, this program is its own worker.
    atasker::worker::run_if_spawned();
    let options = match options::parse() {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let done = match options.command {
        Command::Run(options) => run::run(&options),
        Command::List(options) => list::list(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Doctor => doctor::doctor(),
    };
    done.unwrap_or_else(Failure::report)
}
