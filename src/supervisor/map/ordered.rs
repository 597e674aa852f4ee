//! The results of many calls in their order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::packer::Packer;
use super::source::{Source, Taken, refusal, window};
use crate::codec::CodecId;
use crate::supervisor::run::judge;
use crate::supervisor::shared::Shared;
use crate::sync::Wish;
use crate::task::call::{Call, ReadResult};
use crate::task::cell::{Function, Payload, Stored};
use crate::task::error::{TaskError, TaskErrorKind};
use crate::task::handle::{TaskHandle, TaskOwner};
use crate::task::info::TaskStatus;
use crate::task::options::Priority;
use crate::task::pack::{Ends, Pack, PackBuilder};
use crate::task::wait::wait_for;
use crate::transport::{OutcomeFrame, PackOutcomes, Read};

/// The iterator of [`Supervisor::map`](crate::Supervisor::map).
///
/// Small calls of one function travel together, in *packs* of as many as are predicted to run for a
/// millisecond, so that each costs a fraction of what it does alone. Nothing is changed by that: each has its
/// own number and its own result, a crash costs the call that ran, and a pack is taken apart for more urgent
/// tasks and for workers that have nothing to do. Calls of which more is declared or said than a priority
/// (retries, a crash limit that it can reach, any limit of time, CPU or memory, a delay, a label or id) are submitted one
/// by one, and so are closures,
/// calls by name, and large calls.
///
/// [`next`](Iterator::next) submits, waits and decodes; nothing happens between two calls of it but that what
/// was submitted runs on.
pub struct Map<'s, I, T> {
    source: Source<I, T>,
    slots: VecDeque<Slot<T>>,
    /// Calls in `slots`, and in the pack that is being filled.
    unread: usize,
    packer: Packer,
    /// What the calls of the pack that is being filled have in common.
    kind: Option<(Priority, ReadResult<T>)>,
    /// Whether nothing was said of them that is not declared.
    is_plain: bool,
    /// That of the last pack.
    function: Option<Function>,
    window: usize,
    supervisor: std::marker::PhantomData<&'s ()>,
}

/// What waits for its turn.
enum Slot<T> {
    Running(TaskHandle<T>),
    Refused(TaskError),
    Pack(Reader<T>),
}

/// Reads the results of a pack.
struct Reader<T> {
    pack: Arc<Pack>,
    read: ReadResult<T>,
    codec: CodecId,
    /// The next call.
    next: u32,
    outcomes: PackOutcomes,
    /// Where the outcome of the next call stands, if it is among them.
    offset: usize,
}

