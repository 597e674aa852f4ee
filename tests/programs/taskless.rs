//! A worker program without any task.

fn main() {
    atasker::worker::run_if_spawned();
    eprintln!("this is a worker program: it does nothing by itself");
}
