use std::rc::Rc;

use atasker::task;

struct Connection;

#[task]
async fn takes(shared: Rc<u32>) -> u32 {
    *shared
}

#[task]
async fn holds(value: u32) -> u32 {
    let shared = Rc::new(value);
    std::future::ready(()).await;
    *shared
}

#[task(retries = 1)]
async fn repeats(connection: Connection) -> u32 {
    drop(connection);
    1
}

fn main() {}
