use atasker::task;

#[task(priority = "hihg")]
fn a() {}

#[task(priority = 3)]
fn b() {}

#[task(retry_on(crsh))]
fn c() {}

#[task(retry_on())]
fn d() {}

#[task(retry_on = "crash")]
fn e() {}

fn main() {}
