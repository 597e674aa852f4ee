//! What it costs a task in a worker process to say where it is, and to ask whether it is to end.
//! `cargo run --release -p atasker-benches --bin said`

use std::hint::black_box;
use std::time::Instant;

use atasker::{Limits, Supervisor, task};

const ROUNDS: usize = 11;
const TIMES: u64 = 200_000;

/// What is measured.
const KINDS: [&str; 4] = [
    "breadcrumb!(\"a text\")",
    "breadcrumb!(\"block {n} of {total}\")",
    "progress(done, total)",
    "current().is_cancelled()",
];

/// Nanoseconds for each of so many times.
#[task]
fn say(kind: usize, times: u64) -> f64 {
    let start = Instant::now();
    for n in 0..times {
        match kind {
            0 => atasker::breadcrumb!("a text"),
            1 => atasker::breadcrumb!("block {n} of {times}"),
            2 => atasker::progress(n, times),
            _ => _ = black_box(atasker::current().is_cancelled()),
        }
    }
    start.elapsed().as_nanos() as f64 / times as f64
}

#[atasker::main]
fn main() {
    let builder = Supervisor::builder().processes(Limits::new(1));
    let supervisor = builder.start().expect("workers start");
    println!("| in a task | ns | spread |\n|---|---:|---:|");
    for (kind, name) in KINDS.iter().enumerate() {
        let once = |_| supervisor.submit(say::call(kind, TIMES)).expect("accepted").wait();
        let mut all: Vec<f64> = (0..ROUNDS).map(|n| once(n).expect("it runs")).collect();
        all.sort_by(f64::total_cmp);
        println!("| `{name}` | {:.1} | {:.1}–{:.1} |", all[ROUNDS / 2], all[0], all[ROUNDS - 1]);
    }
}
