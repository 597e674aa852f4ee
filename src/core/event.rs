//! What the shell tells the core: its configuration and the data of its events.

use std::time::Duration;

use super::effect::{Finish, PoolId};
use crate::task::id::Ticket;
use crate::task::options::{Backoff, Limits, Options};

#[derive(Clone, Copy, Debug)]
pub(crate) struct CoreConfig {
    pub(crate) threads: PoolConfig,
    pub(crate) processes: PoolConfig,
    pub(crate) loops: PoolConfig,
    /// After how long a wait is reported as [`WarnLevel::Warning`](super::WarnLevel::Warning).
    pub(crate) timeout_warning: Option<Duration>,
    /// The same for [`WarnLevel::Critical`](super::WarnLevel::Critical).
    pub(crate) timeout_critical: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolConfig {
    pub(crate) limits: Limits,
    pub(crate) kind: PoolKind,
    /// How many tasks of the same or a higher class may wait before one more is refused. Lower classes
    /// don't count, or a flood of them would keep urgent tasks out.
    pub(crate) queue_bound: Option<usize>,
    /// After how long a waiting task is lifted by one class.
    pub(crate) aging: Option<Duration>,
    /// Caps every class but `Critical`.
    pub(crate) places_max: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum PoolKind {
    /// Threads, rayon, the caller itself: [`Effect::Run`](super::Effect::Run).
    Slots,
    /// The same for what can be ended while it runs: [`Effect::Abort`](super::Effect::Abort).
    Futures,
    /// Worker processes: [`Effect::Stage`](super::Effect::Stage).
    Workers(WorkersConfig),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkersConfig {
    /// How many workers beyond `p + n + h` may be started for critical tasks, and the spares. `None`: as many again.
    pub(crate) burst: Option<u32>,
    /// How many workers there are beside those that the limits ask for, idle, for when one of these is lost.
    pub(crate) spares: u32,
    /// One, or more for a transport that can take back what it was given.
    pub(crate) entries_per_worker: usize,
    /// How much work, in predicted run time, is staged ahead per worker. At least one entry is.
    pub(crate) prefetch: Duration,
    /// So long at least may wait behind what runs in a worker what is staged there; see `balance`.
    pub(crate) waits_behind: Duration,
    /// How long it takes to wake a worker that sleeps: what is predicted to be done before is left to those
    /// who are awake. Zero: no worker is idle while anything waits behind another.
    pub(crate) worth_a_wake: Duration,
    /// How long a worker may leave the entry untouched that is next before the shell is asked whether it
    /// has begun. `None` for a transport that can't tell.
    pub(crate) claim_deadline: Option<Duration>,
    /// How long a worker that was to end may take for it once it has nothing left to do.
    pub(crate) exit_timeout: Duration,
    /// How many cores a worker can use at the most; one at least.
    pub(crate) cores: u32,
    /// Whether what was staged counts as begun. Needs `entries_per_worker` to be 1.
    pub(crate) staged_is_begun: bool,
    /// How many deaths in a row are borne of workers that have not proven themselves, see `failures`.
    pub(crate) restart_limit: u32,
    pub(crate) restart_backoff: Backoff,
    pub(crate) recycle_on_panic: bool,
    /// After how many calls a worker is replaced. After a single one at once, after more when another is ready.
    pub(crate) recycle_after_tasks: Option<u32>,
    /// From which age on a worker is replaced when it has done something.
    pub(crate) recycle_after: Option<Duration>,
    /// Above how many bytes of memory of its own a worker is replaced.
    pub(crate) memory_soft_limit: Option<u64>,
    /// Above how many it is killed.
    pub(crate) memory_hard_limit: Option<u64>,
    /// Whether tasks are held back while the machine is short of memory.
    pub(crate) holds_back: bool,
    /// Whether the first submission starts the workers.
    pub(crate) lazily_started: bool,
}

/// A new task.
#[derive(Debug)]
pub(crate) struct Submission<'a, P> {
    pub(crate) pool: PoolId,
    pub(crate) options: &'a Options,
    pub(crate) payload: P,
    /// For how many calls of the same function it stands, one at least. More make it a *pack*, which takes
    /// that many task numbers and has no retries, delay, timeout or queue timeout.
    pub(crate) calls: u32,
    /// Whether more calls of the function may join it while it waits, see [`Core::on_joined`](super::Core::on_joined).
    pub(crate) grows: bool,
}

impl<'a, P> Submission<'a, P> {
    /// One call, which travels alone.
    #[inline]
    pub(crate) fn single(pool: PoolId, options: &'a Options, payload: P) -> Self {
        Self { pool, options, payload, calls: 1, grows: false }
    }
}

/// An attempt that came to its end by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished {
    pub(crate) ticket: Ticket,
    pub(crate) finish: Finish,
    /// Measured beside the function; of a pack, all its calls together.
    pub(crate) ran: Duration,
}

/// What came of [`Effect::Kill`](super::Effect::Kill).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Killed {
    /// The attempt's outcome was first and arrives.
    Lost,
    /// The attempt was begun and will never commit.
    Won,
    /// It was taken back instead: it had never begun.
    NotBegun,
}

/// A submission that was not accepted: the payload back, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused<P> {
    pub(crate) payload: P,
    pub(crate) reason: RefuseReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RefuseReason {
    QueueFull,
    Stopped,
    PoolFailed,
}

/// What a look at the machine's memory has changed.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HoldBack {
    /// Tasks are held back from now on.
    Begins,
    /// They are no longer.
    Ends,
    Unchanged,
}

/// What came of the wish to cancel a task.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cancel {
    /// It is resolved as cancelled.
    Resolved,
    /// Its worker has to be asked. It will be resolved, as cancelled unless its completion was first.
    InProgress,
    /// It has already been resolved, or is being cancelled for somebody else, or never was.
    TooLate,
}

/// How the supervisor stops; the later the harder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum StopMode {
    /// Nothing new is accepted; everything accepted runs, retries too.
    Drain,
    /// What has not begun is cancelled, what has runs to its end, without retries.
    CancelQueued,
    /// What has begun is killed, too.
    KillNow,
}
