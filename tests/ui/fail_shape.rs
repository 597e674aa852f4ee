use atasker::task;

struct Camera;

#[task(io)]
async fn poll(id: u32) -> u32 {
    id
}

#[task]
fn shoot(self, at: u32) -> u32 {
    at
}

#[task]
fn largest<T: Ord>(values: Vec<T>) -> usize {
    values.len()
}

#[task]
fn shown(value: impl std::fmt::Display) -> String {
    value.to_string()
}

#[task]
unsafe fn raw(address: usize) -> usize {
    address
}

#[task]
extern "C" fn callback(value: u32) -> u32 {
    value
}

#[task]
mod tasks {}

#[task]
impl Camera {
    fn aim(&self) {}
}

fn main() {}
