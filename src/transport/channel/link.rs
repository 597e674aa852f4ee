//! The coordinator's end of a channel link, and the thread that receives from it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipc_channel::ipc::{self, IpcBytesSender};
use ipc_channel::platform::OsIpcSender;

use super::layout::{self, FromWorker};
use super::messages::{self, Closed};
use super::reception::{Inbox, Reception};
use super::record::{Arrival, Record, Stage};
use super::worker_end::WorkerEndpoints;
use crate::sync::Mutex;
use crate::task::id::{Ticket, WorkerId};
use crate::transport::{Attention, CallFrame, Kill, Link, Revoke, Sink, Staged};

/// How often receiving may fail before the link is given up. Each message that is cut off is one failure.
const FAILURES_MAX: u32 = 16;

/// The coordinator's end of the way to one worker.
#[derive(Debug)]
pub(crate) struct ChannelLink {
    shared: Arc<Shared>,
    /// Into the channel that leads back here, for the end marker. The worker's own end may be held open
    /// by a process that it forked, so the end of that channel tells nothing.
    own: IpcBytesSender,
}

#[derive(Debug)]
struct Shared {
    worker: WorkerId,
    state: Mutex<State>,
    /// The end marker is genuine.
    died: AtomicBool,
    reception: Reception,
}

#[derive(Debug)]
struct State {
    record: Record,
    /// Gone once the worker is retired.
    calls: Option<IpcBytesSender>,
    /// Calls that a thread is still sending. The word that no more will come must follow them.
    large: u32,
}

/// Receives a link's outcomes. To be run in a thread of its own.
#[derive(Debug)]
pub(crate) struct Receiver {
    shared: Arc<Shared>,
}

/// What came of receiving one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Received {
    Message,
    /// The end marker, or nothing more that can be received.
    End,
}

/// Make a link: the coordinator's end, its receiver, and what the worker is to be sent.
pub(crate) fn open(worker: WorkerId) -> io::Result<(ChannelLink, Receiver, WorkerEndpoints)> {
    let (calls, calls_receiver) = ipc::bytes_channel()?;
    let (outcomes, outcomes_receiver) = ipc::bytes_channel()?;
    let state = Mutex::new(State { record: Record::default(), calls: Some(calls), large: 0 });
    let shared = Arc::new(Shared {
        worker,
        state,
        died: AtomicBool::new(false),
        reception: Reception::new(outcomes_receiver),
    });
    let receiver = Receiver { shared: Arc::clone(&shared) };
    let endpoints = WorkerEndpoints { calls: calls_receiver, outcomes: outcomes.clone() };
    Ok((ChannelLink { shared, own: outcomes }, receiver, endpoints))
}

impl ChannelLink {
    /// Send the call. Never waits for the worker; a call too large to be sent at once is sent from
    /// elsewhere. If the worker is gone, nothing happens: its exit tells.
    pub(crate) fn send(&self, ticket: Ticket, call: CallFrame<'_>) -> Attention {
        // A name that does not fit is a bug of the caller; no function has it.
        let bytes =
            layout::encode_call(ticket, call).expect("a function's name is shorter than 64 KiB");
        let calls = {
            let mut state = self.shared.state.lock();
            match state.record.stage(ticket) {
                Stage::Drop => None,
                Stage::Send => state.calls.clone(),
            }
        };
        let Some(calls) = calls else { return Attention::Attended };
        self.shared.send_without_waiting(calls, bytes);
        if self.shared.reception.on_staged() { Attention::Attended } else { Attention::Unattended }
    }

    /// Somebody must receive: the submitter of an unattended call does something else.
    pub(crate) fn attend(&self) {
        self.shared.reception.take_over();
    }

    /// The current thread, which waits for `ticket`, receives until its outcome is delivered or it is
    /// `done` otherwise, if nobody else receives. It may block for as long as the attempt takes; after a won
    /// kill, until the worker is dead.
    pub(crate) fn receive_for(&self, ticket: Ticket, done: &dyn Fn() -> bool, sink: &dyn Sink) {
        let due = || self.shared.state.lock().record.is_sent(ticket);
        if !self.shared.reception.take_as_waiter(due) {
            return;
        }
        while !done() && due() {
            if self.shared.receive(sink) == Received::End {
                self.shared.reception.on_over();
                break;
            }
        }
        self.shared.reception.leave_as_waiter(|| self.shared.is_outstanding());
    }

    /// The worker is dead for certain.
    pub(crate) fn on_worker_died(&self) {
        // Pairs with the load in `Receiver::run`, though the message alone would order the two.
        self.shared.died.store(true, Ordering::Release);
        send(&self.own, &layout::END_MESSAGE);
        self.shared.reception.on_worker_died();
    }
}

impl Link for ChannelLink {
    fn stage(&self, ticket: Ticket, call: CallFrame<'_>) -> Staged {
        let _attended = self.send(ticket, call);
        Staged::Quietly
    }

    /// The message has woken it.
    fn wake(&self, _patient: bool) {}

    fn revoke(&self, ticket: Ticket) -> Revoke {
        self.shared.state.lock().record.revoke(ticket)
    }

    /// Packs don't go over channels.
    fn split(&self, _ticket: Ticket, _keep: u32) -> Option<u32> {
        None
    }

    fn is_preparing(&self, _ticket: Ticket) -> bool {
        false
    }

    /// What was sent counts as begun.
    fn begun(&self, _ticket: Ticket) -> u32 {
        1
    }

