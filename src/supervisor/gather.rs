//! Single calls that travel together: quick ones of one function that are submitted one after another, faster than
//! workers are given them, join a pack that grows as long as it waits. Each keeps its own handle, number and end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::context;
use super::perform::Arrivals;
use super::shared::{Effects, Next, Shared};
use crate::core::{Core, PoolId, Submission};
use crate::say::are_steps_heard;
use crate::task::call::PACKED_BYTES_MAX;
use crate::task::cell::{Function, Name, TaskCell, Work};
use crate::task::id::TaskId;
use crate::task::info::Pool;
use crate::task::options::Options;
use crate::task::pack::{Pack, PackBuilder, PackSlice};

/// Calls that take longer travel alone: little is to be saved.
const QUICK_NS: u64 = 20_000;
/// How long all calls of a pack may run, as far as can be predicted: so long may the result of the first have to wait.
const PACK_RUNS_NS: u64 = 100_000;
const CALLS_MAX: u64 = 512;
/// So many calls in a row, with nobody waiting, make it likely that more will come.
const STREAK: u32 = 32;

/// What tells whether calls are to be gathered.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// The function of the last calls and how many there were of it in a row. Roughly: a lost one does no harm.
    streak: AtomicU64,
    /// Whether there may be a pack that grows.
    grows: AtomicBool,
}

impl Gathering {
    /// One more call of the function. Whether more are likely to follow.
    #[inline]
    fn count(&self, index: u32) -> bool {
        let last = self.streak.load(Ordering::Relaxed);
        let count = if (last >> 32) as u32 == index { last as u32 } else { 0 };
        let count = count.saturating_add(1);
        self.streak.store(u64::from(index) << 32 | u64::from(count), Ordering::Relaxed);
        count > STREAK
    }
}

impl Shared {
    /// Have the call travel with others, if it is one that may. Its pack, its number there, and its task's.
    #[inline]
    pub(super) fn gather(
        &self,
        name: &Name,
        work: &Work,
        options: &Options,
    ) -> Option<(Arc<Pack>, u32, TaskId)> {
        let Work::Encoded { function: Function::Typed(_), index, arguments: Ok(_), .. } = work
        else {
            return None;
        };
        let pace_ns = self.paces.of(*index).filter(|&pace| pace <= QUICK_NS)?;
        if !self.gathering.count(*index) || name.given.is_some() || !options.is_plain() {
            return None;
        }
        // Who listens is told of each.
        if are_steps_heard() {
            return None;
        }
        self.gather_quick(name, work, options, pace_ns)
    }

    fn gather_quick(
        &self,
        name: &Name,
        work: &Work,
        options: &Options,
        pace_ns: u64,
    ) -> Option<(Arc<Pack>, u32, TaskId)> {
        let Work::Encoded { function, index, codec, arguments: Ok(arguments) } = work else {
            return None;
        };
        let arguments = arguments.plain_up_to(PACKED_BYTES_MAX)?;
        let joined = self.core.lock().join(function, *codec, options.priority, arguments);
        if joined.is_some() {
            return joined;
        }
        let mut builder = PackBuilder::new(name.clone(), function.clone(), *codec, STREAK as usize);
        builder.push(arguments);
        let pack = builder.finish(*index, options.priority);
        let work = Work::Pack(PackSlice::whole(Arc::clone(&pack)));
        let options = Options { priority: options.priority, ..Options::DEFAULT };
        let cell = TaskCell::new(name.clone(), Pool::Processes, &options, work);
        let calls_max = (PACK_RUNS_NS / pace_ns).clamp(1, CALLS_MAX) as u32;
        let payload = Arc::clone(&cell);
        let pool = PoolId::Processes;
        let submission = Submission { pool, options: &options, payload, calls: 1, grows: true };
        let mut effects = Effects::default();
        let answer = self.tell_driven(&mut effects, |driven, now, told| {
            let answer = driven.on_submitted(now, submission, told);
            if let Ok(task) = &answer {
                // Before anything of it can end.
                pack.set_id(*task);
                driven.let_grow(*task, &cell, calls_max);
            }
            answer
        });
        // Submitted alone it is refused in the same way, and told why.
        let task = answer.ok()?;
        self.gathering.grows.store(true, Ordering::Relaxed);
        let mut arrivals = Arrivals::NONE;
        context::submitting(|| {
            self.perform_all(&mut effects, &mut arrivals, &mut Next::Unwanted);
        });
        Some((pack, 0, task))
    }

    /// Somebody waits: what was gathered is given out, and calls travel alone until there are many again.
    #[inline]
    pub(super) fn stop_gathering(&self) {
        let Gathering { streak, grows } = &self.gathering;
        streak.store(0, Ordering::Relaxed);
        if grows.load(Ordering::Relaxed) {
            // Lowered first: what begins to grow from now on raises it again.
            grows.store(false, Ordering::Relaxed);
            self.drive(Core::on_attended);
        }
    }
}
