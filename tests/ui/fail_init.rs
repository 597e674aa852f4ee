use atasker::worker_init;

struct Model;

#[worker_init]
fn two(path: String, level: u8) {}

#[worker_init]
fn foreign(model: Model) {
    drop(model);
}

#[worker_init(once)]
fn option() {}

#[worker_init]
async fn connect() {}

#[worker_init]
fn open(path: &str) {
    drop(path.len());
}

fn main() {}
