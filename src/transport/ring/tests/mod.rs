//! Both ends of a ring in one process, each with a mapping of its own.

mod bells;
mod ends;
mod hostile;
mod lengths;
mod lies;
mod model;
mod mutations;
mod pending;
mod reuse;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar};
use std::thread::JoinHandle;
use std::time::Duration;

use super::collector::Collector;
use super::copying::Helper;
use super::layout::{COMMITTED, SEGMENT_BYTES};
use super::link::RingLink;
use super::worker_end::RingEnd;
use crate::codec::{Bytes, CodecId};
use crate::shm::Segment;
use crate::sync::Mutex;
use crate::task::id::{TaskId, Ticket, WorkerId};
use crate::transport::frame::{Outcome, Ran};
use crate::transport::{CallFrame, Delivery};

/// What one side has.
pub(super) struct Half {
    segment: Segment,
    parcels: OwnedFd,
}

impl std::ops::Deref for Half {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        &self.segment
    }
}

/// Two mappings of one segment, and the two ends of a socket.
pub(super) fn mappings() -> (Half, Half) {
    let segment = Segment::create(SEGMENT_BYTES, COMMITTED).expect("memory");
    let descriptor = segment.descriptor().try_clone_to_owned().expect("a descriptor");
    let other = Segment::open(descriptor, SEGMENT_BYTES).expect("the same memory");
    let (here, there) = crate::sys::descriptors::packet_sockets().expect("two sockets");
    (Half { segment, parcels: here }, Half { segment: other, parcels: there })
}

/// The coordinator's end. Nobody looks after it but the test.
fn link_of(half: Half) -> Arc<RingLink> {
    link_with(half, Helper::new(|_| false))
}

fn link_with(half: Half, helper: Helper) -> Arc<RingLink> {
    RingLink::new(WorkerId(1), 1, half.segment, half.parcels, Collector::new(), helper)
}

fn ticket(number: u64) -> Ticket {
    Ticket { task: TaskId { number, slot: 0 }, attempt: 1 }
}

fn single(arguments: &[u8]) -> CallFrame<'_> {
    CallFrame {
        function: "",
        index: 0,
        calls: 1,
        is_pack: false,
        codec: CodecId::Postcard,
        is_measured: false,
        arguments,
        attachments: &[],
        shared: None,
    }
}

fn pack(arguments: &[u8], calls: u32) -> CallFrame<'_> {
    CallFrame { calls, is_pack: true, ..single(arguments) }
}

/// The arguments of a pack, each behind its length.
fn packed(calls: &[Vec<u8>]) -> Vec<u8> {
    let length = |call: &Vec<u8>| u16::try_from(call.len()).expect("a short call").to_le_bytes();
    calls.iter().flat_map(|call| [&length(call)[..], call].concat()).collect()
}

/// A worker in a thread: it returns the arguments, when it may.
struct Worker {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default)]
struct Progress {
    /// The numbers of the calls that have begun, in their order.
    begun: Vec<u64>,
    /// So many more may end.
    permits: usize,
    dies: bool,
}

impl Worker {
    fn start(half: Half, permits: usize) -> Self {
        let shared = Arc::new(Shared::default());
        shared.state.lock().permits = permits;
        let inside = Arc::clone(&shared);
        let serve = move || {
            RingEnd::new(half.segment, half.parcels, || {}).serve(|call, buffer| {
                inside.run(call.number);
                buffer.append(call.arguments).expect("memory");
                Ran::Plain
            });
        };
        Self { shared, thread: std::thread::spawn(serve) }
    }

    /// Let so many more calls end.
    fn permit(&self, calls: usize) {
        let mut state = self.shared.state.lock();
        state.permits = state.permits.saturating_add(calls);
        self.shared.changed.notify_all();
    }

    /// Let it die where it is, or at the next call. Which calls have begun.
    fn die(self, link: &RingLink) -> Vec<u64> {
        use crate::transport::Link;
        self.shared.state.lock().dies = true;
        self.shared.changed.notify_all();
        // If it has nothing to do, it ends in this way.
        link.retire();
        let _unwound = self.thread.join();
        std::mem::take(&mut self.shared.state.lock().begun)
    }

    /// Its call `number` was killed. Which calls have begun, that one included. It ends only if it has not
    /// found out yet; else it stays where it is for ever, and its thread is left behind.
    fn abandon(self, number: u64) -> Vec<u64> {
        loop {
            let mut state = self.shared.state.lock();
            if state.begun.contains(&number) {
                state.dies = true;
                self.shared.changed.notify_all();
                return state.begun.clone();
            }
            drop(state);
            std::thread::yield_now();
        }
    }

    /// Let it do what it has, and end. Which calls have begun.
    fn finish(self, link: &RingLink) -> Vec<u64> {
        use crate::transport::Link;
        self.permit(usize::MAX);
        link.retire();
        self.thread.join().expect("it does not panic");
        std::mem::take(&mut self.shared.state.lock().begun)
    }
}

impl Shared {
    fn run(&self, number: u64) {
        let mut state = self.state.lock();
        state.begun.push(number);
        while state.permits == 0 && !state.dies {
            state = crate::sync::wait_on(&self.changed, state, None);
        }
        if state.dies {
            drop(state);
            // Quietly: it is no failure.
            std::panic::resume_unwind(Box::new(()));
        }
        state.permits = state.permits.saturating_sub(1);
    }
}

/// Drain until there are so many deliveries.
fn drain_until(link: &RingLink, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        link.drain(false, &mut deliveries).expect("no lies");
        std::thread::yield_now();
    }
    deliveries
}

/// Ends the process if a test hangs.
fn watched(test: impl FnOnce()) {
    watched_as(std::thread::current().name().unwrap_or("a test").to_owned(), test);
}

fn watched_as(name: String, test: impl FnOnce()) {
    let (done, ended) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let timeout = std::sync::mpsc::RecvTimeoutError::Timeout;
        if ended.recv_timeout(Duration::from_mins(5)) == Err(timeout) {
            eprintln!("{name} hangs");
            std::process::abort();
        }
    });
    test();
    drop(done);
}
