//! Several calls of one function under way together: what `map` makes of small calls, so that each costs tens
//! of nanoseconds. To the core a pack is one task; every call of it has its own number and its own end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

use super::cell::{Function, Name};
use super::error::TaskError;
use super::id::TaskId;
use crate::codec::CodecId;
use crate::sync::Mutex;
use crate::transport::{CallFrame, PackOutcomes};

/// The calls of a pack, and what has come of them so far.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) name: Name,
    function: Function,
    index: u32,
    codec: CodecId,
    /// Of all calls, each behind its length in two bytes.
    arguments: Vec<u8>,
    /// Where those of each call begin, and where the last end.
    starts: Vec<u32>,
    /// The number of the first call's task, and where the core keeps it.
    number: AtomicU64,
    slot: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Not read yet.
    parts: Vec<Part>,
    /// Nanoseconds per call, of those that have ended.
    pace_ns: Option<u64>,
    waker: Option<Waker>,
}

/// What came of the calls from number `first` on.
#[derive(Debug)]
pub(crate) struct Part {
    first: u32,
    pub(crate) ends: Ends,
}

#[derive(Debug)]
pub(crate) enum Ends {
    Outcomes(PackOutcomes),
    Failed(Box<TaskError>),
}

/// Collects the calls of a pack.
#[derive(Debug)]
pub(crate) struct PackBuilder {
    pub(crate) name: Name,
    pub(crate) function: Function,
    pub(crate) codec: CodecId,
    arguments: Vec<u8>,
    starts: Vec<u32>,
}

/// The bytes before the arguments of each call.
const LENGTH_BYTES: usize = size_of::<u16>();

impl PackBuilder {
    pub(crate) fn new(name: Name, function: Function, codec: CodecId, calls: usize) -> Self {
        let mut starts = Vec::with_capacity(calls + 1);
        starts.push(0);
        Self { name, function, codec, arguments: Vec::with_capacity(calls * 4), starts }
    }

    #[inline]
    pub(crate) fn calls(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    /// Whether a call with arguments of this length can still be added.
    #[inline]
    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.calls() < PackOutcomes::CALLS_MAX
            && self.arguments.len() + LENGTH_BYTES + length <= CallFrame::PACK_BYTES_MAX
    }

    #[inline]
    pub(crate) fn push(&mut self, arguments: &[u8]) {
        debug_assert!(self.has_room(arguments.len()));
        self.arguments.extend_from_slice(&(arguments.len() as u16).to_le_bytes());
        self.arguments.extend_from_slice(arguments);
        self.starts.push(self.arguments.len() as u32);
    }

    /// `index`: where the worker's registry has the function.
    pub(crate) fn finish(self, index: u32) -> Arc<Pack> {
        let Self { name, function, codec, arguments, starts } = self;
        Arc::new(Pack {
            name,
            function,
            index,
            codec,
            arguments,
            starts,
            number: AtomicU64::new(0),
            slot: AtomicU32::new(u32::MAX),
            state: Mutex::default(),
        })
    }
}

impl Pack {
    pub(crate) fn calls(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    /// It was accepted under this number.
    pub(crate) fn set_id(&self, first: TaskId) {
        self.slot.store(first.slot, Ordering::Relaxed);
        self.number.store(first.number, Ordering::Relaxed);
    }

    /// The identity of call number `call`.
    pub(crate) fn id(&self, call: u32) -> TaskId {
        let number = self.number.load(Ordering::Relaxed) + u64::from(call);
        TaskId { number, slot: self.slot.load(Ordering::Relaxed) }
    }

    /// What has come of the calls from number `first` on, if anything has.
    pub(crate) fn take_part(&self, first: u32) -> Option<Part> {
        let mut state = self.state.lock();
        let at = state.parts.iter().position(|part| part.first == first)?;
        Some(state.parts.swap_remove(at))
    }

    pub(crate) fn has_part(&self, first: u32) -> bool {
        self.state.lock().parts.iter().any(|part| part.first == first)
    }

    /// Nanoseconds per call, as far as known.
    pub(crate) fn pace_ns(&self) -> Option<u64> {
        self.state.lock().pace_ns
    }

    /// Have `waker` woken when there is news. `false`: there is a part from call `first` on.
    pub(crate) fn wake_at_part(&self, first: u32, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        state.waker = Some(waker.clone());
        state.parts.iter().all(|part| part.first != first)
    }

    fn add(&self, parts: impl IntoIterator<Item = Part>, pace_ns: Option<u64>) {
        let mut state = self.state.lock();
        state.parts.extend(parts);
        state.pace_ns = pace_ns.or(state.pace_ns);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The calls of a pack that are one task to the core.
#[derive(Debug)]
pub(crate) struct PackSlice {
    pub(crate) pack: Arc<Pack>,
    first: u32,
    calls: u32,
    /// Of these, how many have ended.
    ended: u32,
}

impl PackSlice {
    pub(crate) fn whole(pack: Arc<Pack>) -> Self {
        let calls = pack.calls();
        Self { pack, first: 0, calls, ended: 0 }
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls
    }

    /// What the worker is sent.
    pub(crate) fn frame(&self) -> CallFrame<'_> {
        let Pack { function, index, codec, arguments, starts, .. } = &*self.pack;
        let ends = [self.first, self.first + self.calls];
        let [from, to] = ends.map(|call| starts[call as usize] as usize);
        CallFrame {
            function: function.name(),
            index: *index,
            codec: *codec,
            is_measured: false,
            calls: self.calls,
            is_pack: true,
            arguments: &arguments[from..to],
            shared: None,
            attachments: &[],
        }
    }

    /// Keep the first calls only. `None`: there are no others.
    pub(crate) fn split(&mut self, kept: u32) -> Option<Self> {
        let rest = self.calls.checked_sub(kept).filter(|&rest| rest > 0)?;
        self.calls = kept;
        let pack = Arc::clone(&self.pack);
        Some(Self { pack, first: self.first + kept, calls: rest, ended: 0 })
    }

    /// The next outcomes have arrived.
    pub(crate) fn on_outcomes(&mut self, outcomes: PackOutcomes, ran_ns: u64) {
        let first = self.first + self.ended;
        self.ended += outcomes.count();
        let pace_ns = ran_ns / u64::from(self.ended.max(1));
        let part = Part { first, ends: Ends::Outcomes(outcomes) };
        self.pack.add([part], (ran_ns > 0).then_some(pace_ns));
    }

    /// How many calls have not ended.
    pub(crate) fn missing(&self) -> u32 {
        self.calls - self.ended
    }

    /// The calls that have not ended fail, each with an error of its own.
    pub(crate) fn fail(&mut self, error: impl Fn(TaskId) -> TaskError) {
        let missing = self.first + self.ended..self.first + self.calls;
        self.ended = self.calls;
        let pack = Arc::clone(&self.pack);
        let parts = missing
            .map(|call| Part { first: call, ends: Ends::Failed(Box::new(error(pack.id(call)))) });
        self.pack.add(parts, None);
    }
}
