//! The core and the rings under one lock: what the core decides about a ring is done before anybody else can
//! tell the core something, and so in the order in which it was decided.
//!
//! What takes longer than writing a few hundred bytes, or runs code of others, is left for afterwards.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Weak};

use tracing::level_filters::LevelFilter;

use super::info::Counters;
use super::shared::{CoreEffects, Effects, ShellCore};
use crate::codec::{Bytes, CodecId};
use crate::core::{Effect, Killed, LATE, Refused, Submission, TaskInfo, Time};
use crate::say::is_heard;
use crate::task::cell::{Function, TaskCell};
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::task::options::Priority;
use crate::task::pack::{News, Pack};
use crate::transport::{Fate, Kill, Link, PackOutcomes, Revoke, Staged};

/// A submission as the shell makes it.
pub(crate) type CellSubmission<'a> = Submission<'a, Arc<TaskCell>>;

/// What one lock guards.
pub(crate) struct Driven {
    core: ShellCore,
    /// The rings of workers that are ready, and their processes. Few, so that looking through them is the quickest.
    links: Vec<(WorkerId, u32, Arc<dyn Link>)>,
    /// When the core was told something last.
    seen: Time,
    /// From when on the timer is later than it can be by chance.
    late: Time,
    /// Empty; kept for its memory.
    room: CoreEffects,
    counters: Arc<Counters>,
    /// What calls of one function join, as long as it waits.
    growing: Option<Growing>,
    /// Who is to be told of the ends of calls in packs, by what is said next.
    news: Vec<News>,
}

/// A pack that was submitted as one that grows.
struct Growing {
    task: TaskId,
    /// The core has it as long as it grows; what has become of it afterwards is not kept from here.
    cell: Weak<TaskCell>,
    /// With how many calls it is full.
    calls_max: u32,
}

/// What came of [`Driven::split_in_ring`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingSplit {
    /// It waits in no ring.
    InNone,
    /// Nothing was taken.
    Whole,
    /// It keeps so many calls.
    Kept(u32),
}

impl Deref for Driven {
    type Target = ShellCore;

    fn deref(&self) -> &ShellCore {
        &self.core
    }
}

impl DerefMut for Driven {
    fn deref_mut(&mut self) -> &mut ShellCore {
        &mut self.core
    }
}

impl Driven {
    pub(crate) fn new(core: ShellCore, counters: Arc<Counters>) -> Self {
        let (seen, late) = (Time::ZERO, Time::NEVER);
        Self {
            core,
            links: Vec::new(),
            seen,
            late,
            room: CoreEffects::new(),
            counters,
            growing: None,
            news: Vec::new(),
        }
    }

    pub(crate) fn add_link(&mut self, worker: WorkerId, pid: u32, link: Arc<dyn Link>) {
        self.links.push((worker, pid, link));
    }

    pub(crate) fn remove_link(&mut self, worker: WorkerId) {
        self.links.retain(|(other, ..)| *other != worker);
    }

    fn link(&self, worker: WorkerId) -> Option<&Arc<dyn Link>> {
        self.links.iter().find(|(other, ..)| *other == worker).map(|(_, _, link)| link)
    }

    fn pid(&self, worker: WorkerId) -> Option<u32> {
        self.links.iter().find(|(other, ..)| *other == worker).map(|(_, pid, _)| *pid)
    }

    /// A time that was read before the lock was got, or that of the last event if that was later.
    pub(crate) fn not_before(&self, now: Time) -> Time {
        now.max(self.seen)
    }

    /// Must precede every event but the staging of what comes [at once](Self::begin_at_once): if nobody has come when
    /// something was due, the host was suspended.
    #[inline]
    pub(crate) fn look_at_clock(&mut self, now: Time, effects: &mut Effects) {
        if now > self.late {
            self.core.on_late(now, self.seen);
            effects.suspended = Some(now.since(self.seen));
        }
        self.seen = self.seen.max(now);
    }

    /// Must follow every event.
    #[inline]
    pub(crate) fn arm(&mut self) -> Option<Time> {
        let mut due = self.core.next_deadline();
        if self.core.counts_time() {
            let look = self.seen + LATE;
            due = Some(due.map_or(look, |due| due.min(look)));
        }
        // What is due already is done soon, by the timer: that is not late again.
        self.late = due.map_or(Time::NEVER, |due| due.max(self.seen) + LATE);
        due
    }

