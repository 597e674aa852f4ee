//! The books on one peer: which buffers it has the use of, and which of its buffers are mapped here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::attachment::Attachment;
use super::buffer::{Buffer, BufferId, Grade};
use super::peer::Notice;

/// What is noted of what a peer and this process have lent to each other.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// The peer has the use of these.
    pub(super) lent: BTreeMap<BufferId, Loan>,
    /// The peer has made these, and they are mapped here.
    pub(super) received: BTreeMap<BufferId, Received>,
    pub(super) notices: Vec<Notice>,
    /// How many bytes they are about.
    pub(super) untold_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Loan {
    pub(super) attachment: Attachment,
    /// More than one only if it is sealed.
    pub(super) count: usize,
    ended: bool,
}

impl Loan {
    /// Not counted yet.
    pub(super) fn of(attachment: Attachment) -> Self {
        Self { attachment, count: 0, ended: false }
    }

    /// The buffer is not lent any more. Its memory may be kept for longer, and be lent again meanwhile.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) && self.attachment.grade() == Grade::Lent {
            self.attachment.buffer().on_returned();
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.end();
    }
}

impl Books {
    /// The peer has not the use of these any more.
    pub(super) fn end_loans(&mut self) {
        self.lent.values_mut().for_each(Loan::end);
    }

    /// Whether there is nothing to drop.
    pub(super) fn is_empty(&self) -> bool {
        self.lent.is_empty() && self.received.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Received {
    pub(super) buffer: Arc<Buffer>,
    /// How many leases there are. At most one unless it is sealed.
    pub(super) leases: usize,
}
