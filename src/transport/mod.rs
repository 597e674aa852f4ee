//! How calls reach a worker, and how outcomes come back: the seam between the supervisor and whatever
//! carries the bytes. `ring` does it over shared memory, `channel` over `ipc-channel`.
//!
//! A transport knows tickets and bytes. It must not know tasks, priorities or the core, nor decode what
//! it carries.
//!
//! # What every transport promises
//!
//! - Between [`Link::try_kill`] and the arrival of an outcome exactly one wins, for each ticket.
//! - What [`Link::revoke`] took back was never begun and never will be.
//! - After a worker's death every outcome that the worker had committed is delivered before its
//!   exit is told, and nothing after that.
//! - Nothing that a worker sends can harm anything but its own link.

pub(crate) mod channel; // the portable transport
pub(crate) mod frame;
mod outcome; // outcomes as bytes, for both
pub(crate) mod ring; // the default

use crate::task::id::{Ticket, WorkerId};

pub(crate) use frame::{CallFrame, OutcomeFrame};
pub(crate) use ring::{PackOutcomes, Read};

/// The coordinator's end of the way to one incarnation of a worker.
pub(crate) trait Link: Send + Sync {
    /// Give the call to the worker. Never waits for it. If it is gone, nothing happens: its exit tells.
    fn stage(&self, ticket: Ticket, call: CallFrame<'_>) -> Staged;

    /// To be called when something was staged while the worker was [asleep](Staged::Asleep), without a lock held.
    /// `patient`: this thread may take as long as copying long arguments does; if not, another one is started for that.
    fn wake(&self, patient: bool);

    /// Take back a call, or a whole pack, that has not begun.
    fn revoke(&self, ticket: Ticket) -> Revoke;

    /// Take back what a pack has not begun, its first `keep` calls apart. How many it has kept, if any were
    /// taken.
    fn split(&self, ticket: Ticket, keep: u32) -> Option<u32>;

    /// Whether the worker can't begin the call yet, because this process has not got it, or what goes before it, ready.
    fn is_preparing(&self, ticket: Ticket) -> bool;

    /// How many calls of the entry the worker has begun.
    fn begun(&self, ticket: Ticket) -> u32;

    /// Whether that is any.
    fn has_begun(&self, ticket: Ticket) -> bool {
        self.begun(ticket) > 0
    }

    /// Decide between a completion and a kill.
    fn try_kill(&self, ticket: Ticket) -> Kill;

    /// No more calls will come; the worker ends when it has run dry.
    fn retire(&self);

    /// Whether anything waits to be freed, see [`let_go`](Self::let_go). A hint.
    fn has_discards(&self) -> bool {
        false
    }

    /// Free what is not needed any more. That takes as long as its size demands: to be called with no lock held that others wait
    /// for.
    fn let_go(&self) {}
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

/// Outcomes of one call or pack, on their way to the supervisor.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) pid: u32,
    pub(crate) ticket: Ticket,
    pub(crate) outcomes: Outcomes,
    /// Nanoseconds that all calls of it took so far.
    pub(crate) ran_ns: u64,
    /// Of the last delivery: how many calls have begun, and so have ended. Of a pack that may be fewer than
    /// were staged, if the worker had no room for more outcomes; the rest never begins there.
    pub(crate) begun: Option<u32>,
}

#[derive(Debug)]
pub(crate) enum Outcomes {
    OfCall(OutcomeFrame),
    /// The next ones of a pack.
    OfPack(PackOutcomes),
}

/// What a dead worker had begun and not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) ticket: Ticket,
    /// How many calls of it; the last of them ran when the worker died, if it can be believed.
    pub(crate) begun: u32,
}

/// What came of [`Link::stage`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staged {
    Quietly,
    /// The worker sleeps and has to be woken, or the arguments are so long that something is left to do. Left to
    /// the caller, who may hold a lock now.
    Asleep,
}

/// Whether anybody receives what was sent over a channel.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attention {
    Attended,
    /// Only after a while. Whoever waits for it comes sooner; if nobody will, somebody must be told.
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
    /// Too late for the first calls of a pack, but the others were taken back.
    Split { kept: u32 },
}

/// What came of [`Link::try_kill`].
#[must_use]
#[derive(Debug)]
pub(crate) enum Kill {
    /// No outcome of this ticket will ever be delivered, but for what a pack had `finished`. It had begun so
    /// many calls, of which the last is the one that is killed.
    Won { begun: u32, finished: Option<PackOutcomes> },
    /// It had not begun and was taken back.
    NotBegun,
    /// Its outcome was first: it has been or is being delivered.
    Lost,
}