    /// Tell the core of an event, and do at once what concerns the rings, and whatever follows from that. The rest goes to
    /// `effects`. Until then the rings may have less than the core has given to them.
    #[inline]
    pub(crate) fn step<R>(
        &mut self,
        now: Time,
        effects: &mut Effects,
        event: impl FnOnce(&mut Self, &mut CoreEffects) -> R,
    ) -> R {
        let mut told = std::mem::take(&mut self.room);
        let answer = event(self, &mut told);
        self.settle(now, told, effects);
        answer
    }

    #[inline]
    fn settle(&mut self, now: Time, mut told: CoreEffects, effects: &mut Effects) {
        while told.len() == 1 {
            let effect = told.pop().expect("there is one");
            self.settle_one(now, effect, effects, &mut told);
        }
        if !told.is_empty() {
            self.settle_many(now, &mut told, effects);
        }
        self.room = told;
        if !self.news.is_empty() {
            effects.news.append(&mut self.news);
        }
    }

    fn settle_many(&mut self, now: Time, told: &mut CoreEffects, effects: &mut Effects) {
        let mut more = CoreEffects::new();
        while !told.is_empty() {
            for effect in told.drain(..) {
                self.settle_one(now, effect, effects, &mut more);
            }
            told.append(&mut more);
        }
    }

    fn settle_one(
        &mut self,
        now: Time,
        effect: Effect<Arc<TaskCell>>,
        effects: &mut Effects,
        told: &mut CoreEffects,
    ) {
        match effect {
            Effect::Stage { worker, ticket } => self.stage(worker, ticket, effects),
            Effect::Revoke { worker, ticket } => match self.link(worker) {
                Some(link) => {
                    let revoked = link.revoke(ticket);
                    note_discards(link, effects);
                    self.on_revoked(now, worker, ticket, revoked, told);
                }
                None => effects.kept.push(Effect::Revoke { worker, ticket }),
            },
            Effect::Kill { worker, ticket } if self.gives_time(now, worker, ticket) => {}
            Effect::Kill { worker, ticket } => match self.link(worker) {
                Some(link) => {
                    let kill = link.try_kill(ticket);
                    note_discards(link, effects);
                    self.on_kill(now, worker, ticket, kill, told);
                }
                None => effects.kept.push(Effect::Kill { worker, ticket }),
            },
            Effect::Split { worker, ticket } => {
                if let Some(kept) = self.link(worker).and_then(|link| link.split(ticket, 1)) {
                    self.split(now, ticket, kept, told);
                }
            }
            Effect::CheckClaim { worker, ticket } if self.gives_time(now, worker, ticket) => {}
            Effect::CheckClaim { worker, ticket } => {
                // Without a ring, what was sent counts as begun.
                let begun = self.link(worker).is_none_or(|link| link.has_begun(ticket));
                self.core.on_claim_checked(now, worker, ticket, begun, told);
            }
            Effect::AskToEnd { worker: Some(worker), ticket, .. }
                if self.link(worker).is_some_and(|link| !link.has_begun(ticket)) =>
            {
                self.core.on_not_asked(now, worker, ticket);
            }
            other => effects.kept.push(other),
        }
    }

    /// Put an attempt into its worker's ring. Without a ring it is left for afterwards.
    #[inline]
    fn stage(&self, worker: WorkerId, ticket: Ticket, effects: &mut Effects) {
        let Some(link) = self.link(worker) else {
            effects.kept.push(Effect::Stage { worker, ticket });
            return;
        };
        let staged = self
            .core
            .payload_of(ticket)
            .and_then(|cell| cell.with_encoded(|call| link.stage(ticket, call)));
        if staged == Some(Staged::Asleep) {
            effects.wakes.push(Arc::clone(link));
        }
        effects.placed = true;
        if is_heard(LevelFilter::DEBUG) {
            effects.staged.push((worker, ticket));
        }
    }

