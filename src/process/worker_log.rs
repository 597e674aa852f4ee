//! The log of workers, told again in this process: each record with its own target, level, file and line,
//! so that the host's filter treats it as if it had been written here.

use std::collections::HashMap;
use std::sync::OnceLock;

use tracing_core::callsite::{Callsite, Identifier};
use tracing_core::dispatcher::{self, Dispatch};
use tracing_core::field::{FieldSet, Value, display};
use tracing_core::metadata::LevelFilter;
use tracing_core::subscriber::Interest;
use tracing_core::{Event, Kind, Level, Metadata};

use super::protocol::LogRecord;
use crate::registry::panics;
use crate::sync::Mutex;
use crate::task::id::WorkerId;

const FIELDS: [&str; 3] = ["message", "task", "worker"];

/// `tracing` wants the description of each place that logs to live for ever, so they are leaked; a worker
/// that invents more places than this has the rest told under one common place for each level.
const PLACES_MAX: usize = 4096;

/// Where this process's subscriber is.
#[derive(Debug)]
pub(super) struct WorkerLog {
    /// The one that was in force where the pool was started, which need not be everybody's.
    scoped: Option<Dispatch>,
    level: LevelFilter,
}

impl WorkerLog {
    pub(super) fn new() -> Self {
        let scoped = dispatcher::get_default(|current| {
            (!current.is::<tracing_core::subscriber::NoSubscriber>()).then(|| current.clone())
        });
        Self { scoped, level: LevelFilter::current() }
    }

    /// The most verbose level that anybody may want to see: 0 for none, 5 for all.
    pub(super) fn level(&self) -> u8 {
        self.level.into_level().map_or(0, number_of)
    }

    pub(super) fn emit(&self, worker: WorkerId, record: &LogRecord) {
        panics::say(|| match &self.scoped {
            Some(dispatch) => emit_to(dispatch, worker, record),
            None => dispatcher::get_default(|dispatch| emit_to(dispatch, worker, record)),
        });
    }
}

/// 1 for an error, 5 for a trace.
pub(crate) fn number_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

fn level_of(number: u8) -> Level {
    match number {
        0 | 1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

fn emit_to(dispatch: &Dispatch, worker: WorkerId, record: &LogRecord) {
    let metadata = place_of(record).metadata();
    if !dispatch.enabled(metadata) {
        return;
    }
    let fields = metadata.fields();
    let names = FIELDS.map(|name| fields.field(name));
    let [Some(message_field), Some(task_field), Some(worker_field)] = names else {
        return;
    };
    let message = display(&record.message);
    let values: [(_, Option<&dyn Value>); 3] = [
        (&message_field, Some(&message)),
        (&task_field, record.task.as_ref().map(|task| task as &dyn Value)),
        (&worker_field, Some(&worker.0)),
    ];
    dispatch.event(&Event::new(metadata, &fields.value_set(&values)));
}

/// A place in the source of a worker's program.
#[derive(Debug)]
struct Place {
    metadata: OnceLock<Metadata<'static>>,
}

impl Callsite for Place {
    // Every dispatch is asked at each record, because the record may be for another than the current one.
    fn set_interest(&self, _interest: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata()
    }
}

impl Place {
    fn metadata(&self) -> &Metadata<'static> {
        self.metadata.get().expect("a place is described before anybody gets it")
    }

    fn leak(
        level: Level,
        target: String,
        module_path: Option<String>,
        file: Option<String>,
        line: Option<u32>,
    ) -> &'static Self {
        let leaked = |text: String| -> &'static str { text.leak() };
        let place: &'static Self = Box::leak(Box::new(Self { metadata: OnceLock::new() }));
        let fields = FieldSet::new(&FIELDS, Identifier(place));
        let described = Metadata::new(
            "worker event",
            leaked(target),
            level,
            file.map(leaked),
            line,
            module_path.map(leaked),
            fields,
            Kind::EVENT,
        );
        place.metadata.get_or_init(|| described);
        tracing_core::callsite::register(place);
        place
    }
}

type Key = (u8, String, Option<String>, Option<u32>);

fn place_of(record: &LogRecord) -> &'static Place {
    static PLACES: Mutex<Option<HashMap<Key, &'static Place>>> = Mutex::new(None);
    let level = level_of(record.level);
    let key: Key = (number_of(level), record.target.clone(), record.file.clone(), record.line);
    let common: Key = (number_of(level), String::new(), None, None);
    {
        let mut places = PLACES.lock();
        let places = places.get_or_insert_default();
        if let Some(place) = places.get(&key) {
            return place;
        }
        if places.len() >= PLACES_MAX
            && let Some(place) = places.get(&common)
        {
            return place;
        }
    }
    // Registering asks the subscribers, so it is done under no lock. Two threads may leak a place twice.
    let has_room = PLACES.lock().as_ref().is_none_or(|places| places.len() < PLACES_MAX);
    let (key, place) = if has_room {
        let place = Place::leak(
            level,
            record.target.clone(),
            record.module_path.clone(),
            record.file.clone(),
            record.line,
        );
        (key, place)
    } else {
        (common, Place::leak(level, "atasker::worker".to_owned(), None, None, None))
    };
    PLACES.lock().get_or_insert_default().entry(key).or_insert(place)
}
