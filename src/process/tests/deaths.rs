//! How workers end.

use std::path::Path;

use super::*;
use crate::process::tests::functions::open_descriptors;

on_every_transport! {
    the_cause_of_death_is_told,
    a_hanging_worker_is_killed_with_all_it_has_started,
    a_process_killed_from_outside_is_noticed_while_idle,
    a_grandchild_that_holds_everything_open_delays_nothing,
    what_a_worker_said_last_is_in_the_report,
    a_host_that_reaps_children_itself_gets_an_unknown_cause,
    nothing_is_left_open_or_running,
    workers_and_their_files_go_with_a_killed_coordinator,
}

fn the_cause_of_death_is_told(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let cases: [(&str, &[u8], ExitCause); 5] = [
        ("segfault", b"", ExitCause::Signal(libc::SIGSEGV)),
        ("abort", b"", ExitCause::Signal(libc::SIGABRT)),
        ("overflow", b"", ExitCause::Signal(libc::SIGABRT)),
        ("exit", b"3", ExitCause::Code(3)),
        ("exit", b"0", ExitCause::Code(0)),
    ];
    for (function, arguments, cause) in cases {
        let (worker, pid) = pool.spawn_ready();
        pool.stage(worker, function, arguments);
        let exit = pool.exit(worker);
        assert_eq!(exit.death.status, cause, "{function}");
        assert_eq!((exit.pid, exit.started, exit.signalled), (Some(pid), true, None));
        assert!(exit.start_error.is_none() && exit.lived > Duration::ZERO);
    }
}

fn a_hanging_worker_is_killed_with_all_it_has_started(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, pid) = pool.spawn_ready();
    let child: u32 = pool
        .call_text(worker, "shell", "sleep 1000 >/dev/null 2>&1 & echo $!")
        .trim()
        .parse()
        .expect("a pid");
    assert!(is_alive(child));
    pool.stage(worker, "hang", b"");
    pool.kill(worker);
    let exit = pool.exit(worker);
    assert_eq!(exit.death.status, ExitCause::Signal(libc::SIGKILL));
    assert_eq!(exit.signalled, Some(SignalReason::Cancelled));
    wait_until("both are gone", || !is_alive(pid) && !is_alive(child));
}

fn a_process_killed_from_outside_is_noticed_while_idle(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, pid) = pool.spawn_ready();
    send_signal(pid, rustix::process::Signal::TERM);
    assert_eq!(pool.exit(worker).death.status, ExitCause::Signal(libc::SIGTERM));
}

fn a_grandchild_that_holds_everything_open_delays_nothing(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, _) = pool.spawn_ready();
    // It lives longer than the watchdog.
    let child = pool.call_text(worker, "leave_a_child", "1000").parse().expect("a pid");
    pool.stage(worker, "abort", b"");
    assert_eq!(pool.exit(worker).death.status, ExitCause::Signal(libc::SIGABRT));
    assert!(is_alive(child), "nobody has ended it");
    send_signal(child, rustix::process::Signal::KILL);
}

fn what_a_worker_said_last_is_in_the_report(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, _) = pool.spawn_ready();
    let much = "é and more\n".repeat(1000);
    for _ in 0..30 {
        pool.call(worker, "stderr", much.as_bytes());
    }
    pool.call(worker, "stderr", b"last words \xff\n");
    pool.stage(worker, "abort", b"");
    let exit = pool.exit(worker);
    assert!(
        exit.death.stderr.all.ends_with("é and more\nlast words \u{fffd}\n"),
        "{}",
        exit.death.stderr.all
    );
    assert!(exit.death.stderr.all.len() <= (16 << 10) + 2);
}

fn a_host_that_reaps_children_itself_gets_an_unknown_cause(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let (worker, pid) = pool.spawn_ready();
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    let reaper = std::thread::spawn(move || {
        let options = rustix::process::WaitOptions::empty();
        while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(Some(raw), options) {}
    });
    pool.stage(worker, "exit", b"5");
    let exit = pool.exit(worker);
    // Newer kernels tell whoever has a pidfd; older ones whoever reaps first.
    let is_told = crate::sys::process::kernel_is_at_least(6, 15);
    let status = exit.death.status;
    let is_right = status == ExitCause::Code(5) || (!is_told && status == ExitCause::Unknown);
    assert!(is_right, "{exit:?}");
    reaper.join().expect("it reaps or finds nothing");
}

