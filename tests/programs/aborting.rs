//! A program that is built with `panic = "abort"`, as a coordinator and as its own worker: a panic ends the worker, and
//! its message is told all the same.
//!
//! ```text
//! cargo run --profile abort -p atasker-tests --bin aborting
//! ```

use atasker::{ExitCause, Limits, Supervisor, task};

#[task]
fn panics(what: &str) -> u32 {
    panic!("{what} of cheese");
}

#[task]
fn twice(n: u32) -> u32 {
    2 * n
}

fn main() {
    atasker::worker::run_if_spawned();
    if !cfg!(panic = "abort") {
        eprintln!("it is to be built with --profile abort");
        std::process::exit(2);
    }
    for transport in [atasker::Transport::Ring, atasker::Transport::Channel] {
        let supervisor = Supervisor::builder()
            .transport(transport)
            .processes(Limits::new(2))
            .start()
            .expect("workers start");
        for _ in 0..5 {
            let task = supervisor.submit(panics::call("out")).expect("accepted");
            let error = task.wait().expect_err("it panics");
            println!("{error}");
            let report = error.crash().expect("a panic is a crash here");
            // SIGABRT
            assert_eq!(report.cause, ExitCause::Signal(6), "{error}");
            let messages: Vec<_> = report.panics.iter().map(|it| it.message.as_str()).collect();
            assert_eq!(messages, ["out of cheese"], "{error}");
            let place = report.panics[0].location.as_deref().expect("it is known");
            assert!(place.contains("aborting.rs:"), "{place}");
            let next = supervisor.submit(twice::call(21)).expect("accepted");
            assert_eq!(next.wait().expect("by another worker"), 42);
        }
    }
    println!("a panic in a program that aborts is told");
}
