//! What is promised about order, repetition and time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atasker::{Limits, Priority, Supervisor, TaskStatus, Transport, wait_all};

use super::{BRIEFLY, Scene, cases};
use crate::tasks;
use crate::watch::{Held, eventually, long_enough, send_signal, watched};

cases! {
    everywhere {
        what_is_not_retryable_runs_once,
        what_is_retryable_runs_so_often,
        a_poisonous_task_is_quarantined,
        reserves_hold_under_a_flood,
        an_urgent_task_goes_before_ten_thousand,
        what_ages_does_not_starve,
        many_tasks_at_a_constant_number_of_descriptors_and_threads,
    }
}

/// How often a task that ends so began, and its status.
fn begins(scene: &Scene, how: &str, retries: u32) -> (usize, TaskStatus) {
    if how != "hang" {
        return begins_within(scene, how, retries, Duration::from_secs(60));
    }
    // Each attempt needs time to say that it began.
    long_enough(|timeout| {
        let begun = begins_within(scene, how, retries, timeout);
        (begun.0 > retries as usize).then_some(begun)
    })
}

fn begins_within(scene: &Scene, how: &str, retries: u32, timeout: Duration) -> (usize, TaskStatus) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("begun");
    let call = tasks::note_and::call(&file, how).timeout(timeout).retries(retries);
    let status = match scene.run(call) {
        Ok(returned) => {
            assert_eq!(returned.is_err(), how == "fail");
            TaskStatus::Completed
        }
        Err(error) => {
            assert_eq!(error.attempts(), 1 + retries, "{error}");
            error.status()
        }
    };
    (std::fs::read_to_string(&file).unwrap_or_default().lines().count(), status)
}

const ENDS: [(&str, TaskStatus); 4] = [
    ("abort", TaskStatus::Crashed),
    ("panic", TaskStatus::Panicked),
    ("fail", TaskStatus::Completed),
    ("hang", TaskStatus::TimedOut),
];

fn what_is_not_retryable_runs_once(scene: &Scene) {
    for (how, status) in ENDS {
        assert_eq!(begins(scene, how, 0), (1, status), "{how}");
    }
    let occupied = scene.occupy();
    for pid in occupied.pids {
        send_signal(pid, libc::SIGKILL);
    }
    for task in occupied.tasks {
        let error = task.wait().expect_err("it was killed");
        assert_eq!((error.status(), error.attempts()), (TaskStatus::Crashed, 1), "{error}");
    }
}

fn what_is_retryable_runs_so_often(scene: &Scene) {
    for (how, status) in ENDS {
        assert_eq!(begins(scene, how, 2), (3, status), "{how}");
    }
}

/// Two of them among sixty others. Each costs as many workers as it may, and no other task.
fn a_poisonous_task_is_quarantined(scene: &Scene) {
    let folder = tempfile::tempdir().expect("a folder");
    let poison = |n: i64| {
        let file = folder.path().join(n.to_string());
        tasks::note_and::call(&file, "abort").retries(10).crash_limit(2)
    };
    let good = |n| scene.submit(tasks::add::call(n, 1)).expect("accepted");
    let tasks: Vec<_> = (0..60).map(good).collect();
    let poisonous = [0, 1].map(|n| scene.submit(poison(n)).expect("accepted"));
    let more: Vec<_> = (60..120).map(good).collect();
    for (n, task) in poisonous.into_iter().enumerate() {
        let error = task.wait().expect_err("it kills whoever runs it");
        assert_eq!((error.status(), error.attempts()), (TaskStatus::Quarantined, 2), "{error}");
        let notes = std::fs::read_to_string(folder.path().join(n.to_string()));
        assert_eq!(notes.expect("it began").lines().count(), 2);
    }
    for (n, task) in (0..).zip(tasks.into_iter().chain(more)) {
        match task.wait() {
            Ok(sum) => assert_eq!(sum, n + 1),
            Err(error) => panic!("a neighbour: {error}"),
        }
    }
}

fn reserves_hold_under_a_flood(scene: &Scene) {
    scene.start(scene.builder().processes(Limits::new(1).reserve_high(1)));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("held");
    let low = |call: atasker::Call<()>| call.priority(Priority::Low);
    let held = scene.submit(low(tasks::hold::call(&file))).expect("accepted");
    eventually("it runs", || file.exists());
    let flood: Vec<_> =
        (0..2_000).map(|_| scene.submit(low(tasks::nothing::call())).expect("accepted")).collect();
    // The other worker is free for what is urgent, again and again, and for nothing else.
    for n in 0..20 {
        let call = tasks::add::call(n, 1).priority(Priority::High);
        assert_eq!(scene.run(call).expect("it runs"), n + 1);
    }
    assert!(!flood.iter().any(atasker::TaskHandle::is_done));
    std::fs::remove_file(&file).expect("it is there");
    held.wait().expect("it runs");
    for result in wait_all(flood, None).expect("without a timeout") {
        result.expect("it runs");
    }
}

