//! Hosts with habits of their own: one that reaps whatever child ends, one that ignores SIGCHLD, one that forks while
//! tasks run. Each in a process of its own.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use atasker::{
    Limits, SealedBlob, Stop, SubmitError, Supervisor, TaskError, TaskErrorKind, TaskHandle,
    TaskStatus, as_completed, wait_all,
};

use crate::buffers::sum;
use crate::tasks;
use crate::watch::{Held, TRANSPORTS, alone, eventually, is_alive};

/// Tasks of all fates, several times: each reaches the one end that is its own, and nothing is left.
fn check_all_ends(make_trouble: impl Fn(&Supervisor)) {
    for transport in TRANSPORTS {
        eprintln!("over {transport:?}");
        let start = || {
            let builder = Supervisor::builder().transport(transport).processes(Limits::new(2));
            builder.start().expect("workers start")
        };
        // The first supervisor opens what stays open for good.
        start().stop(Stop::Drain);
        let before = Held::count();
        let supervisor = start();
        make_trouble(&supervisor);
        for _ in 0..5 {
            check_ends(&supervisor);
        }
        make_trouble(&supervisor);
        let pids: Vec<u32> =
            supervisor.info().workers.iter().filter_map(|worker| worker.pid).collect();
        supervisor.stop(Stop::Drain);
        drop(supervisor);
        assert!(pids.iter().all(|&pid| !is_alive(pid)));
        before.assert_again();
    }
}

fn check_ends(supervisor: &Supervisor) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("held");
    let submit = |how: &str| supervisor.submit(tasks::die::call(how)).expect("accepted");
    let status = |task: TaskHandle<()>| {
        task.wait().map_or_else(|error| error.status(), |()| TaskStatus::Completed)
    };
    let held = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
    let crashes = ["abort", "exit 42", "null write"].map(submit);
    let panics = submit("panic");
    let hangs = tasks::die::call("hang").timeout(Duration::from_millis(50));
    let hangs = supervisor.submit(hangs).expect("accepted");
    let good: Vec<_> =
        (0..20).map(|n| supervisor.submit(tasks::add::call(n, n)).expect("accepted")).collect();
    eventually("it runs", || file.exists());
    assert!(held.cancel());
    assert_eq!(status(held), TaskStatus::Cancelled);
    for crash in crashes {
        assert_eq!(status(crash), TaskStatus::Crashed);
    }
    assert_eq!(status(panics), TaskStatus::Panicked);
    assert_eq!(status(hangs), TaskStatus::TimedOut);
    for (n, sum) in (0..20).zip(wait_all(good, None).expect("without a timeout")) {
        assert_eq!(sum.expect("a good one runs"), 2 * n);
    }
}

#[test]
fn one_that_reaps_every_child() {
    alone("host::one_that_reaps_every_child", || {
        let reaped = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&reaped);
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let reaper = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                if reap_any() {
                    count.fetch_add(1, Ordering::Relaxed);
                } else {
                    std::thread::yield_now();
                }
            }
        });
        check_all_ends(|_| {});
        over.store(true, Ordering::Relaxed);
        reaper.join().expect("it does not panic");
        assert!(reaped.load(Ordering::Relaxed) > 0, "it was never the first");
    });
}

#[expect(unsafe_code, reason = "only libc waits for any child")]
fn reap_any() -> bool {
    // SAFETY: a null status is not written to.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 }
}

#[test]
#[expect(unsafe_code, reason = "only libc has signals ignored")]
fn one_that_ignores_the_death_of_children() {
    alone("host::one_that_ignores_the_death_of_children", || {
        // SAFETY: SIG_IGN runs no code.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        check_all_ends(|supervisor| {
            // What is no business of the workers is not inherited by them.
            let task = supervisor.submit(tasks::starts_a_process::call()).expect("accepted");
            assert_eq!(task.wait().expect("it runs"), Ok(true));
        });
    });
}

