//! How punctual an interval worker is, beside tokio's interval and a thread that sleeps; and what a thousand
//! background workers cost that have nothing to do, and that have. `cargo run --release -p atasker-benches --bin ticks`

use std::sync::mpsc;
use std::time::{Duration, Instant};

use atasker::background::{MissedTicks, Timing};
use atasker::{BackgroundWorker, Stop, Supervisor};

const WORKERS: usize = 1_000;
const WATCHED: Duration = Duration::from_secs(10);

fn main() {
    for (interval, ticks) in [(Duration::from_millis(1), 3_000), (Duration::from_millis(10), 500)] {
        println!("{ticks} ticks at {interval:?}: how late each begins, in microseconds");
        println!("{:24}{:>8}{:>8}{:>8}{:>8}{:>12}", "", "median", "90 %", "99 %", "most", "drift");
        let thread = report("thread that sleeps", by_thread(interval, ticks), None);
        report("tokio's interval", by_tokio(interval, ticks), Some(thread));
        report("interval worker", by_worker(interval, ticks, false), Some(thread));
        report("interval worker, on loop", by_worker(interval, ticks, true), Some(thread));
    }
    println!("{WORKERS} background workers, watched for {WATCHED:?}");
    let supervisor = Supervisor::builder().start().expect("it starts");
    idle(&supervisor);
    let deadline = Instant::now() + Duration::from_secs(60);
    while supervisor.info().thread_count > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    let idle = Spent::over(WATCHED);
    println!("{:40}{:>10.3} ms of CPU{:>8} switches", "idle", idle.cpu_ms, idle.switches);
    supervisor.stop(Stop::Drain);

    let supervisor = Supervisor::builder().start().expect("it starts");
    for _ in 0..WORKERS {
        let ticks = BackgroundWorker::every(Duration::from_secs(1)).run(|_| ());
        drop(ticks.start(&supervisor).expect("accepted"));
    }
    let ours = Spent::over(WATCHED);
    print_ticks("interval workers at 1 s", &ours);
    supervisor.stop(Stop::Drain);
    let runtime = runtime();
    let guard = runtime.handle().clone();
    let thread = std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    for _ in 0..WORKERS {
        guard.spawn(async {
            let mut interval = tokio::time::interval(Duration::from_secs(1));
            loop {
                interval.tick().await;
            }
        });
    }
    print_ticks("tokio's intervals at 1 s, one thread", &Spent::over(WATCHED));
    // It has no end, and needs none.
    drop(thread);
}

/// What a worker of each kind is that waits for something.
fn idle(supervisor: &Supervisor) {
    let hour = Duration::from_secs(3600);
    for n in 0..WORKERS {
        let accepted = "the supervisor runs";
        match n % 4 {
            0 => drop(BackgroundWorker::on_event().run(|_| ()).start(supervisor).expect(accepted)),
            1 => {
                let queue = BackgroundWorker::queue().for_each(|_: u8, _| ());
                drop(queue.start(supervisor).expect(accepted));
            }
            2 => {
                drop(BackgroundWorker::every(hour).run(|_| ()).start(supervisor).expect(accepted));
            }
            _ => {
                let spaced = BackgroundWorker::timed(Timing::spaced(hour).first_after(hour));
                drop(spaced.run(|_| ()).start(supervisor).expect(accepted));
            }
        }
    }
}

/// What all threads of this process have used within a span of time.
struct Spent {
    cpu_ms: f64,
    switches: u64,
}

impl Spent {
    fn over(span: Duration) -> Self {
        let before = Self::so_far();
        std::thread::sleep(span);
        let after = Self::so_far();
        Self {
            cpu_ms: after.cpu_ms - before.cpu_ms,
            // One is this thread's own sleep.
            switches: after.switches.saturating_sub(before.switches).saturating_sub(1),
        }
    }

