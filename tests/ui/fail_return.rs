use atasker::task;

#[task]
fn tied<'a>(text: &'a str) -> &'a str {
    text
}

#[task]
fn elided(text: &str) -> Option<&str> {
    text.lines().next()
}

#[task(io)]
fn anonymous(count: u32) -> impl Iterator<Item = u32> {
    0..count
}

fn main() {}
