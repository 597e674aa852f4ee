//! A thread that continues stopped workers when their time has come, and that notices when nothing happens any more.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use atasker::Supervisor;

use crate::life::Shared;
use crate::mischief::children;
use crate::report::EXIT_HUNG;
use crate::trace::Happened;

const TICK: Duration = Duration::from_millis(5);
/// What a tick counts at most: while this thread gets no processor, others may get none either.
const COUNTED_MAX: Duration = Duration::from_millis(20);

/// Keep watch until the other end is dropped.
pub(crate) fn watch(shared: &Shared, supervisor: impl Fn() -> Option<String>, over: &Receiver<()>) {
    let (mut seen, mut nothing_for) = (0, Duration::ZERO);
    let mut ticked = Instant::now();
    while over.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        let continued =
            shared.stopped.lock().unwrap_or_else(PoisonError::into_inner).continue_due();
        for pid in continued {
            shared.trace.note(Happened::Continued { pid });
        }
        let progress = shared.progress.load(Ordering::Relaxed);
        let elapsed = std::mem::replace(&mut ticked, Instant::now()).elapsed();
        nothing_for += elapsed.min(COUNTED_MAX);
        if progress != seen {
            (seen, nothing_for) = (progress, Duration::ZERO);
        }
        if nothing_for > shared.patience {
            dump(shared, supervisor);
            std::process::exit(EXIT_HUNG);
        }
    }
}

/// Everything that is known when nothing has happened for too long.
fn dump(shared: &Shared, supervisor: impl Fn() -> Option<String>) {
    let patience = shared.patience;
    eprintln!("HUNG: nothing has come to an end for {patience:?}");
    let awaited = shared.awaited.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if !awaited.is_empty() {
        eprintln!("at the end of a chapter: {awaited}");
    }
    let outstanding = shared.outstanding.lock().unwrap_or_else(PoisonError::into_inner).clone();
    eprintln!("{} tasks outstanding; the first:", outstanding.len());
    for (number, id) in outstanding.iter().take(5) {
        eprintln!("  task {number} (in the supervisor {id:?}): {:?}", shared.plan.task(*number));
        for line in shared.trace.about(*number, &[]) {
            eprintln!("    {line}");
        }
    }
    eprintln!("the last events:");
    for line in shared.trace.last(60) {
        eprintln!("  {line}");
    }
    eprintln!("threads:");
    for thread in threads() {
        eprintln!("  {thread}");
    }
    eprintln!("workers:");
    for pid in children() {
        eprintln!("  {pid}: {}", state_in(format!("/proc/{pid}").as_ref()));
    }
    eprintln!("{}", shared.plan.command());
    // The last, for it takes the lock that may be what is stuck.
    if let Some(text) = supervisor() {
        eprintln!("{text}");
    }
}

/// The threads of this process, for people: name, state, and where in the kernel each waits.
pub(crate) fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.map(|task| state_in(&task.path())).collect()
}

fn state_in(folder: &std::path::Path) -> String {
    let text = |file| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
    let stat = text("stat");
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    format!("{} {} {}", text("comm").trim(), state.unwrap_or("?"), text("wchan").trim())
}

/// How a supervisor stands, for people.
pub(crate) fn describe(supervisor: &Supervisor) -> String {
    format!("{:#?}\n{:#?}", supervisor.info(), supervisor.tasks())
}
