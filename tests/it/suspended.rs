//! A host that is suspended loses no task by it; a worker that is stopped does not hold up its task's end.
//!
//! The host is this test binary again, running only [`the_host`].

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use atasker::{Limits, Supervisor, TaskStatus, Transport};

use crate::tasks;
use crate::watch::{TRANSPORTS, each_transport, eventually, send_signal, state_of, watched};

const FOLDER: &str = "ATASKER_TEST_SUSPENDED";
const CHANNEL: &str = "ATASKER_TEST_SUSPENDED_CHANNEL";
const STARTING: &str = "ATASKER_TEST_SUSPENDED_STARTING";
/// Time enough to say that all runs, and for the other to hear it.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Not a test of its own: what the other suspends. Says when it has noticed, and what became of its tasks.
#[test]
fn the_host() {
    let Some(folder) = std::env::var_os(FOLDER).map(std::path::PathBuf::from) else {
        return;
    };
    // Nobody else sees to it that it ends if the other test fails.
    watched(
        || if std::env::var_os(STARTING).is_some() { starting(&folder) } else { host(&folder) },
    );
}

/// One that is suspended while its first worker starts.
fn starting(folder: &std::path::Path) {
    let builder = Supervisor::builder().processes(Limits::new(1)).start_timeout(TIMEOUT);
    let supervisor =
        builder.worker_data(&format!("wait for {}", folder.join("go").display())).start();
    println!("started {:?}", supervisor.err().map(|error| error.to_string()));
}

fn host(folder: &std::path::Path) {
    let transport =
        if std::env::var_os(CHANNEL).is_some() { Transport::Channel } else { Transport::Ring };
    let builder = Supervisor::builder().processes(Limits::new(1)).transport(transport);
    let supervisor = builder.start().expect("workers start");
    let held = tasks::hold::call(&folder.join("process")).timeout(TIMEOUT);
    let in_process = supervisor.submit(held).expect("accepted");
    let waits = supervisor.submit(tasks::add::call(1, 2).queue_timeout(TIMEOUT)).expect("accepted");
    // Its delay ends before anybody's time, and is no time that runs.
    let delayed = supervisor.submit(tasks::add::call(2, 3).delay(TIMEOUT * 9 / 10));
    let delayed = delayed.expect("accepted");
    let file = folder.join("thread");
    let on_thread = atasker::Call::closure(move || tasks::hold(&file)).timeout(TIMEOUT);
    let on_thread = supervisor.submit(on_thread).expect("accepted");
    eventually("both run", || folder.join("process").exists() && folder.join("thread").exists());
    let mut looked = Instant::now();
    println!("pid {}", supervisor.info().workers[0].pid.expect("it runs"));
    // Each look is the end of one span and the begin of the next, so that it can be stopped in no other.
    while std::mem::replace(&mut looked, Instant::now()).elapsed() < TIMEOUT / 2 {
        std::thread::sleep(Duration::from_millis(10));
    }
    // What is over is over by then.
    std::thread::sleep(Duration::from_millis(100));
    let over = [in_process.is_done(), on_thread.is_done(), waits.is_done()];
    println!("over {over:?}");
    let error =
        |result: Result<(), atasker::TaskError>| result.err().map(|error| error.to_string());
    println!("ended {:?} {:?}", error(in_process.wait()), error(on_thread.wait()));
    println!("ended {:?} {:?}", waits.wait(), delayed.wait());
}

struct Host {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Host {
    /// `variable`: by which it knows what else is wanted of it.
    fn start(folder: &std::path::Path, variable: Option<&str>) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test binary"));
        command
            .args(["suspended::the_host", "--exact", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped());
        command.envs(variable.map(|variable| (variable, "")));
        let mut child = command.spawn().expect("the test binary starts");
        let output = child.stdout.take().expect("it is piped");
        Self { child, lines: BufReader::new(output).lines() }
    }

