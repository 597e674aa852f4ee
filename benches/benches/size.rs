//! Threads against processes, by the size of the task: one round trip, nothing else running.
//!
//! `cargo bench -p atasker-benches --bench size`

use std::time::Duration;

use atasker::{Call, Limits, Supervisor, task};
use criterion::{BenchmarkId, Criterion};

#[task]
fn work(nanoseconds: u64) -> u64 {
    atasker_benches::burn(Duration::from_nanos(nanoseconds));
    nanoseconds
}

fn round_trip(supervisor: &Supervisor, call: Call<u64>) -> u64 {
    supervisor.submit(call).expect("accepted").wait().expect("it runs")
}

fn sizes(criterion: &mut Criterion) {
    let processes = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
    let rayon = Supervisor::builder().rayon(Limits::new(1)).start().expect("starts");
    let mut group = criterion.benchmark_group("round trip");
    for (name, nanoseconds) in [
        ("empty", 0),
        ("1 µs", 1_000),
        ("10 µs", 10_000),
        ("100 µs", 100_000),
        ("1 ms", 1_000_000),
        ("5 ms", 5_000_000),
    ] {
        group.bench_function(BenchmarkId::new("threads", name), |bencher| {
            bencher.iter(|| {
                let closure = move || {
                    atasker_benches::burn(Duration::from_nanos(nanoseconds));
                    nanoseconds
                };
                round_trip(&rayon, Call::closure(closure))
            });
        });
        group.bench_function(BenchmarkId::new("rayon", name), |bencher| {
            bencher.iter(|| round_trip(&rayon, work::call(nanoseconds)));
        });
        group.bench_function(BenchmarkId::new("processes", name), |bencher| {
            bencher.iter(|| round_trip(&processes, work::call(nanoseconds)));
        });
    }
    group.finish();
}

fn main() {
    atasker::worker::run_if_spawned();
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    sizes(&mut criterion);
    criterion.final_summary();
}
