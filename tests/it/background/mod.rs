//! Background workers through their public boundary.

mod attacks;
mod ends;
mod hooks;
mod idle;
mod kinds;
mod loops;
mod waits;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use atasker::{Limits, Supervisor};

use crate::watch::eventually;

fn supervisor() -> Supervisor {
    Supervisor::builder().start().expect("it starts")
}

fn with_processes() -> Supervisor {
    Supervisor::builder().processes(Limits::new(2)).start().expect("workers start")
}

/// As the Python library's tests end: nothing is left to run.
fn assert_nothing_runs(supervisor: &Supervisor) {
    eventually("nothing runs", || {
        let info = supervisor.info();
        info.threads.outstanding() + info.processes.outstanding() + info.loops.outstanding() == 0
            && info.threads.busy + info.loops.busy == 0
    });
}

/// Nothing comes although something might: the one thing that only time can show.
fn assert_silent<T: std::fmt::Debug>(receiver: &Receiver<T>) {
    let answer = receiver.recv_timeout(Duration::from_millis(20));
    assert_eq!(answer.err(), Some(RecvTimeoutError::Timeout));
}
