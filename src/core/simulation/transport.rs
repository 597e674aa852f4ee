//! How effects are performed: in any order between the batches, or, as over a ring, at once.

use std::collections::VecDeque;
use std::time::Duration;

use super::shell::{Entry, Event};
use super::world::World;
use crate::core::Killed;
use crate::task::id::{TaskId, Ticket, WorkerId};

/// An effect without its payload, on its way to be performed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Run(Ticket),
    Abort(Ticket),
    Stage(WorkerId, Ticket),
    Revoke(WorkerId, Ticket),
    Kill(WorkerId, Ticket),
    Split(WorkerId, Ticket),
    CheckClaim(WorkerId, Ticket),
    AskToEnd(Option<WorkerId>, Ticket),
    ReadCpu(WorkerId, Ticket),
    Weigh(WorkerId, Option<Ticket>),
    LookAtMemory,
    LookAfter(WorkerId),
    KeepCrash(TaskId, Duration),
    Signal(WorkerId),
    Spawn(WorkerId),
    Retire(WorkerId),
}

impl Action {
    /// Whether it only changes a ring.
    fn is_prompt(self) -> bool {
        match self {
            Self::Stage(..)
            | Self::Revoke(..)
            | Self::Kill(..)
            | Self::Split(..)
            | Self::CheckClaim(..)
            | Self::AskToEnd(..) => true,
            Self::Run(_)
            | Self::Abort(_)
            | Self::ReadCpu(..)
            | Self::Weigh(..)
            | Self::LookAtMemory
            | Self::LookAfter(_)
            | Self::KeepCrash(..)
            | Self::Signal(_)
            | Self::Spawn(_)
            | Self::Retire(_) => false,
        }
    }

    fn worker(self) -> Option<WorkerId> {
        match self {
            Self::Run(_)
            | Self::Abort(_)
            | Self::AskToEnd(None, _)
            | Self::LookAtMemory
            | Self::KeepCrash(..) => None,
            Self::Stage(worker, _)
            | Self::Revoke(worker, _)
            | Self::Kill(worker, _)
            | Self::Split(worker, _)
            | Self::CheckClaim(worker, _)
            | Self::AskToEnd(Some(worker), _)
            | Self::ReadCpu(worker, _)
            | Self::Weigh(worker, _)
            | Self::LookAfter(worker)
            | Self::Signal(worker)
            | Self::Spawn(worker)
            | Self::Retire(worker) => Some(worker),
        }
    }
}

impl World {
    /// The actions of one event. Prompt ones are performed now, in this order, and what their answers bring
    /// comes behind them.
    pub(super) fn take_actions(&mut self, actions: VecDeque<Action>) {
        let (prompt, late): (VecDeque<_>, VecDeque<_>) =
            actions.into_iter().partition(|action| self.prompt && action.is_prompt());
        if !late.is_empty() {
            self.batches.push(late);
        }
        self.prompts.extend(prompt);
        if std::mem::replace(&mut self.is_prompting, true) {
            return;
        }
        while let Some(action) = self.prompts.pop_front() {
            self.perform(action);
        }
        self.is_prompting = false;
    }

    pub(super) fn perform_some(&mut self) -> bool {
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
        let known = action.worker().is_some_and(|worker| self.processes.contains_key(&worker));
        match action {
            Action::Run(ticket) => {
                let first = ticket.task.number;
                for call in first..first + u64::from(self.oracle.calls(first)) {
                    self.oracle.on_really_begun(call);
                }
                self.running.push(ticket);
            }
            Action::Abort(ticket) => _ = self.aborted.insert(ticket),
            Action::AskToEnd(None, _) => {}
            Action::LookAtMemory => {
                let enough = self.dice.one_in(2);
                self.answers.push(Event::MemorySeen(enough));
            }
            Action::KeepCrash(task, wait) => self.answers.push(Event::CrashKept(task, wait)),
            _ if !known => self.answer_for_the_dead(action),
            Action::Stage(worker, ticket) => self.stage(worker, ticket),
            Action::Revoke(worker, ticket) => {
                let revoked = self.revoke(worker, ticket);
                self.answer(Event::RevokeSettled(worker, ticket, revoked));
            }
            Action::Kill(worker, ticket) => {
                let killed = self.kill(worker, ticket);
                self.answer(Event::KillSettled(worker, ticket, killed));
            }
            Action::Split(worker, ticket) => {
                if let Some(entry) = self.entry(worker, ticket).copied()
                    && !entry.committed
                {
                    self.split(worker, ticket, entry.begun.max(1));
                }
            }
            Action::CheckClaim(worker, ticket) => {
                let begun = self.entry(worker, ticket).is_some_and(|entry| entry.begun > 0);
                self.answer(Event::ClaimChecked(worker, ticket, begun));
            }
            Action::AskToEnd(Some(worker), ticket) => {
                if self.entry(worker, ticket).is_none_or(|entry| entry.begun == 0) {
                    self.answer(Event::NotAsked(worker, ticket));
                }
            }
            Action::ReadCpu(worker, ticket) => self.read_cpu(worker, ticket),
            Action::Weigh(worker, ticket) => {
                let bytes = self.dice.below(100);
                self.answers.push(Event::Weighed(worker, ticket, bytes));
            }
            Action::LookAfter(worker) => self.process(worker).stopped = false,
            Action::Signal(worker) => self.process(worker).signalled = true,
            Action::Spawn(worker) => self.process(worker).spawned = true,
            Action::Retire(worker) => self.process(worker).retired = true,
        }
    }

