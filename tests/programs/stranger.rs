//! A worker program whose tasks are not those of the program that starts it.

#![expect(unsafe_code, reason = "std does not change how threads are scheduled")]

use atasker::task;

/// Twice the number.
#[task]
fn double(number: i64) -> i64 {
    2 * number
}

/// Becomes another program, as the thread that `main` runs in: in this test's own workers the harness has that.
#[task]
fn become_a_sleeper() -> String {
    use std::os::unix::process::CommandExt;
    std::process::Command::new("sleep").arg("1000").exec().to_string()
}

/// The same from a thread, which has to wait for the end of all others: one of them gets a core when nobody else wants one.
#[task]
fn become_a_sleeper_in_a_thread() -> String {
    std::thread::spawn(|| {
        let least = libc::sched_param { sched_priority: 0 };
        // SAFETY: the parameters live.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const least) };
        loop {
            std::hint::spin_loop();
        }
    });
    std::thread::spawn(become_a_sleeper).join().expect("it does not panic")
}

fn main() {
    atasker::worker::run_if_spawned();
    let _ = (double::call(1), become_a_sleeper::call(), become_a_sleeper_in_a_thread::call());
    eprintln!("this is a worker program: it does nothing by itself");
}
