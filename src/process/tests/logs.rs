//! The log of workers.

use tracing_core::field::{Field, Visit};
use tracing_core::metadata::LevelFilter;
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, Level, Metadata, Subscriber};

use super::*;

/// One event as the host's subscriber gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Heard {
    target: String,
    level: String,
    in_this_file: bool,
    message: String,
    task: Option<u64>,
    worker: Option<u64>,
}

#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<Heard>>>);

impl Visit for Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "task" => self.task = Some(value),
            "worker" => self.worker = Some(value),
            _ => {}
        }
    }
}

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && !metadata.target().starts_with("unwanted")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut heard = Heard {
            target: metadata.target().to_owned(),
            level: metadata.level().to_string(),
            in_this_file: metadata.file().is_some_and(|file| file.ends_with("functions.rs")),
            ..Heard::default()
        };
        event.record(&mut heard);
        self.0.lock().push(heard);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

on_every_transport! { what_workers_log_is_heard_here_as_if_it_had_been_logged_here }

fn what_workers_log_is_heard_here_as_if_it_had_been_logged_here(transport: Transport) {
    let _watchdog = Watchdog::new();
    let ear = Ear::default();
    let heard = Arc::clone(&ear.0);
    let pool = tracing_core::dispatcher::with_default(&Dispatch::new(ear), || {
        Pool::new(config(transport))
    });
    let (worker, _) = pool.spawn_ready();
    let ticket = pool.stage(worker, "log", b"hello");
    pool.outcome(ticket);
    wait_until("both are heard", || {
        heard.lock().iter().filter(|heard| heard.in_this_file).count() == 2
    });
    let heard: Vec<_> = heard.lock().iter().filter(|heard| heard.in_this_file).cloned().collect();
    let expected = |target: &str, level: &str, message: &str| Heard {
        target: target.to_owned(),
        level: level.to_owned(),
        in_this_file: true,
        message: message.to_owned(),
        task: Some(ticket.task.number()),
        worker: Some(worker.0),
    };
    // Neither the one below the level nor the one that the filter does not want.
    assert_eq!(
        heard,
        [expected("a::target", "WARN", "hello answer=42"), expected("b::target", "INFO", "hello")]
    );
}
