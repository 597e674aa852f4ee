//! Signals. Ctrl-C, SIGTERM and SIGHUP: the first asks for an end, the second makes one, the third does not wait
//! for it. Ctrl-Z: the workers, which the terminal does not reach because each leads a process group of its own, stop
//! and go on with the command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use atasker::{Stop, Supervisor};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::flag::register_conditional_shutdown;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::Event;
use crate::failure::{Failure, INTERRUPTED};

/// How long the results may take to be written after the second signal: the reader of a full pipe may never
/// come back.
const WRITING_PATIENCE: Duration = Duration::from_secs(5);

/// How hard the user wants it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Finish what runs. `hangup`: the terminal has gone away.
    Finish { hangup: bool },
    /// Kill what runs.
    Kill,
}

/// Have the signals told as events from now on. What is ignored from the start stays ignored: nohup(1) wants that,
/// and shells do it to what they start in the background of a script.
pub(crate) fn watch(supervisor: Arc<Supervisor>, events: Sender<Event>) -> Result<(), Failure> {
    let cannot = |error| Failure::Told(format!("can't watch for signals: {error}"));
    let ignored = ignored_signals();
    let is_watched = |signal: &i32| ignored & (1 << (signal - 1)) == 0;
    let at_once = Arc::new(AtomicBool::new(false));
    let ending = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(is_watched);
    for signal in ending.clone().filter(|signal| *signal != SIGHUP) {
        let status = i32::from(INTERRUPTED);
        register_conditional_shutdown(signal, status, Arc::clone(&at_once)).map_err(cannot)?;
    }
    let stopping = [SIGTSTP].into_iter().filter(is_watched);
    let signals = Signals::new(ending.chain(stopping)).map_err(cannot)?;
    let body = move || answer(signals, &supervisor, &events, &at_once);
    let thread = std::thread::Builder::new().name("atasker-signals".to_owned()).spawn(body);
    thread.map(drop).map_err(|error| Failure::Told(format!("can't start a thread: {error}")))
}

fn answer(
    mut signals: Signals,
    supervisor: &Supervisor,
    events: &Sender<Event>,
    at_once: &AtomicBool,
) {
    let mut is_finishing = false;
    for signal in signals.forever() {
        if signal == SIGTSTP {
            suspend(supervisor);
        } else if is_finishing && signal == SIGHUP {
            // A terminal that goes away may say so twice: its shell does, and then the kernel.
        } else if is_finishing {
            break;
        } else {
            let how = Interrupt::Finish { hangup: signal == SIGHUP };
            if events.send(Event::Interrupted(how)).is_err() {
                return;
            }
            is_finishing = true;
        }
    }
    at_once.store(true, Ordering::SeqCst);
    // The batch may be over already; then there is nothing left to be told.
    let _ = events.send(Event::Interrupted(Interrupt::Kill));
    // Here, and not where the events are read: that thread may be blocked in writing a result.
    supervisor.stop(Stop::KillNow);
    std::thread::sleep(WRITING_PATIENCE);
    std::process::exit(i32::from(INTERRUPTED));
}

/// Stop the workers and then this process; when it goes on, they do. Workers that are just starting run nothing.
fn suspend(supervisor: &Supervisor) {
    let workers: Vec<Pid> = supervisor
        .info()
        .workers
        .iter()
        .filter_map(|worker| Pid::from_raw(i32::try_from(worker.pid?).ok()?))
        .collect();
    let signal_all = |signal| {
        for worker in &workers {
            // It may have ended.
            let _ = kill_process_group(*worker, signal);
        }
    };
    signal_all(Signal::STOP);
    // Returns when somebody has it go on, or at once if it can't be stopped.
    let _ = emulate_default_handler(SIGTSTP);
    signal_all(Signal::CONT);
}

/// As a mask (proc(5)). None where that can't be told.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
