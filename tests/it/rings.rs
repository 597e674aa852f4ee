//! What only rings do: calls that are with a worker and have not begun are taken back, and small ones travel
//! in packs.

use std::path::Path;
use std::time::Duration;

use atasker::{Limits, Priority, Supervisor, TaskStatus};

use crate::tasks;
use crate::watch::{eventually, is_alive, send_signal, state_of, watched};

fn supervisor(workers: u32) -> Supervisor {
    Supervisor::builder().processes(Limits::new(workers)).start().expect("workers start")
}

/// Have the supervisor learn how quick the steps are, so that it sends them in large packs.
fn learn(supervisor: &Supervisor, folder: &Path) {
    let steps = supervisor.map((0..5000).map(|_| tasks::step::call(folder, "learning")));
    assert_eq!(steps.flatten().count(), 5000);
    std::fs::remove_file(folder.join("notes")).expect("they were taken");
}

fn notes(folder: &Path) -> Vec<String> {
    let notes = std::fs::read_to_string(folder.join("notes")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

#[test]
fn a_stopped_worker_keeps_no_task() {
    watched(|| {
        let supervisor = Supervisor::builder()
            .processes(Limits::new(1))
            .claim_deadline(Duration::from_millis(50))
            // On a busy machine others may seem to stand still, too.
            .restart_limit(1_000_000)
            .start()
            .expect("workers start");
        let pid = supervisor.submit(tasks::pid::call()).expect("accepted").wait().expect("runs");
        send_signal(pid, libc::SIGSTOP);
        eventually("it stands still", || state_of(pid) == Some('T'));
        let tasks: Vec<_> =
            (0..5).map(|_| supervisor.submit(tasks::pid::call()).expect("accepted")).collect();
        for task in tasks {
            assert_ne!(task.wait().expect("another worker takes it"), pid);
        }
        eventually("the stopped one is killed", || !is_alive(pid));
        assert_eq!(supervisor.info().ended.completed, 6);
    });
}

#[test]
fn one_call_of_a_running_pack_is_cancelled() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = supervisor(1);
        learn(&supervisor, folder.path());
        let held = folder.path().join("held");
        let lines = (0..300).map(|n| if n == 0 { "hold".to_owned() } else { n.to_string() });
        let calls: Vec<_> = lines.map(|line| tasks::step::call(folder.path(), &line)).collect();
        let (results, tasks, cancelled) = std::thread::scope(|scope| {
            let map = scope.spawn(|| supervisor.map(calls).collect::<Vec<Result<(), _>>>());
            eventually("the first call runs", || held.exists());
            // How many calls are a task depends on how long they seem to take on this machine just now.
            let mut tasks = Vec::new();
            eventually("another waits behind it", || {
                tasks = supervisor.tasks().iter().map(|task| task.id).collect();
                tasks.len() >= 2
            });
            // One that waits, and the one that runs.
            let cancelled = [tasks[1], tasks[0], tasks[0]].map(|id| supervisor.cancel(id));
            (map.join().expect("it does not panic"), tasks, cancelled)
        });
        assert_eq!(cancelled, [true, true, false], "each can be cancelled once");
        let second = (tasks[1].number() - tasks[0].number()) as usize;
        assert_eq!(results.len(), 300);
        for (n, result) in results.iter().enumerate() {
            let was_cancelled = [0, second].contains(&n);
            match result {
                Ok(()) => assert!(!was_cancelled, "{n}"),
                Err(error) => {
                    assert_eq!(
                        (error.status(), was_cancelled),
                        (TaskStatus::Cancelled, true),
                        "{n}"
                    );
                }
            }
        }
        let mut notes = notes(folder.path());
        notes.sort_by_key(|line| line.parse::<u32>().expect("a number"));
        notes.dedup();
        assert_eq!(notes.len(), 298, "every other call ran, and once");
    });
}

#[test]
fn an_urgent_task_goes_before_the_rest_of_a_running_pack() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = supervisor(1);
        learn(&supervisor, folder.path());
        let held = folder.path().join("held");
        let step = |line: &str| tasks::step::call(folder.path(), line).priority(Priority::Low);
        let calls = (0..1000).map(|n| step(if n == 0 { "hold" } else { "low" }));
        let calls: Vec<_> = calls.collect();
        std::thread::scope(|scope| {
            let results = supervisor.map(calls);
            let map = scope.spawn(|| results.flatten().count());
            eventually("the first call runs", || held.exists());
            let call = tasks::step::call(folder.path(), "high").priority(Priority::High);
            let high = supervisor.submit(call).expect("accepted");
            std::fs::remove_file(&held).expect("it is there");
            high.wait().expect("it runs");
            assert_eq!(map.join().expect("it does not panic"), 1000);
        });
        let notes = notes(folder.path());
        assert_eq!(notes.iter().position(|line| line == "high"), Some(0));
        assert_eq!(notes.len(), 1000);
    });
}
