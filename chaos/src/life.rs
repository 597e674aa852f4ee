//! The life of one supervisor: start, chapters, end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use atasker::{Output, Stop, Supervisor};

use crate::fleet::Fleet;
use crate::held::Held;
use crate::lane::{Lane, LaneEnd};
use crate::memory::Flat;
use crate::mischief::Stopped;
use crate::pending::Observed;
use crate::plan::{End, LifePlan, MUCH_TOO_LATE};
use crate::record::Record;
use crate::report::Violation;
use crate::staff;
use crate::trace::{Happened, Trace};
use crate::verdict::{Counted, Ledger, Over, in_order, judge};
use crate::watchdog;

/// How long what a supervisor held may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// For so many chapters a supervisor may still get what it keeps.
const WARM_UP: u64 = 4;
/// How long a thread that is to count a task's end may wait for a core.
const COUNTED_WITHIN: Duration = Duration::from_secs(10);

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
    /// How many are to be submitted until the end of this chapter.
    pub(crate) goal: AtomicU64,
    pub(crate) kills: AtomicU64,
    pub(crate) stop_begun: AtomicBool,
    pub(crate) outstanding: Mutex<BTreeMap<u64, Option<u64>>>,
    pub(crate) stopped: Mutex<Stopped>,
    /// One was stopped, and nobody continues it but the pool itself. That costs it seconds, and so is done once.
    pub(crate) stays_stopped: AtomicBool,
    /// What the end of a chapter waits for.
    pub(crate) awaited: Mutex<String>,
    pub(crate) complaints: Mutex<Vec<(u64, String)>>,
    until: Option<Instant>,
}

impl Shared {
    fn new(plan: LifePlan, fleet: &Arc<Fleet>, until: Option<Instant>, patience: Duration) -> Self {
        let trace = Arc::new(Trace::default());
        fleet.start_life(&trace);
        Self {
            plan,
            patience,
            trace,
            fleet: Arc::clone(fleet),
            progress: AtomicU64::default(),
            submitted: AtomicU64::default(),
            goal: AtomicU64::default(),
            kills: AtomicU64::default(),
            stop_begun: AtomicBool::default(),
            outstanding: Mutex::default(),
            stopped: Mutex::default(),
            stays_stopped: AtomicBool::default(),
            awaited: Mutex::default(),
            complaints: Mutex::default(),
            until,
        }
    }

