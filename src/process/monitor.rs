//! The thread that starts workers, sees them die, and tells.
//!
//! All workers are started here, because the parent-death signal is about threads, and this one lives as
//! long as they do.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::Control;
use super::end_markers::EndMarkers;
use super::exit::Death;
use super::incarnation::Incarnation;
use super::output::Pipe;
use super::processes::Shared;
use super::spawn::{Connection, remove_directories, spawn};
use super::start_failure::StartFailure;
use crate::core::{LATE, SignalReason};
use crate::say::say;
use crate::sys::descriptors::wait_readable;
use crate::task::cause::ExitCause;

/// How long a dead worker's receivers have to find the end marker. Only a worker that left a message
/// unfinished, and whose forked child holds it open, makes them miss it.
const ENDING_MAX: Duration = Duration::from_secs(1);

pub(super) struct Monitor {
    shared: Arc<Shared>,
    /// To be started, each at its time.
    due: Vec<(Instant, Arc<Incarnation>)>,
    alive: Vec<Watched>,
    /// Dead, with something still to be told; each with the time at which the wait for it ends.
    ending: Vec<(Instant, EndMarkers)>,
    stopping: bool,
}

/// A process and what is kept open for it.
struct Watched {
    incarnation: Arc<Incarnation>,
    connection: Connection,
    pipes: Vec<Arc<Pipe>>,
    /// When it is killed if it is not ready. `None` once that is settled.
    start_until: Option<Instant>,
}

