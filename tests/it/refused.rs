//! System calls that the kernel refuses: old ones do not know all of them, sandboxes forbid some, and memory runs out.

use std::os::fd::AsRawFd;
use std::time::Duration;

use atasker::{ExitCause, Limits, Stop, Supervisor, TaskStatus};

use crate::tasks;
use crate::watch::{alone, eventually};

/// From now on every thread of this process, and what it starts, gets this error of the call.
#[expect(unsafe_code, reason = "filters of system calls can only be set through libc")]
fn refuse(call: libc::c_long, error: i32) {
    let number = u32::try_from(call).expect("they are few");
    let answer = libc::SECCOMP_RET_ERRNO | error.unsigned_abs();
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let steps = [
        // The number of the call: is it this one?
        step((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0),
        step((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 1, number),
        step((libc::BPF_RET | libc::BPF_K) as u16, 0, answer),
        step((libc::BPF_RET | libc::BPF_K) as u16, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_ptr().cast_mut() };
    // SAFETY: plain numbers.
    let promised = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(promised, 0, "every process may give up rights");
    // SAFETY: the program lives until the call returns, which copies it.
    let set = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// A copy of the descriptor that programs inherit, which stays open: what it is.
#[expect(unsafe_code, reason = "only libc makes such a copy")]
fn inherited(descriptor: &impl AsRawFd) -> String {
    // SAFETY: the descriptor is open.
    let copy = unsafe { libc::dup(descriptor.as_raw_fd()) };
    assert!(copy > 2, "there are descriptors left");
    let target = std::fs::read_link(format!("/proc/self/fd/{copy}")).expect("it is open");
    target.display().to_string()
}

/// As kernels before 5.3, and releases of Valgrind.
#[test]
fn without_pidfds_a_start_says_what_is_missing() {
    alone("refused::without_pidfds_a_start_says_what_is_missing", || {
        refuse(libc::SYS_pidfd_open, libc::ENOSYS);
        let refused = Supervisor::builder().processes(Limits::new(2)).start();
        let text = refused.map(drop).expect_err("nobody can watch them").to_string();
        assert!(text.contains("`atasker doctor` says what"), "{text}");
        let supervisor = Supervisor::builder().start().expect("threads need none of that");
        assert_eq!(supervisor.spawn_blocking(|| 3).expect("accepted").wait().expect("runs"), 3);
    });
}

/// As kernels before 5.16: nobody can sleep on the bells of two workers at once.
#[test]
fn a_kernel_that_waits_for_one_futex_only_loses_nothing() {
    alone("refused::a_kernel_that_waits_for_one_futex_only_loses_nothing", || {
        refuse(libc::SYS_futex_waitv, libc::ENOSYS);
        for round in 0..5 {
            let supervisor =
                Supervisor::builder().processes(Limits::new(2)).start().expect("workers start");
            // The last submissions come by, and then nobody waits as one who looks after rings.
            for n in 0..200 {
                drop(supervisor.submit(tasks::add::call(n, round)).expect("accepted"));
            }
            supervisor.stop(Stop::Drain);
            assert_eq!(supervisor.info().ended.completed, 200);
        }
        let supervisor =
            Supervisor::builder().processes(Limits::new(2)).start().expect("workers start");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let mut waits = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        assert!(waits.wait_timeout(Duration::from_millis(1)).is_none());
        let sums: Vec<i64> =
            supervisor.map((0..1000).map(|n| tasks::add::call(n, 1))).map(Result::unwrap).collect();
        assert!(sums.into_iter().eq(1..1001));
        let killed = supervisor.submit(tasks::die::call("abort")).expect("accepted").wait();
        let error = killed.expect_err("its worker dies");
        assert_eq!(error.crash().expect("it crashed").cause, ExitCause::Signal(libc::SIGABRT));
        eventually("it runs", || file.exists());
        std::fs::remove_file(&file).expect("it is there");
        waits.wait().expect("it was only held");
        supervisor.stop(Stop::Drain);
    });
}

/// A pack needs memory for its arguments that a queue has not got yet.
#[test]
fn calls_for_which_there_is_no_memory_are_refused_in_packs_too() {
    alone("refused::calls_for_which_there_is_no_memory_are_refused_in_packs_too", || {
        let supervisor =
            Supervisor::builder().processes(Limits::new(1)).start().expect("a worker starts");
        refuse(libc::SYS_fallocate, libc::ENOSPC);
        let sum = supervisor.submit(tasks::add::call(1, 2)).expect("accepted").wait();
        assert_eq!(sum.expect("it needs none"), 3);
        let words = |n: usize| "word ".repeat(n % 8);
        let mut refused = 0;
        let results = supervisor.map((0..1000).map(|n| tasks::shout::call(&words(n))));
        for (result, n) in results.zip(0..) {
            match result {
                Ok(text) => assert_eq!(text, words(n).to_uppercase()),
                Err(error) => {
                    assert_eq!(error.status(), TaskStatus::Rejected, "{error}");
                    assert!(!error.may_have_run());
                    assert!(error.to_string().contains("no memory for its arguments"), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "they are too long to need none");
        supervisor.stop(Stop::Drain);
        let ended = supervisor.info().ended;
        assert_eq!((ended.completed, ended.rejected), (1001 - refused, refused));
    });
}

/// As kernels before 5.9: what the host has left open for others is closed one by one.
#[test]
fn a_kernel_that_closes_no_ranges_lets_workers_inherit_nothing() {
    alone("refused::a_kernel_that_closes_no_ranges_lets_workers_inherit_nothing", || {
        let (pipe, _other_end) = std::io::pipe().expect("a pipe");
        let name = inherited(&pipe);
        refuse(libc::SYS_close_range, libc::ENOSYS);
        let supervisor =
            Supervisor::builder().processes(Limits::new(1)).start().expect("a worker starts");
        let open = supervisor.submit(tasks::descriptors::call()).expect("accepted").wait();
        let open = open.expect("it runs");
        assert!(!open.contains(&name), "{open:?}");
    });
}