    fn has_time(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether the lanes are to go on.
    pub(crate) fn wants_more(&self) -> bool {
        self.submitted.load(Ordering::Relaxed) < self.goal.load(Ordering::Relaxed)
            && self.has_time()
            && !self.is_wrong()
    }

    pub(crate) fn owes_kill(&self) -> bool {
        let owed = self.submitted.load(Ordering::Relaxed) / self.plan.tasks_per_kill;
        self.kills.load(Ordering::Relaxed) < owed
    }

    /// Whether something is known to be wrong.
    pub(crate) fn is_wrong(&self) -> bool {
        !self.complaints.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
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
        if observed.timed_out() && self.plan.task(number).timeout == Some(MUCH_TOO_LATE) {
            let what = "it ran until its timeout, though it should have been ended before";
            self.complain(number, what.to_owned());
        }
        self.trace.note_of(number, Happened::Ended { how: format!("{observed:?}") });
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}

/// What a life amounted to.
#[derive(Debug)]
pub(crate) struct Lived {
    pub(crate) ledger: Ledger,
    pub(crate) kills: u64,
    /// The memory from chapter to chapter, if there were enough of them.
    pub(crate) memory: Option<Flat>,
}

/// Have a supervisor live. `before`: what the process held between lives before, if that is to be compared.
pub(crate) fn live(
    plan: LifePlan,
    fleet: &Arc<Fleet>,
    until: Option<Instant>,
    patience: Duration,
    before: Option<&Held>,
) -> Result<Lived, Violation> {
    let mut record = Record::create().expect("there is room for the record");
    let shared = Shared::new(plan, fleet, until, patience);
    let (ledger, memory) = run(&shared, &mut record)?;
    drop(record);
    shared.stopped.lock().unwrap_or_else(PoisonError::into_inner).forget();
    let gone = before.map_or(Ok(()), |held| held.await_again(GONE_WITHIN));
    gone.map_err(|what| Violation::of_life(&shared, format!("something is left: {what}")))?;
    // What has happened is forgotten, so that it does not count as memory.
    fleet.start_life(&Arc::default());
    Ok(Lived { ledger, kills: shared.kills.load(Ordering::Relaxed), memory })
}

fn start(plan: &LifePlan, record: &Record) -> Supervisor {
    let mut builder = Supervisor::builder()
        .transport(plan.transport)
        .processes(plan.limits)
        .spares(plan.spares)
        .claim_deadline(plan.claim_deadline)
        .exit_timeout(plan.exit_timeout)
        .worker_output(Output::Silent)
        .worker_data(&record.folder().to_owned())
        .start_timeout(Duration::from_secs(60))
        // Many are killed that have not run anything.
        .restart_limit(1_000_000);
    if plan.looks_at_memory {
        // There is always so much.
        builder = builder.min_available_memory(1 << 20);
    }
    if plan.recycles_on_panic {
        builder = builder.recycle_on_panic();
    }
    if let Some(tasks) = plan.recycled_after_tasks {
        builder = builder.recycle_after_tasks(tasks);
    }
    if let Some(age) = plan.recycled_after {
        builder = builder.recycle_after(age);
    }
    if let Some(limit) = plan.crash_limit {
        builder = builder.crash_limit(limit);
    }
    if let Some(bound) = plan.queue_bound {
        builder = builder.queue_bound(bound);
    }
    builder.start().expect("workers start")
}

/// Everything between the start and the end, under the eyes of the watchdog.
fn run(shared: &Shared, record: &mut Record) -> Result<(Ledger, Option<Flat>), Violation> {
    let supervisor = Arc::new(start(&shared.plan, record));
    let weak = Arc::downgrade(&supervisor);
    std::thread::scope(|scope| {
        let (_over, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            let describe = || weak.upgrade().map(|supervisor| watchdog::describe(&supervisor));
            watchdog::watch(shared, describe, &ended);
        });
        let mut ledger = Ledger::default();
        let mut memory = None;
        let mut chapter = 0;
        while chapter + 1 < shared.plan.chapters && shared.has_time() {
            run_chapter(shared, &supervisor, chapter, record, &mut ledger)?;
            chapter += 1;
            if chapter == WARM_UP {
                memory = Some(Flat::within_life());
            }
            let checked = memory.as_mut().map_or(Ok(()), Flat::check);
            checked.map_err(|what| Violation::of_life(shared, what))?;
        }
        run_last_chapter(shared, supervisor, chapter, record, &mut ledger)?;
        Ok((ledger, memory))
    })
}

/// Lanes, until the supervisor has nothing more to do; and the oracle. Nothing is kept of it but numbers.
fn run_chapter(
    shared: &Shared,
    supervisor: &Supervisor,
    chapter: u64,
    record: &mut Record,
    ledger: &mut Ledger,
) -> Result<(), Violation> {
    let end = run_lanes(shared, supervisor, chapter, true, || {});
    // Of maps that were not read to their end, some calls may be on their way.
    while supervisor.info().processes.outstanding() > 0 {
        std::thread::sleep(Duration::from_micros(500));
    }
    let over = Over { told: end.told, unread: end.unread, is_last: false };
    judge(shared, &over, record, ledger)?;
    staff::await_complete(shared, supervisor, ledger);
    record.clear().expect("the record can be cleared");
    shared.trace.forget();
    shared.progress.fetch_add(1, Ordering::Relaxed);
    await_counted(supervisor, ledger).map_err(|what| Violation::of_life(shared, what))
}

/// The core lets go of a task a moment before it is counted, which nobody waits for whose handle was dropped.
fn await_counted(supervisor: &Supervisor, ledger: &Ledger) -> Result<(), String> {
    let until = Instant::now() + COUNTED_WITHIN;
    loop {
        let checked = ledger.check_against(&in_order(supervisor.info().ended));
        if checked.is_ok() || Instant::now() > until {
            return checked;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lanes, and meanwhile or after them the end of the supervisor; and the oracle.
fn run_last_chapter(
    shared: &Shared,
    supervisor: Arc<Supervisor>,
    chapter: u64,
    record: &mut Record,
    ledger: &mut Ledger,
) -> Result<(), Violation> {
    let LifePlan { end, settled, .. } = shared.plan;
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
    let settles = settled || end != End::Drop;
    let meanwhile = || {
        if !settled && end != End::Drop {
            // While lanes are still submitting and waiting.
            while shared.wants_more() {
                std::thread::sleep(Duration::from_micros(300));
            }
            stop();
        }
    };
    let lanes = run_lanes(shared, &supervisor, chapter, settles, meanwhile);
    if settled {
        stop();
    }
    let counted: Option<Counted> = (end != End::Drop).then(|| in_order(supervisor.info().ended));
    begin_stop(shared);
    drop(supervisor);
    shared.progress.fetch_add(1, Ordering::Relaxed);
    shared.trace.note(Happened::StopDone);
    let LaneEnd { mut told, window, unread } = lanes;
    told.extend(window.into_iter().map(|under_way| under_way.settle(shared)));
    judge(shared, &Over { told, unread, is_last: true }, record, ledger)?;
    let checked = counted.map_or(Ok(()), |counted| ledger.check_against(&counted));
    checked.map_err(|what| Violation::of_life(shared, what))
}

fn begin_stop(shared: &Shared) {
    shared.stop_begun.store(true, Ordering::SeqCst);
    shared.trace.note(Happened::StopBegun { how: format!("{:?}", shared.plan.end) });
}

/// Let them run, each in a thread. `settles`: each waits for what it has under way.
fn run_lanes(
    shared: &Shared,
    supervisor: &Supervisor,
    chapter: u64,
    settles: bool,
    meanwhile: impl FnOnce(),
) -> LaneEnd {
    let LifePlan { lanes, tasks, .. } = shared.plan;
    let goal = shared.submitted.load(Ordering::Relaxed) + tasks;
    shared.goal.store(goal, Ordering::Relaxed);
    let settle = |mut end: LaneEnd| {
        let window = std::mem::take(&mut end.window);
        end.told.extend(window.into_iter().map(|under_way| under_way.settle(shared)));
        end
    };
    let ends = std::thread::scope(|scope| {
        let run = |lane| {
            let end = Lane::new(shared, supervisor, lane).run();
            if settles { settle(end) } else { end }
        };
        // No two of a life have the same number.
        let numbers = chapter * lanes..(chapter + 1) * lanes;
        let lanes: Vec<_> = numbers.map(|lane| scope.spawn(move || run(lane))).collect();
        meanwhile();
        let join = |lane: std::thread::ScopedJoinHandle<'_, LaneEnd>| lane.join();
        lanes.into_iter().map(|lane| join(lane).expect("lanes do not panic")).collect::<Vec<_>>()
    });
    ends.into_iter().fold(LaneEnd::default(), |mut all, end| {
        all.told.extend(end.told);
        all.window.extend(end.window);
        all.unread += end.unread;
        all
    })
}
