//! Threads against processes, by the size of the payload: there and back, with every byte flipped.
//!
//! `cargo bench -p atasker-benches --bench payload`

use std::time::Duration;

use atasker::{Limits, Supervisor, task};
use criterion::{BenchmarkId, Criterion, Throughput};

#[task]
fn flip(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

fn payloads(criterion: &mut Criterion) {
    let processes = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
    let rayon = Supervisor::builder().rayon(Limits::new(1)).start().expect("starts");
    let mut group = criterion.benchmark_group("payload");
    for size in [64_usize, 1 << 10, 16 << 10, 256 << 10, 1 << 20] {
        let bytes = vec![7_u8; size];
        group.throughput(Throughput::Bytes(size as u64));
        for (name, supervisor) in [("rayon", &rayon), ("processes", &processes)] {
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    let back = supervisor.submit(flip::call(&bytes)).expect("accepted").wait();
                    assert_eq!(back.expect("it runs")[size - 1], 248);
                });
            });
        }
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
    payloads(&mut criterion);
    criterion.final_summary();
}
