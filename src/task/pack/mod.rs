//! Several calls of one function under way together: what `map` makes of small calls, so that each costs tens
//! of nanoseconds. To the core a pack is one task; every call of it has its own number and its own end.

mod ends;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::cell::{Function, Name};
use super::error::TaskError;
use super::id::TaskId;
use super::info::Ended;
use super::listener::Listener;
use super::options::Priority;
use crate::codec::small::FEW;
use crate::codec::{Bytes, CodecId};
use crate::sync::Mutex;
use crate::transport::{CallFrame, PackOutcomes};
pub(crate) use ends::News;

/// The calls of a pack, and what has come of them so far.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) name: Name,
    function: Function,
    index: u32,
    codec: CodecId,
    priority: Priority,
    calls: AtomicU32,
    sent: Mutex<Sent>,
    /// The number of the first call's task, and where the core keeps it.
    number: AtomicU64,
    slot: AtomicU32,
    state: Mutex<State>,
    /// So many calls from the first on have ended.
    ended_in_row: AtomicU32,
    /// Whether any behind these has.
    is_scattered: AtomicBool,
}

/// What its calls are given.
#[derive(Debug)]
struct Sent {
    /// Of all calls, each behind its length in two bytes.
    arguments: Vec<u8>,
    /// Where those of each call begin, and where the last end.
    starts: Vec<u32>,
}

#[derive(Debug, Default)]
struct State {
    /// Not taken yet by the one reader, if there is one.
    parts: Vec<Part>,
    /// Nanoseconds per call, of those that have ended.
    pace_ns: Option<u64>,
    /// Of the one reader.
    waker: Option<Waker>,
    /// Of handles, by the number of the call in the pack; as long as needed.
    listeners: Vec<Listener>,
    /// How calls ended whose outcome is no longer with the others.
    taken: Vec<(u32, Ended)>,
}

/// What came of the calls from number `first` on.
#[derive(Debug)]
pub(crate) struct Part {
    first: u32,
    pub(crate) ends: Ends,
    history: PartHistory,
    /// A call of the part, and where its outcome stands: where to go on looking for others.
    at: (u32, usize),
}

#[derive(Debug)]
pub(crate) enum Ends {
    Outcomes(PackOutcomes),
    Failed(Box<TaskError>),
}

/// What the calls of a part have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartHistory {
    pub(crate) pid: Option<u32>,
    pub(crate) queued: Duration,
    /// On the average.
    pub(crate) ran: Duration,
}

/// Collects the calls of a pack.
#[derive(Debug)]
pub(crate) struct PackBuilder {
    pub(crate) name: Name,
    pub(crate) function: Function,
    pub(crate) codec: CodecId,
    sent: Sent,
}

/// The bytes before the arguments of each call.
const LENGTH_BYTES: usize = size_of::<u16>();

impl Sent {
    fn with_capacity(calls: usize) -> Self {
        let mut starts = Vec::with_capacity(calls + 1);
        starts.push(0);
        Self { arguments: Vec::with_capacity(calls * 4 + LENGTH_BYTES + FEW), starts }
    }

    #[inline]
    fn calls(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    #[inline]
    fn has_room(&self, length: usize) -> bool {
        self.calls() < PackOutcomes::CALLS_MAX
            && self.arguments.len() + LENGTH_BYTES + length <= CallFrame::PACK_BYTES_MAX
    }

    #[inline]
    fn push(&mut self, arguments: &Bytes) {
        debug_assert!(self.has_room(arguments.len()));
        let length = (arguments.len() as u16).to_le_bytes();
        if let Some((few, count)) = arguments.few() {
            // Copying as many as there may be costs less than finding out how to copy as many as there are.
            let mut one = [0; LENGTH_BYTES + FEW];
            one[..LENGTH_BYTES].copy_from_slice(&length);
            one[LENGTH_BYTES..].copy_from_slice(few);
            let end = self.arguments.len() + LENGTH_BYTES + count;
            self.arguments.extend_from_slice(&one);
            self.arguments.truncate(end);
        } else {
            self.arguments.extend_from_slice(&length);
            self.arguments.extend_from_slice(arguments);
        }
        self.starts.push(self.arguments.len() as u32);
    }
}

impl PackBuilder {
    pub(crate) fn new(name: Name, function: Function, codec: CodecId, calls: usize) -> Self {
        Self { name, function, codec, sent: Sent::with_capacity(calls) }
    }

    #[inline]
    pub(crate) fn calls(&self) -> u32 {
        self.sent.calls()
    }

    /// Whether a call with arguments of this length can still be added.
    #[inline]
    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.sent.has_room(length)
    }

    #[inline]
    pub(crate) fn push(&mut self, arguments: &Bytes) {
        self.sent.push(arguments);
    }

    /// `index`: where the worker's registry has the function.
    pub(crate) fn finish(self, index: u32, priority: Priority) -> Arc<Pack> {
        let Self { name, function, codec, sent } = self;
        Arc::new(Pack {
            name,
            function,
            index,
            codec,
            priority,
            calls: AtomicU32::new(sent.calls()),
            sent: Mutex::new(sent),
            number: AtomicU64::new(0),
            slot: AtomicU32::new(u32::MAX),
            state: Mutex::default(),
            ended_in_row: AtomicU32::new(0),
            is_scattered: AtomicBool::new(false),
        })
    }
}

impl State {
    /// Whether the call has ended.
    fn has(&self, call: u32) -> bool {
        self.parts.iter().any(|part| part.has(call))
    }
}

