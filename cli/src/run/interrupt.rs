//! Ctrl-C and SIGTERM: the first asks for an end, the second makes one, the third does not wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use atasker::{Stop, Supervisor};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;
use signal_hook::iterator::Signals;

use super::Event;
use crate::failure::{Failure, INTERRUPTED};

/// How long the results may take to be written after the second signal: the reader of a full pipe may never
/// come back.
const WRITING_PATIENCE: Duration = Duration::from_secs(5);

/// How hard the user wants it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Finish what runs.
    Finish,
    /// Kill what runs.
    Kill,
}

/// Have the signals told as events from now on.
pub(crate) fn watch(supervisor: Arc<Supervisor>, events: Sender<Event>) -> Result<(), Failure> {
    let cannot = |error| Failure::Told(format!("can't watch for signals: {error}"));
    let at_once = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let status = i32::from(INTERRUPTED);
        register_conditional_shutdown(signal, status, Arc::clone(&at_once)).map_err(cannot)?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(cannot)?;
    let body = move || {
        let mut arriving = signals.forever();
        if arriving.next().is_none() || events.send(Event::Interrupted(Interrupt::Finish)).is_err()
        {
            return;
        }
        if arriving.next().is_none() {
            return;
        }
        at_once.store(true, Ordering::SeqCst);
        // The batch may be over already; then there is nothing left to be told.
        let _ = events.send(Event::Interrupted(Interrupt::Kill));
        // Here, and not where the events are read: that thread may be blocked in writing a result.
        supervisor.stop(Stop::KillNow);
        std::thread::sleep(WRITING_PATIENCE);
        std::process::exit(i32::from(INTERRUPTED));
    };
    let thread = std::thread::Builder::new().name("atasker-signals".to_owned()).spawn(body);
    thread.map(drop).map_err(|error| Failure::Told(format!("can't start a thread: {error}")))
}