    fn try_kill(&self, ticket: Ticket) -> Kill {
        self.shared.state.lock().record.try_kill(ticket)
    }

    fn retire(&self) {
        // Said in words too: a process that the host forked may hold the channel open.
        let (calls, large) = {
            let mut state = self.shared.state.lock();
            (state.calls.take(), state.large)
        };
        if let Some(calls) = calls
            && large == 0
        {
            send(&calls, &layout::RETIRE_MESSAGE);
        }
    }
}

impl ChannelLink {
    /// The receiver has not found the end marker: the worker left something in the channel that looks like
    /// the beginning of a message, and the marker was taken for its rest. Send so much that ipc-channel
    /// gives that message up, and the marker once more for each message that goes under with it.
    pub(crate) fn force_end(&self) {
        let padding = vec![0; OsIpcSender::get_max_fragment_size()];
        for _ in 0..2 {
            send(&self.own, &padding);
        }
        for _ in 0..3 {
            send(&self.own, &layout::END_MESSAGE);
        }
    }
}

impl Receiver {
    /// Deliver what arrives until the end marker, whenever nobody else does. The marker is behind
    /// everything that the worker had committed, because both were sent into one queue.
    pub(crate) fn run(self, sink: &dyn Sink) {
        let Shared { reception, .. } = &*self.shared;
        let outstanding = || self.shared.is_outstanding();
        'turns: while reception.await_turn(outstanding) {
            loop {
                if self.shared.receive(sink) == Received::End {
                    break 'turns;
                }
                if reception.leave_to_waiters(outstanding) {
                    break;
                }
            }
        }
        self.shared.reception.inbox.lock().receiver = None;
        sink.on_link_ended(self.shared.worker);
    }
}

impl Shared {
    /// Whether something is still to be received, be it only the end marker.
    fn is_outstanding(&self) -> bool {
        // Pairs with the store in `on_worker_died`.
        self.died.load(Ordering::Acquire) || self.state.lock().record.is_outstanding()
    }

    /// Wait for one message and deliver it. Only for the holder of the role.
    fn receive(&self, sink: &dyn Sink) -> Received {
        let worker = self.worker;
        let mut inbox = self.reception.inbox.lock();
        let lie = match next(&mut inbox) {
            Ok(Some(FromWorker::Outcome(ticket, outcome))) => {
                let arrival = self.state.lock().record.arrive(ticket);
                match arrival {
                    // After a lie nothing that it says is believed.
                    _ if inbox.corrupt => return Received::Message,
                    Arrival::Drop => return Received::Message,
                    Arrival::Deliver => {
                        drop(inbox);
                        sink.on_outcome(worker, ticket, outcome);
                        return Received::Message;
                    }
                    Arrival::Corrupt => {
                        format!("an outcome of task {} that it was not sent", ticket.task)
                    }
                }
            }
            // Pairs with the store in `on_worker_died`.
            Ok(Some(FromWorker::End)) if self.died.load(Ordering::Acquire) => return Received::End,
            Ok(Some(FromWorker::End)) => "an end marker".to_owned(),
            // A message that was cut off: its sender died meanwhile, and the marker follows.
            Ok(None) if inbox.failures < FAILURES_MAX => {
                inbox.failures += 1;
                return Received::Message;
            }
            Ok(None) => {
                drop(inbox);
                sink.on_corrupt(worker, "nothing that can be received".to_owned());
                return Received::End;
            }
            Err(what) => what,
        };
        let told_before = std::mem::replace(&mut inbox.corrupt, true);
        drop(inbox);
        if !told_before {
            sink.on_corrupt(worker, lie);
        }
        Received::Message
    }
}

/// ipc-channel panics on much of what is not a message of its own.
fn next(inbox: &mut Inbox) -> Result<Option<FromWorker>, String> {
    let Some(receiver) = &inbox.receiver else { return Ok(None) };
    match catch_unwind(AssertUnwindSafe(|| messages::receive(receiver))) {
        Ok(Ok(bytes)) => {
            layout::decode_from_worker(bytes).map(Some).map_err(|error| error.to_string())
        }
        Ok(Err(Closed)) => Ok(None),
        Err(_panic) => Err("bytes that are no message of ipc-channel".to_owned()),
    }
}

impl Shared {
    /// What is more than fits into the channel waits for its reader, so a thread does that.
    fn send_without_waiting(self: &Arc<Self>, calls: IpcBytesSender, bytes: Vec<u8>) {
        if messages::is_small(bytes.len()) {
            send(&calls, &bytes);
            return;
        }
        self.state.lock().large += 1;
        let large = Arc::new((Arc::clone(self), calls, bytes));
        let in_thread = Arc::clone(&large);
        let spawned = std::thread::Builder::new()
            .name("atasker-send".to_owned())
            .spawn(move || in_thread.0.send_large(&in_thread.1, &in_thread.2));
        if spawned.is_err() {
            // Without a thread to spare, waiting is better than losing the call.
            self.send_large(&large.1, &large.2);
        }
    }

    fn send_large(&self, calls: &IpcBytesSender, bytes: &[u8]) {
        send(calls, bytes);
        let last_and_retired = {
            let mut state = self.state.lock();
            state.large -= 1;
            state.large == 0 && state.calls.is_none()
        };
        if last_and_retired {
            send(calls, &layout::RETIRE_MESSAGE);
        }
    }
}

/// A failure means that the worker is gone, which its exit tells.
fn send(sender: &IpcBytesSender, bytes: &[u8]) {
    let _sent = messages::send_from_host(sender, bytes);
}
