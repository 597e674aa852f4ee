//! Hosts that lack something for a while, or give it up for good. Each in a process of its own.
#![expect(unsafe_code, reason = "std changes neither limits nor users")]

use std::time::Duration;

use atasker::{Limits, Pool, SealedBlob, StartError, Stop, Supervisor, TaskStatus};

use crate::tasks;
use crate::watch::{alone, eventually, skipped};

/// Change the soft limit of this process. What it was.
fn limit(what: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the place that it writes to lives.
    assert_eq!(unsafe { libc::getrlimit(what, &raw mut limit) }, 0);
    let before = std::mem::replace(&mut limit.rlim_cur, soft.min(limit.rlim_max));
    // SAFETY: the limit is of this frame.
    assert_eq!(unsafe { libc::setrlimit(what, &raw const limit) }, 0);
    before
}

fn ready(supervisor: &Supervisor) -> usize {
    supervisor.info().workers.iter().filter(|worker| worker.pid.is_some()).count()
}

#[test]
fn what_lacks_descriptors_for_a_while_serves_and_recovers() {
    alone("rights::what_lacks_descriptors_for_a_while_serves_and_recovers", || {
        let builder = Supervisor::builder().processes(Limits::new(3)).restart_limit(1);
        let supervisor = builder.start().expect("workers start");
        eventually("all are ready", || ready(&supervisor) == 3);
        let before = limit(libc::RLIMIT_NOFILE, 10);
        let died = supervisor.submit(tasks::die::call("abort")).expect("accepted").wait();
        assert_eq!(died.expect_err("it aborts").status(), TaskStatus::Crashed);
        // More starts fail meanwhile than are borne where nobody serves.
        std::thread::sleep(Duration::from_millis(500));
        let add = || supervisor.submit(tasks::add::call(1, 2)).expect("accepted").wait();
        assert_eq!(add().expect("two have stayed"), 3);
        limit(libc::RLIMIT_NOFILE, before);
        eventually("there are as many again", || ready(&supervisor) == 3);
        assert_eq!(add().expect("it runs"), 3);
        supervisor.stop(Stop::Drain);
    });
}

/// The signal that goes with this would end the program.
#[test]
fn a_buffer_larger_than_a_file_may_be_is_refused() {
    alone("rights::a_buffer_larger_than_a_file_may_be_is_refused", || {
        let builder = Supervisor::builder().processes(Limits::new(1));
        let supervisor = builder.start().expect("a worker starts");
        let before = limit(libc::RLIMIT_FSIZE, 8 << 20);
        let large = vec![1; 20 << 20];
        let error = SealedBlob::from_slice(&large).expect_err("it may not be so large");
        assert!(error.to_string().contains("`ulimit -f`"), "{error}");
        let task = supervisor.submit(tasks::reverse::call(&large)).expect("accepted");
        let error = task.wait().expect_err("its arguments are as large");
        assert!(error.to_string().contains("`ulimit -f`"), "{error}");
        limit(libc::RLIMIT_FSIZE, before);
        let task = supervisor.submit(tasks::reverse::call(&large)).expect("accepted");
        assert_eq!(task.wait().expect("it runs").len(), large.len());
        supervisor.stop(Stop::Drain);
    });
}

/// Procfs may show nobody what is root's.
fn exists(pid: u32) -> bool {
    // SAFETY: no signal is sent.
    let found = unsafe { libc::kill(pid.cast_signed(), 0) } == 0;
    found || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// It started its workers as root, and is nobody then.
#[test]
fn who_gives_up_its_rights_can_still_end_its_workers() {
    // SAFETY: it has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return skipped("only root can become somebody else");
    }
    alone("rights::who_gives_up_its_rights_can_still_end_its_workers", || {
        let builder = Supervisor::builder().processes(Limits::new(2));
        let supervisor = builder.start().expect("workers start");
        eventually("both are ready", || ready(&supervisor) == 2);
        let pids = || supervisor.info().workers.iter().filter_map(|it| it.pid).collect::<Vec<_>>();
        let first = pids();
        // SAFETY: it has no preconditions.
        assert_eq!(unsafe { libc::setgid(65_534) }, 0);
        // SAFETY: the same.
        assert_eq!(unsafe { libc::setuid(65_534) }, 0);
        let hangs = tasks::die::call("hang").timeout(Duration::from_millis(50));
        let ended = supervisor.submit(hangs).expect("accepted").wait();
        assert_eq!(ended.expect_err("it hangs").status(), TaskStatus::TimedOut);
        eventually("it is dead", || first.iter().filter(|pid| exists(**pid)).count() == 1);
        supervisor.stop(Stop::KillNow);
        let all = [first, pids()].concat();
        eventually("so are the others", || !all.iter().any(|pid| exists(*pid)));
    });
}

#[test]
fn more_workers_than_any_machine_has_are_refused() {
    let start = |limits| Supervisor::builder().processes(limits).start();
    for limits in [Limits::new(u32::MAX), Limits::new(1).reserve_high(1 << 16)] {
        let refused = start(limits).map(drop).expect_err("too many");
        assert!(matches!(refused, StartError::Config(_)), "{refused}");
        assert!(refused.to_string().contains("65536 at the most"), "{refused}");
    }
    let supervisor = start(Limits::new(1)).expect("a worker starts");
    let refused = supervisor.resize(Pool::Processes, Limits::new(u32::MAX));
    assert!(refused.expect_err("too many").to_string().contains("65536 at the most"));
}
