//! `atasker bench`: what a process costs beside a thread on this machine, by task size and by transport.

use std::hint::black_box;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use atasker::{Call, Limits, Supervisor, TaskError, Transport};
use serde::Serialize;

use crate::failure::{self, Failure};
use crate::options::{BenchOptions, cores};
use crate::screen::Screen;
use crate::text::{align, show_rate};

/// Task sizes in microseconds of computation.
const SIZES_US: [u64; 6] = [0, 1, 10, 100, 1_000, 5_000];
/// A figure is taken from about this much time.
const LATENCY_FOR: Duration = Duration::from_millis(150);
const LATENCY_SAMPLES_MIN: usize = 20;
const BATCH_FOR: Duration = Duration::from_millis(150);
/// The best of so many batches counts, taken in turns, so that whatever else the machine does disturbs all
/// alike.
const ROUNDS: usize = 3;

/// Compute, without touching memory, for as long as `rounds` take.
#[atasker::task]
fn burn(rounds: u64) -> u64 {
    let mut state = rounds | 1;
    for _ in 0..rounds {
        // A linear congruential generator: each round needs the one before.
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    state
}

/// Whether that task is the benchmark's own, which is of no use in a list.
pub(crate) fn is_own(path: &str) -> bool {
    path == concat!(module_path!(), "::burn")
}

/// Measure, and print.
pub(crate) fn bench(options: &BenchOptions) -> Result<ExitCode, Failure> {
    let workers = options.workers.unwrap_or_else(cores);
    let screen = Screen::open();
    let peers = Peers::start(workers)?;
    let rounds_per_us = calibrate();
    let mut report = Report { workers, cores: cores(), sizes: Vec::new() };
    for task_us in SIZES_US {
        if let Some(screen) = &screen {
            screen.show(format!("measuring tasks of {}…", show_size(task_us)));
        }
        let rounds = (task_us as f64 * rounds_per_us) as u64;
        report.sizes.push(peers.measure(task_us, rounds)?);
    }
    if let Some(screen) = &screen {
        screen.clear();
    }
    let text = if options.json { report.as_json()? } else { report.as_text() };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::write("standard output", &error))?;
    Ok(ExitCode::from(failure::ALL_GOOD))
}

#[derive(Serialize)]
struct Report {
    workers: u32,
    cores: u32,
    sizes: Vec<Size>,
}

/// The figures for one size of tasks.
#[derive(Serialize)]
struct Size {
    task_us: u64,
    threads: Figures,
    rayon: Figures,
    /// Worker processes, by how calls reach them.
    ring: Figures,
    channel: Figures,
}

#[derive(Serialize)]
struct Figures {
    /// Of one task at a time, the median.
    round_trip_us: f64,
    /// Of many at a time.
    tasks_per_second: f64,
    /// The time that bare threads without any pool took for the same work, by the time that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    efficiency: Option<f64>,
}

/// Those that are compared, each with as many workers. Who is not measured sleeps.
struct Peers {
    workers: u32,
    threads: Supervisor,
    rayon: rayon::ThreadPool,
    ring: Supervisor,
    channel: Supervisor,
}

impl Peers {
    fn start(workers: u32) -> Result<Self, Failure> {
        let limits = Limits::new(workers);
        let threads = Supervisor::builder().threads(limits).min_threads(workers).start()?;
        let rayon = rayon::ThreadPoolBuilder::new().num_threads(workers as usize).build();
        let rayon =
            rayon.map_err(|error| Failure::Told(format!("can't start threads: {error}")))?;
        let processes =
            |transport| Supervisor::builder().transport(transport).processes(limits).start();
        let (ring, channel) = (processes(Transport::Ring)?, processes(Transport::Channel)?);
        Ok(Self { workers, threads, rayon, ring, channel })
    }

    fn measure(&self, task_us: u64, rounds: u64) -> Result<Size, Failure> {
        let threads_call = || Call::closure(move || burn(rounds));
        let in_process = |processes: &Supervisor| {
            round_trip_us(|| Ok(processes.submit(burn::call(rounds))?.wait().map(drop)?))
        };
        let threads_us =
            round_trip_us(|| Ok(self.threads.submit(threads_call())?.wait().map(drop)?))?;
        let rayon_us = round_trip_us(|| self.one_on_rayon(rounds))?;
        let (ring_us, channel_us) = (in_process(&self.ring)?, in_process(&self.channel)?);

        let mut ideal: f64 = 0.0;
        let mut rates: [Rate; 4] = Default::default();
        let [threads, rayon, ring, channel] = &mut rates;
        for _ in 0..ROUNDS {
            if task_us > 0 {
                ideal = self.ideal_rate(rounds).max(ideal);
            }
            threads.measure(|count| all(self.threads.map((0..count).map(|_| threads_call()))))?;
            rayon.measure(|count| {
                self.many_on_rayon(rounds, count);
                Ok(())
            })?;
            ring.measure(|count| all(self.ring.map((0..count).map(|_| burn::call(rounds)))))?;
            channel
                .measure(|count| all(self.channel.map((0..count).map(|_| burn::call(rounds)))))?;
        }
        let figures = |round_trip_us, rate: &Rate| Figures {
            round_trip_us,
            tasks_per_second: rate.best,
            efficiency: (task_us > 0).then(|| rate.best / ideal),
        };
        Ok(Size {
            task_us,
            threads: figures(threads_us, threads),
            rayon: figures(rayon_us, rayon),
            ring: figures(ring_us, ring),
            channel: figures(channel_us, channel),
        })
    }

