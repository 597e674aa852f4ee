use atasker::task;

struct Connection;

#[task(io, retries = 2)]
fn fetch(connection: Connection) -> u32 {
    drop(connection);
    1
}

fn main() {}
