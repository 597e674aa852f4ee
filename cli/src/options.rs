//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::failure::{self, complain};

/// Run tasks in crash-isolated worker processes.
///
/// A job that segfaults, aborts, overflows its stack, exits or hangs costs that job and nothing else, and
/// the result says what happened to it.
#[derive(Debug, Parser)]
#[command(name = "atasker", version, max_term_width = 80, after_help = EXAMPLES)]
pub(crate) struct Options {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  atasker run jobs.jsonl > results.jsonl      run a batch file
  atasker list                                which tasks there are
  atasker run --worker ./mine jobs.jsonl      your own tasks, crash-isolated
  atasker bench                               what a process costs beside a thread

`atasker help run` explains the lines of a batch file and of the results.";

/// A subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a batch of jobs from a file or standard input
    #[command(long_about = RUN_ABOUT, after_long_help = RUN_EXAMPLES, after_help = RUN_HINT)]
    Run(RunOptions),
    /// Show the tasks that jobs can name
    #[command(after_help = LIST_EXAMPLES)]
    List(ListOptions),
    /// Measure threads against processes by task size on this machine
    ///
    /// Four kinds do the same tasks: the thread pool, rayon, and worker processes whose calls go over rings in
    /// shared memory (`ring`, the default) or over ipc-channel (`channel`). First one task at a time, then
    /// many of them through `Supervisor::map`, which packs small ones where there are rings; rayon spawns each.
    ///
    /// Takes about half a minute. The machine should have nothing else to do.
    Bench(BenchOptions),
    /// Say what of the kernel worker processes build on is here, and what is missing means
    ///
    /// The exit code is 0 if all is there, 1 if something is missing.
    Doctor,
}

const RUN_ABOUT: &str = "\
Run a batch of jobs in worker processes.