fn an_urgent_task_goes_before_ten_thousand(scene: &Scene) {
    let occupied = scene.occupy();
    let folder = tempfile::tempdir().expect("a folder");
    let noted = folder.path().join("noted");
    let low: Vec<_> = (0..10_000)
        .map(|_| {
            let call = tasks::note::call(&noted, "low").priority(Priority::Low);
            scene.submit(call).expect("accepted")
        })
        .collect();
    let high = tasks::note::call(&noted, "high").priority(Priority::High);
    let high = scene.submit(high).expect("accepted");
    // One worker alone, so that the order is one.
    std::fs::remove_file(&occupied.files[0]).expect("it is there");
    high.wait().expect("it runs");
    std::fs::remove_file(&occupied.files[1]).expect("it is there");
    for task in occupied.tasks {
        task.wait().expect("it runs");
    }
    wait_all(low, None).expect("without a timeout");
    let notes = std::fs::read_to_string(&noted).expect("it is there");
    assert_eq!(notes.lines().position(|line| line == "high"), Some(0));
    assert_eq!(notes.lines().count(), 10_001);
}

/// More urgent work never ends, and still the other is done.
fn what_ages_does_not_starve(scene: &Scene) {
    scene.start(scene.builder().aging(Duration::from_millis(20)));
    let pool: &Supervisor = scene;
    let done = AtomicBool::new(false);
    let normal = || pool.submit(tasks::sleep_ms::call(1)).expect("accepted");
    std::thread::scope(|threads| {
        let mut ahead: std::collections::VecDeque<_> = (0..200).map(|_| normal()).collect();
        let low = tasks::add::call(1, 1).priority(Priority::Low);
        let low = pool.submit(low).expect("accepted");
        threads.spawn(|| {
            assert_eq!(low.wait().expect("it has its turn"), 2);
            done.store(true, Ordering::Relaxed);
        });
        // There are always two hundred before it.
        while !done.load(Ordering::Relaxed) {
            ahead.push_back(normal());
            ahead.pop_front().expect("there are some").wait().expect("it runs");
        }
        while let Some(task) = ahead.pop_front() {
            task.cancel();
        }
    });
}

/// Twenty thousand, or as many as `ATASKER_TEST_TASKS` says.
fn many_tasks_at_a_constant_number_of_descriptors_and_threads(scene: &Scene) {
    let chosen = std::env::var("ATASKER_TEST_TASKS").ok().and_then(|text| text.parse().ok());
    let count = chosen.unwrap_or(20_000_i64);
    let submit = |n| scene.submit(tasks::add::call(n, 1)).expect("accepted");
    // Both workers with their threads, and those of the pool that start with the first use.
    eventually("both workers are there", || scene.pids().len() == 2);
    assert!((0..100).all(|n| submit(n).wait().is_ok_and(|sum| sum == n + 1)));
    let before = Held::count();
    let mut next = 0;
    while next < count {
        let tasks: Vec<_> = (next..next + 1_000).map(submit).collect();
        for (n, task) in (next..).zip(tasks) {
            assert_eq!(task.wait().expect("it runs"), n + 1);
        }
        next += 1_000;
        before.assert_again();
    }
    let mapped = scene.map((0..count).map(|n| tasks::add::call(n, 1)));
    assert!(mapped.zip(1..).all(|(sum, n)| sum.is_ok_and(|sum| sum == n)));
    before.assert_again();
}

/// A clock that shows another day each time it is read changes nothing.
#[test]
fn wall_clock_jumps_do_not_matter() {
    const NAME: &str = "catalogue::policy::wall_clock_jumps_do_not_matter";
    const ROLE: &str = "ATASKER_TEST_WILD_CLOCK";
    if std::env::var_os(ROLE).is_some() {
        let now = std::time::SystemTime::now;
        assert!((0..20).any(|_| now() > now()), "the clock jumps");
        return watched(|| check_times(&Scene::new(Transport::Ring)));
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this test binary"))
        .args([NAME, "--exact", "--nocapture"])
        .env(ROLE, "1")
        .env("LD_PRELOAD", env!("ATASKER_TEST_WILD_CLOCK_LIBRARY"))
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Every kind of time that a task can be given.
fn check_times(scene: &Scene) {
    scene.start(scene.builder().aging(Duration::from_secs(3600)));
    let never = Duration::from_secs(3600);
    for n in 0..50 {
        let call = tasks::add::call(n, 1).timeout(never).queue_timeout(never);
        assert_eq!(scene.run(call).expect("in time"), n + 1);
    }
    let delay = Duration::from_millis(30);
    let begun = std::time::Instant::now();
    assert_eq!(scene.run(tasks::add::call(1, 1).delay(delay)).expect("it runs"), 2);
    assert!(begun.elapsed() >= delay);
    let hanging = tasks::die::call("hang").timeout(BRIEFLY);
    assert_eq!(scene.run(hanging).expect_err("it hangs").status(), TaskStatus::TimedOut);
    let occupied = scene.occupy();
    let waiting = scene.submit(tasks::nothing::call().queue_timeout(BRIEFLY)).expect("accepted");
    assert_eq!(waiting.wait().expect_err("nobody begins it").status(), TaskStatus::Expired);
    let mut later = scene.submit(tasks::add::call(2, 2)).expect("accepted");
    assert!(later.wait_timeout(BRIEFLY).is_none());
    occupied.release();
    assert_eq!(later.wait().expect("it runs"), 4);
    super::assert_sound(scene);
}
