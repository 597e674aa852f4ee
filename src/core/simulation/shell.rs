//! What goes on by itself: effects are performed, answers and outcomes reach the core, workers begin,
//! complete, die.

use std::collections::{BTreeSet, VecDeque};

use super::dice::finish;
use super::world::World;
use crate::core::Finish;
use crate::task::id::{Ticket, WorkerId};

/// An effect without its payload, on its way to be performed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Run(Ticket),
    Stage(WorkerId, Ticket),
    Revoke(WorkerId, Ticket),
    Kill(WorkerId, Ticket),
    Signal(WorkerId),
    Spawn(WorkerId),
    Retire(WorkerId),
}

/// What the shell tells the core.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Finished(Ticket, Finish),
    Begun(WorkerId, Ticket),
    RevokeSettled(WorkerId, Ticket, bool),
    KillSettled(WorkerId, Ticket, bool),
    Ready(WorkerId),
    Corrupt(WorkerId),
    Exited(WorkerId, Vec<Ticket>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) ticket: Ticket,
    pub(super) begun: bool,
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
        if self.answers.is_empty() {
            return false;
        }
        let index = self.dice.index(self.answers.len());
        let answer = self.answers.swap_remove(index);
        self.tell(answer);
        true
    }

    fn finish_some_closure(&mut self) -> bool {
        if self.running.is_empty() {
            return false;
        }
        let index = self.dice.index(self.running.len());
        let ticket = self.running.swap_remove(index);
        let finish = finish(&mut self.dice);
        self.tell(Event::Finished(ticket, finish));
        true
    }

    fn perform_some(&mut self) -> bool {
        if self.batches.is_empty() {
            return false;
        }
        let index = self.dice.index(self.batches.len());
        let action = self.batches[index].pop_front().expect("empty batches are dropped");
        if self.batches[index].is_empty() {
            self.batches.swap_remove(index);
        }
        self.perform(action);
        true
    }

    fn perform(&mut self, action: Action) {
        let worker = match action {
            Action::Run(ticket) => {
                self.oracle.on_really_begun(ticket);
                self.running.push(ticket);
                return;
            }
            Action::Stage(worker, _)
            | Action::Revoke(worker, _)
            | Action::Kill(worker, _)
            | Action::Signal(worker)
            | Action::Spawn(worker)
            | Action::Retire(worker) => worker,
        };
        let Some(process) = self.processes.get_mut(&worker) else {
            self.answer_for_the_dead(action);
            return;
        };
        match action {
            Action::Run(_) => {}
            Action::Stage(_, ticket) => {
                if !process.dead && !process.unwelcome.contains(&ticket) {
                    let begun = self.config.staged_is_begun;
                    process.entries.push_back(Entry {
                        ticket,
                        begun,
                        committed: false,
                        killed: false,
                    });
                    if begun {
                        self.oracle.on_really_begun(ticket);
                    }
                }
            }
            Action::Revoke(_, ticket) => {
                let begun =
                    process.entries.iter().any(|entry| entry.ticket == ticket && entry.begun);
                if !begun {
                    process.entries.retain(|entry| entry.ticket != ticket);
                    process.unwelcome.insert(ticket);
                }
                self.answers.push(Event::RevokeSettled(worker, ticket, !begun));
            }
            Action::Kill(_, ticket) => {
                let entry = process.entries.iter_mut().find(|entry| entry.ticket == ticket);
                let won = match entry {
                    Some(entry) => {
                        entry.killed = !entry.committed;
                        entry.killed
                    }
                    None => process.unwelcome.insert(ticket),
                };
                self.answers.push(Event::KillSettled(worker, ticket, won));
            }
            Action::Signal(_) => process.signalled = true,
            Action::Spawn(_) => process.spawned = true,
            Action::Retire(_) => process.retired = true,
        }
    }

    /// What is asked of a worker that is gone may be answered, or not; nobody cares.
    fn answer_for_the_dead(&mut self, action: Action) {
        let luck = self.dice.one_in(2);
        match action {
            Action::Revoke(worker, ticket) if luck => {
                self.tell_core(Event::RevokeSettled(worker, ticket, true));
            }
            Action::Revoke(worker, ticket) => {
                self.tell_core(Event::RevokeSettled(worker, ticket, false));
            }
            Action::Kill(worker, ticket) if luck => {
                self.tell_core(Event::KillSettled(worker, ticket, true));
            }
            _ => {}
        }
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
                    self.tell(event);
                    true
                }
                None => self.exit(worker),
            };
        }
        if !process.spawned {
            process.dead |= process.signalled;
            return process.signalled;
        }
        let ends_by_itself = process.retired && process.entries.iter().all(|entry| entry.committed);
        let struck = !healthy && dice.one_in(if process.ready { 40 } else { self.sickness });
        if struck || (process.signalled && dice.one_in(3)) || ends_by_itself {
            process.dead = true;
            return true;
        }
        if !process.ready {
            process.ready = true;
            process.outbox.push_back(Event::Ready(worker));
            return true;
        }
        self.work(worker)
    }

    /// The worker begins, or completes, the first entry that is not done.
    fn work(&mut self, worker: WorkerId) -> bool {
        let (dice, healthy) = (&mut self.dice, self.healthy);
        let Some(process) = self.processes.get_mut(&worker) else {
            return false;
        };
        let parked_or_idle = process.signalled || !process.outbox.is_empty();
        let Some(entry) = process.entries.iter_mut().find(|entry| !entry.committed) else {
            return parked_or_idle;
        };
        if entry.killed {
            return parked_or_idle;
        }
        if !entry.begun {
            entry.begun = true;
            let ticket = entry.ticket;
            self.oracle.on_really_begun(ticket);
            if dice.one_in(2) {
                process.outbox.push_back(Event::Begun(worker, ticket));
            }
        } else if healthy || dice.one_in(2) {
            entry.committed = true;
            process.outbox.push_back(Event::Finished(entry.ticket, finish(dice)));
        }
        true
    }

    fn exit(&mut self, worker: WorkerId) -> bool {
        let process = self.processes.remove(&worker).expect("a process exits once");
        let lost = process.entries.iter().filter(|entry| entry.begun && !entry.committed);
        let begun = lost.map(|entry| entry.ticket).collect();
        self.tell(Event::Exited(worker, begun));
        true
    }
}