fn nothing_is_left_open_or_running(transport: Transport) {
    let _watchdog = Watchdog::new();
    // Other tests of this process open and close descriptors as well, so count in one of its own.
    let output = rerun("counts_before_and_after", &transport_name(transport));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The transport of a test that runs in a process of its own. `None`: this is not that process.
fn rerun_transport() -> Option<Transport> {
    let name = std::env::var("ATASKER_TEST_RERUN").ok()?;
    TRANSPORTS.iter().copied().find(|one| transport_name(*one) == name)
}

fn transport_name(transport: Transport) -> String {
    format!("{transport:?}")
}

/// Run one test of this binary in a process of its own.
fn rerun(test: &str, value: &str) -> std::process::Output {
    std::process::Command::new("/proc/self/exe")
        .args([
            &format!("process::tests::deaths::{test}"),
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("ATASKER_TEST_RERUN", value)
        .output()
        .expect("this binary runs")
}

#[test]
fn counts_before_and_after() {
    let Some(transport) = rerun_transport() else { return };
    let _watchdog = Watchdog::new();
    let threads = || std::fs::read_dir("/proc/self/task").expect("a list").count();
    let mappings = || {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("a list");
        maps.lines().filter(|line| line.contains("memfd:")).count()
    };
    // The first pool lets std and ipc-channel open what they keep.
    let round = || {
        let pool = Pool::new(config(transport));
        // What the last leaves in a channel blocks the threads that listen there, and those end as well.
        for function in ["abort", "segfault", "hang", "garbage"] {
            let (worker, _) = pool.spawn_ready();
            pool.call(worker, "echo", &vec![1; 8 << 10]);
            pool.stage(worker, function, &[0; 16]);
            if ["hang", "garbage"].contains(&function) {
                pool.kill(worker);
            }
            pool.exit(worker);
        }
        pool.spawn_ready();
    };
    round();
    let (descriptors_before, threads_before) = (open_descriptors(), threads());
    for _ in 0..10 {
        round();
    }
    wait_until("threads ended", || threads() <= threads_before);
    wait_until("descriptors closed", || open_descriptors().len() <= descriptors_before.len());
    wait_until("segments are unmapped", || mappings() == 0);
    let own = format!("atasker-{}-", std::process::id());
    wait_until("files are gone", || {
        let left = std::fs::read_dir(std::env::temp_dir()).expect("a list").flatten();
        !left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(&own))
    });
    wait_until("processes are reaped", || {
        let children = format!("/proc/self/task/{}/children", std::process::id());
        std::fs::read_to_string(children).unwrap_or_default().is_empty()
    });
}

fn workers_and_their_files_go_with_a_killed_coordinator(transport: Transport) {
    let _watchdog = Watchdog::new();
    // With the workers idle, busy, and at every moment of their start.
    for round in 0..40_u32 {
        let directory = std::env::temp_dir()
            .join(format!("atasker-{transport:?}-{}-{round}", std::process::id()));
        std::fs::create_dir(&directory).expect("a directory");
        let mut coordinator = std::process::Command::new("/proc/self/exe")
            .args([
                "process::tests::deaths::a_coordinator",
                "--exact",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("ATASKER_TEST_RERUN", transport_name(transport))
            .env("TMPDIR", &directory)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("this binary runs");
        let mut pids = Vec::new();
        if round < 4 {
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(
                coordinator.stdout.take().expect("piped"),
            ));
            while pids.len() < 3 {
                let line = lines.next().expect("it tells").expect("text");
                // libtest has begun the first line.
                if let Some((_, pid)) = line.split_once("pid ") {
                    pids.push(pid.parse::<u32>().expect("a pid"));
                }
            }
        } else {
            std::thread::sleep(Duration::from_micros(u64::from(round) * 200));
        }
        let group = coordinator.id();
        coordinator.kill().expect("it runs");
        coordinator.wait().expect("it ends");
        wait_until("workers are gone", || {
            pids.iter().all(|pid| !is_alive(*pid)) && !has_workers(&directory)
        });
        wait_until("files are gone", || {
            std::fs::read_dir(&directory).expect("a list").count() == 0
        });
        std::fs::remove_dir(&directory).expect("it is empty");
        remove_names_of(group);
    }
}

/// Of memory with a name, which is left if a coordinator is killed before the worker has opened it.
fn remove_names_of(coordinator: u32) {
    let own = format!("atasker-{coordinator}-");
    for entry in std::fs::read_dir("/dev/shm").expect("it is mounted").flatten() {
        if entry.file_name().to_string_lossy().starts_with(&own) {
            // Its worker may open it just now.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether there is any process of a coordinator that had this folder for its temporary files. By the coordinator's
/// number strangers would be found, too: numbers are used again, also of those whose children live on.
fn has_workers(directory: &Path) -> bool {
    let marker = format!("TMPDIR={}", directory.display());
    std::fs::read_dir("/proc").expect("a list").flatten().any(|entry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
    })
}

/// Tells the pids of its workers and waits to be killed.
#[test]
fn a_coordinator() {
    let Some(transport) = rerun_transport() else { return };
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let workers = [pool.spawn_ready(), pool.spawn_ready(), pool.spawn_ready()];
    pool.stage(workers[0].0, "hang", b"");
    pool.stage(workers[1].0, "shell", b"sleep 1000");
    for (_, pid) in workers {
        println!("pid {pid}");
    }
    loop {
        pool.spawn_ready();
    }
}
