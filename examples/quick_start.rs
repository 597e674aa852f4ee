//! The whole crate in one screen: `cargo run -p examples --bin quick_start`

use std::time::Duration;

use atasker::{Limits, Priority, Stop, Supervisor, TaskErrorKind, task};

/// Runs in a worker process.
#[task(timeout = "2s")]
fn collatz_steps(mut n: u64) -> u32 {
    let mut steps = 0;
    while n != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

/// Never returns: its worker is killed when the time is up.
#[task(timeout = "200ms")]
fn endless() {
    std::thread::sleep(Duration::MAX);
}

/// Takes its process down.
#[task(label = "the bad one")]
fn abort() {
    std::process::abort();
}

/// Runs on the thread pool.
#[task(io)]
fn read(path: String) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

#[atasker::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let supervisor = Supervisor::builder()
        .processes(Limits::new(2).reserve_high(1)) // three worker processes
        .threads(Limits::new(8))
        .start()?;

    // One task, urgent.
    let task = supervisor.submit(collatz_steps::call(27).priority(Priority::High))?;
    println!("27 takes {} steps", task.wait()?);

    // Many tasks, in order, never more than a few on their way.
    let longest = supervisor
        .map((1..=20_000).map(collatz_steps::call))
        .enumerate()
        .map(|(index, steps)| steps.map(|steps| (steps, index + 1)))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .max();
    println!("the longest below 20,000: {longest:?}");

    // Tasks that do not come back.
    for call in [endless::call(), abort::call()] {
        let error = supervisor.submit(call)?.wait().expect_err("they do not come back");
        println!("{error}");
        assert!(matches!(error.kind(), TaskErrorKind::TimedOut { .. } | TaskErrorKind::Crashed(_)));
    }

    // Threads, for what waits rather than computes.
    let manifest = supervisor.submit(read::call("Cargo.toml".to_owned()))?.wait()??;
    println!("Cargo.toml has {} lines", manifest.lines().count());

    supervisor.stop(Stop::Drain);
    Ok(())
}
