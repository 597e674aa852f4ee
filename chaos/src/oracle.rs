//! The oracle: what may have become of a task, given what was declared, what was done to it, and what really ran.

use std::collections::HashMap;
use std::time::Duration;

use atasker::{CrashReport, Quarantine, RetryOn, TaskError, TaskErrorKind, TimeLimit, Transport};

use crate::fleet::Death;
use crate::pending::Observed;
use crate::plan::{End, MUCH_TOO_LATE, TaskPlan, Work};
use crate::record::{Line, What};
use crate::tasks::Deed;

/// What the submitter knows of a task when its life is over.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) number: u64,
    /// Its number in the supervisor, if known.
    pub(crate) id: Option<u64>,
    /// Just before it was.
    pub(crate) submitted_ns: u64,
    pub(crate) cancelled: Cancelled,
    pub(crate) observed: Observed,
}

impl Told {
    /// The report of the crash that it ended with. It is written when its process has ended.
    pub(crate) fn crash(&self) -> Option<&CrashReport> {
        match &self.observed {
            Observed::Failed(error) => error.crash(),
            _ => None,
        }
    }
}

/// Whether somebody wanted it cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    No,
    /// It is said to have ended otherwise.
    TooLate,
    /// It is said to have ended by that.
    ItDid,
}

/// One attempt, as the worker noted it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) pid: u32,
    pub(crate) began_ns: u64,
    /// When the function was left, and whether by a panic.
    pub(crate) ended: Option<(u64, bool)>,
    id: u64,
    /// Which attempt it is, as the worker was told.
    count_told: u32,
    /// Which attempt it was by its own count.
    pub(crate) count: u64,
    overlapped: bool,
    garbled: bool,
    /// When it was seen that it had been asked to end.
    asked_ns: Option<u64>,
}

/// What ran, by the tasks' numbers.
#[derive(Debug, Default)]
pub(crate) struct Ran(HashMap<u64, Vec<Attempt>>);

impl Ran {
    pub(crate) fn of(lines: &[Line]) -> Self {
        let mut all: HashMap<u64, Vec<Attempt>> = HashMap::new();
        for line in lines {
            let attempts = all.entry(line.number).or_default();
            if line.what == What::Began {
                attempts.push(Attempt {
                    pid: line.pid,
                    began_ns: line.at_ns,
                    ended: None,
                    id: line.id,
                    count_told: line.attempt,
                    count: line.count,
                    overlapped: false,
                    garbled: false,
                    asked_ns: None,
                });
                continue;
            }
            let same = attempts.iter_mut().rev().find(|attempt| attempt.pid == line.pid);
            let Some(attempt) = same else { continue };
            match line.what {
                What::Began => {}
                What::Ended => attempt.ended = Some((line.at_ns, false)),
                What::Panicked => attempt.ended = Some((line.at_ns, true)),
                What::Overlapped => attempt.overlapped = true,
                What::Garbled => attempt.garbled = true,
                What::Asked => attempt.asked_ns = Some(line.at_ns),
            }
        }
        Self(all)
    }

    pub(crate) fn attempts(&self, number: u64) -> &[Attempt] {
        self.0.get(&number).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[Attempt])> {
        self.0.iter().map(|(number, attempts)| (*number, attempts.as_slice()))
    }

    pub(crate) fn attempt_count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

/// What holds for every task of a life.
#[derive(Debug)]
pub(crate) struct Circumstances {
    pub(crate) transport: Transport,
    pub(crate) end: End,
    /// Every task had ended before the supervisor did.
    pub(crate) settled: bool,
    /// Of tasks that have none of their own.
    pub(crate) crash_limit: Option<u32>,
    pub(crate) deaths: HashMap<u32, Vec<Death>>,
}

impl Circumstances {
    fn may_be_stopped(&self) -> bool {
        !self.settled && self.end.ends_tasks()
    }

    fn deaths_of(&self, pid: u32) -> &[Death] {
        self.deaths.get(&pid).map_or(&[], Vec::as_slice)
    }

    /// The death of the process in which an attempt ran.
    fn death_after(&self, attempt: &Attempt) -> Option<&Death> {
        self.deaths_of(attempt.pid).iter().find(|death| death.at_ns > attempt.began_ns)
    }

    fn killed_from_outside(&self, pid: u32) -> bool {
        self.deaths_of(pid).iter().any(|death| death.killed_from_outside)
    }
}

/// One task before the oracle.
pub(crate) struct Case<'a> {
    pub(crate) plan: &'a TaskPlan,
    pub(crate) told: &'a Told,
    pub(crate) attempts: &'a [Attempt],
    pub(crate) life: &'a Circumstances,
}

type Verdict = Result<(), String>;

