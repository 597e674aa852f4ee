//! Ten thousand jobs at 100 ms on one loop, beside the same on bare tokio: how late they run, and what that takes.
//! `cargo run --release -p atasker-benches --bin loops`
//!
//! Rounds are interleaved, so that whatever else the machine does disturbs both alike. In one half of them the jobs are
//! spread evenly over the interval, in the other all are due at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use atasker::{LoopStop, Schedule, Supervisor};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, interval_at};

const JOBS: u32 = 10_000;
const INTERVAL: Duration = Duration::from_millis(100);
/// Until all jobs have begun, and then some.
const WARM_UP: Duration = Duration::from_millis(700);
const LENGTH: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;

/// How far apart the jobs are due.
#[derive(Clone, Copy)]
enum Phase {
    Spread,
    AtOnce,
}

impl Phase {
    fn of(self, job: u32) -> Duration {
        match self {
            Self::Spread => INTERVAL * job / JOBS,
            Self::AtOnce => Duration::ZERO,
        }
    }
}

/// Counts how late jobs run, by hundredths of a millisecond.
struct Lateness(Vec<AtomicU32>);

const BUCKET: Duration = Duration::from_micros(10);

impl Lateness {
    /// For as long as the program runs, so that recording is no more than that.
    fn leaked() -> &'static Self {
        Box::leak(Box::new(Self((0..10_000).map(|_| AtomicU32::new(0)).collect())))
    }

    fn record(&self, due: Instant) {
        let late = Instant::now().saturating_duration_since(due);
        let bucket = (late.as_micros() / BUCKET.as_micros()) as usize;
        self.0[bucket.min(self.0.len() - 1)].fetch_add(1, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.0.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
    }

    /// In milliseconds, and how many there are.
    fn percentiles(&self) -> ([f64; 2], u64) {
        let counts: Vec<u64> =
            self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed).into()).collect();
        let total: u64 = counts.iter().sum();
        let percentile = |percent: u64| {
            let mut left = total * percent / 100;
            let at = counts.iter().position(|&count| {
                let here = left < count;
                left = left.saturating_sub(count);
                here
            });
            (at.unwrap_or(counts.len()) as f64 + 0.5) * BUCKET.as_secs_f64() * 1e3
        };
        ([percentile(50), percentile(99)], total)
    }
}

/// What one round gave.
struct Figures {
    median_ms: f64,
    p99_ms: f64,
    /// Of one core, in percent.
    cpu: f64,
}

/// Looks on while the jobs run.
fn observe(lateness: &Lateness) -> Figures {
    thread::sleep(WARM_UP);
    lateness.clear();
    let (started, used_before) = (std::time::Instant::now(), used());
    thread::sleep(LENGTH);
    let (used, length) = (used() - used_before, started.elapsed());
    let ([median_ms, p99_ms], runs) = lateness.percentiles();
    let expected = length.as_secs_f64() / INTERVAL.as_secs_f64() * f64::from(JOBS);
    assert!((runs as f64) > expected * 0.95, "{runs} runs, where {expected:.0} were due");
    Figures { median_ms, p99_ms, cpu: used / length.as_secs_f64() * 100.0 }
}

/// The processor time of this process, in seconds.
fn used() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn ours(phase: Phase) -> Figures {
    let lateness = Lateness::leaked();
    let supervisor = Supervisor::builder().start().expect("starts");
    let aloop = supervisor.create_loop("bench").expect("created");
    for job in 0..JOBS {
        let mut due = Instant::now() + phase.of(job);
        let schedule = Schedule::every(INTERVAL).first_after(INTERVAL + phase.of(job));
        let scheduled = aloop.schedule(schedule, move || {
            due += INTERVAL;
            async move { lateness.record(due) }
        });
        scheduled.expect("the loop is there");
    }
    let figures = observe(lateness);
    aloop.stop(LoopStop::Cancel);
    figures
}

fn bare(phase: Phase) -> Figures {
    let lateness = Lateness::leaked();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let spawner = runtime.handle().clone();
    let looping = thread::spawn(move || runtime.block_on(stopped));
    for job in 0..JOBS {
        let mut due = Instant::now() + INTERVAL + phase.of(job);
        spawner.spawn(async move {
            let mut interval = interval_at(due, INTERVAL);
            loop {
                interval.tick().await;
                lateness.record(due);
                due += INTERVAL;
            }
        });
    }
    let figures = observe(lateness);
    drop(stop);
    drop(looping.join().expect("it does not panic"));
    figures
}

fn median(rounds: &[Figures], figure: impl Fn(&Figures) -> f64) -> f64 {
    let mut all: Vec<f64> = rounds.iter().map(figure).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn report(title: &str, phase: Phase) {
    let (mut all_ours, mut all_bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        all_ours.push(ours(phase));
        all_bare.push(bare(phase));
    }
    println!("{title}");
    let row = |what: &str, unit: &str, figure: fn(&Figures) -> f64| {
        let (ours, bare) = (median(&all_ours, figure), median(&all_bare, figure));
        println!(
            "  {what:<18} {ours:>8.3} {unit:<2} bare tokio {bare:>8.3} {unit:<2} ours ÷ bare {:>6.2}",
            ours / bare
        );
    };
    row("lateness, median", "ms", |figures| figures.median_ms);
    row("lateness, p99", "ms", |figures| figures.p99_ms);
    row("processor time", "%", |figures| figures.cpu);
    println!();
}

fn main() {
    println!("{JOBS} jobs at {INTERVAL:?} on one loop, medians of {ROUNDS} rounds of {LENGTH:?}\n");
    report("spread over the interval", Phase::Spread);
    report("all due at once", Phase::AtOnce);
}
