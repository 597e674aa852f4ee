//! Log records, of worker programs above all, on standard error.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::failure::Failure;
use crate::screen::Screen;

const VARIABLE: &str = "ATASKER_LOG";

/// Show log records from now on; above the bottom line, where there is one.
pub(crate) fn show(screen: Option<Arc<Screen>>) -> Result<(), Failure> {
    let chosen = std::env::var(VARIABLE).ok();
    let level = match &chosen {
        None => LevelFilter::WARN,
        Some(name) => name.parse().map_err(|_| {
            let levels = "error, warn, info, debug or trace";
            Failure::Told(format!("{VARIABLE} is `{name}`; it must be {levels}"))
        })?,
    };
    let log = Log { level, screen, all: chosen.is_some() };
    // There is no other one in this program.
    let _ = tracing::subscriber::set_global_default(log);
    Ok(())
}

/// Prints events, and does not follow spans.
struct Log {
    level: LevelFilter,
    screen: Option<Arc<Screen>>,
    /// Also what this command says itself, in better words, where it matters.
    all: bool,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= &self.level && (self.all || !metadata.target().starts_with("atasker::"))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let (level, target) = (metadata.level(), metadata.target());
        let text = format!("{level} {target}: {}{}", fields.message, fields.others);
        match &self.screen {
            Some(screen) => screen.print(&text),
            // Nobody can be told if nobody reads it any more.
            None => _ = writeln!(io::stderr(), "{text}"),
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}
