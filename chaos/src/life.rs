//! The life of one supervisor: start, lanes, end, and the checks when all is over.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use atasker::{Output, Stop, Supervisor, TaskStatus, Totals};

use crate::fleet::{Death, Fleet};
use crate::held::Held;
use crate::lane::{Lane, LaneEnd};
use crate::mischief::Stopped;
use crate::oracle::{Case, Circumstances, Ran, Told};
use crate::pending::Observed;
use crate::plan::{End, LifePlan};
use crate::record::Record;
use crate::report::Violation;
use crate::trace::{Happened, Trace};
use crate::watchdog;

/// Shorter than the library's own, so that a worker that was never woken is noticed soon.
const CLAIM_DEADLINE: Duration = Duration::from_secs(3);
/// How long what a supervisor held may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// What the threads of a life share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: LifePlan,
    pub(crate) patience: Duration,
    pub(crate) trace: Arc<Trace>,
    pub(crate) fleet: Arc<Fleet>,
    /// Counts whatever comes to an end.
    pub(crate) progress: AtomicU64,
    pub(crate) submitted: AtomicU64,
    pub(crate) kills: AtomicU64,
    pub(crate) stop_begun: AtomicBool,
    pub(crate) outstanding: Mutex<BTreeMap<u64, Option<u64>>>,
    pub(crate) stopped: Mutex<Stopped>,
    complaints: Mutex<Vec<(u64, String)>>,
    until: Option<Instant>,
}

impl Shared {
    /// Whether the lanes are to go on.
    pub(crate) fn wants_more(&self) -> bool {
        self.submitted.load(Ordering::Relaxed) < self.plan.tasks
            && self.until.is_none_or(|until| Instant::now() < until)
            && self.complaints.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn owes_kill(&self) -> bool {
        let owed = self.submitted.load(Ordering::Relaxed) / self.plan.tasks_per_kill;
        self.kills.load(Ordering::Relaxed) < owed
    }

    /// Something that is wrong without any oracle.
    pub(crate) fn complain(&self, number: u64, what: String) {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).push((number, what));
    }

    /// `id`: in the supervisor, if known.
    pub(crate) fn on_submitted(&self, number: u64, id: Option<u64>) {
        self.submitted.fetch_add(1, Ordering::Relaxed);
        if let Some(id) = id {
            self.progress.fetch_add(1, Ordering::Relaxed);
            self.trace.note_of(number, Happened::Submitted { id });
            let mut outstanding = self.outstanding.lock().unwrap_or_else(PoisonError::into_inner);
            outstanding.insert(number, Some(id));
        }
    }

    pub(crate) fn on_settled(&self, number: u64, observed: &Observed) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        if crate::plan::is_in_map(number) && matches!(observed, Observed::Value) {
            return;
        }
        self.trace.note_of(number, Happened::Ended { how: format!("{observed:?}") });
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}

/// What a life amounted to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) lives: u64,
    pub(crate) tasks: u64,
    pub(crate) attempts: u64,
    pub(crate) kills: u64,
    /// Worker processes that ended.
    pub(crate) deaths: u64,
    pub(crate) totals: [u64; STATES.len()],
}

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

fn in_order(totals: Totals) -> [u64; STATES.len()] {
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

/// What must hold of the process between lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before(pub(crate) Option<Held>);

/// What came of the lanes.
struct Over {
    told: Vec<Told>,
    unread: u64,
    /// As the supervisor counted, if it could be asked.
    totals: Option<[u64; STATES.len()]>,
}

pub(crate) fn live(
    plan: LifePlan,
    fleet: &Arc<Fleet>,
    until: Option<Instant>,
    patience: Duration,
    before: &Before,
) -> Result<Figures, Violation> {
    let mut record = Record::create().expect("there is room for the record");
    let trace = Arc::new(Trace::default());
    fleet.start_life(&trace);
    let shared = Shared {
        plan,
        patience,
        trace,
        fleet: Arc::clone(fleet),
        progress: AtomicU64::default(),
        submitted: AtomicU64::default(),
        kills: AtomicU64::default(),
        stop_begun: AtomicBool::default(),
        outstanding: Mutex::default(),
        stopped: Mutex::default(),
        complaints: Mutex::default(),
        until,
    };
    let over = run(&shared, &record);
    let lines = record.read().expect("the record can be read");
    drop(record);
    shared.stopped.lock().unwrap_or_else(PoisonError::into_inner).forget();
    let gone = before.0.as_ref().map_or(Ok(()), |held| held.await_again(GONE_WITHIN));
    let figures = check(&shared, &over, &Ran::of(&lines))?;
    gone.map_err(|what| Violation::new(&shared, 0, &[], format!("something is left: {what}")))?;
    Ok(figures)
}

fn start(plan: &LifePlan, record: &Record) -> Supervisor {
    let mut builder = Supervisor::builder()
        .transport(plan.transport)
        .processes(plan.limits)
        .claim_deadline(CLAIM_DEADLINE)
        .worker_output(Output::Silent)
        .worker_data(&record.folder().to_owned())
        .start_timeout(Duration::from_secs(60))
        // Many are killed that have not run anything.
        .restart_limit(1_000_000);
    if plan.recycles_on_panic {
        builder = builder.recycle_on_panic();
    }
    if let Some(bound) = plan.queue_bound {
        builder = builder.queue_bound(bound);
    }
    builder.start().expect("workers start")
}

/// Everything between the start and the end, under the eyes of the watchdog.
fn run(shared: &Shared, record: &Record) -> Over {
    let supervisor = Arc::new(start(&shared.plan, record));
    let weak = Arc::downgrade(&supervisor);
    std::thread::scope(|scope| {
        let (over, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            let describe = || weak.upgrade().map(|supervisor| watchdog::describe(&supervisor));
            watchdog::watch(shared, describe, &ended);
        });
        let end = run_lanes(shared, &supervisor);
        let totals = match shared.plan.end {
            End::Drop => None,
            _ => Some(in_order(supervisor.info().ended)),
        };
        begin_stop(shared);
        drop(supervisor);
        shared.progress.fetch_add(1, Ordering::Relaxed);
        shared.trace.note(Happened::StopDone);
        let LaneEnd { mut told, window, unread } = end;
        told.extend(window.into_iter().map(|under_way| under_way.settle(shared)));
        drop(over);
        Over { told, unread, totals }
    })
}

