//! What `RUST_LOG=atasker=debug` shows: the whole life of a task, and of a worker process.

use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use atasker::{
    BackgroundWorker, Call, Limits, LoopStop, Pool, Priority, RetryOn, Schedule, Stop, Supervisor,
    TaskError, TaskHandle,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::tasks;
use crate::watch::{alone, eventually};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Kept {
    /// For the whole process.
    fn install() -> Self {
        let kept = Self::default();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(kept.clone())
            .init();
        kept
    }

    /// The lines with all of these parts, with what differs from run to run left out.
    fn lines(&self, parts: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).expect("it is text");
        let lines = text.lines().map(|line| format!("{} ", line.trim()));
        let lines = lines.filter(|line| parts.iter().all(|part| line.contains(part)));
        lines.map(|line| without_figures(&line)).collect()
    }

    fn life<T>(&self, task: &TaskHandle<T>) -> Vec<String> {
        let number = format!(" task={} ", task.id());
        eventually("it has ended", || !self.lines(&[&number, ": ended "]).is_empty());
        self.lines(&["DEBUG atasker::task: ", &number])
    }
}

fn without_figures(line: &str) -> String {
    let word = |word: &str| match word.split_once('=') {
        Some((key @ ("queued" | "ran" | "after" | "lived" | "pid"), _)) => format!("{key}=#"),
        _ => word.to_owned(),
    };
    let line = match (line.find(" error="), line.find(" attempts=")) {
        (Some(from), Some(to)) => format!("{} error=#{}", &line[..from], &line[to..]),
        _ => line.to_owned(),
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// In any order: each line is told by the thread that has the event, and one thread may overtake another.
#[track_caller]
fn assert_tells(lines: &[String], expected: &[&str]) {
    let (mut lines, mut expected) = (lines.to_vec(), expected.to_vec());
    lines.sort_unstable();
    expected.sort_unstable();
    assert!(lines == expected, "told:\n{}\nexpected:\n{}", lines.join("\n"), expected.join("\n"));
}

#[test]
fn the_life_of_a_task_in_a_worker_is_told() {
    alone("telling::the_life_of_a_task_in_a_worker_is_told", || {
        let kept = Kept::install();
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        let call = tasks::add::call(1, 2).priority(Priority::High).label("sum").id("first");
        let task = supervisor.submit(call).expect("accepted");
        assert_tells(
            &kept.life(&task),
            &[
                "DEBUG atasker::task: submitted task=1 name=it::tasks::add label=\"sum\" \
                 id=\"first\" pool=Processes priority=high",
                "DEBUG atasker::task: staged task=1 worker=1 pid=#",
                "DEBUG atasker::task: ended task=1 name=it::tasks::add status=completed attempts=1 \
                 queued=# ran=# worker=1 pid=#",
            ],
        );
        let folder = tempfile::tempdir().expect("a folder");
        let call = tasks::note_and::call(&folder.path().join("notes"), "abort");
        let call = call.retries(1).retry_on([RetryOn::Crash]);
        let task = supervisor.submit(call).expect("accepted");
        assert_tells(
            &kept.life(&task),
            &[
                "DEBUG atasker::task: submitted task=2 name=it::tasks::note_and pool=Processes \
                 priority=normal",
                "DEBUG atasker::task: staged task=2 worker=1 pid=#",
                "DEBUG atasker::task: runs again task=2 name=it::tasks::note_and attempts=1 \
                 why=Crash wait=0ns",
                "DEBUG atasker::task: staged task=2 worker=2 pid=#",
                "DEBUG atasker::task: ended task=2 name=it::tasks::note_and status=crashed \
                 error=# attempts=2 queued=# ran=# worker=2 pid=#",
            ],
        );
        let task = supervisor.submit(tasks::die::call("hang").timeout(Duration::from_millis(20)));
        let life = kept.life(&task.expect("accepted"));
        let ended = life.last().unwrap();
        assert!(ended.contains(" status=timed_out "), "{life:?}");
        supervisor.stop(Stop::Drain);
        assert_tells(
            &kept.lines(&["DEBUG atasker::process: ", " worker=1 "]),
            &[
                "DEBUG atasker::process: worker spawned worker=1 pid=#",
                "DEBUG atasker::process: worker ready worker=1 pid=# after=#",
                "DEBUG atasker::process: worker ended worker=1 pid=# status=was killed by signal 6 (SIGABRT) was_ready=true lived=#",
            ],
        );
        let killed = kept.lines(&["DEBUG atasker::process: worker killed ", " why=TimedOut "]);
        // It is the third, unless that was too slow to begin it in its time.
        let number = ended.split(' ').find_map(|word| word.strip_prefix("worker=")).unwrap();
        assert_tells(
            &killed,
            &[&format!("DEBUG atasker::process: worker killed worker={number} pid=# why=TimedOut")],
        );
        let own = kept.lines(&["DEBUG atasker::supervisor: "]);
        let told = |what| own.iter().filter(|line| line.contains(what)).count();
        let all =
            ["started supervisor=atasker", "stopping supervisor=atasker", "drained", "stopped"];
        assert_eq!(all.map(told), [1; 4], "{own:#?}");
    });
}

#[test]
fn the_life_of_a_task_on_a_thread_is_told_and_a_span_is_around_what_it_says() {
    alone(
        "telling::the_life_of_a_task_on_a_thread_is_told_and_a_span_is_around_what_it_says",
        || {
            let kept = Kept::install();
            let supervisor = Supervisor::builder().threads(Limits::new(1)).start().expect("starts");
            let (hold, held) = mpsc::channel::<()>();
            let call = tasks::speak::call("hello").delay(Duration::from_millis(1));
            let task = supervisor.submit(call).expect("accepted");
            assert_tells(
                &kept.life(&task),
                &[
                    "DEBUG atasker::task: submitted task=1 name=it::tasks::speak pool=Threads \
                     priority=normal delay=1ms",
                    "DEBUG atasker::task: begun task=1 name=it::tasks::speak pool=Threads",
                    "DEBUG atasker::task: ended task=1 name=it::tasks::speak status=completed \
                     attempts=1 queued=# ran=#",
                ],
            );
            assert_tells(
                &kept.lines(&["hello"]),
                &["INFO task{task=1 name=it::tasks::speak}: it::tasks: hello"],
            );
            let running =
                supervisor.spawn_blocking(move || held.recv().is_err()).expect("accepted");
            let call = Call::closure(|| ()).queue_timeout(Duration::from_millis(5));
            let expired = supervisor.submit(call).expect("accepted");
            let life = kept.life(&expired);
            assert_eq!(life.len(), 2, "{life:?}");
            assert!(life[1].contains("status=expired"), "{life:?}");
            let cancelled = supervisor.spawn_blocking(|| ()).expect("accepted");
            assert!(cancelled.cancel());
            assert!(kept.life(&cancelled)[1].contains("status=cancelled"));
            drop(hold);
            running.wait().expect("it runs");
        },
    );
}

#[test]
fn the_life_of_a_future_is_told_and_a_span_is_around_what_it_says() {
    alone("telling::the_life_of_a_future_is_told_and_a_span_is_around_what_it_says", || {
        let kept = Kept::install();
        let supervisor = Supervisor::builder().start().expect("starts");
        let devices = supervisor.create_loop("devices").expect("starts");
        let call = Call::future(async {
            tokio::task::yield_now().await;
            tracing::info!("hello");
        });
        let task = supervisor.submit(call.on_loop(&devices)).expect("accepted");
        let life = kept.life(&task);
        assert_eq!(life.len(), 3, "{life:#?}");
        assert_eq!(life[1], "DEBUG atasker::task: begun task=1 pool=Loops aloop=\"devices\"");
        assert!(life[2].contains(" status=completed attempts=1 queued=# ran=#"), "{life:#?}");
        let hello = kept.lines(&["hello"]);
        assert!(hello[0].starts_with("INFO task{task=1 name="), "{hello:?}");
        devices.stop(LoopStop::Wait);
        assert!(!kept.lines(&["DEBUG atasker::loops: ", "devices"]).is_empty());
    });
}

#[test]
fn a_panic_of_a_job_is_told_with_where_the_job_was_written() {
    alone("telling::a_panic_of_a_job_is_told_with_where_the_job_was_written", || {
        let kept = Kept::install();
        let supervisor = Supervisor::builder().start().expect("starts");
        let devices = supervisor.create_loop("devices").expect("starts");
        let once = Schedule::every(Duration::from_millis(1)).times(1);
        devices.schedule(once, || async { panic!("no device") }).expect("scheduled");
        let told = || kept.lines(&["a job panicked"]);
        eventually("the panic is told", || !told().is_empty());
        let line = &told()[0];
        let place = "a_panic_of_a_job_is_told_with_where_the_job_was_written";
        assert!(line.contains("no device") && line.contains(place), "{line}");
    });
}

/// Panics at all that it is told.
struct Angry;

impl tracing::Subscriber for Angry {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        panic!("no spans")
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {
        panic!("no records")
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("no events")
    }

    fn enter(&self, _: &tracing::span::Id) {
        panic!("no entering")
    }

    fn exit(&self, _: &tracing::span::Id) {
        panic!("no exits")
    }
}

/// Asks about everything whenever it is told anything.
struct Curious;

struct Asked {
    supervisor: Supervisor,
    worker: BackgroundWorker,
    handles: Mutex<Vec<TaskHandle<u64>>>,
}

static ASKED: OnceLock<Asked> = OnceLock::new();

impl tracing::Subscriber for Curious {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        thread_local!(static ASKS: Cell<bool> = const { Cell::new(false) });
        let Some(asked) = ASKED.get().filter(|_| !ASKS.replace(true)) else { return };
        let Asked { supervisor, worker, handles } = asked;
        let _all = (supervisor.info(), supervisor.tasks(), supervisor.async_loops(), worker.info());
        if let Ok(handles) = handles.try_lock() {
            handles.iter().for_each(|handle| _ = (handle.info(), handle.is_done()));
        }
        ASKS.set(false);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_subscriber_that_asks_holds_up_nothing() {
    alone("telling::a_subscriber_that_asks_holds_up_nothing", || {
        tracing::subscriber::set_global_default(Curious).expect("the first");
        let supervisor = start_small();
        let begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&begun);
        let endless = BackgroundWorker::on_event().run_async(move |_| {
            begins.store(true, Ordering::SeqCst);
            std::future::pending::<()>()
        });
        let endless = endless.start(&supervisor).expect("starts");
        let asked = || Asked { supervisor, worker: endless, handles: Mutex::default() };
        let Asked { supervisor, worker: endless, handles } = ASKED.get_or_init(asked);
        let submit = |n| supervisor.submit(tasks::sleep_ms::call(n)).expect("accepted");
        *handles.lock().expect("nobody panics") = (0..20).map(submit).collect();
        assert!(endless.trigger());
        // One that is cancelled before is run later.
        eventually("it runs", || begun.load(Ordering::SeqCst));
        let runs = supervisor.tasks().into_iter().find(|it| it.pool == Pool::Loops);
        assert!(supervisor.cancel(runs.expect("it does not end").id));
        check_all_ends(supervisor);
        supervisor.stop(Stop::Drain);
        assert_eq!(supervisor.info().workers.len(), 0);
    });
}

/// Asks for the default supervisor whenever it is told anything.
struct Dependent;

static ANSWERS: Mutex<Vec<bool>> = Mutex::new(Vec::new());

impl tracing::Subscriber for Dependent {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        thread_local!(static ASKS: Cell<bool> = const { Cell::new(false) });
        if !ASKS.replace(true) {
            let answer = atasker::supervisor().map(Supervisor::info).is_ok();
            ANSWERS.lock().expect("nobody panics").push(answer);
            ASKS.set(false);
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_subscriber_may_ask_for_the_supervisor_that_is_just_starting() {
    alone("telling::a_subscriber_may_ask_for_the_supervisor_that_is_just_starting", || {
        tracing::subscriber::set_global_default(Dependent).expect("the first");
        atasker::configure(Supervisor::builder().processes(Limits::new(1))).expect("not used yet");
        let others = [(); 3].map(|()| std::thread::spawn(|| atasker::supervisor().map(drop)));
        let supervisor = atasker::supervisor().expect("starts");
        for other in others {
            other.join().expect("no panic").expect("it is the same");
        }
        let task = supervisor.submit(tasks::add::call(1, 2)).expect("accepted");
        assert_eq!(task.wait().expect("it runs"), 3);
        supervisor.stop(Stop::Drain);
        let answers = ANSWERS.lock().expect("nobody panics");
        assert!(answers.contains(&false), "what its start logs can't use it");
        assert!(answers.contains(&true));
    });
}

#[test]
fn a_subscriber_that_panics_keeps_nothing_from_its_end() {
    alone("telling::a_subscriber_that_panics_keeps_nothing_from_its_end", || {
        std::panic::set_hook(Box::new(|_| ()));
        tracing::subscriber::set_global_default(Angry).expect("the first");
        let supervisor = start_small();
        check_all_ends(&supervisor);
        supervisor.stop(Stop::Drain);
        assert_eq!(supervisor.info().workers.len(), 0);
    });
}

fn start_small() -> Supervisor {
    Supervisor::builder()
        .processes(Limits::new(2))
        .threads(Limits::new(2))
        .spares(1)
        .recycle_after_tasks(20)
        .start()
        .expect("starts")
}

/// Tasks of all kinds and fates.
fn check_all_ends(supervisor: &Supervisor) {
    let kind = |error: &TaskError| error.status().to_string();
    let end = |call: Call<u64>| {
        let task = supervisor.submit(call).expect("accepted");
        task.wait().map_or_else(|error| kind(&error), |value| value.to_string())
    };
    for _ in 0..50 {
        assert_eq!(end(tasks::sleep_ms::call(0)), "0");
    }
    let soon = Duration::from_millis(20);
    let long = || tasks::sleep_ms::call(600_000).timeout(soon);
    assert_eq!(end(long()), "timed_out");
    assert_eq!(end(long().retries(2).retry_on([RetryOn::Timeout])), "timed_out");
    assert_eq!(end(long().soft_timeout(soon / 2)), "timed_out");
    assert_eq!(end(Call::closure(|| 3)), "3");
    assert_eq!(end(Call::closure(|| panic!("so does the task"))), "panicked");
    let nobody = supervisor.external_task::<(), _>("nobody", drop).expect("accepted");
    assert_eq!(nobody.wait().map_err(|error| kind(&error)), Err("cancelled".to_owned()));
    assert_eq!(end(Call::future(async { 4 })), "4");
    assert_eq!(end(Call::future(std::future::pending()).timeout(soon)), "timed_out");
    assert_eq!(end(Call::future(async { 5 })), "5", "its loop goes on");
    let died = supervisor.submit(tasks::die::call("segfault")).expect("accepted").wait();
    assert_eq!(died.map_err(|error| kind(&error)), Err("crashed".to_owned()));
    let all = supervisor.map((0..1000).map(|n| tasks::die_at::call(n, 500)));
    assert_eq!(all.filter(Result::is_err).count(), 1);
    let bell = BackgroundWorker::on_event().run(|_| ()).start(supervisor).expect("starts");
    assert!(bell.trigger());
    bell.stop();
    let devices = supervisor.create_loop("devices").expect("starts");
    devices.stop(LoopStop::Wait);
    let logs = supervisor.submit(tasks::log_something::call("x")).expect("accepted").wait();
    assert_eq!(logs.map_err(|error| kind(&error)), Ok(()));
}

#[test]
fn nothing_is_told_of_a_task_above_debug() {
    alone("telling::nothing_is_told_of_a_task_above_debug", || {
        let kept = Kept::install();
        let supervisor = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
        for n in 0..10 {
            let task = supervisor.submit(tasks::add::call(n, 1)).expect("accepted");
            task.wait().expect("it runs");
        }
        assert!(supervisor.map((0..1000).map(|n| tasks::add::call(n, 1))).all(|sum| sum.is_ok()));
        supervisor.stop(Stop::Drain);
        let mut loud = ["ERROR", "WARN", "INFO"].map(|level| kept.lines(&[level])).concat();
        // A busy machine may keep this process from running for so long that it takes itself for suspended.
        loud.retain(|line| !line.contains("this process was suspended"));
        assert!(loud.is_empty(), "{loud:?}");
        assert!(!kept.lines(&["atasker::task: a pack ended "]).is_empty());
    });
}
