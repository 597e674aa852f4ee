//! Tasks that a background worker submits for itself: they are admitted like any other, but
//! due at a point in time instead of after a delay, accepted as long as anything runs, and past the bound of a
//! queue, of which a worker takes one place at most.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::perform::Arrivals;
use super::shared::{Effects, Next, Shared};
#[cfg(feature = "async")]
use crate::async_loop::{AsyncLoop, BoxFuture, FutureWork};
use crate::core::{RefuseReason, Submission, Time};
use crate::say::say;
use crate::task::cell::{Name, OnceClosure, TaskCell, Work};
use crate::task::id::TaskId;
use crate::task::info::Pool;
use crate::task::options::{Options, Priority};

/// A part of a background worker's life, to be run somewhere.
pub(crate) struct TurnCall<'a> {
    pub(crate) name: &'a str,
    pub(crate) priority: Priority,
    /// Not before. `None`: at once.
    pub(crate) at: Option<Time>,
    pub(crate) work: TurnWork,
}

/// What is to be run, and where.
pub(crate) enum TurnWork {
    OnThread(OnceClosure),
    #[cfg(feature = "async")]
    OnLoop(AsyncLoop, BoxFuture),
}

impl Shared {
    /// Submit it. Given back if the supervisor, or the loop, takes no tasks any more.
    pub(crate) fn submit_turn(&self, call: TurnCall<'_>) -> Result<TaskId, Work> {
        let TurnCall { name, priority, at, work } = call;
        let (pool, work) = match work {
            TurnWork::OnThread(closure) => (Pool::Threads, Work::Once(closure)),
            #[cfg(feature = "async")]
            TurnWork::OnLoop(aloop, future) => {
                let mut work = FutureWork::once(future);
                match aloop.take_seat() {
                    Ok(seat) => work.set_seat(Some(seat)),
                    Err(_stopped) => return Err(Work::Future(work)),
                }
                (Pool::Loops, Work::Future(work))
            }
        };
        let name = Name { function: Cow::Owned(name.to_owned()), given: None };
        let options = Options { priority, ..Options::DEFAULT };
        let cell = TaskCell::new(name, pool, &options, work);
        // A bound is checked at a submission without delay only.
        for shortest in [Duration::ZERO, Duration::from_nanos(1)] {
            let mut effects = Effects::default();
            let answer = self.tell(&mut effects, |core, now, effects| {
                let delay = at.map_or(Duration::ZERO, |at| at.since(now)).max(shortest);
                let options = Options { delay: Some(delay), ..options };
                let submission = Submission::single(pool.into(), &options, Arc::clone(&cell));
                core.on_submitted(now, submission, effects)
            });
            match answer {
                Ok(task) => {
                    say!(
                        debug, target: "atasker::task", task = task.number(), name = %cell.name.function,
                        %priority, "submitted"
                    );
                    self.perform(effects, Arrivals::NONE, &mut Next::Unwanted);
                    #[cfg(feature = "async")]
                    self.on_accepted_for_loop(&cell, task);
                    return Ok(task);
                }
                Err(refused) if refused.reason != RefuseReason::QueueFull => break,
                Err(_) => {}
            }
        }
        Err(cell.give_back())
    }
}
