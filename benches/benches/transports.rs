//! Threads against processes, by transport and by the size of the task: one round trip, nothing else running.
//!
//! `cargo bench -p atasker-benches --bench transports`

use std::time::Duration;

use atasker::Supervisor;
use atasker_benches::ours::{self, Transport};
use atasker_benches::{threads, work};
use criterion::{BenchmarkId, Criterion};

const SIZES: [(&str, u64); 6] =
    [("empty", 0), ("1 µs", 1), ("10 µs", 10), ("100 µs", 100), ("1 ms", 1_000), ("5 ms", 5_000)];

fn in_worker(supervisor: &Supervisor, steps: u32) {
    let task = supervisor.submit(ours::compute::call(1, steps)).expect("accepted");
    assert_eq!(task.wait().expect("it runs"), 2);
}

fn on_thread(supervisor: &Supervisor, steps: u32) {
    let task = supervisor.spawn_blocking(move || work::compute(1, steps)).expect("accepted");
    assert_eq!(task.wait().expect("it runs"), 2);
}

fn round_trips(criterion: &mut Criterion) {
    let transports = Transport::ALL.iter().map(|it| (it.name(), ours::supervisor(1, *it)));
    let transports: Vec<_> = transports.collect();
    let our_threads = ours::thread_supervisor(1);
    let rayon = threads::rayon(1);
    let (send, receive) = crossbeam_channel::bounded(1);
    let steps_per_us = work::steps_per_us();
    let mut group = criterion.benchmark_group("round trip");
    for (name, us) in SIZES {
        let steps = work::steps(Duration::from_micros(us), steps_per_us);
        group.bench_function(BenchmarkId::new("rayon spawn", name), |bencher| {
            bencher.iter(|| {
                let send = send.clone();
                rayon.spawn(move || send.send(work::compute(1, steps)).expect("it listens"));
                assert_eq!(receive.recv(), Ok(2));
            });
        });
        group.bench_function(BenchmarkId::new("atasker, threads", name), |bencher| {
            bencher.iter(|| on_thread(&our_threads, steps));
        });
        for (transport, supervisor) in &transports {
            group.bench_function(BenchmarkId::new(*transport, name), |bencher| {
                bencher.iter(|| in_worker(supervisor, steps));
            });
        }
    }
    group.finish();
}

fn main() {
    atasker_benches::serve_if_started_for_that();
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    round_trips(&mut criterion);
    criterion.final_summary();
}
