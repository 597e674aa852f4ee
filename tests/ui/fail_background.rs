use atasker::{Call, background_worker};

#[background_worker(interval = "1s", queue)]
fn two_kinds(item: u8) {}

#[background_worker(interval = "1s", delay = "1s")]
fn two_pauses() {}

#[background_worker(interval = "soon")]
fn no_duration() {}

#[background_worker(interval = "0s")]
fn zero() {}

#[background_worker(intervall = "1s")]
fn misspelt() {}

#[background_worker(event, missed = "burst")]
fn misses_nothing() {}

#[background_worker(interval = "1s", missed = "never")]
fn unknown_policy() {}

#[background_worker(queue)]
fn without_item() {}

#[background_worker(queue)]
fn borrowed_item(item: &str) {}

#[background_worker(event)]
fn generic<T>(what: T) {}

#[background_worker(event)]
fn changes(what: &mut u32) {}

#[background_worker(event, event)]
fn twice() {}

#[background_worker(process_result = drop)]
async fn no_process() {}

#[background_worker(event)]
struct NoFunction;

struct NotClone;

#[background_worker(event)]
fn takes_what_is_not_clone(what: NotClone) {}

#[background_worker(event)]
fn returns_a_number() -> u32 {
    7
}

#[background_worker(event, process_result = report)]
fn two_of_a_name(report: String) -> Call<()> {
    Call::closure(move || drop(report))
}

#[background_worker(event)]
fn at_times(#[cfg(unix)] mode: u32) {}

fn main() {}