#[test]
fn one_that_forks_while_tasks_run() {
    alone("host::one_that_forks_while_tasks_run", || {
        check_all_ends(|supervisor| {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("held");
            let submit = |call| supervisor.submit(call).expect("accepted");
            let mut handles = vec![submit(tasks::hold::call(&file))];
            eventually("it runs", || file.exists());
            // What has ended can be read in a child.
            handles.extend((0..20).map(|_| submit(tasks::nothing::call())));
            eventually("they have ended", || handles[1..].iter().all(TaskHandle::is_done));
            // The first and the last are open.
            handles.push(submit(tasks::nothing::call().delay(Duration::from_hours(1))));
            for wait in [in_turn as Wait, wait_for_ever, wait_a_minute].repeat(7) {
                let running = supervisor.submit(tasks::add::call(1, 2)).expect("accepted");
                assert_eq!(in_forked_child(supervisor, &handles, wait), 0, "the child is told");
                assert_eq!(running.wait().expect("it notices nothing"), 3);
            }
            std::fs::remove_file(&file).expect("it is there");
            assert!(handles.pop().is_some_and(|last| last.cancel()));
            let all = wait_all(handles, None).expect("without a timeout");
            assert!(all.iter().all(Result::is_ok), "they notice nothing");
        });
    });
}

/// The same for calls that travel with others, whose ends lie in one place.
#[test]
fn one_that_forks_while_tasks_travel_together() {
    alone("host::one_that_forks_while_tasks_travel_together", || {
        let supervisor = Supervisor::builder().processes(Limits::new(2)).start();
        let supervisor = supervisor.expect("workers start");
        let folder = tempfile::tempdir().expect("a folder");
        let submit = |_| supervisor.submit(tasks::nothing::call()).expect("accepted");
        let submit_many = || {
            let mut tasks: Vec<_> = (0..500).map(submit).collect();
            tasks.retain(|task| format!("{task:?}").contains("in_pack: true"));
            tasks
        };
        // How long it takes has to be known.
        for task in (0..20).map(submit).collect::<Vec<_>>() {
            task.wait().expect("it runs");
        }
        let mut ended = submit_many();
        assert!(ended.len() > 20, "they travel together");
        ended.truncate(20);
        eventually("they have ended", || ended.iter().all(TaskHandle::is_done));
        let files = [0, 1].map(|n| folder.path().join(format!("held{n}")));
        let held = files.each_ref().map(|file| {
            let task = supervisor.submit(tasks::hold::call(file)).expect("accepted");
            eventually("it runs", || file.exists());
            task
        });
        let mut open = submit_many();
        let mut handles = vec![open.swap_remove(0)];
        handles.append(&mut ended);
        handles.extend(open.pop());
        for wait in [in_turn as Wait, wait_for_ever, wait_a_minute].repeat(7) {
            assert_eq!(in_forked_child(&supervisor, &handles, wait), 0, "the child is told");
        }
        files.into_iter().for_each(|file| std::fs::remove_file(file).expect("it is there"));
        for task in handles.into_iter().chain(open).chain(held) {
            assert!(task.wait().is_ok(), "they notice nothing");
        }
    });
}

/// Its copy of a buffer goes with it, and not the workers'.
#[test]
#[expect(unsafe_code, reason = "only a fork makes a forked child")]
fn one_whose_child_drops_a_sealed_buffer() {
    const LENGTH: u64 = 20 << 20;
    alone("host::one_whose_child_drops_a_sealed_buffer", || {
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start();
        let supervisor = supervisor.expect("workers start");
        let sealed = SealedBlob::from_slice(&vec![1; LENGTH as usize]).expect("memory");
        let sum = || supervisor.submit(sum::call(sealed.clone())).expect("accepted").wait();
        for _ in 0..10 {
            assert_eq!(sum().expect("it runs"), LENGTH);
        }
        // SAFETY: the child drops what it has a copy of, and leaves by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: this child does not use it again.
            drop(unsafe { std::ptr::read(&raw const sealed) });
            // SAFETY: it has no preconditions.
            unsafe { libc::_exit(0) };
        }
        assert_eq!(exit_code_of(child), 0);
        for _ in 0..10 {
            assert_eq!(sum().expect("it has it still"), LENGTH);
        }
    });
}