    /// A new task: what an idle worker may begin is in its ring before anything else is done about it. To be followed by
    /// [`submit`](Self::submit).
    #[inline]
    pub(crate) fn begin_at_once<'a>(
        &mut self,
        submission: CellSubmission<'a>,
        effects: &mut Effects,
    ) -> Result<Ticket, CellSubmission<'a>> {
        let (worker, ticket) = self.core.begin_on_idle(submission)?;
        self.stage(worker, ticket, effects);
        Ok(ticket)
    }

    /// What became of it, told to the core.
    #[inline]
    pub(crate) fn submit(
        &mut self,
        now: Time,
        begun: Result<Ticket, CellSubmission<'_>>,
        told: &mut CoreEffects,
    ) -> Result<TaskId, Refused<Arc<TaskCell>>> {
        match begun {
            Ok(ticket) => {
                self.core.on_begun_on_idle(now, ticket, told);
                Ok(ticket.task)
            }
            Err(submission) => self.core.on_submitted_to_line(now, submission, told),
        }
    }

    /// Whether the time of an attempt begins anew, because what it needs is still on its way to the worker.
    fn gives_time(&mut self, now: Time, worker: WorkerId, ticket: Ticket) -> bool {
        self.link(worker).is_some_and(|link| link.is_preparing(ticket))
            && self.core.on_not_offered(now, worker, ticket)
    }

    fn on_revoked(
        &mut self,
        now: Time,
        worker: WorkerId,
        ticket: Ticket,
        revoked: Revoke,
        told: &mut CoreEffects,
    ) {
        if let Revoke::Split { kept } = revoked {
            self.split(now, ticket, kept, told);
        }
        let revoked = revoked == Revoke::Revoked;
        self.core.on_revoke_settled(now, worker, ticket, revoked, told);
    }

    fn on_kill(
        &mut self,
        now: Time,
        worker: WorkerId,
        ticket: Ticket,
        kill: Kill,
        told: &mut CoreEffects,
    ) {
        let killed = match kill {
            Kill::Lost => Killed::Lost,
            Kill::NotBegun => Killed::NotBegun,
            Kill::Won { begun, finished } => {
                if let Some((outcomes, cell)) = finished.zip(self.cell(ticket)) {
                    let pid = self.pid(worker);
                    self.on_pack_outcomes(&cell, ticket, outcomes, 0, pid);
                }
                self.split(now, ticket, begun, told);
                Killed::Won
            }
        };
        self.core.on_kill_settled(now, worker, ticket, killed, told);
    }

    /// Calls of a pack have ended, after so many nanoseconds for all so far.
    pub(crate) fn on_pack_outcomes(
        &mut self,
        cell: &TaskCell,
        ticket: Ticket,
        outcomes: PackOutcomes,
        ran_ns: u64,
        pid: Option<u32>,
    ) {
        self.counters.add_outcomes(&outcomes);
        let queued = self.core.task(ticket.task).and_then(|task| {
            let begun_at = task.begun_at?;
            Some(begun_at.since(task.queued_from))
        });
        let queued = queued.unwrap_or_default();
        let news = cell.with_pack(|slice| slice.on_outcomes(outcomes, ran_ns, pid, queued));
        self.news.extend(news.flatten());
    }

    /// What calls may join from now on.
    pub(crate) fn let_grow(&mut self, task: TaskId, cell: &Arc<TaskCell>, calls_max: u32) {
        self.growing = Some(Growing { task, cell: Arc::downgrade(cell), calls_max });
    }

    /// A call like those in the pack that grows joins it. Its number in the pack, and as a task.
    pub(crate) fn join(
        &mut self,
        function: &Function,
        codec: CodecId,
        priority: Priority,
        arguments: &Bytes,
    ) -> Option<(Arc<Pack>, u32, TaskId)> {
        let Growing { task, cell, calls_max } = self.growing.as_ref()?;
        let core = &mut self.core;
        let joined = if core.grows(*task) {
            cell.upgrade().and_then(|cell| {
                cell.with_pack(|slice| {
                    let fits = slice.pack.is_of(function, codec, priority)
                        && slice.calls() < *calls_max
                        && slice.pack.has_room(arguments.len());
                    let id = if fits { core.on_joined(*task)? } else { return None };
                    Some((Arc::clone(&slice.pack), slice.push(arguments), id))
                })
            })
        } else {
            None
        };
        let joined = joined.flatten();
        if joined.is_none() {
            self.growing = None;
        }
        joined
    }

    /// How many calls of a task have begun, if the core knows that any has.
    pub(crate) fn begun_calls(&self, task: &TaskInfo<'_, Arc<TaskCell>>) -> u32 {
        let Some(ticket) = task.ticket else { return 0 };
        let link = task.worker.and_then(|worker| self.link(worker));
        match link.map_or(0, |link| link.begun(ticket)) {
            // It is in no ring, or has gone from it.
            0 => task.calls,
            begun => begun.min(task.calls),
        }
    }

    /// The worker died; of a pack that it had begun, the rest goes on elsewhere.
    pub(crate) fn on_fates(&mut self, now: Time, fates: &[Fate], told: &mut CoreEffects) {
        for fate in fates {
            self.split(now, fate.ticket, fate.begun, told);
        }
    }

    /// The calls of a pack behind the first `kept` become a task of their own.
    pub(crate) fn split(&mut self, now: Time, ticket: Ticket, kept: u32, told: &mut CoreEffects) {
        let Some(cell) = self.cell(ticket) else { return };
        if let Some(rest) = cell.split_pack(kept) {
            let late = self.core.on_pack_split(now, ticket, kept, rest, told);
            debug_assert!(late.is_none(), "core and cell count the calls of a pack alike");
        }
    }

    /// The ticket of a task, or of the pack that it is in, and how many calls that has.
    pub(crate) fn ticket_of(&self, task: TaskId) -> Option<(Ticket, u32)> {
        self.core.ticket_of(task)
    }

    /// Take back what a pack in a ring has not begun, its first `keep` calls apart.
    pub(crate) fn split_in_ring(&self, ticket: Ticket, keep: u32) -> RingSplit {
        let worker = self.core.task(ticket.task).and_then(|task| task.worker);
        let link = worker.and_then(|worker| self.link(worker));
        match link.filter(|_| self.core.is_staged(ticket)) {
            None => RingSplit::InNone,
            Some(link) => link.split(ticket, keep).map_or(RingSplit::Whole, RingSplit::Kept),
        }
    }

    /// Whether more than so many calls of a pack in a ring have begun.
    pub(crate) fn has_begun_behind(&self, ticket: Ticket, calls: u32) -> bool {
        let worker = self.core.task(ticket.task).and_then(|task| task.worker);
        worker.and_then(|worker| self.link(worker)).is_some_and(|link| link.begun(ticket) > calls)
    }

    /// What the ticket stands for, if it still does.
    pub(crate) fn cell(&self, ticket: Ticket) -> Option<Arc<TaskCell>> {
        self.core.task(ticket.task).map(|task| Arc::clone(task.payload))
    }
}

