//! A worker program whose tasks are not those of the program that starts it.

use atasker::task;

/// Twice the number.
#[task]
fn double(number: i64) -> i64 {
    2 * number
}

fn main() {
    atasker::worker::run_if_spawned();
    let _ = double::call(1);
    eprintln!("this is a worker program: it does nothing by itself");
}
