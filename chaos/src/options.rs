//! The command line.

use std::time::Duration;

use atasker::Transport;
use clap::{Parser, ValueEnum};

/// Chaos against atasker, in real processes, with an oracle.
///
/// Exit codes: 0 nothing was found, 1 a promise was broken, 3 something hangs.
#[derive(Clone, Debug, Parser)]
#[command(name = "atasker-chaos")]
pub(crate) struct Options {
    /// What all dice follow from; by the time of day unless given, and printed.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How long: `30s`, `10m`, `2h`. Thirty seconds unless this or --tasks is given.
    #[arg(long = "for", value_parser = duration)]
    pub(crate) time: Option<Duration>,
    /// How many tasks.
    #[arg(long)]
    pub(crate) tasks: Option<u64>,
    /// With --tasks: how many workers to kill meanwhile, at the least.
    #[arg(long, requires = "tasks")]
    pub(crate) kills: Option<u64>,
    /// After how many tasks a worker is killed; by the seed unless given.
    #[arg(long, conflicts_with = "kills")]
    pub(crate) tasks_per_kill: Option<u64>,
    /// How many chapters each life has; by the seed unless given.
    #[arg(long)]
    pub(crate) chapters: Option<u64>,
    /// At most so many tasks in each chapter, so that there are more lives.
    #[arg(long)]
    pub(crate) chapter_tasks: Option<u64>,
    /// Only this life of the seed, again and again.
    #[arg(long)]
    pub(crate) life: Option<u64>,
    /// Only over this; mostly over rings unless given.
    #[arg(long)]
    pub(crate) transport: Option<Way>,
    /// For how long nothing may come to an end before that is a hang.
    #[arg(long, value_parser = duration, default_value = "60s")]
    pub(crate) patience: Duration,
    /// Instead: so many tasks that end just when their time is up.
    #[arg(long)]
    pub(crate) race_timeouts: Option<u64>,
    /// Instead: so many cancellations just when a task ends and the next begins.
    #[arg(long)]
    pub(crate) race_cancels: Option<u64>,
}

/// A transport.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Way {
    Ring,
    Channel,
}

impl From<Way> for Transport {
    fn from(way: Way) -> Self {
        match way {
            Way::Ring => Self::Ring,
            Way::Channel => Self::Channel,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let number: u64 = digits.parse().map_err(|error| format!("{error}; say 30s, 10m or 2h"))?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("say 30s, 10m or 2h".to_owned()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "too long".to_owned())
}
