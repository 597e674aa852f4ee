//! What an idle worker costs: memory beside that of the same program merely started, and processor time.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use atasker::{Call, Limits, Supervisor};
use atasker_benches::placement::Placement;
use atasker_benches::pools::worker_pids;
use serde_json::json;

use crate::report::{Bar, Row, Unit};
use crate::run::{Run, warn};
use crate::watch::{sleeps_of_process, used_by_process};

const PROGRAM: &str = "atasker-worker";
/// Shared with the coordinator, and counted elsewhere.
const ARENA: &str = "memfd:atasker";
/// Whatever a program does at its start, it has done by then.
const SETTLE: Duration = Duration::from_millis(200);
const PAGE: usize = 4096;
const OURS: &str = "worker, after one empty task";
const THEIRS: &str = "the same program, merely started";

/// Memory, then processor time.
pub(crate) fn memory_and_time(run: &mut Run, placement: Placement) {
    if run.layout(placement, 1).is_none() {
        return;
    }
    let Some(program) = stock_worker() else {
        let build = "cargo build --release -p atasker-worker";
        return warn(&format!(
            "not measured: there is no {PROGRAM} beside this program; `{build}`"
        ));
    };
    // One after the other, since what both have mapped would count half for each.
    let rounds = if run.arguments.short { 1 } else { 3 };
    let mut rows = [OURS, THEIRS].map(|name| Row { name: name.to_owned(), samples: Vec::new() });
    for _ in 0..rounds {
        let (Some(ours), Some(theirs)) = (worker_kib(&program), bare_kib(&program)) else {
            return warn("not measured: the program did not run, or the kernel tells no memory");
        };
        rows[0].samples.push(ours as f64);
        rows[1].samples.push(theirs as f64);
    }
    let bar = Bar::at_most(1.3, OURS, THEIRS);
    run.report("Proportional memory without the arena", Unit::Kib, &rows, &[bar], None);
    let length = Duration::from_secs(if run.arguments.short { 1 } else { 2 });
    if let Some(text) = time_while_idle(&program, length) {
        println!("{text}\n");
    }
}

/// The program next to this one.
fn stock_worker() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    path.exists().then_some(path)
}

/// A worker of that program that has run one empty task.
fn worker(program: &Path) -> Option<(Supervisor, u32)> {
    let supervisor =
        Supervisor::builder().processes(Limits::new(1)).worker_program(program).start();
    let supervisor = match supervisor {
        Ok(supervisor) => supervisor,
        Err(error) => {
            warn(&format!("{PROGRAM} does not start: {error}"));
            return None;
        }
    };
    let task = supervisor.submit(Call::by_name("count_primes", json!([0, 0]))).ok()?;
    assert_eq!(task.wait().expect("it runs"), json!(0));
    let pid = worker_pids(&supervisor, 1)[0];
    Some((supervisor, pid))
}

fn worker_kib(program: &Path) -> Option<u64> {
    let (_supervisor, pid) = worker(program)?;
    std::thread::sleep(SETTLE);
    proportional_kib(pid)
}

/// The program explains itself when it is started by hand. It sleeps in that, since its standard error is a
/// pipe that is full.
fn bare_kib(program: &Path) -> Option<u64> {
    let (_reader, writer) = rustix::pipe::pipe().ok()?;
    let size = rustix::pipe::fcntl_setpipe_size(&writer, PAGE).ok()?;
    let mut writer = std::fs::File::from(writer);
    writer.write_all(&vec![0; size]).ok()?;
    let mut child: Child = Command::new(program).stderr(Stdio::from(writer)).spawn().ok()?;
    std::thread::sleep(SETTLE);
    let kib = proportional_kib(child.id());
    let asleep = matches!(child.try_wait(), Ok(None));
    drop(child.kill());
    drop(child.wait());
    kib.filter(|_| asleep)
}

/// proc(5), `smaps`: the sum of what is mapped, each page divided by the number of processes that have it.
fn proportional_kib(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    let mut in_arena = false;
    let mut sum = 0;
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("Pss:") {
            let kib: u64 = value.trim().trim_end_matches(" kB").parse().ok()?;
            sum += if in_arena { 0 } else { kib };
        } else if line.split(' ').next().is_some_and(|first| first.contains('-')) {
            in_arena = line.contains(ARENA);
        }
    }
    Some(sum)
}

/// What a worker and its coordinator do while there is nothing to do.
fn time_while_idle(program: &Path, length: Duration) -> Option<String> {
    let (_supervisor, pid) = worker(program)?;
    std::thread::sleep(SETTLE);
    let (time, sleeps) = (used_by_process(pid), sleeps_of_process(pid));
    let me = std::process::id();
    let (mine, my_sleeps) = (used_by_process(me), sleeps_of_process(me));
    std::thread::sleep(length);
    let used = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() * 1e3;
    let of_worker = used(used_by_process(pid), time);
    let woken = sleeps_of_process(pid) - sleeps;
    let own = used(used_by_process(me), mine);
    let own_woken = sleeps_of_process(me) - my_sleeps;
    Some(format!(
        "In {} s with nothing to do the worker used {of_worker:.3} ms of processor time and went back to \
         sleep {woken} times; the threads of its coordinator used {own:.3} ms and went back to sleep \
         {own_woken} times.",
        length.as_secs(),
    ))
}
