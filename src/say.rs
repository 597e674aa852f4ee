//! How the library logs. A subscriber is code of the user's: whatever it does, what logs must come to its end.

use tracing::level_filters::LevelFilter;

use crate::registry::panics;

/// Logs as the macros of `tracing` do: `say!(debug, target: "atasker::task", task, "begun")`. If the subscriber panics,
/// nothing comes of it.
macro_rules! say {
    ($level:ident, $($event:tt)+) => {
        if $crate::say::is_heard($crate::say::level!($level)) {
            $crate::registry::panics::say(|| tracing::$level!($($event)+));
        }
    };
}
pub(crate) use say;

macro_rules! level {
    (error) => {
        tracing::level_filters::LevelFilter::ERROR
    };
    (warn) => {
        tracing::level_filters::LevelFilter::WARN
    };
    (info) => {
        tracing::level_filters::LevelFilter::INFO
    };
    (debug) => {
        tracing::level_filters::LevelFilter::DEBUG
    };
    (trace) => {
        tracing::level_filters::LevelFilter::TRACE
    };
}
pub(crate) use level;

/// Whether anybody may want it: a subscriber, or the logger of a program that has `tracing` write into `log`.
#[inline]
pub(crate) fn is_heard(level: LevelFilter) -> bool {
    LevelFilter::current() >= level || log::max_level() >= log_filter_of(level)
}

/// Whether somebody may want the steps of each task.
#[inline]
pub(crate) fn are_steps_heard() -> bool {
    is_heard(LevelFilter::DEBUG) && are_steps_wanted()
}

/// Who listens may want something else only.
#[cold]
fn are_steps_wanted() -> bool {
    let mut wanted = log::max_level() >= log::LevelFilter::Debug;
    panics::say(|| wanted |= tracing::enabled!(target: "atasker::task", tracing::Level::DEBUG));
    wanted
}

/// The same of the crate `log`.
#[inline]
pub(crate) fn log_filter_of(level: LevelFilter) -> log::LevelFilter {
    match level {
        LevelFilter::OFF => log::LevelFilter::Off,
        LevelFilter::ERROR => log::LevelFilter::Error,
        LevelFilter::WARN => log::LevelFilter::Warn,
        LevelFilter::INFO => log::LevelFilter::Info,
        LevelFilter::DEBUG => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    }
}
