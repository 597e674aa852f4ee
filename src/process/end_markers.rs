//! What ends the channels of a dead worker, so that the threads that wait there end.

use std::sync::Arc;

use ipc_channel::ipc::IpcSender;
use ipc_channel::platform::OsIpcSender;

use super::incarnation::{Incarnation, Way};
use super::life::Awaited;
use super::protocol::FromWorker;

/// What ends a dead worker's channels. Two threads of the coordinator wait for it.
#[derive(Clone, Debug)]
pub(super) struct EndMarkers {
    pub(super) incarnation: Arc<Incarnation>,
    pub(super) link_runs: bool,
    pub(super) control: Option<IpcSender<FromWorker>>,
}

impl EndMarkers {
    /// Has to wait if a channel is full.
    pub(super) fn send(&self) {
        match self.incarnation.way().filter(|_| self.link_runs) {
            Some(Way::Channel(link)) => link.on_worker_died(),
            Some(Way::Ring(link)) => self.incarnation.end_ring(link),
            None => {}
        }
        if let Some(control) = &self.control {
            // A failure means that the thread that would listen is gone.
            let _ = control.send(FromWorker::End);
        }
    }

    /// What a worker has left in a channel may look like the beginning of a message and swallow what
    /// follows. See [`ChannelLink::force_end`](crate::transport::channel::ChannelLink::force_end).
    pub(super) fn send_again(&self) {
        if let Some(Way::Channel(link)) = self.incarnation.way().filter(|_| self.link_runs) {
            link.force_end();
        }
        if let Some(control) = &self.control {
            let padding = " ".repeat(OsIpcSender::get_max_fragment_size() - 8);
            for _ in 0..2 {
                let _ = control.send(FromWorker::StartFailed { reason: padding.clone() });
            }
            for _ in 0..3 {
                let _ = control.send(FromWorker::End);
            }
        }
    }

    /// Those that have not arrived, if any. To one that has, nobody listens: sending it again would wait
    /// for ever.
    pub(super) fn missed(&self) -> Option<Self> {
        let Awaited { link, control, exit } = self.incarnation.awaited();
        let link_runs = self.link_runs && link;
        let control = self.control.clone().filter(|_| control);
        (link_runs || control.is_some() || exit).then(|| Self {
            incarnation: Arc::clone(&self.incarnation),
            link_runs,
            control,
        })
    }

    /// Whether the thread that reads a ring to its end has not come to that yet, for want of a core. It does
    /// not wait for anybody, and an exit that is told before would take what had begun for what had not.
    pub(super) fn is_ring_unread(&self) -> bool {
        let is_ring = matches!(self.incarnation.way(), Some(Way::Ring(_)));
        is_ring && self.link_runs && self.incarnation.awaited().link
    }

    /// Tell the exit without having seen the markers arrive.
    pub(super) fn give_up(&self) {
        self.incarnation.abandon();
    }
}
