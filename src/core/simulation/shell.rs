//! What goes on by itself: answers and outcomes reach the core, workers begin, complete, hang, die.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::dice::{Dice, finish};
use super::oracle::Payload;
use super::world::World;
use crate::core::{Finished, Killed, PoolId, TaskInfo, Time};
use crate::task::id::{TaskId, Ticket, WorkerId};

/// What the shell tells the core.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Finished(Vec<Finished>),
    Begun(WorkerId, Ticket),
    RevokeSettled(WorkerId, Ticket, bool),
    KillSettled(WorkerId, Ticket, Killed),
    /// How many calls were kept.
    PackSplit(Ticket, u32),
    ClaimChecked(WorkerId, Ticket, bool),
    NotAsked(WorkerId, Ticket),
    CpuRead(WorkerId, Ticket, Option<Duration>),
    Weighed(WorkerId, Option<Ticket>, u64),
    MemorySeen(bool),
    CrashKept(TaskId, Duration),
    Ready(WorkerId),
    Corrupt(WorkerId),
    Doomed(WorkerId, Vec<Ticket>),
    Exited(WorkerId, Vec<Ticket>),
}

/// One task in a worker's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) ticket: Ticket,
    /// How many of its calls have begun.
    pub(super) begun: u32,
    /// When the first of them did.
    pub(super) begun_at: Time,
    /// Up to which the worker may go.
    pub(super) limit: u32,
    /// The call begun last has not come to its end.
    pub(super) runs: bool,
    pub(super) committed: bool,
    pub(super) killed: bool,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact that can be true beside any other"
)]
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) spawned: bool,
    pub(super) ready: bool,
    pub(super) signalled: bool,
    pub(super) retired: bool,
    pub(super) dead: bool,
    /// That was told before it was certain.
    pub(super) doomed: bool,
    /// It has ended because it was told to retire.
    pub(super) ended: bool,
    /// It does not end though it should.
    pub(super) lingers: bool,
    /// It takes up nothing any more.
    pub(super) stuck: bool,
    /// Somebody has stopped it in the middle of a task.
    pub(super) stopped: bool,
    pub(super) entries: VecDeque<Entry>,
    /// Revoked or killed before they arrived.
    pub(super) unwelcome: BTreeSet<Ticket>,
    /// What it has committed, not yet told to the core.
    pub(super) outbox: VecDeque<Event>,
}

impl World {
    /// One thing that was going to happen anyway. Whether there was one.
    pub(super) fn proceed(&mut self) -> bool {
        let start = self.dice.below(4);
        (0..4).any(|offset| match (start + offset) % 4 {
            0 => self.perform_some(),
            1 => self.answer_some(),
            2 => self.finish_some_closure(),
            _ => self.advance_some_process(),
        })
    }

    fn answer_some(&mut self) -> bool {
        if self.dice.one_in(2) && self.tell_split(|_| true) {
            return true;
        }
        if self.answers.is_empty() {
            return self.tell_split(|_| true);
        }
        let index = self.dice.index(self.answers.len());
        let answer = self.answers.swap_remove(index);
        self.tell(answer);
        true
    }

    /// Tells the core of the first split that it does not know of.
    pub(super) fn tell_split(&mut self, of: impl Fn(&(WorkerId, Ticket, u32)) -> bool) -> bool {
        let Some(at) = self.splits.iter().position(of) else {
            return false;
        };
        let (_, ticket, kept) = self.splits.remove(at).expect("it was just found");
        self.tell(Event::PackSplit(ticket, kept));
        true
    }

    fn finish_some_closure(&mut self) -> bool {
        let ends = |&index: &usize| !self.runs_for_ever(self.running[index]);
        let ending: Vec<usize> = (0..self.running.len()).filter(ends).collect();
        let Some(index) = self.dice.pick(&ending) else {
            return false;
        };
        let ticket = self.running.swap_remove(index);
        let finished = finished(&mut self.dice, ticket);
        self.tell(Event::Finished(vec![finished]));
        true
    }

    /// Some futures, and once they are no longer wanted all of them, end only when they are told to.
    fn runs_for_ever(&self, ticket: Ticket) -> bool {
        let task = ticket.task;
        if self.oracle.known[&task.number].pool != PoolId::Loops || self.aborted.contains(&ticket) {
            return false;
        }
        let runs = |task: TaskInfo<'_, Payload>| task.ticket == Some(ticket);
        let wanted = self.core.task(task).is_some_and(runs);
        !wanted || (!self.healthy && task.number.is_multiple_of(3))
    }

    fn advance_some_process(&mut self) -> bool {
        let mut all: Vec<WorkerId> = self.processes.keys().copied().collect();
        while !all.is_empty() {
            let index = self.dice.index(all.len());
            let worker = all.swap_remove(index);
            if self.advance(worker) {
                return true;
            }
        }
        false
    }

