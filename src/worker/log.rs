//! The log of a worker, sent to the coordinator: what `tracing` and `log` are told in this process.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use ipc_channel::ipc::IpcSender;
use tracing_core::field::{Field, Visit};
use tracing_core::metadata::LevelFilter;
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, Level, Metadata, Subscriber};

use super::current;
use crate::process::log_level_number;
use crate::process::protocol::{FromWorker, LogRecord};
use crate::say::{log_filter_of, say};

/// A message that is longer is cut, so that a record is always sent in one piece.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// Send what is logged from now on, up to `level`. If the program has a logger of its own already, that
/// one keeps its part.
pub(super) fn install(control: IpcSender<FromWorker>, level: u8) {
    let level = filter_of(level);
    let telling = Telling { control, level, spans: AtomicU64::new(0) };
    let logger = Telling { control: telling.control.clone(), level, spans: AtomicU64::new(0) };
    if tracing_core::dispatcher::set_global_default(Dispatch::new(telling)).is_err() {
        say!(debug, target: "atasker::worker", "this worker's program has a subscriber of its own");
    }
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(log_filter_of(level));
    }
}

#[derive(Debug)]
struct Telling {
    control: IpcSender<FromWorker>,
    level: LevelFilter,
    spans: AtomicU64,
}

impl Telling {
    fn tell(&self, mut record: LogRecord) {
        let mut end = record.message.len().min(MESSAGE_BYTES_MAX);
        while !record.message.is_char_boundary(end) {
            end -= 1;
        }
        record.message.truncate(end);
        record.task = current::current_number();
        // Without a coordinator this process ends in a moment, log or no log.
        let _ = self.control.send(FromWorker::Log(record));
    }
}

impl Subscriber for Telling {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        self.tell(LogRecord {
            level: log_level_number(*metadata.level()),
            target: metadata.target().to_owned(),
            message: text.message + &text.fields,
            module_path: metadata.module_path().map(str::to_owned),
            file: metadata.file().map(str::to_owned),
            line: metadata.line(),
            task: None,
        });
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

impl log::Log for Telling {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        level_of(metadata.level()) <= self.level
    }

    fn log(&self, record: &log::Record<'_>) {
        if !log::Log::enabled(self, record.metadata()) {
            return;
        }
        self.tell(LogRecord {
            level: log_level_number(level_of(record.level())),
            target: record.target().to_owned(),
            message: record.args().to_string(),
            module_path: record.module_path().map(str::to_owned),
            file: record.file().map(str::to_owned),
            line: record.line(),
            task: None,
        });
    }

    fn flush(&self) {}
}

/// The message of an event, and its other fields as ` name=value`.
#[derive(Debug, Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

fn filter_of(number: u8) -> LevelFilter {
    match number {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

fn level_of(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::ERROR,
        log::Level::Warn => Level::WARN,
        log::Level::Info => Level::INFO,
        log::Level::Debug => Level::DEBUG,
        log::Level::Trace => Level::TRACE,
    }
}