A job is a line of JSON, of which only \"task\" must be there:
  {\"task\": \"sha256_file\", \"args\": [\"README.md\"], \"id\": \"readme\",
   \"priority\": \"high\", \"timeout\": \"30s\", \"retries\": 1}
args is an array, or an object by parameter name; priority is low, normal,
high or critical. There are also soft_timeout, cpu_limit, queue_timeout and
delay (durations, or numbers of seconds), memory_limit (a size such as
\"512MiB\", or a number of bytes), crash_limit (a number), and label (a text,
for logs). Whole numbers of more than 64 bits become floating point, in jobs and
in results: have them as texts. Blank lines are skipped. Lines are read as they
are needed: a file may have millions, and standard input may go on for ever.

Each job gives a line of JSON, in the order in which the jobs end:
  {\"id\", \"line\", \"task\", \"status\", \"result\", \"error\", \"attempts\",
   \"queued_ms\", \"run_ms\", \"pid\"}
What does not apply is left out. status is completed, or failed (the function
returned an error), panicked, crashed, timed_out, cancelled, expired (its
queue_timeout passed), rejected (a bad line, an unknown task, wrong
arguments) or quarantined (so many workers died of it as crash_limit says).
error has kind and message; after a crash also signal or exit_code, stderr,
the last that the worker wrote, and crash, with likely_cause, fault, address,
breadcrumbs, progress, peak_memory_bytes, cpu_ms and the like, and with
--backtraces backtrace; after a timeout with --backtraces also backtrace, where
it was at its soft_timeout; of a quarantined job also job, a line that does the
same again. On a terminal a line says how far the batch is, and those of its
jobs that tell (atasker::progress).

Ctrl-C, SIGTERM or SIGHUP: what runs is finished, what waits is cancelled, and
nothing more is read. The second (but for SIGHUP) kills what runs. What had
ended is in the results. Ctrl-Z suspends the workers with the command; no
timeout counts that.";

const RUN_HINT: &str = "\
`atasker help run` explains jobs and results, and has exit codes and examples.";

const RUN_EXAMPLES: &str = "\
Exit codes:
    0  every job completed
    1  some jobs failed
    2  could not run: bad options, no such file, a worker that does not start
  130  interrupted
  141  the reader of standard output went away, as with `| head`

Environment:
  ATASKER_LOG   error, warn (the default), info, debug or trace: which log
                records of worker programs are shown on standard error

Examples:
  atasker run jobs.jsonl > results.jsonl
  atasker run -j 8 --timeout 30s --retries 1 jobs.jsonl -o results.jsonl
  atasker run --worker target/release/mine jobs.jsonl
  ls | jq -Rc '{task: \"sha256_file\", args: [.]}' | atasker run -q
  jq 'select(.status != \"completed\") | .line' results.jsonl   lines to run again
  jq -c '.error.job // empty' results.jsonl | atasker run -j 1    what is quarantined";

/// What `atasker run` is told.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// The jobs, one JSON object a line; `-` or nothing: standard input
    pub(crate) file: Option<PathBuf>,

    /// Worker processes; as many as there are cores unless said
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) workers: Option<u32>,

    /// More worker processes, for jobs of normal and higher priority
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) reserve_normal: u32,

    /// More worker processes, for jobs of high priority
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) reserve_high: u32,

    #[command(flatten)]
    pub(crate) worker: WorkerOption,

    /// The longest a job may run (30s, 1m30s), unless its line says another
    #[arg(long, value_name = "DURATION", value_parser = crate::text::parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// The most CPU time that a job may use, unless its line says another
    #[arg(long, value_name = "DURATION", value_parser = crate::text::parse_duration)]
    pub(crate) cpu_limit: Option<Duration>,

    /// The most memory that a job may take (512MiB, 2GB), unless its line says another
    #[arg(long, value_name = "SIZE", value_parser = crate::text::parse_size)]
    pub(crate) memory_limit: Option<u64>,

    /// How often a failed job is tried again, unless its line says so
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,

    /// Put a job into quarantine when so many workers have died of it, unless
    /// its line says so
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) crash_limit: Option<u32>,

    /// Stop after so many failures: what runs is finished, what waits is cancelled
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_fails: Option<u64>,

    /// Add to each crash the functions on its stack, with files and lines
    ///
    /// Found in the debug information of the worker program, which takes a moment for each place.
    #[arg(long)]
    pub(crate) backtraces: bool,

    /// Where to write the results; `-` or nothing: standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// No progress and no summary on standard error
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Which program serves the tasks.
#[derive(Debug, Args)]
pub(crate) struct WorkerOption {
    /// The program that has the tasks, such as your own; the stock tasks unless said
    ///
    /// Any program with functions marked `#[atasker::task]` and with `#[atasker::main]`, or with
    /// `atasker::worker::run_if_spawned()` first in main.
    #[arg(long = "worker", value_name = "PROGRAM")]
    pub(crate) program: Option<PathBuf>,
}

const LIST_EXAMPLES: &str = "\
Examples:
  atasker list
  atasker list --worker ./my-worker --json | jq -r '.[].signature'";

/// What `atasker list` is told.
#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    #[command(flatten)]
    pub(crate) worker: WorkerOption,

    /// As a JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `atasker bench` is told.
#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Threads and worker processes; as many as there are cores unless said
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) workers: Option<u32>,

    /// As a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Read the command line. `Err`: there is nothing more to do than to exit, with this.
pub(crate) fn parse() -> Result<Options, ExitCode> {
    Options::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => ExitCode::from(failure::ALL_GOOD),
            Err(error) => failure::Failure::write("the help", &error).report(),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // The help is the answer; that it can't be written changes nothing.
            let _ = error.print();
            ExitCode::from(failure::COULD_NOT_RUN)
        }
        _ => {
            let text = error.render().to_string();
            complain(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            ExitCode::from(failure::COULD_NOT_RUN)
        }
    })
}

/// As many as this machine has cores for this process.
pub(crate) fn cores() -> u32 {
    std::thread::available_parallelism()
        .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Options::command().debug_assert();
    }
}
