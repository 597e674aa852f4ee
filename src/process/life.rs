//! What is known of one life of a worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipc_channel::ipc::IpcSender;

use super::exit::Death;
use super::protocol::FromWorker;
use super::start_failure::StartFailure;
use crate::core::SignalReason;
use crate::sys::process::{Child, SignalDeath};
use crate::transport::Fate;

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that come from four threads in any order")]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) spawned: Option<Instant>,
    pub(super) pid: Option<u32>,
    /// Until it is reaped: while it stands here, its number is its own and may be signalled.
    pub(super) child: Option<Arc<Child>>,
    pub(super) signalled: Option<SignalReason>,
    /// The first thing that went wrong before it was ready.
    pub(super) failure: Option<StartFailure>,
    /// For the end marker of the control channel.
    pub(super) control: Option<IpcSender<FromWorker>>,
    pub(super) death: Option<Death>,
    /// Nothing more will be said over the control channel, or nobody listens any more.
    pub(super) control_ended: bool,
    pub(super) link_ended: bool,
    pub(super) serving: Serving,
    /// The owner is just being told that its serving thread has ended, which its exit must not overtake.
    pub(super) telling: bool,
    /// What it had begun when it died.
    pub(super) fates: Vec<Fate>,
    pub(super) corrupt: bool,
    pub(super) reported: bool,
}

impl State {
    pub(super) fn is_dead(&self) -> bool {
        self.death.is_some() || self.reported
    }

    /// Its owner knows that it can be used, or is just being told.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Announcing | Phase::Started)
    }

    /// When the process has had time enough to follow its serving thread, if it has not been killed anyway.
    pub(super) fn follows_until(&self) -> Option<Instant> {
        match self.serving {
            Serving::Ended(at) if self.child.is_some() && self.signalled.is_none() => {
                Some(at + FOLLOWS_WITHIN)
            }
            _ => None,
        }
    }

    /// Its serving thread has ended: end it, unless it is just dying of something else. Where that is not certain it is
    /// looked at again.
    pub(super) fn end_if_deserted(&mut self) {
        self.serving = Serving::Over;
        let Some(child) = self.child.as_ref().filter(|_| self.signalled.is_none()) else { return };
        match child.signal_death() {
            SignalDeath::Certain => {}
            SignalDeath::Possible => self.serving = Serving::Ended(Instant::now()),
            SignalDeath::No => {
                self.signalled = Some(SignalReason::Deserted);
                child.kill_group();
            }
        }
    }
}

/// How long a process may live after its thread that serves calls. It is looked into then, which is not done before: it
/// would have this process take down the other's memory (`get_task_mm`, `mmput` in the kernel).
pub(super) const FOLLOWS_WITHIN: Duration = Duration::from_millis(2);

/// The thread that serves calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Serving {
    /// It is not known to have ended.
    #[default]
    Runs,
    /// Nearly always the process ends with it.
    Ended(Instant),
    /// It has ended, and the process has been seen dying, or was killed.
    Over,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not said a word.
    #[default]
    Silent,
    /// It has made itself known as a worker.
    Announced,
    /// The owner is being told that it is ready.
    Announcing,
    Started,
}

/// What has not come yet of a worker that died.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    /// The end of its outcomes.
    pub(super) link: bool,
    /// The end of its control channel.
    pub(super) control: bool,
    /// That its exit is told.
    pub(super) exit: bool,
}

/// Whether a worker that says it is ready can still be used.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Go,
    /// It has died meanwhile, or was ready before.
    No,
}
