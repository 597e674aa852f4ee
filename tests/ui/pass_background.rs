//! What `#[background_worker]` accepts.

#![deny(deprecated)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

use atasker::background::Run;
use atasker::{Call, Supervisor, TaskError, TaskResult, background_worker, task};

/// Neither `Clone` nor `Sync` is asked for.
pub struct Device(Mutex<u32>);

/// Its doc.
#[background_worker(interval = "1s", delay_before = "10ms", missed = "burst", priority = "high")]
pub fn poll(run: &Run, device: &Device, path: &Path, unit: String) -> TaskResult<()> {
    *device.0.lock().unwrap() += unit.len() as u32 + path.as_os_str().len() as u32;
    drop(run.name().parse::<f64>()?);
    Ok(())
}

#[background_worker]
fn over_and_over(run: Run) -> ControlFlow<()> {
    drop(run);
    ControlFlow::Break(())
}

#[background_worker(delay = "1s", name = "pause")]
fn pause() {}

#[background_worker(delay_before = "1s", handle = Waits)]
fn waits() -> Result<ControlFlow<()>, std::num::ParseIntError> {
    "1".parse::<u8>()?;
    Ok(ControlFlow::Continue(()))
}

#[background_worker(event)]
async fn bell(run: &Run, to: &str, times: u32) {
    std::future::ready(()).await;
    drop((run.number(), to.len(), times));
}

#[background_worker(queue)]
fn save((name, bytes): (String, Vec<u8>)) {
    drop((name, bytes));
}

#[background_worker(priority_queue)]
async fn urgent(run: Run, item: u8, suffix: String) -> TaskResult<()> {
    drop((run, item, suffix));
    Ok(())
}

#[task]
fn solve(size: u32) -> u64 {
    u64::from(size)
}

fn solved(result: Result<u64, TaskError>, _: &Run) -> Result<(), TaskError> {
    result.map(drop)
}

#[background_worker(bounded_queue = 10, process_result = solved)]
fn solves(run: &Run, size: u32, factor: u32) -> Call<u64> {
    drop(run.number());
    solve::call(size * factor)
}

#[background_worker(interval = "1m", process_result = solved)]
fn solves_often() -> Call<u64> {
    solve::call(3)
}

/// A parameter may have its function's name.
#[background_worker(event)]
fn shutter(shutter: &str, open: bool) {
    drop((shutter.len(), open));
}

#[background_worker(event)]
async fn door(run: &Run, door: &'_ str) -> TaskResult<()> {
    drop((run.number(), door.len()));
    Ok(())
}

#[deprecated = "ring the bell"]
#[background_worker(event)]
fn knocker() {}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let supervisor = Supervisor::builder().start()?;
    let device = Device(Mutex::new(0));
    let polls = poll::worker(device, std::path::PathBuf::from("/dev"), "mm".into());
    drop(polls.on_failure(atasker::background::OnFailure::Stop));
    over_and_over::worker().start(&supervisor)?.stop();
    pause::worker().start(&supervisor)?.stop();
    Waits::worker().start(&supervisor)?.stop();
    bell::worker("door", 3).start(&supervisor)?.stop();
    let saves = save::worker().start(&supervisor)?;
    saves.put(("a".to_owned(), vec![1]))?;
    let urgent = urgent::worker("!".to_owned()).start(&supervisor)?;
    urgent.put(3)?;
    drop(solves::worker(3));
    drop(solves_often::worker());
    shutter::worker("south", true).start(&supervisor)?.stop();
    door::worker("door").start(&supervisor)?.stop();
    Ok(())
}
