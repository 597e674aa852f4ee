//! Copy this file to find out what processes cost for *your* function: put it in the place of `render`, and
//! its arguments in the place of `PAGES`.
//!
//! `cargo bench -p atasker-benches --bench your_function`

use std::time::Duration;

use atasker::{Limits, Supervisor, task};
use criterion::Criterion;

const PAGES: u32 = 64;

/// The function in question.
#[task]
fn render(page: u32) -> Vec<u8> {
    (0..4096_u32).map(|at| (at.wrapping_mul(page) >> 7) as u8).collect()
}

fn compare(criterion: &mut Criterion) {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let threads = Supervisor::builder().rayon(Limits::new(cores)).start().expect("starts");
    let processes = Supervisor::builder().processes(Limits::new(cores)).start().expect("starts");
    let mut group = criterion.benchmark_group("a batch of calls");
    for (name, supervisor) in [("threads", &threads), ("processes", &processes)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                supervisor
                    .map((0..PAGES).map(render::call))
                    .map(|page| page.expect("it runs").len())
                    .sum::<usize>()
            });
        });
    }
    group.finish();
}

fn main() {
    atasker::worker::run_if_spawned(); // a benchmark is a program with workers, too
    let mut criterion =
        Criterion::default().measurement_time(Duration::from_secs(3)).configure_from_args();
    compare(&mut criterion);
    criterion.final_summary();
}
