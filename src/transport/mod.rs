//! How calls reach a worker, and how outcomes come back: the seam between the supervisor and whatever
//! carries the bytes. `channel` does it over `ipc-channel`.
//!
//! A transport knows tickets and bytes. It must not know tasks, priorities or the core, nor decode what
//! it carries.
//!
//! # What every transport promises
//!
//! - Between [`Link::try_kill`] and the arrival of an outcome exactly one wins, for each ticket.
//! - What [`Link::revoke`] took back was never begun and never will be.
//! - After [`Link::on_worker_died`] every outcome that the worker had committed is delivered first, then
//!   [`Sink::on_link_ended`], once, and nothing after it.
//! - Nothing that a worker sends can harm anything but its own link.

pub(crate) mod channel; // the portable transport
pub(crate) mod frame;

use crate::task::id::{Ticket, WorkerId};

pub(crate) use frame::{CallFrame, OutcomeFrame};

/// The coordinator's end of the way to one incarnation of a worker.
pub(crate) trait Link: Send + Sync {
    /// Send the call. Never waits for the worker; a call too large to be sent at once is sent from
    /// elsewhere. If the worker is gone, nothing happens: its exit tells.
    fn stage(&self, ticket: Ticket, call: CallFrame<'_>) -> Attention;

    /// Somebody must receive: the submitter of an unattended call does something else.
    fn attend(&self);

    /// The current thread, which waits for `ticket`, receives until its outcome is delivered or it is
    /// `done` otherwise, if nobody else receives. It may block for as long as the attempt takes; after a won
    /// kill, until the worker is dead.
    fn receive_for(&self, ticket: Ticket, done: &dyn Fn() -> bool, sink: &dyn Sink);

    /// Take back a staged call.
    fn revoke(&self, ticket: Ticket) -> Revoke;

    /// Decide between a completion and a kill.
    fn try_kill(&self, ticket: Ticket) -> Kill;

    /// No more calls will come; the worker ends when it has run dry.
    fn retire(&self);

    /// The worker is dead for certain.
    fn on_worker_died(&self);
}

/// Where a link delivers to. Called from the transport's own threads, or from within a call to the link.
pub(crate) trait Sink: Send + Sync {
    /// An attempt came to its end. Never called for a ticket whose kill was won.
    fn on_outcome(&self, worker: WorkerId, ticket: Ticket, outcome: OutcomeFrame);

    /// The worker sent what no worker sends. Its kill is the supervisor's business.
    fn on_corrupt(&self, worker: WorkerId, what: String);

    /// All that the dead worker had committed has been delivered.
    fn on_link_ended(&self, worker: WorkerId);
}

/// Whether anybody receives what was staged.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attention {
    Attended,
    /// Only after a while. Whoever waits for it comes sooner with [`Link::receive_for`]; if nobody will,
    /// [`Link::attend`].
    Unattended,
}

/// What came of [`Link::revoke`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoke {
    /// It was not begun and never will be.
    Revoked,
    /// Too late.
    Begun,
}

/// What came of [`Link::try_kill`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// No outcome of this ticket will ever be delivered.
    Won,
    /// Its outcome was first: it has been or is being delivered.
    Lost,
}
