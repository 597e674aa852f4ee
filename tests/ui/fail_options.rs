use atasker::task;

#[task(timout = "30s")]
fn a() {}

#[task(nice = 7)]
fn b() {}

#[task(io, io)]
fn c() {}

#[task(timeout)]
fn d() {}

#[task(timeout = 30)]
fn e() {}

#[task(retries = "2")]
fn f() {}

#[task(handle = "Name")]
fn g() {}

#[task(io timeout = "1s")]
fn h() {}

fn main() {}
