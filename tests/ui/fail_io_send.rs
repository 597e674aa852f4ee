use std::rc::Rc;

use atasker::task;

#[task(io)]
fn takes(shared: Rc<u32>) -> u32 {
    *shared
}

#[task(io)]
fn returns(value: u32) -> Rc<u32> {
    Rc::new(value)
}

fn main() {}
