use atasker::task;

#[task(timeout = "30")]
fn a() {}

#[task(delay = "soon")]
fn b() {}

#[task(queue_timeout = "1m30")]
fn c() {}

#[task(backoff("5s", "100ms"))]
fn d() {}

#[task(backoff("5s"))]
fn e() {}

fn main() {}
