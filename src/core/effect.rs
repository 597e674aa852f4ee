//! What the core answers to an event: effects, which the shell performs after it has released the lock,
//! in this order.

use std::time::Duration;

use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::options::{RetryOn, TimeLimit};

/// The pools that the core admits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PoolId {
    Threads,
    Processes,
    Loops,
}

impl PoolId {
    pub(crate) const ALL: [Self; 3] = [Self::Threads, Self::Processes, Self::Loops];
}

/// One thing for the shell to do.
#[derive(Debug)]
pub(crate) enum Effect<P> {
    /// Run the task in a slot of a pool without workers. Answered by `on_finished`.
    Run { pool: PoolId, ticket: Ticket, payload: P },
    /// The attempt, which is in a slot of a pool of futures, is no longer wanted: let it be dropped at its next
    /// await. Answered by `on_finished`.
    Abort { ticket: Ticket, payload: P },
    /// Put the task, whose payload the core [lends](super::Core::payload_of), into a worker's queue. Answered by
    /// `on_finished` or by the worker's exit.
    Stage { worker: WorkerId, ticket: Ticket },
    /// Take back what the worker has not begun. Answered by `on_revoke_settled`; for a pack of which some
    /// has begun, and the rest was taken back, by `on_pack_split` before.
    Revoke { worker: WorkerId, ticket: Ticket },
    /// Win the task's word against its completion, so that its worker may be killed. Answered by
    /// `on_kill_settled`; for a pack, whose calls behind the one that runs are taken back, by `on_pack_split`
    /// before.
    Kill { worker: WorkerId, ticket: Ticket },
    /// Take back those calls of a running pack that have not begun, all but one if none has. Answered by
    /// `on_pack_split`, or not at all if there are none.
    Split { worker: WorkerId, ticket: Ticket },
    /// Look whether the worker has begun what it was given long ago. Answered by `on_claim_checked`.
    CheckClaim { worker: WorkerId, ticket: Ticket },
    /// A task has run for long in this worker: if somebody has stopped it, have it go on, and see whether it is done
    /// and has told nobody. Not answered.
    LookAfter { worker: WorkerId },
    /// Raise the attempt's cancellation flag, so that it may end by itself. In a worker only if it has begun there;
    /// if it has not, that is answered by `on_not_asked`.
    AskToEnd { worker: Option<WorkerId>, ticket: Ticket, payload: P, why: Ask },
    /// Look how much CPU time the attempt has used. Answered by `on_cpu_read`.
    ReadCpu { worker: WorkerId, ticket: Ticket },
    /// Look how much memory of its own the worker has. Answered by `on_weighed`, or not at all if it is gone.
    Weigh { worker: WorkerId, ticket: Option<Ticket> },
    /// Look how much memory the machine has left. Answered by `on_memory_seen`.
    LookAtMemory,
    /// Send SIGKILL to the worker's process group. Its exit follows.
    Signal { worker: WorkerId, why: SignalReason },
    /// Start a worker process after `delay`. Answered by `on_worker_ready` or `on_worker_exited`.
    Spawn { worker: WorkerId, delay: Duration },
    /// The worker gets no more tasks and ends by itself. Its exit follows.
    Retire { worker: WorkerId },
    /// The task, or every call of the pack, has reached its terminal state: tell whoever holds the handle.
    /// The core has forgotten it. Of several that have finished together each is named at most once, and no
    /// other task is said to have finished.
    Resolve { task: TaskId, payload: P, ending: Ending, history: History },
    /// The attempt failed by `why`, and another follows, not before `wait` has passed. What is to be known of
    /// the failed one later is to be kept. If it `counts`, the other waits for that, which is answered by
    /// `on_crash_kept`: it may crash, too, and be the last.
    Retry { task: TaskId, payload: P, history: History, why: RetryOn, wait: Duration, counts: bool },
    /// The task has waited longer than a threshold and still waits.
    Warn { task: TaskId, payload: P, level: WarnLevel, waited: Duration },
    /// The pool can't start workers and has given up; what waited in it is resolved beside this.
    PoolFailed,
    /// Nothing is outstanding any more while the supervisor is stopping.
    Drained,
}

/// Why an attempt is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    /// It has run for so long that it should.
    SoftTimeout,
    /// Nobody waits for it any more, and it can't be ended.
    GivenUp,
}

/// Why a worker is sent SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SignalReason {
    TimedOut,
    Cancelled,
    /// It was sent a call it can no longer be trusted with, or sent garbage itself.
    Corrupt,
    /// It never took up what it was given.
    Stuck,
    /// It had not taken it up within the task's own timeout, which is less than it may take: no fault of the worker's,
    /// if the machine is busy.
    Late,
    Memory(MemoryExcess),
    /// It was told to end, had nothing left to do, and did not.
    Lingering,
    Stopping,
    /// It goes on without the thread that runs tasks. Not for the core to say.
    Deserted,
}

impl SignalReason {
    /// Whether the worker is killed for what is wrong with it, not for what it was given.
    pub(crate) fn is_own_fault(self) -> bool {
        matches!(self, Self::Corrupt | Self::Stuck)
    }
}

/// By what a worker had too much memory when it was killed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MemoryExcess {
    pub(crate) limit: MemoryLimit,
    pub(crate) allowed: u64,
    pub(crate) used: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MemoryLimit {
    /// On all that a worker has.
    Worker,
    /// On what it has got since the task began.
    Task,
}

/// How a task ended, as far as the core knows. What was returned, and the report of a crash, are with
/// the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    /// The attempt's outcome stands: it returned or panicked, or refused its arguments.
    Finished,
    /// Its worker died while it was begun.
    Crashed {
        worker: WorkerId,
    },
    /// Its worker died while it was begun, and others had before; there is no further attempt.
    Quarantined {
        worker: WorkerId,
    },
    /// It ran longer than a limit allows. `worker`: where, if in a process. `attempt`: of its ticket.
    TimedOut {
        worker: Option<WorkerId>,
        attempt: u32,
        limit: TimeLimit,
    },
    Cancelled {
        why: CancelReason,
    },
    /// Its queue timeout passed before it began.
    Expired,
    /// The process pool gave up starting workers.
    PoolFailed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CancelReason {
    Requested,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum WarnLevel {
    Warning,
    Critical,
}

/// What is known of a task when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// Attempts that began.
    pub(crate) attempts: u32,
    /// From the submission, or the end of its delay, to the begin of the attempt in which it ended, or to
    /// the end if it waited then.
    pub(crate) queued: Duration,
    /// Of the last attempt, zero if it never began.
    pub(crate) ran: Duration,
    /// Where the last attempt ran.
    pub(crate) worker: Option<WorkerId>,
}

/// How an attempt that came to an end by itself ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Finish {
    Returned,
    /// It returned an `Err`.
    ReturnedError,
    Panicked,
    /// It never ran: the worker refused the call (unknown function, wrong arguments).
    Refused,
}