    fn advance(&mut self, worker: WorkerId) -> bool {
        let (dice, healthy) = (&mut self.dice, self.healthy);
        let Some(process) = self.processes.get_mut(&worker) else {
            return false;
        };
        if process.dead || (!process.outbox.is_empty() && dice.one_in(2)) {
            return match process.outbox.pop_front() {
                Some(event) => {
                    self.drain(worker, event);
                    true
                }
                None if process.spawned
                    && process.ready
                    && !(process.doomed || process.ended || self.config.staged_is_begun)
                    && dice.one_in(2) =>
                {
                    self.doom(worker)
                }
                None => self.exit(worker),
            };
        }
        if !process.spawned {
            process.dead |= process.signalled;
            return process.signalled;
        }
        let is_through = process.retired && process.entries.iter().all(|entry| entry.committed);
        process.lingers |= is_through && !healthy && dice.one_in(10);
        let ends_by_itself = is_through && !process.lingers;
        let struck = !healthy && dice.one_in(if process.ready { 40 } else { self.sickness });
        if struck || (process.signalled && dice.one_in(3)) || ends_by_itself {
            process.dead = true;
            process.ended = ends_by_itself && !struck && !process.signalled;
            return true;
        }
        if !process.ready {
            process.ready = true;
            process.outbox.push_back(Event::Ready(worker));
            return true;
        }
        if process.stopped && !process.signalled {
            return false;
        }
        self.work(worker)
    }

    /// Tells what a worker has committed, by luck as much as there is at once.
    fn drain(&mut self, worker: WorkerId, event: Event) {
        let Event::Finished(mut all) = event else {
            return self.tell(event);
        };
        let process = self.processes.get_mut(&worker).expect("whose outbox it was");
        while self.dice.one_in(2)
            && let Some(Event::Finished(more)) = process.outbox.front_mut()
        {
            all.append(more);
            process.outbox.pop_front();
        }
        self.tell(Event::Finished(all));
    }

    /// The worker begins, or completes, what is next in the first entry that is not done.
    fn work(&mut self, worker: WorkerId) -> bool {
        let (dice, healthy) = (&mut self.dice, self.healthy);
        let gets_stuck = !healthy && self.config.claim_deadline.is_some() && dice.one_in(30);
        let gets_stopped = !healthy && self.config.claim_deadline.is_some() && dice.one_in(30);
        let Some(process) = self.processes.get_mut(&worker) else {
            return false;
        };
        let parked_or_idle = process.signalled || !process.outbox.is_empty();
        let Some(entry) = process.entries.iter_mut().find(|entry| !entry.committed) else {
            return parked_or_idle;
        };
        if entry.killed || (process.stuck && entry.begun == 0) {
            return parked_or_idle;
        }
        if entry.runs {
            process.stopped = gets_stopped;
            let burns = self.oracle.runs_until_killed(entry.ticket.task);
            if burns && !process.signalled {
                return parked_or_idle;
            }
            entry.runs = !healthy && dice.one_in(2);
        } else if entry.begun > 0 && entry.begun == entry.limit {
            entry.committed = true;
            process.outbox.push_back(Event::Finished(vec![finished(dice, entry.ticket)]));
        } else if entry.begun == 0 && gets_stuck {
            process.stuck = true;
        } else {
            (entry.begun, entry.runs) = (entry.begun + 1, true);
            if entry.begun == 1 {
                entry.begun_at = self.now;
            }
            let Entry { ticket, begun, .. } = *entry;
            // Of one that has overtaken another on its way here, and runs on, the begin is seen in time.
            let runs_on = self.oracle.runs_until_killed(ticket.task);
            if begun == 1 && (dice.one_in(2) || runs_on) {
                process.outbox.push_back(Event::Begun(worker, ticket));
            }
            if begun > 1 && self.prompt {
                self.oracle.on_pack_goes_on(&self.core, ticket.task);
            }
            self.oracle.on_really_begun(ticket.task.number + u64::from(begun - 1));
        }
        true
    }

    /// Its death is told before it is certain.
    fn doom(&mut self, worker: WorkerId) -> bool {
        let begun = self.tell_last(worker);
        let process = self.processes.get_mut(&worker).expect("it has not exited");
        (process.doomed, process.entries) = (true, VecDeque::new());
        self.tell(Event::Doomed(worker, begun));
        true
    }

    fn exit(&mut self, worker: WorkerId) -> bool {
        let begun = self.tell_last(worker);
        let process = self.processes.remove(&worker).expect("a process exits once");
        if process.ended && self.config.staged_is_begun {
            self.oracle.on_ended(worker);
        }
        self.tell(Event::Exited(worker, begun));
        true
    }

    /// What a pack had not begun is told before the death. What was begun is told with it.
    fn tell_last(&mut self, worker: WorkerId) -> Vec<Ticket> {
        let process = self.processes.get_mut(&worker).expect("a process exits once");
        let packs = process.entries.iter_mut().filter(|entry| entry.begun > 0 && !entry.committed);
        for entry in packs.filter(|entry| entry.begun < entry.limit) {
            entry.limit = entry.begun;
            self.splits.push_back((worker, entry.ticket, entry.begun));
        }
        while self.tell_split(|split| split.0 == worker) {}
        let process = &self.processes[&worker];
        let lost = process.entries.iter().filter(|entry| entry.begun > 0 && !entry.committed);
        lost.map(|entry| entry.ticket).collect()
    }
}

fn finished(dice: &mut Dice, ticket: Ticket) -> Finished {
    let ran = Duration::from_micros([0, 1, 5, 20, 1000][dice.index(5)]);
    Finished { ticket, finish: finish(dice), ran }
}