fn begin_stop(shared: &Shared) {
    shared.stop_begun.store(true, Ordering::SeqCst);
    shared.trace.note(Happened::StopBegun { how: format!("{:?}", shared.plan.end) });
}

/// Let them run, and stop the supervisor unless it is to be dropped.
fn run_lanes(shared: &Shared, supervisor: &Supervisor) -> LaneEnd {
    let LifePlan { lanes, end, settled, .. } = shared.plan;
    let stop = || {
        begin_stop(shared);
        match end {
            End::Drain => supervisor.stop(Stop::Drain),
            End::DrainFor(time) => supervisor.stop(Stop::DrainFor(time)),
            End::CancelQueued => supervisor.stop(Stop::CancelQueued),
            End::KillNow => supervisor.stop(Stop::KillNow),
            End::Drop => {}
        }
        shared.progress.fetch_add(1, Ordering::Relaxed);
    };
    let settle = |mut end: LaneEnd| {
        let window = std::mem::take(&mut end.window);
        end.told.extend(window.into_iter().map(|under_way| under_way.settle(shared)));
        end
    };
    let settles = settled || end != End::Drop;
    let ends = std::thread::scope(|scope| {
        let run = |lane| {
            let end = Lane::new(shared, supervisor, lane).run();
            if settles { settle(end) } else { end }
        };
        let lanes: Vec<_> = (0..lanes).map(|lane| scope.spawn(move || run(lane))).collect();
        if !settled && end != End::Drop {
            // While lanes are still submitting and waiting.
            while shared.wants_more() {
                std::thread::sleep(Duration::from_micros(300));
            }
            stop();
        }
        let join = |lane: std::thread::ScopedJoinHandle<'_, LaneEnd>| lane.join();
        lanes.into_iter().map(|lane| join(lane).expect("lanes do not panic")).collect::<Vec<_>>()
    });
    if settled {
        stop();
    }
    ends.into_iter().fold(LaneEnd::default(), |mut all, end| {
        all.told.extend(end.told);
        all.window.extend(end.window);
        all.unread += end.unread;
        all
    })
}

fn check(shared: &Shared, over: &Over, ran: &Ran) -> Result<Figures, Violation> {
    let complaints = shared.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some((number, what)) = complaints.into_iter().next() {
        return Err(Violation::new(shared, number, ran.attempts(number), what));
    }
    let deaths = shared.fleet.deaths();
    let mut by_pid: HashMap<u32, Vec<Death>> = HashMap::new();
    for death in &deaths {
        by_pid.entry(death.pid).or_default().push(death.clone());
    }
    let LifePlan { end, settled, .. } = shared.plan;
    let life = Circumstances { end, settled, deaths: by_pid };
    for told in &over.told {
        let (plan, attempts) = (shared.plan.task(told.number), ran.attempts(told.number));
        let case = Case { plan: &plan, told, attempts, life: &life };
        case.judge().map_err(|what| {
            let violation = Violation::new(shared, told.number, attempts, what);
            violation.with(what_happened_in(shared, told, ran))
        })?;
    }
    check_deaths(shared, &deaths, ran)?;
    check_repetitions(shared, ran)?;
    check_totals(shared, over)?;
    Ok(Figures {
        lives: 1,
        tasks: over.told.len() as u64,
        attempts: ran.attempt_count() as u64,
        kills: shared.kills.load(Ordering::Relaxed),
        deaths: deaths.len() as u64,
        totals: over.totals.unwrap_or_else(|| count(&over.told)),
    })
}

/// The events of the process in which a task is said to have crashed, and what ran there.
fn what_happened_in(shared: &Shared, told: &Told, ran: &Ran) -> Vec<String> {
    let Observed::Failed(error) = &told.observed else { return Vec::new() };
    let Some(crash) = error.crash() else { return Vec::new() };
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
fn check_deaths(shared: &Shared, deaths: &[Death], ran: &Ran) -> Result<(), Violation> {
    let mut deadly: HashMap<u32, u64> = HashMap::new();
    for (number, attempts) in ran.iter() {
        let plan = shared.plan.task(number);
        for (count, attempt) in (1..).zip(attempts) {
            if attempt.ended.is_none() && plan.conduct.in_attempt(count).is_deadly() {
                deadly.insert(attempt.pid, number);
            }
        }
    }
    for death in deaths {
        let caused = death.was_caused() || deadly.contains_key(&death.pid);
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

/// Exactly one terminal state each, by the supervisor's own count.
fn check_totals(shared: &Shared, over: &Over) -> Result<(), Violation> {
    let Some(totals) = over.totals else { return Ok(()) };
    let observed = count(&over.told);
    let accepted = over.told.len() as u64;
    let all: u64 = totals.iter().sum();
    let enough = totals.iter().zip(observed).all(|(total, observed)| *total >= observed);
    if enough && (accepted..=accepted + over.unread).contains(&all) {
        return Ok(());
    }
    let unread = over.unread;
    let what = format!(
        "{accepted} tasks were accepted and up to {unread} more, but {all} have ended: {totals:?}, of which \
         {observed:?} were seen ({STATES:?})"
    );
    Err(Violation::new(shared, 0, &[], what))
}
