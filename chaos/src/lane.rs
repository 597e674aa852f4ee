//! A thread that submits, cancels, waits and makes mischief, as its dice say.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atasker::TrySubmitError;
use atasker::{Call, Pool, SealedSlice, SharedSlice, SubmitError, Supervisor, TaskHandle, TaskId};
use rustix::process::Signal;

use crate::dice::{Dice, mix};
use crate::life::Shared;
use crate::mischief::{Victim, children};
use crate::oracle::{Cancelled, Told};
use crate::pending::{Check, Observed, Pending, block_on, pending};
use crate::plan::{self, TaskPlan, Work};
use crate::record::now_ns;
use crate::tasks;
use crate::trace::Happened;

/// What a lane has under way.
pub(crate) struct UnderWay {
    number: u64,
    id: TaskId,
    submitted_ns: u64,
    pending: Box<dyn Pending>,
    /// At which move of the lane it is cancelled.
    cancelled_at: Option<u64>,
    cancelled: Cancelled,
}

/// What a lane knows when it ends.
#[derive(Default)]
pub(crate) struct LaneEnd {
    pub(crate) told: Vec<Told>,
    /// Not awaited yet.
    pub(crate) window: Vec<UnderWay>,
    /// Calls of maps that were not read: some may have been submitted.
    pub(crate) unread: u64,
}