impl Monitor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, due: Vec::new(), alive: Vec::new(), ending: Vec::new(), stopping: false }
    }

    pub(super) fn run(mut self) {
        loop {
            self.take_commands();
            let now = Instant::now();
            self.start_due(now);
            self.end_late_starts(now);
            self.end_deserted(now);
            self.end_late_endings(now);
            if self.stopping
                && self.due.is_empty()
                && self.alive.is_empty()
                && self.ending.is_empty()
            {
                break;
            }
            let dead = self.wait();
            self.make_up_for_suspension(now);
            for index in dead.into_iter().rev() {
                let dead = self.alive.swap_remove(index);
                self.on_exited(dead);
            }
        }
        remove_directories([]);
        self.shared.on_monitor_ended();
    }

    fn take_commands(&mut self) {
        let (spawns, stopping) = self.shared.take_commands();
        self.due.extend(spawns);
        if stopping {
            self.stopping = true;
            for watched in &self.alive {
                watched.incarnation.signal(SignalReason::Stopping);
            }
        }
    }

    fn start_due(&mut self, now: Instant) {
        let stopping = self.stopping;
        let is_due = |at: Instant, incarnation: &Incarnation| {
            at <= now || stopping || incarnation.is_signalled()
        };
        let due: Vec<_> =
            self.due.extract_if(.., |(at, incarnation)| is_due(*at, incarnation)).collect();
        for (_, incarnation) in due {
            if stopping {
                incarnation.signal(SignalReason::Stopping);
            }
            if incarnation.is_signalled() {
                incarnation.on_never_spawned(None);
            } else {
                self.start(incarnation);
            }
        }
    }

    fn start(&mut self, incarnation: Arc<Incarnation>) {
        let launch = self.shared.launch();
        self.shared.look_at_memory_kills();
        let at = Instant::now();
        let spawned = match spawn(launch) {
            Ok(spawned) => spawned,
            Err(error) => return incarnation.on_never_spawned(Some(StartFailure::Spawn(error))),
        };
        let connection = spawned.connection;
        let blackbox = Arc::new(spawned.blackbox);
        incarnation.set_blackbox(Arc::clone(&blackbox));
        if let Some(ring) = spawned.ring {
            let pid = connection.child.pid();
            incarnation.set_ring(self.shared.new_ring(incarnation.id, pid, ring));
        }
        incarnation.on_spawned(Arc::clone(&connection.child), at);
        let pipes = self.shared.outputs().add(connection.child.pid(), spawned.pipes, &blackbox);
        let control = Control {
            shared: Arc::clone(&self.shared),
            incarnation: Arc::clone(&incarnation),
            connection: connection.clone(),
        };
        let name = format!("control-{}", incarnation.id);
        if let Err(error) = self.shared.threads().spawn(&name, move || control.run()) {
            incarnation.fail_start(StartFailure::Resources(error));
            incarnation.on_control_ended();
        }
        let start_until = at.checked_add(launch.start_timeout);
        self.alive.push(Watched { incarnation, connection, pipes, start_until });
    }

    fn end_late_starts(&mut self, now: Instant) {
        for watched in &mut self.alive {
            let Some(until) = watched.start_until else {
                continue;
            };
            let starting = watched.incarnation.is_starting();
            if starting && until <= now {
                watched.incarnation.fail_start(StartFailure::TimedOut);
            }
            if !starting || until <= now {
                watched.start_until = None;
            }
        }
    }

    /// Those whose serving thread has ended, and who do not.
    fn end_deserted(&self, now: Instant) {
        for Watched { incarnation, .. } in &self.alive {
            if incarnation.follows_until().is_some_and(|until| until <= now) {
                incarnation.end_if_deserted();
            }
        }
    }

    /// The host was suspended if it wakes long after something was due; nobody could get ready meanwhile, or be seen
    /// to.
    fn make_up_for_suspension(&mut self, slept_from: Instant) {
        let now = Instant::now();
        if self.next_deadline().is_some_and(|due| due + LATE < now) {
            let lost = now - slept_from;
            for until in self.alive.iter_mut().filter_map(|watched| watched.start_until.as_mut()) {
                *until += lost;
            }
        }
    }

    fn end_late_endings(&mut self, now: Instant) {
        let shared = &self.shared;
        self.ending.retain_mut(|(until, markers)| {
            let Some(missed) = markers.missed() else { return false };
            if *until > now {
                return true;
            }
            if markers.is_ring_unread() {
                *until = now + ENDING_MAX;
                return true;
            }
            markers.give_up();
            // Without a thread to spare the receivers stay where they are, which costs memory only.
            let _ = shared.threads().spawn("end", move || missed.send_again());
            false
        });
    }

    /// Sleep until there is something to do. Returns which of the living have died.
    fn wait(&self) -> Vec<usize> {
        let mut fds: Vec<BorrowedFd<'_>> = self.shared.wake().fds().into();
        let wakers = fds.len();
        fds.extend(self.alive.iter().map(|watched| watched.connection.child.as_pidfd()));
        match wait_readable(&fds, self.next_deadline()) {
            Ok(ready) => (0..self.alive.len()).filter(|index| ready[index + wakers]).collect(),
            Err(error) => {
                // The kernel has no memory for the list, or the limit on descriptors is below its length by now.
                say!(error, target: "atasker::process", %error, "can't watch the worker processes");
                std::thread::sleep(Duration::from_millis(10));
                let has_ended =
                    |index: &usize| self.alive[*index].connection.child.has_ended() == Some(true);
                (0..self.alive.len()).filter(has_ended).collect()
            }
        }
    }

    /// Derived from what there is, so that no forgotten timer wakes an idle pool.
    fn next_deadline(&self) -> Option<Instant> {
        let starts = self.alive.iter().filter_map(|watched| watched.start_until);
        let deserted = self.alive.iter().filter_map(|watched| watched.incarnation.follows_until());
        starts
            .chain(deserted)
            .chain(self.due.iter().map(|(at, _)| *at))
            .chain(self.ending.iter().map(|(until, _)| *until))
            .min()
    }

    fn on_exited(&mut self, dead: Watched) {
        let Watched { incarnation, connection, pipes, .. } = dead;
        incarnation.kill_rest_of_group();
        let stderr = self.shared.outputs().finish(&pipes);
        let (status, usage) = incarnation.reap();
        let was_killed = status == ExitCause::Signal(libc::SIGKILL) && !incarnation.is_signalled();
        let memory_kill = if was_killed { self.shared.memory_kill() } else { None };
        let remains = incarnation.blackbox().map(|blackbox| blackbox.remains());
        let at = Instant::now();
        let death = Death { status, usage, stderr, remains, memory_kill, at };
        // With what the worker has not removed itself, before its exit is told.
        drop(connection);
        let markers = incarnation.on_died(death);
        self.ending.push((Instant::now() + ENDING_MAX, markers.clone()));
        // In a thread, because sending waits if a mad worker has filled a channel and blocked its receiver.
        let in_thread = markers.clone();
        if self.shared.threads().spawn("end", move || in_thread.send()).is_err() {
            markers.send();
        }
    }
}