impl<I: Iterator<Item = Call<T>>, T> Map<'_, I, T> {
    pub(crate) fn new(shared: &Arc<Shared>, calls: I) -> Self {
        let packer = Packer::new(window(shared), shared.process_places());
        Self {
            window: packer.window(),
            source: Source { calls: calls.fuse(), held: None, shared: Arc::clone(shared) },
            slots: VecDeque::new(),
            unread: 0,
            packer,
            kind: None,
            is_plain: false,
            function: None,
            supervisor: std::marker::PhantomData,
        }
    }

    /// How many calls may be on their way at most: running, queued, or ended and not read. At least one.
    ///
    /// Unless said, it is four per place of the larger pool (sixteen at least), and grows with quick calls to as
    /// many as keep the workers busy while this thread waits for a core: some ten milliseconds of work, which
    /// may be thousands of calls. A window that is said also limits packs, to a quarter of each worker's share.
    #[must_use]
    pub fn window(mut self, calls: usize) -> Self {
        self.window = calls.max(1);
        self.packer.fix_window(self.window);
        self
    }

    /// Submit calls until the window is full.
    fn fill(&mut self) {
        while self.unread < self.window {
            // What is held is held because it can't be packed.
            if self.source.held.is_none() {
                // Looked at where it is: a copy of what was just written is slow.
                let next = self.source.calls.next();
                let Some(call) = &next else { return self.flush() };
                if self.pack(call) {
                    if call.has_nothing_to_drop() {
                        std::mem::forget(next);
                    }
                    continue;
                }
                self.flush();
                self.source.held = next;
            }
            match self.source.take(self.slots.is_empty()) {
                Taken::Submitted(handle) => self.slots.push_back(Slot::Running(handle)),
                Taken::Refused(error) => self.slots.push_back(Slot::Refused(error)),
                Taken::Full | Taken::End => return,
            }
            self.unread += 1;
        }
    }

    /// Put a call into a pack, if it can be packed.
    #[inline(always)]
    fn pack(&mut self, call: &Call<T>) -> bool {
        // Most are like the one before.
        if let Some(pack) = self.packer.filling.as_mut().filter(|_| self.is_plain)
            && let Some(arguments) = call.plain_arguments(&pack.function, pack.codec)
            && pack.has_room(arguments.len())
        {
            pack.push(arguments);
            self.unread += 1;
            if self.packer.is_filled() {
                self.flush();
            }
            return true;
        }
        self.pack_another(call)
    }

    /// The first of its kind, or one with a priority of its own.
    fn pack_another(&mut self, call: &Call<T>) -> bool {
        let Some((function, codec, arguments)) =
            call.packable().filter(|_| self.source.shared.packs_calls())
        else {
            return false;
        };
        let fits = self.packer.filling.as_ref().zip(self.kind.as_ref()).is_some_and(
            |(pack, (priority, _))| {
                *priority == call.priority_wanted()
                    && pack.codec == codec
                    && pack.function.is(function)
                    && pack.has_room(arguments.len())
            },
        );
        if !fits {
            self.flush();
            if self.packer.pace_ns().is_none()
                && let Some(pace_ns) = self.source.shared.pace_of(function)
            {
                self.packer.expect(pace_ns);
                self.window = self.packer.window();
            }
            let calls = self.packer.calls_hint();
            let pack = PackBuilder::new(call.name.clone(), function.clone(), codec, calls);
            if !pack.has_room(arguments.len()) {
                return false;
            }
            self.packer.filling = Some(pack);
            self.kind = Some((call.priority_wanted(), call.read));
            self.is_plain = call.wanted.is_none();
            self.function = Some(function.clone());
        }
        if let Some(pack) = &mut self.packer.filling {
            pack.push(arguments);
        }
        self.unread += 1;
        if self.packer.is_filled() {
            self.flush();
        }
        true
    }

    /// Submit the pack that is being filled.
    fn flush(&mut self) {
        let Some((builder, (priority, read))) = self.packer.filling.take().zip(self.kind.take())
        else {
            return;
        };
        let (calls, name, codec) = (builder.calls(), builder.name.clone(), builder.codec);
        match self.source.shared.submit_pack(builder, priority) {
            Ok(pack) => self.slots.push_back(Slot::Pack(Reader {
                pack,
                read,
                codec,
                next: 0,
                outcomes: PackOutcomes::default(),
                offset: 0,
            })),
            Err(error) => {
                let refused = |_| Slot::Refused(refusal(name.clone(), &error));
                self.slots.extend((0..calls).map(refused));
            }
        }
    }
}

impl<I: Iterator<Item = Call<T>>, T> Iterator for Map<'_, I, T> {
    type Item = Result<T, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        // A few at a time, so that packs are made and submitted in one go.
        if self.unread < self.window - self.window / 4 {
            self.fill();
        }
        if self.slots.is_empty() {
            self.flush();
        }
        let result = match self.slots.front_mut()? {
            Slot::Pack(reader) => {
                if let Some(result) = reader.try_next() {
                    if reader.next == reader.pack.calls() {
                        let pace_ns = reader.pack.pace_ns();
                        self.slots.pop_front();
                        self.learn(pace_ns);
                    }
                    result
                } else {
                    return self.wait_for_pack();
                }
            }
            Slot::Running(_) => {
                self.flush();
                match self.slots.pop_front() {
                    Some(Slot::Running(handle)) => handle.wait(),
                    _ => return None,
                }
            }
            Slot::Refused(_) => match self.slots.pop_front() {
                Some(Slot::Refused(error)) => Err(error),
                _ => return None,
            },
        };
        self.unread -= 1;
        Some(result)
    }
}

impl<I: Iterator<Item = Call<T>>, T> Map<'_, I, T> {
    /// The front pack has no news: wait for it, then go on.
    fn wait_for_pack(&mut self) -> Option<Result<T, TaskError>> {
        // Nothing is held back while this thread waits.
        self.flush();
        let shared = Arc::clone(&self.source.shared);
        let Some(Slot::Pack(reader)) = self.slots.front_mut() else { return None };
        reader.wait(&*shared);
        self.next()
    }

    /// A pack has been read.
    fn learn(&mut self, pace_ns: Option<u64>) {
        if let Some(pace_ns) = pace_ns {
            self.packer.learn(pace_ns);
            self.packer.resize(self.source.shared.process_places());
            self.window = self.packer.window();
        }
    }
}