pub(crate) struct Lane<'a> {
    shared: &'a Shared,
    supervisor: &'a Supervisor,
    ordinal: u64,
    dice: Dice,
    /// How many tasks it has numbered.
    index: u64,
    moves: u64,
    window_max: usize,
    /// How many more workers are to be stopped for a time, at most.
    stops_left: u64,
    /// Some that have ended, the last of them.
    ended: VecDeque<TaskId>,
    end: LaneEnd,
    over: bool,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(shared: &'a Shared, supervisor: &'a Supervisor, lane: u64) -> Self {
        let stream = shared.plan.life << 16 | lane << 1;
        let mut dice = Dice::of(shared.plan.seed, stream);
        let window_max = dice.pick(&[1, 4, 30, 120]);
        let stops_left = if shared.plan.stops_workers { dice.below(4) } else { 0 };
        let end = LaneEnd::default();
        Self {
            shared,
            supervisor,
            ordinal: lane,
            dice,
            index: 0,
            moves: 0,
            window_max,
            stops_left,
            ended: VecDeque::new(),
            end,
            over: false,
        }
    }

    /// Until there were enough tasks, or the supervisor has stopped.
    pub(crate) fn run(mut self) -> LaneEnd {
        while !self.over && self.shared.wants_more() {
            self.moves += 1;
            match self.dice.below(100) {
                0..=3 => self.map(),
                4 => {
                    for _ in 0..self.dice.between(5, 40) {
                        self.submit();
                    }
                }
                5 => {
                    self.shrink(0);
                    std::thread::sleep(self.dice.micros(50, 4_000));
                }
                // One after another, so that both sides go to sleep, and nobody else wakes them.
                8 => {
                    for _ in 0..self.dice.between(2, 25) {
                        self.shrink(0);
                        self.submit();
                    }
                }
                9..=12 => self.cancel_ended(),
                21..=23 => self.burst(),
                6 if self.dice.one_in(5) => self.resize(),
                13..=20 if self.stops_left > 0 => {
                    self.stops_left -= 1;
                    self.stop_one();
                }
                _ => self.submit(),
            }
            self.pay_kills();
            self.cancel_due();
            self.shrink(self.window_max);
        }
        self.end
    }

    fn submit(&mut self) {
        let number = plan::number(self.ordinal, self.index, false);
        let plan = self.shared.plan.task(number);
        self.submit_one(number, plan);
    }

    /// Small calls of one function in a row, of which the pool may have several travel together.
    fn burst(&mut self) {
        let priority = self.dice.pick(&plan::PRIORITIES);
        let count = self.dice.pick(&[50, 200, 1_000]).min(self.shared.plan.tasks);
        for _ in 0..count {
            let number = plan::number(self.ordinal, self.index, true);
            // Who asks to be told ends the row.
            let ways = if self.dice.one_in(200) { &plan::WAYS } else { &plan::LATE_WAYS };
            let way = self.dice.pick(ways);
            let cancelled_after = self.dice.one_in(12).then(|| self.dice.below(4));
            let plan = self.shared.plan.task(number);
            self.submit_one(number, TaskPlan { priority, way, cancelled_after, ..plan });
            if self.dice.one_in(16) {
                self.cancel_due();
            }
            if self.dice.one_in(300) {
                self.pay_kills();
            }
        }
    }

    fn submit_one(&mut self, number: u64, plan: TaskPlan) {
        if self.over {
            return;
        }
        self.index += 1;
        let submitted_ns = now_ns();
        match self.submit_as_planned(number, &plan) {
            Ok(pending) => {
                let id = pending.id();
                self.shared.on_submitted(number, Some(id.number()));
                self.end.window.push(UnderWay {
                    number,
                    id,
                    submitted_ns,
                    pending,
                    cancelled_at: plan.cancelled_after.map(|after| self.moves + after),
                    cancelled: Cancelled::No,
                });
            }
            Err(error) => {
                self.over = true;
                let stopped = matches!(error, SubmitError::Stopped);
                if !(stopped && self.shared.stop_begun.load(Ordering::SeqCst)) {
                    self.shared.complain(number, format!("it was refused: {error}"));
                }
                self.shared.trace.note_of(number, Happened::Refused { why: error.to_string() });
            }
        }
    }

    fn submit_as_planned(
        &mut self,
        number: u64,
        plan: &TaskPlan,
    ) -> Result<Box<dyn Pending>, SubmitError> {
        let conduct = plan.conduct;
        match plan.work {
            Work::Value => {
                let check = right_value(mix(number));
                self.send(tasks::value::call(number, conduct), plan, check)
            }
            Work::Fallible => {
                let check = Box::new(move |value| match value {
                    Ok(value) if value == mix(number) => Observed::Value,
                    Err(error) if error == tasks::failure(number) => Observed::ReturnedError,
                    other => Observed::Wrong(format!("{other:?}")),
                });
                self.send(tasks::fallible::call(number, conduct), plan, check)
            }
            Work::Bytes(length) => {
                let sent = tasks::payload(number, length);
                let check = Box::new(move |value: Vec<u8>| {
                    right(value == tasks::payload(!number, length), || format!("{length} bytes"))
                });
                self.send(tasks::bytes::call(number, conduct, &sent), plan, check)
            }
            Work::Lent(length) => {
                let slice = SharedSlice::from_slice(&vec![mix(number); length]);
                let slice = slice.expect("there is memory for a buffer");
                let check = Box::new(move |slice: SharedSlice<u64>| match slice.to_vec() {
                    Ok(words) => right(words == vec![mix(!number); length], || {
                        format!("{} words beginning with {:?}", words.len(), words.first())
                    }),
                    Err(error) => Observed::Wrong(format!("a buffer that can't be read: {error}")),
                });
                self.send(tasks::lent::call(number, conduct, slice), plan, check)
            }
            Work::Sealed(length) => {
                let slice = SealedSlice::from_slice(&vec![mix(number); length]);
                let slice = slice.expect("there is memory for a buffer");
                let check = right_value(mix(number));
                self.send(tasks::sealed::call(number, conduct, slice), plan, check)
            }
        }
    }

    fn send<T: Send + 'static>(
        &mut self,
        mut call: Call<T>,
        plan: &TaskPlan,
        check: Check<T>,
    ) -> Result<Box<dyn Pending>, SubmitError> {
        call = call.priority(plan.priority);
        if let Some(timeout) = plan.timeout {
            call = call.timeout(timeout);
        }
        if let Some(timeout) = plan.soft_timeout {
            call = call.soft_timeout(timeout);
        }
        if let Some(limit) = plan.cpu_limit {
            call = call.cpu_limit(limit);
        }
        if let Some(bytes) = plan.memory_limit {
            call = call.memory_limit(bytes);
        }
        if let Some(limit) = plan.crash_limit {
            call = call.crash_limit(limit);
        }
        if let Some(timeout) = plan.queue_timeout {
            call = call.queue_timeout(timeout);
        }
        if let Some(delay) = plan.delay {
            call = call.delay(delay);
        }
        if let Some(retries) = &plan.retries {
            let on = retries.on.iter().copied();
            call = call.retries(retries.count).retry_on(on).backoff(retries.backoff);
        }
        Ok(pending(self.hand_in(call)?, plan.way, check))
    }

    /// By one of the ways there are.
    fn hand_in<T>(&mut self, call: Call<T>) -> Result<TaskHandle<T>, SubmitError> {
        match self.dice.below(6) {
            0 => match self.supervisor.try_submit(call) {
                Ok(handle) => Ok(handle),
                Err(TrySubmitError::QueueFull(call)) => self.supervisor.submit(call),
                Err(TrySubmitError::Refused(error)) => Err(error),
                Err(other) => {
                    self.shared.complain(0, format!("another error of try_submit: {other}"));
                    Err(SubmitError::QueueFull)
                }
            },
            1 => block_on(self.supervisor.submit_async(call)),
            _ => self.supervisor.submit(call),
        }
    }

    /// Many small calls through an iterator, which may be dropped before its end.
    fn map(&mut self) {
        let count = self.dice.pick(&[10, 60, 300, 1_500, 4_000]).min(self.shared.plan.tasks);
        let read = if self.dice.one_in(6) { self.dice.below(count) } else { count };
        let priority = self.dice.pick(&plan::PRIORITIES);
        let first = self.index;
        self.index += count;
        let lane = self.ordinal;
        let number = |index| plan::number(lane, first + index, true);
        let shared = self.shared;
        let calls = (0..count).map(|index| {
            let number = number(index);
            tasks::value::call(number, shared.plan.task(number).conduct).priority(priority)
        });
        self.shared.trace.note_of(number(0), Happened::Mapped { calls: count });
        let results = self.supervisor.map(calls).take(read as usize);
        for (index, result) in (0..).zip(results) {
            let number = number(index);
            self.shared.on_submitted(number, None);
            let observed = result.map_or_else(Observed::Failed, right_value(mix(number)));
            let refused = matches!(&observed, Observed::Failed(error) if error.task_id().is_none());
            if refused {
                // Nothing more is accepted.
                self.over = true;
                self.end.unread += count - index;
                self.shared.on_settled(number, &observed);
                break;
            }
            self.pay_kills();
            let (id, submitted_ns, cancelled) = (None, 0, Cancelled::No);
            let told = Told { number, id, submitted_ns, cancelled, observed };
            self.shared.on_settled(number, &told.observed);
            self.end.told.push(told);
        }
        self.end.unread += count - read;
    }

    fn resize(&mut self) {
        let limits = plan::limits(&mut self.dice);
        self.shared.trace.note(Happened::Resized { limits: format!("{limits:?}") });
        if let Err(error) = self.supervisor.resize(Pool::Processes, limits) {
            self.shared.complain(0, format!("resizing: {error}"));
        }
    }

    /// A worker from outside, one that runs something if possible. `any`: any child, ready or not.
    fn victim(&mut self, any: bool) -> Option<Victim> {
        let mut pids = if any {
            children()
        } else {
            let workers = self.supervisor.info().workers;
            let busy = !self.dice.one_in(4);
            let wanted = workers.iter().filter(|worker| !busy || worker.task.is_some());
            wanted.filter_map(|worker| worker.pid).collect()
        };
        while !pids.is_empty() {
            let pid = pids.swap_remove(self.dice.below(pids.len() as u64) as usize);
            if let Some(victim) = Victim::open(pid) {
                return Some(victim);
            }
        }
        None
    }

    fn pay_kills(&mut self) {
        while self.shared.owes_kill() {
            let any = self.dice.one_in(10);
            let Some(victim) = self.victim(any) else { return };
            self.shared.fleet.mark_killed(victim.pid);
            self.shared.trace.note(Happened::Killed { pid: victim.pid });
            if victim.signal(Signal::KILL) {
                self.shared.kills.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn stop_one(&mut self) {
        let may_stay = self.shared.plan.copes_with_stopped();
        let for_good = may_stay && !self.shared.stays_stopped.swap(true, Ordering::Relaxed);
        let any = !for_good && self.dice.one_in(10);
        let Some(victim) = self.victim(any) else { return };
        let time = match self.dice.below(8) {
            _ if for_good => Duration::from_secs(86_400),
            0 => Duration::from_secs(5),
            _ => self.dice.micros(100, 200_000),
        };
        self.shared.fleet.mark_stopped(victim.pid);
        let micros = time.as_micros() as u64;
        self.shared.trace.note(Happened::Stopped { pid: victim.pid, micros });
        let mut stopped = self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.stop(victim, time);
    }

    fn cancel_due(&mut self) {
        for under_way in &mut self.end.window {
            if under_way.cancelled_at.is_some_and(|at| at <= self.moves) {
                under_way.cancelled_at = None;
                let it_did = under_way.pending.cancel();
                let number = under_way.number;
                self.shared.trace.note_of(number, Happened::Cancelled { it_did });
                under_way.cancelled = if it_did { Cancelled::ItDid } else { Cancelled::TooLate };
            }
        }
    }

    /// What has ended stays as it is, and nobody else is meant, whoever is where it was.
    fn cancel_ended(&mut self) {
        let Some(id) = self.ended.pop_front() else { return };
        if self.supervisor.cancel(id) {
            let what = format!("a task that had ended was cancelled, in the supervisor {id}");
            self.shared.complain(0, what);
        }
    }

    /// Wait until no more are under way.
    fn shrink(&mut self, left: usize) {
        while self.end.window.len() > left {
            let last = self.end.window.len() as u64;
            // Mostly the oldest, so that none is left for good.
            let next = if self.dice.one_in(4) { self.dice.below(last) } else { 0 };
            let under_way = self.end.window.remove(next as usize);
            let id = under_way.id;
            let told = under_way.settle(self.shared);
            if !matches!(told.observed, Observed::Nothing) {
                self.ended.push_back(id);
                self.ended.truncate(8);
            }
            self.end.told.push(told);
        }
    }
}

impl UnderWay {
    pub(crate) fn settle(self, shared: &Shared) -> Told {
        let Self { number, id, submitted_ns, pending, cancelled, .. } = self;
        if shared.is_wrong() {
            // Nobody asks any more what became of it.
            pending.cancel();
        }
        let observed = pending.settle();
        shared.on_settled(number, &observed);
        Told { number, id: Some(id.number()), submitted_ns, cancelled, observed }
    }
}

fn right_value(wanted: u64) -> Check<u64> {
    Box::new(move |value| right(value == wanted, || format!("{value} instead of {wanted}")))
}

fn right(is_right: bool, else_what: impl FnOnce() -> String) -> Observed {
    if is_right { Observed::Value } else { Observed::Wrong(else_what()) }
}