    fn process(&mut self, worker: WorkerId) -> &mut super::shell::Process {
        self.processes.get_mut(&worker).expect("its being there was checked")
    }

    pub(super) fn entry(&mut self, worker: WorkerId, ticket: Ticket) -> Option<&mut Entry> {
        let process = self.processes.get_mut(&worker)?;
        process.entries.iter_mut().find(|entry| entry.ticket == ticket)
    }

    /// A prompt answer comes at once, and after the split that belongs to it.
    fn answer(&mut self, event: Event) {
        if self.prompt {
            self.tell(event);
        } else {
            self.answers.push(event);
        }
    }

    /// Some use one core all the time, others none.
    fn read_cpu(&mut self, worker: WorkerId, ticket: Ticket) {
        let now = self.now;
        let entry = self.entry(worker, ticket).filter(|entry| entry.begun > 0);
        let used = entry.map(|entry| match entry.ticket.task.number % 3 {
            0 => Duration::ZERO,
            _ => now.since(entry.begun_at),
        });
        if let Some(used) = used {
            self.oracle.on_cpu_read(ticket.task, used);
        }
        // No ring is asked for it, so it takes its time.
        self.answers.push(Event::CpuRead(worker, ticket, used));
    }

    fn stage(&mut self, worker: WorkerId, ticket: Ticket) {
        let limit = self.oracle.calls(ticket.task.number);
        let staged_is_begun = self.config.staged_is_begun;
        let begun_at = self.now;
        let process = self.process(worker);
        if process.dead || process.unwelcome.contains(&ticket) {
            return;
        }
        // A worker without a ring runs what it was sent to its end.
        let begun = if staged_is_begun { limit } else { 0 };
        let (runs, committed, killed) = (staged_is_begun, false, false);
        let entry = Entry { ticket, begun, begun_at, limit, runs, committed, killed };
        process.entries.push_back(entry);
        for call in 0..u64::from(begun) {
            self.oracle.on_really_begun(ticket.task.number + call);
        }
    }

    fn revoke(&mut self, worker: WorkerId, ticket: Ticket) -> bool {
        match self.entry(worker, ticket).copied() {
            Some(entry) if entry.begun > 0 => {
                if !entry.committed {
                    self.split(worker, ticket, entry.begun);
                }
                false
            }
            _ => {
                let process = self.process(worker);
                process.entries.retain(|entry| entry.ticket != ticket);
                process.unwelcome.insert(ticket);
                true
            }
        }
    }

    fn kill(&mut self, worker: WorkerId, ticket: Ticket) -> Killed {
        let takes_back = self.prompt || self.dice.one_in(2);
        let Some(entry) = self.entry(worker, ticket) else {
            return match self.process(worker).unwelcome.insert(ticket) {
                false => Killed::Lost,
                true if takes_back => Killed::NotBegun,
                true => Killed::Won,
            };
        };
        if entry.committed {
            Killed::Lost
        } else if entry.begun == 0 {
            self.process(worker).entries.retain(|entry| entry.ticket != ticket);
            Killed::NotBegun
        } else {
            entry.killed = true;
            let kept = entry.begun;
            self.split(worker, ticket, kept);
            Killed::Won
        }
    }

    /// The calls of an entry from `kept` on are taken back, if there are any.
    pub(super) fn split(&mut self, worker: WorkerId, ticket: Ticket, kept: u32) {
        let Some(entry) = self.entry(worker, ticket).filter(|entry| kept < entry.limit) else {
            return;
        };
        entry.limit = kept;
        self.splits.push_back((worker, ticket, kept));
        if self.prompt {
            self.tell_split(|_| true);
        }
    }

    /// What is asked of a worker that is gone may be answered, or not; nobody cares.
    fn answer_for_the_dead(&mut self, action: Action) {
        let luck = self.dice.one_in(2);
        match action {
            Action::Revoke(worker, ticket) => {
                self.tell_core(Event::RevokeSettled(worker, ticket, luck));
            }
            Action::Kill(worker, ticket) if luck => {
                self.tell_core(Event::KillSettled(worker, ticket, Killed::Won));
            }
            Action::CheckClaim(worker, ticket) if luck => {
                self.tell_core(Event::ClaimChecked(worker, ticket, false));
            }
            _ => {}
        }
    }
}