impl<T> Reader<T> {
    /// The result of the next call, if it has ended.
    #[inline]
    fn try_next(&mut self) -> Option<Result<T, TaskError>> {
        // Most are values.
        if let Some((bytes, offset)) = self.outcomes.value(self.offset) {
            let result = self.decode(bytes);
            self.offset = offset;
            self.next += 1;
            return Some(result);
        }
        self.next_other()
    }

    fn next_other(&mut self) -> Option<Result<T, TaskError>> {
        let Some((read, offset)) = self.outcomes.read(self.offset) else {
            return self.next_part();
        };
        let result = match read {
            Read::Value(bytes) => self.decode(bytes),
            Read::Extended(index) => {
                let outcome = self.outcomes.take_extended(index)?;
                self.judge(OutcomeFrame { outcome, ran_ns: 0 })
            }
            Read::Other(outcome) => self.judge(OutcomeFrame { outcome, ran_ns: 0 }),
        };
        self.offset = offset;
        self.next += 1;
        Some(result)
    }

    fn next_part(&mut self) -> Option<Result<T, TaskError>> {
        match self.pack.take_part(self.next)?.ends {
            Ends::Outcomes(outcomes) => {
                (self.outcomes, self.offset) = (outcomes, 0);
                self.try_next()
            }
            Ends::Failed(error) => {
                self.next += 1;
                Some(Err(*error))
            }
        }
    }

    fn wait(&self, owner: &dyn TaskOwner) {
        let wish = Wish {
            is_done: &|| self.pack.has_part(self.next),
            wake_when_done: &|waker| self.pack.wake_at_part(self.next, waker),
            until: None,
        };
        wait_for(Some(owner), &wish);
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, TaskError> {
        let ReadResult::Encoded(decode) = self.read else {
            return Err(self.undeliverable("it came back in another form than it was sent".into()));
        };
        match catch_unwind(AssertUnwindSafe(|| decode(self.codec, bytes))) {
            Ok(value) => value.map_err(|error| self.undeliverable(error.to_string())),
            Err(_) => Err(self.undeliverable("decoding it panicked".to_owned())),
        }
    }

    /// An outcome that is no plain value.
    fn judge(&self, frame: OutcomeFrame) -> Result<T, TaskError> {
        let stored = match judge(frame, || None).arrived.outcome {
            Ok(Payload::Encoded(value)) => Stored::Encoded { codec: self.codec, value },
            Ok(Payload::Value(value)) => Stored::Value(value),
            Err(kind) => return Err(self.error(kind)),
        };
        match catch_unwind(AssertUnwindSafe(|| self.read.read(stored))) {
            Ok(value) => value.map_err(|reason| self.undeliverable(reason)),
            Err(_) => Err(self.undeliverable("decoding it panicked".to_owned())),
        }
    }

    fn undeliverable(&self, reason: String) -> TaskError {
        self.error(TaskErrorKind::Undeliverable { reason })
    }

    fn error(&self, kind: TaskErrorKind) -> TaskError {
        // What was refused has not run.
        let attempts = u32::from(kind.status() != TaskStatus::Rejected);
        TaskError::new(Some(self.pack.id(self.next)), self.pack.name.clone(), attempts, kind)
    }
}

impl<I, T> Drop for Map<'_, I, T> {
    fn drop(&mut self) {
        if let (Some(function), Some(pace_ns)) = (&self.function, self.packer.pace_ns()) {
            let shared = &self.source.shared;
            shared.paces.learn_of(&shared.executor, function, pace_ns);
        }
        // The last first, so that none of them begins because one before it was cancelled.
        for slot in self.slots.iter().rev() {
            match slot {
                Slot::Running(handle) => _ = handle.cancel(),
                Slot::Pack(reader) => self.source.shared.cancel_pack(&reader.pack, reader.next),
                Slot::Refused(_) => {}
            }
        }
    }
}

super::debug_without_calls!(Map<'s, I, T>);
