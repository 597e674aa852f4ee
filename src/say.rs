//! How the library logs. A subscriber is code of the user's: whatever it does, what logs must come to its end.

use tracing::Level;
use tracing::level_filters::LevelFilter;

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
        tracing::Level::ERROR
    };
    (warn) => {
        tracing::Level::WARN
    };
    (info) => {
        tracing::Level::INFO
    };
    (debug) => {
        tracing::Level::DEBUG
    };
    (trace) => {
        tracing::Level::TRACE
    };
}
pub(crate) use level;

/// Whether anybody may want it: a subscriber, or the logger of a program that has `tracing` write into `log`.
#[inline]
pub(crate) fn is_heard(level: Level) -> bool {
    let as_log = match level {
        Level::ERROR => log::LevelFilter::Error,
        Level::WARN => log::LevelFilter::Warn,
        Level::INFO => log::LevelFilter::Info,
        Level::DEBUG => log::LevelFilter::Debug,
        Level::TRACE => log::LevelFilter::Trace,
    };
    LevelFilter::current() >= level || log::max_level() >= as_log
}
