//! The coordinator dies: no worker outlives it by a second, and nothing is left in /dev/shm or /tmp.
//!
//! The coordinator that dies is this test binary again, running only [`the_coordinator`].

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use atasker::{Limits, Supervisor};

use crate::tasks;
use crate::watch::{eventually, is_alive, send_signal, watched};

const ROLE: &str = "ATASKER_TEST_COORDINATOR";

/// Not a test of its own: what the others kill. Keeps two workers busy, some of which die, and prints their
/// process ids whenever they change.
#[test]
fn the_coordinator() {
    let Some(role) = std::env::var_os(ROLE) else {
        return;
    };
    let supervisor =
        Supervisor::builder().processes(Limits::new(2)).start().expect("workers start");
    if role == "programs" {
        let workers = || supervisor.info().workers;
        eventually("both workers are ready", || {
            workers().iter().filter(|worker| worker.pid.is_some()).count() == 2
        });
        let _runs = supervisor.submit(runs_a_program::call()).expect("accepted");
        loop {
            std::thread::park();
        }
    }
    let mut known = Vec::new();
    for round in 0_u64.. {
        let calls = (0..64).map(|n| match (round + n) % 50 {
            0 => tasks::die::call("abort"),
            _ => tasks::die::call("panic"),
        });
        drop(supervisor.map(calls).collect::<Vec<_>>());
        let now: Vec<_> =
            supervisor.info().workers.iter().filter_map(|worker| worker.pid).collect();
        if now != known {
            let list: Vec<_> = now.iter().map(ToString::to_string).collect();
            println!("pids {}", list.join(" "));
            known = now;
        }
        if role == "panic" && round == 5 {
            panic!("the coordinator panics");
        }
        if role == "exit" && round == 5 {
            std::process::exit(3);
        }
        if role == "idle" && round == 5 {
            println!("idle");
            loop {
                std::thread::park();
            }
        }
    }
}

#[atasker::task]
fn runs_a_program() {
    let _status = Command::new("sleep").arg("1000").status().expect("there is such a program");
}

fn start(role: &str, temporary: &std::path::Path) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().expect("this test binary"))
        .args(["coordinator::the_coordinator", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the test binary starts");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    (child, output)
}

/// Every process whose parent's environment carried `marker`: the workers inherit it.
fn workers_of(temporary: &std::path::Path) -> Vec<u32> {
    let marker = format!("TMPDIR={}", temporary.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("procfs").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|&byte| byte == 0).any(|one| one == marker.as_bytes()) && is_alive(pid)
        {
            found.push(pid);
        }
    }
    found
}

/// Objects of shared memory that have a name. A folder is none: another program has it there. And rings with names are those
/// of other tests.
fn shared_memory() -> Vec<std::ffi::OsString> {
    std::fs::read_dir("/dev/shm")
        .expect("it is mounted")
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_string_lossy().starts_with("atasker-"))
        .collect()
}

/// How long it took until nothing was left.
fn check_nothing_left(temporary: &std::path::Path, before: &[std::ffi::OsString]) -> Duration {
    let dead = Instant::now();
    eventually("none of its workers lives on", || workers_of(temporary).is_empty());
    let gone = dead.elapsed();
    let files: Vec<_> = std::fs::read_dir(temporary).expect("the folder").flatten().collect();
    assert!(files.is_empty(), "left behind: {files:?}");
    let new: Vec<_> = shared_memory().into_iter().filter(|name| !before.contains(name)).collect();
    assert!(new.is_empty(), "left behind in /dev/shm: {new:?}");
    gone
}

fn check_killed(rounds: u32) {
    let temporary = tempfile::tempdir().expect("a folder");
    let before = shared_memory();
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let (mut child, mut output) = start("busy", temporary.path());
        // At once while the first worker starts, and later and later under load.
        if round % 4 != 0 {
            let mut line = String::new();
            while !line.starts_with("pids") {
                line.clear();
                assert_ne!(
                    output.read_line(&mut line).expect("it prints"),
                    0,
                    "it ended by itself"
                );
            }
        }
        std::thread::sleep(Duration::from_millis(u64::from(round % 25)));
        child.kill().expect("it runs");
        child.wait().expect("it is ours");
        longest = longest.max(check_nothing_left(temporary.path(), &before));
    }
    eprintln!("its workers were gone after at most {longest:.1?} ({rounds} times)");
}

#[test]
fn sigkill_leaves_nothing_behind() {
    let rounds =
        std::env::var("ATASKER_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    watched(|| check_killed(rounds));
}

#[test]
fn what_a_task_has_started_goes_as_well() {
    watched(|| {
        let temporary = tempfile::tempdir().expect("a folder");
        let before = shared_memory();
        for are_stopped in [false, true] {
            let (mut child, _output) = start("programs", temporary.path());
            eventually("itself, two workers, a program", || {
                workers_of(temporary.path()).len() == 4
            });
            let others = workers_of(temporary.path()).into_iter().filter(|&pid| pid != child.id());
            if are_stopped {
                others.for_each(|pid| send_signal(pid, libc::SIGSTOP));
            }
            child.kill().expect("it runs");
            child.wait().expect("it is ours");
            check_nothing_left(temporary.path(), &before);
        }
    });
}

/// Context switches of a process's threads, voluntary and not.
fn switches(pid: u32) -> u64 {
    let status = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status"));
    let count = |line: &str| line.rsplit(char::is_whitespace).next()?.parse::<u64>().ok();
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("procfs")
        .flatten()
        .filter_map(|task| status(task).ok())
        .map(|status| {
            status
                .lines()
                .filter(|line| line.contains("ctxt_switches"))
                .filter_map(count)
                .sum::<u64>()
        })
        .sum()
}

/// Neither the coordinator nor its workers do anything for ten seconds.
///
/// Not at once: a deadline that had been set when tasks still waited passes first, and threads that have
/// become superfluous retire. Whatever wakes again and again is never still for so long.
fn check_asleep(pids: &[u32]) {
    let total = || pids.iter().map(|&pid| switches(pid)).sum::<u64>();
    eventually("ten seconds without a context switch", || {
        let before = total();
        // This waits for time itself.
        std::thread::sleep(Duration::from_secs(10));
        total() == before
    });
}

#[test]
fn no_other_end_leaves_anything_behind() {
    watched(|| {
        let temporary = tempfile::tempdir().expect("a folder");
        let before = shared_memory();
        for role in ["panic", "exit"] {
            let (mut child, _output) = start(role, temporary.path());
            assert!(!child.wait().expect("it is ours").success());
            check_nothing_left(temporary.path(), &before);
        }
        let (mut child, mut output) = start("idle", temporary.path());
        let mut line = String::new();
        while !line.starts_with("idle") {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("it prints"), 0, "it ended by itself");
        }
        // One may have died in the last round, and its successor be about to start.
        eventually("itself and two workers", || workers_of(temporary.path()).len() == 3);
        check_asleep(&workers_of(temporary.path()));
        child.kill().expect("it runs");
        child.wait().expect("it is ours");
        check_nothing_left(temporary.path(), &before);
    });
}