    /// What stands behind `word` in the next line that begins with it.
    fn says(&mut self, word: &str) -> String {
        let lines = self.lines.by_ref().map(|line| line.expect("it is text"));
        let mut found = lines.filter_map(|line| {
            Some(line.split_once(word).filter(|(before, _)| before.len() < 60)?.1.trim().to_owned())
        });
        found.next().unwrap_or_else(|| panic!("it never says {word}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its worker dies with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_suspended_host_does_not_time_its_tasks_out() {
    for (transport, stopped) in TRANSPORTS.into_iter().flat_map(|transport| {
        // Longer than their time, and shorter.
        [TIMEOUT * 3 / 2, TIMEOUT * 3 / 5].map(|stopped| (transport, stopped))
    }) {
        watched(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let channel = (transport == Transport::Channel).then_some(CHANNEL);
            let mut host = Host::start(folder.path(), channel);
            let worker: u32 = host.says("pid ").parse().expect("a pid");
            let both = [host.child.id(), worker];
            both.iter().for_each(|&pid| send_signal(pid, libc::SIGSTOP));
            eventually("both are stopped", || both.iter().all(|&pid| state_of(pid) == Some('T')));
            // Not in order to wait for something: this is what the host is to sleep through.
            std::thread::sleep(stopped);
            both.iter().for_each(|&pid| send_signal(pid, libc::SIGCONT));
            assert_eq!(host.says("over "), "[false, false, false]", "over {transport:?}");
            // Past the time that they would have had, and within the time that they have.
            std::thread::sleep((TIMEOUT * 5 / 4).saturating_sub(stopped));
            for file in ["process", "thread"] {
                std::fs::remove_file(folder.path().join(file)).expect("it is there");
            }
            assert_eq!(host.says("ended "), "None None");
            assert_eq!(host.says("ended "), "Ok(3) Ok(5)");
            assert!(host.child.wait().expect("it ends").success());
        });
    }
}

#[test]
fn a_suspended_host_does_not_give_up_a_start() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut host = Host::start(folder.path(), Some(STARTING));
        let go = folder.path().join("go");
        eventually("a worker starts", || go.with_extension("reached").exists());
        let pid = host.child.id();
        send_signal(pid, libc::SIGSTOP);
        eventually("it is stopped", || state_of(pid) == Some('T'));
        // Longer than a start may take, and than `start` waits for one.
        std::thread::sleep(TIMEOUT * 9 / 4);
        send_signal(pid, libc::SIGCONT);
        // Time to give up.
        std::thread::sleep(Duration::from_millis(100));
        std::fs::write(go, "").expect("the test's folder is writable");
        assert_eq!(host.says("started "), "None");
        assert!(host.child.wait().expect("it ends").success());
    });
}

#[test]
fn a_worker_that_was_stopped_goes_on_in_the_end() {
    watched(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let builder = Supervisor::builder().processes(Limits::new(1));
        let builder = builder.claim_deadline(Duration::from_millis(100));
        let supervisor = builder.start().expect("workers start");
        let task = supervisor.submit(tasks::hold::call(&file)).expect("accepted");
        eventually("it runs", || file.exists());
        let pid = std::fs::read_to_string(&file).expect("written").parse().expect("a pid");
        for _ in 0..2 {
            // It may be let go on before it was seen to be stopped.
            eventually("it is stopped", || {
                send_signal(pid, libc::SIGSTOP);
                state_of(pid) == Some('T')
            });
            eventually("it goes on", || state_of(pid) != Some('T'));
        }
        std::fs::remove_file(&file).expect("it is there");
        task.wait().expect("it was not ended");
    });
}

#[test]
fn a_pool_that_gives_up_because_of_a_stopped_worker_says_so() {
    watched(|| {
        let builder = Supervisor::builder().processes(Limits::new(1)).restart_limit(0);
        let builder = builder.claim_deadline(Duration::from_secs(1));
        let supervisor = builder.start().expect("workers start");
        // One that has run something is replaced as often as that happens.
        let mut pid = None;
        eventually("it is ready", || {
            pid = supervisor.info().workers.first().and_then(|worker| worker.pid);
            pid.is_some()
        });
        let pid = pid.expect("it is ready");
        send_signal(pid, libc::SIGSTOP);
        eventually("it stands still", || state_of(pid) == Some('T'));
        let error = supervisor.submit(tasks::pid::call()).expect("accepted").wait();
        let error = error.expect_err("nobody takes it").to_string();
        let cause =
            "the last one: a worker that was killed because it did not take up what it was given";
        assert!(error.contains(cause), "{error}");
    });
}

#[test]
fn a_stopped_worker_does_not_stop_the_clock() {
    each_transport(|supervisor| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("held");
        let supervisor = supervisor(1);
        let call = tasks::hold::call(&file).timeout(TIMEOUT / 2);
        let task = supervisor.submit(call).expect("accepted");
        eventually("it runs", || file.exists());
        let pid = std::fs::read_to_string(&file).expect("written").parse().expect("a pid");
        send_signal(pid, libc::SIGSTOP);
        assert_eq!(task.wait().unwrap_err().status(), TaskStatus::TimedOut);
        let next = supervisor.submit(tasks::add::call(1, 2)).expect("accepted");
        assert_eq!(next.wait().expect("the pool goes on"), 3);
    });
}
