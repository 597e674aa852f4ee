//! What the core costs per task, by the length of the queue: it must not depend on it.
//! In the second group, also not on how much the rings hold.
//!
//! `cargo bench -p atasker-benches --bench admission`

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("submit, start and finish, by tasks queued");
    for queued in [1_usize, 1_000, 1_000_000] {
        let mut queue = atasker::__bench::Queue::new(queued);
        group.bench_function(BenchmarkId::from_parameter(queued), |bencher| {
            bencher.iter(|| queue.admit_and_finish(1));
        });
    }
    group.finish();
    let mut group =
        criterion.benchmark_group("submit and finish beside two full rings, by tasks queued");
    for queued in [1_000_usize, 1_000_000] {
        let mut rings = atasker::__bench::Rings::new(queued);
        group.bench_function(BenchmarkId::from_parameter(queued), |bencher| {
            bencher.iter_custom(|rounds| {
                let started = Instant::now();
                rings.submit_and_finish(rounds as usize);
                started.elapsed()
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
