use std::borrow::Cow;

use atasker::task;

#[task]
fn pattern((a, b): (u32, u32)) -> u32 {
    a + b
}

#[task]
fn nameless(_: u32) {}

#[task]
fn changes(values: &mut Vec<u32>, more: u32) {
    values.push(more);
}

#[task]
fn inside(names: Vec<&str>, pair: (&str, u8), text: Cow<'_, str>) -> usize {
    names.len() + pair.0.len() + text.len()
}

#[task]
fn forever(text: &'static str) -> usize {
    text.len()
}

#[task]
fn at_times(size: u32, #[cfg(unix)] mode: u32) {
    drop(size);
}

fn main() {}