/// What was taken back is freed after the lock was released.
fn note_discards(link: &Arc<dyn Link>, effects: &mut Effects) {
    if link.has_discards() {
        effects.discards.push(Arc::clone(link));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::{CoreConfig, PoolConfig, PoolId, PoolKind};
    use crate::task::cell::{Name, Work};
    use crate::task::info::Pool;
    use crate::task::options::{Limits, Options};

    /// The timer may be late, too, and others come before it.
    #[test]
    fn a_suspension_is_seen_once() {
        let pool = || PoolConfig {
            limits: Limits::new(1),
            kind: PoolKind::Slots,
            queue_bound: None,
            aging: None,
            places_max: None,
        };
        let core = ShellCore::new(CoreConfig {
            threads: pool(),
            processes: pool(),
            loops: pool(),
            timeout_warning: None,
            timeout_critical: None,
        });
        let mut driven = Driven::new(core, Arc::default());
        let name = Name { function: "x".into(), given: None };
        let options = Options { delay: Some(Duration::from_millis(1)), ..Options::DEFAULT };
        let payload = TaskCell::new(name, Pool::Threads, &options, Work::Spent);
        let submission = Submission::single(PoolId::Threads, &options, payload);
        let accepted = driven.on_submitted(Time::ZERO, submission, &mut CoreEffects::new());
        accepted.expect("there is no bound");
        driven.arm();
        let mut now = Time::ZERO + Duration::from_secs(3);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let mut effects = Effects::default();
            driven.look_at_clock(now, &mut effects);
            seen.push(effects.suspended);
            driven.arm();
            now = now + Duration::from_micros(1);
        }
        assert_eq!(seen, [Some(Duration::from_secs(3)), None, None]);
    }
}
