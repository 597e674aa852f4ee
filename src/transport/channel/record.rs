//! What the coordinator knows about the one place of a link: the decision between an outcome and a kill.
//!
//! Everything here happens under one short lock, so that whoever comes second learns that it lost.

use std::collections::VecDeque;

use crate::task::id::Ticket;
use crate::transport::{Kill, Revoke};

/// How many finished tickets a link remembers: enough for every thread that may still hold an old one.
const FINISHED_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Record {
    place: Place,
    /// Those whose outcome won, the newest last.
    finished: VecDeque<Ticket>,
}

/// What the place holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Empty,
    /// Sent, no outcome yet.
    Sent(Ticket),
    /// Sent, and its outcome is to be dropped.
    Killed(Ticket),
    /// Taken back, or killed, before it was sent: it must not be sent.
    Unsent(Ticket),
}

/// Whether a call may be sent.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Send,
    /// A revocation or a kill was faster.
    Drop,
}

/// What an arriving outcome is.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Deliver,
    /// Its kill was first.
    Drop,
    /// Nobody asked for it.
    Corrupt,
}

impl Record {
    pub(super) fn stage(&mut self, ticket: Ticket) -> Stage {
        if self.place == Place::Unsent(ticket) {
            self.place = Place::Empty;
            return Stage::Drop;
        }
        self.place = Place::Sent(ticket);
        Stage::Send
    }

    pub(super) fn arrive(&mut self, ticket: Ticket) -> Arrival {
        match self.place {
            Place::Sent(sent) if sent == ticket => {
                self.place = Place::Empty;
                if self.finished.len() == FINISHED_MAX {
                    self.finished.pop_front();
                }
                self.finished.push_back(ticket);
                Arrival::Deliver
            }
            Place::Killed(killed) if killed == ticket => Arrival::Drop,
            _ => Arrival::Corrupt,
        }
    }

    /// Its outcome is still to come and wanted.
    pub(super) fn is_sent(&self, ticket: Ticket) -> bool {
        self.place == Place::Sent(ticket)
    }

    /// Something was sent whose outcome has not arrived.
    pub(super) fn is_outstanding(&self) -> bool {
        matches!(self.place, Place::Sent(_) | Place::Killed(_))
    }

    pub(super) fn try_kill(&mut self, ticket: Ticket) -> Kill {
        match self.place {
            Place::Sent(sent) if sent == ticket => self.place = Place::Killed(ticket),
            Place::Killed(killed) if killed == ticket => {}
            _ if self.finished.contains(&ticket) => return Kill::Lost,
            // Not sent yet. The one who is about to send it will find this.
            Place::Empty | Place::Unsent(_) => self.place = Place::Unsent(ticket),
            // The place has gone on to another, so this one has long had its outcome.
            Place::Sent(_) | Place::Killed(_) => return Kill::Lost,
        }
        Kill::Won { begun: 1, finished: None }
    }

    pub(super) fn revoke(&mut self, ticket: Ticket) -> Revoke {
        match self.place {
            Place::Unsent(unsent) if unsent == ticket => Revoke::Revoked,
            Place::Empty if !self.finished.contains(&ticket) => {
                self.place = Place::Unsent(ticket);
                Revoke::Revoked
            }
            _ => Revoke::Begun,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::id::TaskId;

    fn ticket(number: u64) -> Ticket {
        Ticket { task: TaskId { number, slot: 0 }, attempt: 1 }
    }

    #[test]
    fn the_first_of_outcome_and_kill_wins() {
        let mut record = Record::default();
        assert_eq!(record.stage(ticket(1)), Stage::Send);
        assert_eq!(record.arrive(ticket(1)), Arrival::Deliver);
        assert!(matches!(record.try_kill(ticket(1)), Kill::Lost));

        assert_eq!(record.stage(ticket(2)), Stage::Send);
        assert!(matches!(record.try_kill(ticket(1)), Kill::Lost));
        assert!(matches!(record.try_kill(ticket(2)), Kill::Won { .. }));
        assert!(matches!(record.try_kill(ticket(2)), Kill::Won { .. }));
        assert_eq!(record.arrive(ticket(2)), Arrival::Drop);
    }

    #[test]
    fn what_was_taken_back_before_it_was_sent_is_never_sent() {
        let mut record = Record::default();
        assert!(matches!(record.try_kill(ticket(1)), Kill::Won { .. }));
        assert_eq!(record.stage(ticket(1)), Stage::Drop);
        assert_eq!(record.revoke(ticket(2)), Revoke::Revoked);
        assert_eq!(record.stage(ticket(2)), Stage::Drop);
        assert_eq!(record.stage(ticket(3)), Stage::Send);
        assert_eq!(record.revoke(ticket(3)), Revoke::Begun);
    }

    #[test]
    fn what_nobody_asked_for_is_corrupt() {
        let mut record = Record::default();
        assert_eq!(record.arrive(ticket(1)), Arrival::Corrupt);
        assert_eq!(record.stage(ticket(1)), Stage::Send);
        assert_eq!(record.arrive(ticket(2)), Arrival::Corrupt);
        assert_eq!(record.arrive(ticket(1)), Arrival::Deliver);
        assert_eq!(record.arrive(ticket(1)), Arrival::Corrupt);
    }
}