    fn so_far() -> Self {
        let mut spent = Self { cpu_ms: 0.0, switches: 0 };
        for task in std::fs::read_dir("/proc/self/task").expect("proc(5)").flatten() {
            let text = |file| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let nanoseconds: f64 = number(text("schedstat").split(' ').next());
            spent.cpu_ms += nanoseconds / 1e6;
            for line in text("status").lines().filter(|line| line.contains("ctxt_switches")) {
                spent.switches += number::<u64>(line.split('\t').nth(1));
            }
        }
        spent
    }
}

fn number<T: std::str::FromStr + Default>(text: Option<&str>) -> T {
    text.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

fn print_ticks(what: &str, spent: &Spent) {
    let ticks = WORKERS as f64 * WATCHED.as_secs_f64();
    println!(
        "{what:40}{:>10.3} ms of CPU{:>8} switches: {:.2} µs and {:.2} switches a tick",
        spent.cpu_ms,
        spent.switches,
        spent.cpu_ms * 1e3 / ticks,
        spent.switches as f64 / ticks
    );
}

/// How late each tick was, and by how much the last plan was off the first plus the intervals.
struct Ticks {
    late: Vec<Duration>,
    drift: Duration,
}

fn ticks(planned: &[(Instant, Instant)], interval: Duration) -> Ticks {
    let late = planned.iter().map(|(planned, begun)| *begun - *planned).collect();
    let (first, last) = (planned[0].0, planned[planned.len() - 1].0);
    let expected = first + interval * (planned.len() as u32 - 1);
    Ticks { late, drift: last.max(expected) - last.min(expected) }
}

/// Prints a line, with ratios to the median of `than`; the median in microseconds.
fn report(what: &str, ticks: Ticks, than: Option<f64>) -> f64 {
    let Ticks { mut late, drift } = ticks;
    late.sort_unstable();
    let at = |per_mille: usize| late[(late.len() - 1) * per_mille / 1000].as_secs_f64() * 1e6;
    let ratio = than.map_or(String::new(), |than| format!("   median × {:.2}", at(500) / than));
    println!(
        "{what:24}{:>8.0}{:>8.0}{:>8.0}{:>8.0}{:>12?}{ratio}",
        at(500),
        at(900),
        at(990),
        at(1000),
        drift
    );
    at(500)
}

fn by_thread(interval: Duration, count: usize) -> Ticks {
    let body = move || {
        let mut next = Instant::now() + interval;
        let tick = |_| {
            let planned = next;
            std::thread::sleep(planned.saturating_duration_since(Instant::now()));
            next += interval;
            (planned, Instant::now())
        };
        (0..count).map(tick).collect::<Vec<_>>()
    };
    ticks(&std::thread::spawn(body).join().expect("it does not panic"), interval)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it starts")
}

fn by_tokio(interval: Duration, count: usize) -> Ticks {
    let planned = runtime().block_on(async {
        let mut ticks = tokio::time::interval(interval);
        ticks.tick().await;
        let mut planned = Vec::with_capacity(count);
        for _ in 0..count {
            let tick = ticks.tick().await.into_std();
            planned.push((tick, Instant::now()));
        }
        planned
    });
    ticks(&planned, interval)
}

fn by_worker(interval: Duration, count: usize, on_loop: bool) -> Ticks {
    let supervisor = Supervisor::builder().start().expect("it starts");
    let (send, receive) = mpsc::channel();
    let tick = move |run: &atasker::background::Run| {
        let begun = Instant::now();
        send.send((run.planned_at().expect("a tick"), begun)).map_err(|_| "enough")
    };
    // As tokio's does.
    let timing = Timing::every(interval).first_after(interval).missed(MissedTicks::Burst);
    let worker = BackgroundWorker::timed(timing).on_error(|_, _| std::ops::ControlFlow::Break(()));
    let worker = if on_loop {
        worker.run_async(move |run| std::future::ready(tick(&run)))
    } else {
        worker.run(tick)
    };
    let _worker = worker.start(&supervisor).expect("accepted");
    let planned: Vec<_> = receive.iter().take(count).collect();
    ticks(&planned, interval)
}