    fn one_on_rayon(&self, rounds: u64) -> Result<(), Failure> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        self.rayon.spawn(move || answer.send(burn(rounds)).unwrap_or_default());
        answered.recv().map(|_| ()).map_err(|error| Failure::Told(error.to_string()))
    }

    fn many_on_rayon(&self, rounds: u64, count: u64) {
        self.rayon.in_place_scope(|scope| {
            for _ in 0..count {
                scope.spawn(|_| {
                    black_box(burn(rounds));
                });
            }
        });
    }

    /// Tasks per second of as many threads that do nothing but compute.
    fn ideal_rate(&self, rounds: u64) -> f64 {
        let started = Instant::now();
        let done: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.workers)
                .map(|_| {
                    scope.spawn(move || {
                        let mut count = 0_u64;
                        while started.elapsed() < BATCH_FOR {
                            // Several between two looks at the clock, which is not free.
                            for _ in 0..16 {
                                black_box(burn(rounds));
                            }
                            count += 16;
                        }
                        count
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
        });
        done as f64 / started.elapsed().as_secs_f64()
    }
}

fn all<T>(results: impl Iterator<Item = Result<T, TaskError>>) -> Result<(), Failure> {
    for result in results {
        result?;
    }
    Ok(())
}

/// The median, in microseconds.
fn round_trip_us(one: impl Fn() -> Result<(), Failure>) -> Result<f64, Failure> {
    one()?;
    let mut samples = Vec::new();
    let started = Instant::now();
    while samples.len() < LATENCY_SAMPLES_MIN || started.elapsed() < LATENCY_FOR {
        let begun = Instant::now();
        one()?;
        samples.push(begun.elapsed());
    }
    samples.sort_unstable();
    Ok(samples[samples.len() / 2].as_secs_f64() * 1e6)
}

/// Tasks per second of one peer, many at a time.
struct Rate {
    /// Tasks in a batch.
    count: u64,
    best: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { count: 64, best: 0.0 }
    }
}

impl Rate {
    /// Run one batch that is long enough.
    fn measure(&mut self, many: impl Fn(u64) -> Result<(), Failure>) -> Result<(), Failure> {
        loop {
            let begun = Instant::now();
            many(self.count)?;
            let took = begun.elapsed().as_secs_f64();
            // A little less will do, so that no batch is repeated for a small deviation.
            if took >= 0.8 * BATCH_FOR.as_secs_f64() {
                self.best = self.best.max(self.count as f64 / took);
                return Ok(());
            }
            let factor = BATCH_FOR.as_secs_f64() / took.max(1e-6);
            self.count = (self.count as f64 * factor.clamp(1.5, 16.0)) as u64;
        }
    }
}

/// How many rounds of [`burn`] take a microsecond: the best of several tries, as others may interfere.
fn calibrate() -> f64 {
    const ROUNDS: u64 = 1_000_000;
    let time = |_| {
        let begun = Instant::now();
        black_box(burn(ROUNDS));
        ROUNDS as f64 / (begun.elapsed().as_secs_f64() * 1e6)
    };
    (0..20).map(time).fold(1.0, f64::max)
}

fn show_size(task_us: u64) -> String {
    match task_us {
        0 => "empty".to_owned(),
        1_000.. => format!("{} ms", task_us / 1_000),
        _ => format!("{task_us} µs"),
    }
}

/// With about three digits.
fn show_us(time: f64) -> String {
    match time {
        time if time >= 9_999.5 => format!("{:.1} ms", time / 1_000.0),
        time if time >= 999.5 => format!("{:.2} ms", time / 1_000.0),
        time if time >= 99.5 => format!("{time:.0} µs"),
        time if time >= 9.95 => format!("{time:.1} µs"),
        time => format!("{time:.2} µs"),
    }
}

/// What a table shows of some figures, if it can be told.
type Cell = fn(&Figures) -> Option<String>;

impl Report {
    fn as_json(&self) -> Result<String, Failure> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::Told(format!("can't write the report as JSON: {error}")))?;
        text.push('\n');
        Ok(text)
    }

    fn as_text(&self) -> String {
        let mut text = format!(
            "{} workers of each kind, {} cores. Compare columns, not machines.\n\
             ring, channel: worker processes, by how calls reach them.\n",
            self.workers, self.cores
        );
        let tables: [(&str, Cell); 3] = [
            ("round trip, one at a time", |figures| Some(show_us(figures.round_trip_us))),
            ("tasks per second, many at a time", |figures| {
                Some(show_rate(figures.tasks_per_second))
            }),
            ("efficiency: share of what bare threads do", |figures| {
                figures.efficiency.map(|share| format!("{:.1} %", 100.0 * share))
            }),
        ];
        for (title, cell) in tables {
            let header = [title, "threads", "rayon", "ring", "channel"];
            let mut lines = vec![header.map(str::to_owned).to_vec()];
            for size in &self.sizes {
                let cells = [&size.threads, &size.rayon, &size.ring, &size.channel].map(cell);
                if cells.iter().any(Option::is_some) {
                    let mut line = vec![format!("  {}", show_size(size.task_us))];
                    line.extend(cells.map(Option::unwrap_or_default));
                    lines.push(line);
                }
            }
            text.push('\n');
            align(&mut text, &lines);
        }
        text
    }
}
