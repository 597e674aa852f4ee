//! What is checked when a chapter of a life is over: every task before the oracle, the deaths of workers, and the
//! supervisor's own counts.

use std::collections::HashMap;
use std::sync::PoisonError;

use atasker::{TaskStatus, Totals};

use crate::fleet::Death;
use crate::life::Shared;
use crate::oracle::{Case, Circumstances, Ran, Told};
use crate::pending::Observed;
use crate::plan::LifePlan;
use crate::record::Record;
use crate::report::Violation;
use crate::staff::Served;

/// The terminal states, as they are counted.
pub(crate) const STATES: [TaskStatus; 8] = [
    TaskStatus::Completed,
    TaskStatus::Panicked,
    TaskStatus::Crashed,
    TaskStatus::TimedOut,
    TaskStatus::Cancelled,
    TaskStatus::Expired,
    TaskStatus::Rejected,
    TaskStatus::Quarantined,
];

/// How many tasks have ended in each of the [`STATES`].
pub(crate) type Counted = [u64; STATES.len()];

pub(crate) fn in_order(totals: Totals) -> Counted {
    [
        totals.completed,
        totals.panicked,
        totals.crashed,
        totals.timed_out,
        totals.cancelled,
        totals.expired,
        totals.rejected,
        totals.quarantined,
    ]
}

/// What came of the lanes.
#[derive(Debug)]
pub(crate) struct Over {
    pub(crate) told: Vec<Told>,
    pub(crate) unread: u64,
    /// The supervisor has ended with it.
    pub(crate) is_last: bool,
}

/// The numbers of a life, chapter added to chapter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// Tasks that were accepted, as far as known.
    pub(crate) accepted: u64,
    /// Calls of maps that may have been accepted as well.
    unread: u64,
    pub(crate) attempts: u64,
    /// Worker processes that ended.
    pub(crate) deaths: u64,
    /// How tasks have ended, as far as known.
    pub(crate) seen: Counted,
    pub(crate) served: Served,
    /// Processes in which what kills has begun, and of whose end nobody has told yet, with the number of that task. A
    /// crash is told before the end of its process is.
    doomed: HashMap<u32, u64>,
}

impl Ledger {
    /// Exactly one terminal state each, by the supervisor's own count.
    pub(crate) fn check_against(&self, counted: &Counted) -> Result<(), String> {
        let Self { accepted, unread, seen, .. } = self;
        let all: u64 = counted.iter().sum();
        let enough = counted.iter().zip(seen).all(|(counted, seen)| counted >= seen);
        if enough && (*accepted..=accepted + unread).contains(&all) {
            return Ok(());
        }
        Err(format!(
            "{accepted} tasks were accepted and up to {unread} more, but {all} have ended: {counted:?}, of which \
             {seen:?} were seen ({STATES:?})"
        ))
    }

    /// But for what is known of processes.
    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.unread += other.unread;
        self.attempts += other.attempts;
        self.deaths += other.deaths;
        for (sum, number) in self.seen.iter_mut().zip(other.seen) {
            *sum += number;
        }
    }
}

/// Judge all that happened since the chapter before.
pub(crate) fn judge(
    shared: &Shared,
    over: &Over,
    record: &mut Record,
    ledger: &mut Ledger,
) -> Result<(), Violation> {
    let ran = Ran::of(&record.read().expect("the record can be read"));
    let complaints = shared.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((number, what)) = complaints.into_iter().next() {
        return Err(Violation::new(shared, number, ran.attempts(number), what));
    }
    for told in &over.told {
        // Waits until the end of its process has been told.
        let _report = told.crash();
    }
    let deaths = shared.fleet.take_deaths();
    let mut by_pid: HashMap<u32, Vec<Death>> = HashMap::new();
    for death in &deaths {
        by_pid.entry(death.pid).or_default().push(death.clone());
    }
    let LifePlan { transport, end, settled, crash_limit, .. } = shared.plan;
    let settled = settled || !over.is_last;
    let life = Circumstances { transport, end, settled, crash_limit, deaths: by_pid };
    for told in &over.told {
        let (plan, attempts) = (shared.plan.task(told.number), ran.attempts(told.number));
        let case = Case { plan: &plan, told, attempts, life: &life };
        case.judge().map_err(|what| {
            let violation = Violation::new(shared, told.number, attempts, what);
            violation.with(what_happened_in(shared, told, &ran))
        })?;
    }
    check_deaths(shared, &deaths, &ran, &mut ledger.doomed)?;
    check_repetitions(shared, &ran)?;
    ledger.served.add(&ran, &life.deaths);
    ledger.add(&Ledger {
        accepted: over.told.len() as u64,
        unread: over.unread,
        attempts: ran.attempt_count() as u64,
        deaths: deaths.len() as u64,
        seen: count(&over.told),
        ..Ledger::default()
    });
    Ok(())
}

/// The events of the process in which a task is said to have crashed, and what ran there.
fn what_happened_in(shared: &Shared, told: &Told, ran: &Ran) -> Vec<String> {
    let Some(crash) = told.crash() else { return Vec::new() };
    let mut lines = shared.trace.about(0, &[crash.pid]);
    let mut there: Vec<_> = ran
        .iter()
        .flat_map(|(number, attempts)| attempts.iter().map(move |attempt| (number, attempt)))
        .filter(|(_, attempt)| attempt.pid == crash.pid)
        .collect();
    there.sort_by_key(|(_, attempt)| attempt.began_ns);
    lines.extend(there.iter().rev().take(10).rev().map(|(number, attempt)| {
        let began = shared.trace.since_start(attempt.began_ns);
        format!("{began} in {}: task {number}: {attempt:?}", crash.pid)
    }));
    lines
}

/// No worker ends without a reason.
fn check_deaths(
    shared: &Shared,
    deaths: &[Death],
    ran: &Ran,
    doomed: &mut HashMap<u32, u64>,
) -> Result<(), Violation> {
    for (number, attempts) in ran.iter() {
        let plan = shared.plan.task(number);
        for attempt in attempts {
            if attempt.ended.is_none() && plan.conduct.in_attempt(attempt.count).is_deadly() {
                doomed.insert(attempt.pid, number);
            }
        }
    }
    for death in deaths {
        let caused = doomed.remove(&death.pid).is_some() || death.was_caused();
        let unexplained = || Err("a worker died of nothing that was done to it".to_owned());
        let checked = if caused { death.check() } else { unexplained() };
        checked.map_err(|what| {
            let about = shared.trace.about(0, &[death.pid]);
            Violation::new(shared, 0, &[], format!("{what}: {death:?}")).with(about)
        })?;
    }
    Ok(())
}

/// Tasks that nobody was told of, because their map was dropped, are not repeated either.
fn check_repetitions(shared: &Shared, ran: &Ran) -> Result<(), Violation> {
    for (number, attempts) in ran.iter() {
        let retries = shared.plan.task(number).retries.map_or(0, |retries| retries.count);
        if attempts.len() as u32 > 1 + retries {
            let what = format!("it ran {} times", attempts.len());
            return Err(Violation::new(shared, number, attempts, what));
        }
    }
    Ok(())
}

/// How many are known to have ended how.
fn count(told: &[Told]) -> [u64; STATES.len()] {
    STATES.map(|state| {
        let is_so = |told: &&Told| match &told.observed {
            Observed::Value | Observed::ReturnedError | Observed::Wrong(_) => {
                state == TaskStatus::Completed
            }
            Observed::Failed(error) => error.status() == state && error.task_id().is_some(),
            Observed::Nothing | Observed::Silence => false,
        };
        told.iter().filter(is_so).count() as u64
    })
}
