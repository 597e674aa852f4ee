//! What a task knows of itself, and says while it runs, in every pool.

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};

use atasker::{Backoff, Limits, Supervisor, TaskStatus, task};

use crate::tasks;
use crate::watch::{each_transport, eventually, watched};

type Known = (Option<u64>, Option<u32>, Option<String>, bool);

fn known() -> Known {
    let current = atasker::current();
    let function = current.function().map(str::to_owned);
    (current.number(), current.attempt(), function, current.is_cancelled())
}

#[task]
fn known_in_worker() -> Known {
    // From a thread of its own: a worker has one task.
    std::thread::spawn(known).join().expect("it does not panic")
}

#[task]
fn known_here() -> Known {
    known()
}

#[task]
async fn known_on_loop() -> Known {
    let before = known();
    tokio::task::yield_now().await;
    assert_eq!(known(), before);
    before
}

/// Says how far it is, and waits while the file is there.
#[task]
fn goes_on(file: &Path, done: u64) -> (u64, Option<u64>) {
    atasker::breadcrumb!("it is at {done}");
    atasker::progress(done, 10);
    tasks::hold(file);
    (done, atasker::current().number())
}

#[task]
async fn goes_on_later(wait: tokio::sync::oneshot::Receiver<()>) {
    atasker::progress(1, 2);
    let _ = wait.await;
}

/// Says something in its first attempt, which panics.
#[task(io, retries = 1, retry_on(panic))]
fn says_at_first(said: mpsc::Sender<Option<u32>>, may_go_on: Arc<Mutex<mpsc::Receiver<()>>>) {
    let attempt = atasker::current().attempt();
    if attempt == Some(1) {
        atasker::progress(1, 1);
    }
    said.send(attempt).expect("the test receives");
    let received = may_go_on.lock().map(|may_go_on| may_go_on.recv());
    drop(received);
    assert_ne!(attempt, Some(1), "as planned");
}

#[test]
fn outside_of_a_task_nothing_is_known_and_nothing_happens() {
    atasker::progress(1, 2);
    atasker::breadcrumb!("nobody reads this");
    assert_eq!(known(), (None, None, None, false));
}

#[test]
fn a_task_in_a_worker_knows_itself() {
    each_transport(|supervisor| {
        let supervisor = supervisor(1);
        for number in 1..=3 {
            let task = supervisor.submit(known_in_worker::call()).expect("accepted");
            let (knows, attempt, function, cancelled) = task.wait().expect("runs");
            assert_eq!((knows, attempt, cancelled), (Some(number), Some(1), false));
            assert!(function.is_some_and(|path| path.ends_with("::said::known_in_worker")));
        }
    });
}

#[test]
fn a_task_in_this_process_knows_itself() {
    watched(|| {
        let inline = Supervisor::builder().inline().start().expect("starts");
        let rayon = Supervisor::builder().rayon(Limits::new(1)).start().expect("starts");
        for supervisor in [&inline, &rayon] {
            let nested = supervisor.submit(known_here::call()).expect("accepted").wait();
            let (number, attempt, function, cancelled) = nested.expect("runs");
            assert_eq!((number, attempt, cancelled), (Some(1), Some(1), false));
            assert!(function.is_some_and(|path| path.ends_with("::said::known_here")));
            let (number, ..) =
                supervisor.spawn_blocking(known).expect("accepted").wait().expect("runs");
            assert_eq!(number, Some(2));
            let task = supervisor.submit(known_on_loop::call()).expect("accepted");
            let (number, attempt, function, _) = task.wait().expect("runs");
            assert_eq!((number, attempt), (Some(3), Some(1)));
            assert!(function.is_some_and(|path| path.ends_with("::said::known_on_loop")));
        }
        assert_eq!(known().0, None, "the thread that ran them inline is itself again");
    });
}

#[test]
fn a_task_within_another_is_itself_and_afterwards_the_other_is() {
    watched(|| {
        let inline = Supervisor::builder().inline().start().expect("starts");
        let threads = Supervisor::builder().start().expect("starts");
        let task = threads.spawn_blocking(move || {
            let before = known();
            let inner = inline.submit(known_here::call()).expect("accepted").wait().expect("runs");
            (before, inner, known())
        });
        let (before, inner, after) = task.expect("accepted").wait().expect("runs");
        assert!(inner.2.is_some_and(|path| path.ends_with("::known_here")));
        assert_eq!(before, after);
        assert!(before.2.is_some_and(|path| !path.ends_with("::known_here")));
    });
}

#[test]
fn progress_in_a_worker_is_seen_while_the_task_runs() {
    each_transport(|supervisor| {
        let folder = tempfile::tempdir().expect("a folder");
        let supervisor = supervisor(1);
        // Twice on the same worker: nothing of the first is taken for the second's.
        for done in [3, 7] {
            let file = folder.path().join(done.to_string());
            let silent = folder.path().join(format!("silent {done}"));
            let task = supervisor.submit(goes_on::call(&file, done)).expect("accepted");
            eventually("the task runs", || file.exists());
            let progress = task.progress().expect("it has said so");
            assert_eq!((progress.done, progress.total), (done, 10));
            assert_eq!(task.info().progress, Some(progress));
            let listed = supervisor.tasks().into_iter().find(|info| info.id == task.id());
            assert_eq!(listed.expect("it runs").progress, Some(progress));
            std::fs::remove_file(&file).expect("it is there");
            eventually("it ends", || task.is_done());
            assert_eq!(task.progress(), None);
            drop(task);
            let task = supervisor.submit(tasks::hold::call(&silent)).expect("accepted");
            eventually("the task runs", || silent.exists());
            assert_eq!(task.progress(), None, "it says nothing");
            std::fs::remove_file(&silent).expect("it is there");
            task.wait().expect("runs");
        }
    });
}

#[test]
fn progress_in_this_process_is_seen_while_the_task_runs() {
    watched(|| {
        let supervisor = Supervisor::builder().start().expect("starts");
        let (said, is_said) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let task = supervisor.spawn_blocking(move || {
            let current = atasker::current();
            atasker::progress(5, 9);
            said.send(current.is_cancelled()).expect("the test receives");
            let _ = may_go_on.recv();
            said.send(current.is_cancelled()).expect("the test receives");
        });
        let task = task.expect("accepted");
        assert_eq!(is_said.recv(), Ok(false));
        let progress = task.progress().expect("it has said so");
        assert_eq!((progress.done, progress.total), (5, 9));
        // A thread can't be killed, but its task is told.
        assert!(task.cancel());
        go_on.send(()).expect("the task waits");
        assert_eq!(is_said.recv(), Ok(true));
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::Cancelled);

        let (go_on, wait) = tokio::sync::oneshot::channel();
        let task = supervisor.submit(goes_on_later::call(wait)).expect("accepted");
        eventually("the future says something", || task.progress().is_some());
        go_on.send(()).expect("the future waits");
        task.wait().expect("it ends");
    });
}

#[test]
fn a_retry_says_for_itself() {
    watched(|| {
        let supervisor = Supervisor::builder().start().expect("starts");
        let (said, is_said) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let call = says_at_first::call(said, Arc::new(Mutex::new(may_go_on)));
        let task = supervisor.submit(call.backoff(Backoff::NONE)).expect("accepted");
        assert_eq!(is_said.recv(), Ok(Some(1)));
        assert!(task.progress().is_some());
        go_on.send(()).expect("the task waits");
        assert_eq!(is_said.recv(), Ok(Some(2)));
        assert_eq!(task.progress(), None);
        go_on.send(()).expect("the task waits");
        task.wait().expect("the second attempt is good");
    });
}