fn expect(holds: bool, or_else: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(or_else()) }
}

impl Case<'_> {
    pub(crate) fn judge(&self) -> Verdict {
        self.judge_attempts()?;
        if self.told.cancelled == Cancelled::ItDid {
            let kind = self.error().map(TaskError::kind);
            expect(matches!(kind, Some(TaskErrorKind::Cancelled)), || {
                "`cancel` said that it did it, but it ended otherwise".to_owned()
            })?;
        }
        match &self.told.observed {
            Observed::Nothing => Ok(()),
            Observed::Silence => {
                expect(self.life.may_be_stopped(), || "its callback was never called".to_owned())
            }
            Observed::Wrong(what) => Err(format!("a wrong value: {what}")),
            Observed::Value => self.judge_value(),
            Observed::ReturnedError => self.judge_returned_error(),
            Observed::Failed(error) => self.judge_error(error),
        }
    }

    fn error(&self) -> Option<&TaskError> {
        match &self.told.observed {
            Observed::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// What the attempts say, whatever the outcome.
    fn judge_attempts(&self) -> Verdict {
        let retries = self.plan.retries.as_ref();
        let allowed = 1 + retries.map_or(0, |retries| retries.count as usize);
        let count = self.attempts.len();
        expect(count <= allowed, || format!("it ran {count} times, {allowed} allowed"))?;
        for (index, attempt) in self.attempts.iter().enumerate() {
            expect(!attempt.overlapped, || "two attempts overlapped".to_owned())?;
            // What it was lent an attempt before may have written to.
            let rewritten = index > 0 && matches!(self.plan.work, Work::Lent(_));
            expect(!attempt.garbled || rewritten, || {
                "its arguments were not those that were sent".to_owned()
            })?;
            let id = self.told.id.unwrap_or(attempt.id);
            expect(attempt.id == id, || format!("it ran as task {}, not {id}", attempt.id))?;
            self.judge_asked(attempt)?;
            self.judge_time(attempt)?;
            let least = index as u32 + 1;
            expect(attempt.count_told >= least, || {
                format!("attempt {least} was told to be {}", attempt.count_told)
            })?;
        }
        for (index, pair) in self.attempts.windows(2).enumerate() {
            self.judge_retry(index, &pair[0], &pair[1])?;
            self.judge_tries_after_crashes(&self.attempts[..=index])?;
        }
        match self.error() {
            Some(error) if !error.may_have_run() => {
                expect(count == 0, || "it is said not to have run, and it has".to_owned())
            }
            Some(error) => expect(count <= error.attempts() as usize, || {
                format!("{} attempts are said to have begun, {count} have", error.attempts())
            }),
            None => Ok(()),
        }
    }

    /// Only a soft timeout asks, and not before its time.
    fn judge_asked(&self, attempt: &Attempt) -> Verdict {
        let Some(asked_ns) = attempt.asked_ns else { return Ok(()) };
        let timeout = self.plan.soft_timeout;
        let since = Duration::from_nanos(asked_ns.saturating_sub(self.told.submitted_ns));
        expect(timeout.is_some_and(|timeout| since >= timeout), || {
            format!(
                "it was asked to end {since:?} after its submission, its soft timeout is {timeout:?}"
            )
        })
    }

    /// What another limit ends is over before its timeout, also if nobody asks what became of it.
    fn judge_time(&self, attempt: &Attempt) -> Verdict {
        let death = self.life.death_after(attempt).map(|death| death.at_ns);
        let over_ns = attempt.ended.map(|(at_ns, _)| at_ns).or(death);
        let ran_ns = over_ns.map_or(0, |at_ns| at_ns.saturating_sub(attempt.began_ns));
        let ran = Duration::from_nanos(ran_ns);
        let is_late = self.plan.timeout == Some(MUCH_TOO_LATE) && ran >= MUCH_TOO_LATE;
        expect(!is_late, || format!("it ran for {ran:?}, though another limit was to end it"))
    }

    fn crash_limit(&self) -> Option<u32> {
        self.plan.crash_limit.or(self.life.crash_limit)
    }

    /// How many of these attempts have certainly been held against the task.
    fn certain_crashes(&self, attempts: &[Attempt]) -> u32 {
        let may_be_killed = self.plan.timeout.is_some()
            || self.plan.cpu_limit.is_some()
            || self.told.cancelled != Cancelled::No
            || self.life.may_be_stopped();
        let has_crashed = |attempt: &&Attempt| {
            let death = self.life.death_after(attempt);
            attempt.ended.is_none() && death.is_some_and(|death| death.killed_because.is_none())
        };
        if may_be_killed { 0 } else { attempts.iter().filter(has_crashed).count() as u32 }
    }

    fn judge_tries_after_crashes(&self, attempts: &[Attempt]) -> Verdict {
        let (crashes, limit) = (self.certain_crashes(attempts), self.crash_limit());
        expect(limit.is_none_or(|limit| crashes < limit), || {
            format!("it was not quarantined after {crashes} crashes, the limit is {limit:?}")
        })
    }

    /// Why there was an attempt after this one, and whether this one was over.
    fn judge_retry(&self, index: usize, attempt: &Attempt, next: &Attempt) -> Verdict {
        let on = self.plan.retries.as_ref().map_or(&[][..], |retries| &retries.on);
        let deed = self.plan.conduct.in_attempt(attempt.count);
        let by_itself = match attempt.ended {
            Some((_, true)) => on.contains(&RetryOn::Panic),
            Some((_, false)) => deed == Deed::Fail && on.contains(&RetryOn::Error),
            None => false,
        };
        if by_itself {
            return Ok(());
        }
        let Some(death) = self.life.death_after(attempt) else {
            return Err(format!("attempt {} ran again though nothing had failed", index + 1));
        };
        // It may have died of itself just when its kill was won.
        let limited = self.plan.timeout.is_some() || self.plan.cpu_limit.is_some();
        // And so it may have been killed from outside when its time was up.
        let was_due = self.plan.timeout.is_some_and(|timeout| {
            u128::from(death.at_ns - attempt.began_ns) >= timeout.as_nanos()
        });
        let timed_out = limited && (!death.killed_from_outside || was_due);
        let for_memory = |why: &str| why.starts_with("Memory") && self.plan.memory_limit.is_some();
        let crashed = death.killed_from_outside
            || deed.is_deadly()
            || death.killed_because.as_deref().is_some_and(for_memory);
        let timed_out = timed_out || death.killed_because.as_deref() == Some("TimedOut");
        let allowed = (timed_out && on.contains(&RetryOn::Timeout))
            || (crashed && on.contains(&RetryOn::Crash));
        expect(allowed, || format!("a retry for another failure than {on:?}: {death:?}"))?;
        expect(death.at_ns < next.began_ns, || {
            format!("a retry began before process {} was known to be dead", attempt.pid)
        })
    }

    fn last(&self) -> Option<(&Attempt, Deed)> {
        let last = self.attempts.last()?;
        Some((last, self.plan.conduct.in_attempt(last.count)))
    }

    fn judge_value(&self) -> Verdict {
        let Some((last, deed)) = self.last() else {
            return Err("a value of a task that never ran".to_owned());
        };
        let left = matches!(last.ended, Some((_, false)));
        let fails = deed == Deed::Fail && self.plan.work == Work::Fallible;
        expect(left && deed.returns() && !fails, || format!("a value, though it was to {deed:?}"))
    }

    fn judge_returned_error(&self) -> Verdict {
        let Some((last, deed)) = self.last() else {
            return Err("an `Err` of a task that never ran".to_owned());
        };
        expect(deed == Deed::Fail, || format!("an `Err`, though it was to {deed:?}"))?;
        // Over a channel what was sent counts as an attempt, also if its worker died or was killed before it began.
        let attempts = match self.life.transport {
            Transport::Channel => last.count_told as usize,
            _ => self.attempts.len() + self.unseen_attempts(),
        };
        self.judge_end_of_retries(RetryOn::Error, attempts)
    }

    /// How many attempts may have begun in a worker that died before the function could note it.
    fn unseen_attempts(&self) -> usize {
        let (mut from_ns, mut count_told, mut unseen) = (self.told.submitted_ns, 0, 0);
        for attempt in self.attempts {
            let window = from_ns..attempt.began_ns;
            let skipped = attempt.count_told.saturating_sub(count_told + 1) as usize;
            let deaths = self.life.deaths.values().flatten();
            unseen += deaths.filter(|death| window.contains(&death.at_ns)).take(skipped).count();
            (from_ns, count_told) = (attempt.began_ns, attempt.count_told);
        }
        unseen
    }

    /// A failure that is to be repeated is the end only if there were enough attempts.
    fn judge_end_of_retries(&self, kind: RetryOn, attempts: usize) -> Verdict {
        let Some(retries) = &self.plan.retries else { return Ok(()) };
        let excused = self.told.cancelled != Cancelled::No || self.life.may_be_stopped();
        let repeated = retries.on.contains(&kind) && attempts <= retries.count as usize;
        expect(excused || !repeated, || {
            format!("it failed by {kind:?} in attempt {attempts} and was not repeated")
        })
    }

    fn judge_error(&self, error: &TaskError) -> Verdict {
        let attempts = error.attempts() as usize;
        match error.kind() {
            TaskErrorKind::Panicked(report) => {
                let message = format!("task {} panics as it was told", self.told.number);
                expect(report.message == message, || format!("it panicked: {}", report.message))?;
                let panicked =
                    self.last().is_some_and(|(last, _)| matches!(last.ended, Some((_, true))));
                expect(panicked, || "it is said to have panicked and has not".to_owned())?;
                self.judge_end_of_retries(RetryOn::Panic, attempts)
            }
            TaskErrorKind::Crashed(report) => {
                self.judge_crash(report)?;
                self.judge_tries_after_crashes(self.attempts)?;
                self.judge_end_of_retries(RetryOn::Crash, attempts)
            }
            TaskErrorKind::Quarantined(quarantine) => self.judge_quarantine(quarantine),
            TaskErrorKind::TimedOut { ran, limit: TimeLimit::Timeout, .. } => {
                let timeout = self.plan.timeout;
                expect(timeout.is_some_and(|timeout| *ran >= timeout), || {
                    format!("it timed out after {ran:?}, its timeout is {timeout:?}")
                })?;
                self.judge_end_of_retries(RetryOn::Timeout, attempts)
            }
            TaskErrorKind::TimedOut { limit: TimeLimit::Cpu, .. } => {
                expect(self.plan.cpu_limit.is_some(), || {
                    "it has used more CPU time than it may, though there was no limit".to_owned()
                })?;
                self.judge_end_of_retries(RetryOn::Timeout, attempts)
            }
            TaskErrorKind::Cancelled => expect(self.told.cancelled == Cancelled::ItDid, || {
                "it was cancelled, though nobody did that".to_owned()
            }),
            TaskErrorKind::Stopped => {
                expect(self.life.may_be_stopped(), || "it was not to be stopped".to_owned())?;
                let begun = !self.attempts.is_empty() && self.plan.retries.is_none();
                expect(!(begun && self.life.end == End::CancelQueued), || {
                    "a stop that cancels what is queued has ended what ran".to_owned()
                })
            }
            TaskErrorKind::Expired { waited } => {
                let timeout = self.plan.queue_timeout;
                expect(timeout.is_some_and(|timeout| *waited >= timeout), || {
                    format!("it expired after {waited:?}, its queue timeout is {timeout:?}")
                })?;
                expect(attempts == 0, || "it expired after it had begun".to_owned())
            }
            TaskErrorKind::Rejected { .. } if error.task_id().is_none() => {
                expect(!self.life.settled, || format!("it was refused: {error}"))
            }
            _ => Err(format!("an end that none may have here: {error}")),
        }
    }

    fn judge_quarantine(&self, quarantine: &Quarantine) -> Verdict {
        let (crashes, limit) = (quarantine.crashes(), self.crash_limit());
        expect(limit == Some(crashes.len() as u32), || {
            format!("{} crashes are held against it, its limit is {limit:?}", crashes.len())
        })?;
        let function = format!("::{}", self.plan.work.function());
        expect(quarantine.function().ends_with(&function), || {
            format!("what is kept is a call of {}, not of {function}", quarantine.function())
        })?;
        crashes.iter().try_for_each(|report| self.judge_crash(report))
    }

    fn judge_crash(&self, report: &CrashReport) -> Verdict {
        if let Some(excess) = report.memory_excess {
            let is_true = excess.used > excess.allowed && report.killed_because.is_some();
            return expect(is_true && self.plan.memory_limit == Some(excess.allowed), || {
                format!("its limit is {:?}, and it had {excess:?}", self.plan.memory_limit)
            });
        }
        let by_the_pool = report.killed_because.filter(|_| !self.life.may_be_stopped());
        expect(by_the_pool.is_none(), || format!("the pool killed it: {report}"))?;
        if self.life.killed_from_outside(report.pid) || self.life.may_be_stopped() {
            return Ok(());
        }
        let mut attempts = self.attempts.iter();
        let there = attempts
            .rfind(|attempt| attempt.pid == report.pid)
            .ok_or_else(|| format!("a crash of what never ran there: {report}"))?;
        let deed = self.plan.conduct.in_attempt(there.count);
        let own = there.ended.is_none() && deed.is_deadly();
        expect(own, || format!("a crash that it did not cause: {report}"))?;
        let cause = report.cause.to_string();
        let wanted = match deed {
            Deed::Abort | Deed::StackOverflow => "signal 6",
            Deed::NullWrite => "signal 11",
            Deed::KillItself => "signal 9",
            Deed::Exit(0) => "code 0",
            Deed::Exit(_) => "code 42",
            _ => "",
        };
        expect(cause.contains(wanted), || format!("{deed:?} is reported as: {report}"))
    }
}