impl Part {
    fn has(&self, call: u32) -> bool {
        call.wrapping_sub(self.first) < self.count()
    }

    fn calls(&self) -> Range<u32> {
        self.first..self.first + self.count()
    }

    fn count(&self) -> u32 {
        match &self.ends {
            Ends::Outcomes(outcomes) => outcomes.count(),
            Ends::Failed(_) => 1,
        }
    }
}

impl Pack {
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
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

    /// Where the worker's registry has the function.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Whether a call of this function, so encoded and with this priority, may join it.
    pub(crate) fn is_of(&self, function: &Function, codec: CodecId, priority: Priority) -> bool {
        self.codec == codec && self.priority == priority && self.function.is(function)
    }

    /// Whether a call with arguments of this length can still join it.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        self.sent.lock().has_room(length)
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

    fn add(
        self: &Arc<Self>,
        parts: impl IntoIterator<Item = Part>,
        pace_ns: Option<u64>,
    ) -> Option<News> {
        let mut state = self.state.lock();
        let old = state.parts.len();
        state.parts.extend(parts);
        state.pace_ns = pace_ns.or(state.pace_ns);
        let State { parts, listeners, .. } = &mut *state;
        let ended = parts[old..].iter().flat_map(Part::calls);
        let told = if listeners.is_empty() {
            Vec::new()
        } else {
            ended.filter_map(|call| take_listener(listeners, call)).collect::<Vec<_>>()
        };
        self.note_ends(&state.parts);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        (!told.is_empty()).then(|| News { pack: Arc::clone(self), listeners: told })
    }

    /// There are new parts.
    fn note_ends(&self, parts: &[Part]) {
        let mut in_row = self.ended_in_row.load(Ordering::Relaxed);
        while let Some(part) = parts.iter().find(|part| part.first == in_row) {
            in_row += part.count();
        }
        if parts.iter().any(|part| part.first > in_row) {
            self.is_scattered.store(true, Ordering::Release);
        }
        // Pairs with the acquire in `is_done`; the lock covers the outcomes themselves.
        self.ended_in_row.store(in_row, Ordering::Release);
    }
}

/// With the call that it is for, if anybody listens.
fn take_listener(listeners: &mut [Listener], call: u32) -> Option<(u32, Listener)> {
    let listener = std::mem::replace(listeners.get_mut(call as usize)?, Listener::Nobody);
    (!matches!(listener, Listener::Nobody)).then_some((call, listener))
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

    /// One more call joins it, which must not have been given out, and must have room. Its number in the pack.
    pub(crate) fn push(&mut self, arguments: &Bytes) -> u32 {
        let mut sent = self.pack.sent.lock();
        let call = sent.calls();
        debug_assert_eq!((self.first, self.calls, self.ended), (0, call, 0), "it is whole");
        sent.push(arguments);
        self.calls += 1;
        self.pack.calls.store(self.calls, Ordering::Relaxed);
        call
    }

    /// What the worker is sent.
    pub(crate) fn with_frame<R>(&self, use_it: impl FnOnce(CallFrame<'_>) -> R) -> R {
        let Pack { function, index, codec, sent, .. } = &*self.pack;
        let Sent { arguments, starts } = &*sent.lock();
        let ends = [self.first, self.first + self.calls];
        let [from, to] = ends.map(|call| starts[call as usize] as usize);
        use_it(CallFrame {
            function: function.name(),
            index: *index,
            codec: *codec,
            is_measured: false,
            calls: self.calls,
            is_pack: true,
            arguments: &arguments[from..to],
            shared: None,
            attachments: &[],
        })
    }

    /// Keep the first calls only. `None`: there are no others.
    pub(crate) fn split(&mut self, kept: u32) -> Option<Self> {
        let rest = self.calls.checked_sub(kept).filter(|&rest| rest > 0)?;
        self.calls = kept;
        let pack = Arc::clone(&self.pack);
        Some(Self { pack, first: self.first + kept, calls: rest, ended: 0 })
    }

    /// The next outcomes have arrived, after so many nanoseconds for all so far.
    pub(crate) fn on_outcomes(
        &mut self,
        outcomes: PackOutcomes,
        ran_ns: u64,
        pid: Option<u32>,
        queued: Duration,
    ) -> Option<News> {
        let first = self.first + self.ended;
        self.ended += outcomes.count();
        let pace_ns = ran_ns / u64::from(self.ended.max(1));
        let history = PartHistory { pid, queued, ran: Duration::from_nanos(pace_ns) };
        let part = Part { first, ends: Ends::Outcomes(outcomes), history, at: (0, 0) };
        self.pack.add([part], (ran_ns > 0).then_some(pace_ns))
    }

    /// How many calls have not ended.
    pub(crate) fn missing(&self) -> u32 {
        self.calls - self.ended
    }

    /// The calls that have not ended fail, each with an error of its own.
    pub(crate) fn fail(
        &mut self,
        history: PartHistory,
        error: impl Fn(TaskId) -> TaskError,
    ) -> Option<News> {
        let missing = self.first + self.ended..self.first + self.calls;
        self.ended = self.calls;
        let pack = Arc::clone(&self.pack);
        let parts = missing.map(|call| {
            let ends = Ends::Failed(Box::new(error(pack.id(call))));
            Part { first: call, ends, history, at: (0, 0) }
        });
        self.pack.add(parts, None)
    }
}