/// The task is the parent's, and what waits behind it too.
#[test]
#[expect(unsafe_code, reason = "only a fork makes a forked child")]
fn one_whose_child_ends_an_external_task() {
    alone("host::one_whose_child_ends_an_external_task", || {
        let one = Limits::new(1).reserve_normal(0).reserve_high(0);
        let supervisor = Supervisor::builder().threads(one).start().expect("it starts");
        let (pass, completers) = mpsc::channel();
        let external = supervisor
            .external_task::<u32, _>("elsewhere", move |completer| drop(pass.send(completer)));
        let external = external.expect("accepted");
        let completer = completers.recv().expect("it is admitted");
        let behind = supervisor.spawn_blocking(std::process::id).expect("accepted");
        // SAFETY: the child ends its copy of the task, and leaves by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: this child does not use it again.
            unsafe { std::ptr::read(&raw const completer) }.complete(1);
            let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
            let code = i32::from(external.is_done() || threads != 1);
            // SAFETY: it has no preconditions.
            unsafe { libc::_exit(code) };
        }
        assert_eq!(exit_code_of(child), 0, "nothing ends or begins there");
        assert!(!external.is_done());
        completer.complete(2);
        assert_eq!(external.wait().expect("it ends"), 2);
        assert_eq!(behind.wait().expect("it runs"), std::process::id());
    });
}

type Wait = fn(Vec<TaskHandle<()>>) -> Vec<Result<(), TaskError>>;

fn in_turn(handles: Vec<TaskHandle<()>>) -> Vec<Result<(), TaskError>> {
    as_completed(handles).map(|done| done.result).collect()
}

fn wait_for_ever(handles: Vec<TaskHandle<()>>) -> Vec<Result<(), TaskError>> {
    wait_all(handles, None).expect("without a timeout")
}

fn wait_a_minute(handles: Vec<TaskHandle<()>>) -> Vec<Result<(), TaskError>> {
    wait_all(handles, Duration::from_mins(1)).expect("it is told before")
}

/// Fork, and try what a child must not do. The exit code: zero if it was told so.
#[expect(unsafe_code, reason = "only a fork makes a forked child")]
fn in_forked_child(supervisor: &Supervisor, handles: &Vec<TaskHandle<()>>, wait: Wait) -> i32 {
    // SAFETY: the child calls what is to be called in forked children, and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = matches!(supervisor.submit(tasks::add::call(1, 2)), Err(SubmitError::Forked));
        let refused = refused && matches!(supervisor.functions(), Err(SubmitError::Forked));
        let cancelled = handles[0].cancel();
        // SAFETY: the child uses and drops no others than these.
        let mut handles = unsafe { std::ptr::read(handles) };
        let cancelled = cancelled || handles[0].info().status != TaskStatus::Cancelled;
        let seen = handles[0].is_done()
            || handles[0].progress().is_some()
            || format!("{:?}", handles[0]).is_empty();
        let called = Arc::new(Mutex::new(Vec::new()));
        for handle in [handles.pop(), handles.pop()].into_iter().flatten() {
            let called = Arc::clone(&called);
            handle.on_complete(move |outcome| called.lock().unwrap().push(outcome.is_ok()));
        }
        let called = *called.lock().unwrap() == [false, true];
        let waited = wait(handles);
        let (open, ended) = waited.split_first().expect("there are some");
        let told = matches!(open.as_ref().map_err(TaskError::kind), Err(TaskErrorKind::Forked))
            && ended.iter().all(Result::is_ok);
        let code = i32::from(!refused || cancelled || seen || !called || !told);
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(code) };
    }
    exit_code_of(child)
}

#[expect(unsafe_code, reason = "std waits for no forked child")]
fn exit_code_of(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the place that it writes to lives.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert!(libc::WIFEXITED(status), "it has died: {status:#x}");
    libc::WEXITSTATUS(status)
}
