//! How workers start, and how that fails.

use std::sync::mpsc;

use super::*;

on_every_transport! {
    a_worker_has_nothing_that_was_not_meant_for_it,
    a_start_that_is_no_longer_wanted_ends,
    two_pools_do_not_know_of_each_other,
    a_pool_dropped_by_its_own_callback_ends,
}

/// For what has nothing to do with the transport.
fn default_config() -> ProcessConfig {
    config(Transport::default())
}

fn a_worker_has_nothing_that_was_not_meant_for_it(transport: Transport) {
    let _watchdog = Watchdog::new();
    // A descriptor that programs inherit.
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let pool = Pool::new(config(transport));
    let (worker, _) = pool.spawn_ready();
    let open = pool.call_text(worker, "descriptors", "");
    let kinds: Vec<_> = open.lines().map(|line| line.split_once(' ').expect("two words")).collect();
    let sockets = kinds.iter().filter(|(_, target)| target.starts_with("socket:")).count();
    let is_segment = |target: &str| target.contains("memfd:") || target.starts_with("/dev/shm/");
    let segments = kinds.iter().filter(|(_, target)| is_segment(target)).count();
    let expected = match transport {
        // The lifeline, the control channel, and the way of buffers.
        Transport::Ring => (3, 1),
        // One descriptor of the ring's memory more, which the crate has.
        #[cfg(feature = "named-shm")]
        Transport::NamedRing => (3, 2),
        // One channel more for calls and one for outcomes.
        Transport::Channel => (4, 0),
    };
    assert_eq!((sockets, segments), expected, "{open}");
    let others = kinds.len() - sockets - segments;
    assert_eq!(others, 3, "besides those only the standard ones: {open}");
    assert!(kinds.contains(&("0", "/dev/null")), "{open}");
    let marker = protocol::MARKER_VARIABLE;
    assert_eq!(pool.call_text(worker, "environment", marker), "unset");
    assert_eq!(
        pool.call_text(worker, "shell", "echo \"[$ATASKER_WORKER]\"; ls /proc/self/fd | wc -l"),
        "[]\n4\n"
    );
    drop((read, write));
}

#[test]
fn environment_and_directory_are_those_of_the_pools_start() {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(ProcessConfig { places: 1, ..default_config() });
    let (worker, _) = pool.spawn_ready();
    let here = std::env::current_dir().expect("a directory");
    assert_eq!(pool.call_text(worker, "directory", ""), here.display().to_string());
    let cores = std::thread::available_parallelism().expect("cores");
    for name in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS"] {
        if std::env::var_os(name).is_none() {
            assert_eq!(pool.call_text(worker, "environment", name), format!("set to {cores}"));
        }
    }
}

#[test]
fn initialisers_get_their_data() {
    let _watchdog = Watchdog::new();
    let worker_data = Some(("a::Type".to_owned(), b"model.bin".to_vec()));
    let pool = Pool::new(ProcessConfig { worker_data, ..default_config() });
    let (worker, _) = pool.spawn_ready();
    assert_eq!(pool.call_text(worker, "initialised_with", ""), "a::Type: model.bin");
}

/// Start a worker that can't start, and return what is said about it.
#[track_caller]
fn start_error(config: ProcessConfig) -> WorkerStartError {
    let pool = Pool::new(config);
    let worker = pool.spawn();
    let exit = pool.exit(worker);
    assert!(!exit.started && exit.signalled.is_none());
    assert!(pool.recorder.rest().is_empty(), "only the exit is told");
    exit.start_error.clone().expect("a reason")
}

#[test]
fn an_initialiser_that_fails_is_told() {
    let _watchdog = Watchdog::new();
    let with = |data: &[u8]| ProcessConfig {
        worker_data: Some(("T".to_owned(), data.to_vec())),
        ..default_config()
    };
    let error = start_error(with(b"fail"));
    assert!(
        matches!(&error, WorkerStartError::Initialiser { reason, .. } if reason == "no licence"),
        "{error}"
    );
    let error = start_error(with(b"panic"));
    assert!(
        matches!(&error, WorkerStartError::Initialiser { reason, .. } if reason.contains("init panics")),
        "{error}"
    );
    let error = start_error(with(b"exit"));
    assert!(matches!(error, WorkerStartError::Died { status: ExitCause::Code(9), .. }), "{error}");
    let error =
        start_error(ProcessConfig { start_timeout: Duration::from_millis(300), ..with(b"hang") });
    assert!(matches!(error, WorkerStartError::TimedOut { .. }), "{error}");
}

#[test]
fn programs_that_are_no_workers_are_told_from_workers() {
    let _watchdog = Watchdog::new();
    let program = |path: &str, arguments: &[&str]| ProcessConfig {
        program: Program::Separate {
            path: path.into(),
            arguments: arguments.iter().map(Into::into).collect(),
        },
        ..default_config()
    };
    let error = start_error(program("true", &[]));
    assert!(
        matches!(error, WorkerStartError::NotAWorker { status: ExitCause::Code(0), .. }),
        "{error}"
    );
    let error = start_error(program("/bin/sh", &["-c", "echo wrong program >&2; exit 4"]));
    let text = error.to_string();
    assert!(
        text.contains("run_if_spawned")
            && text.contains("code 4")
            && text.ends_with("wrong program"),
        "{text}"
    );
    let slow = ProcessConfig {
        start_timeout: Duration::from_millis(200),
        ..program("/bin/sleep", &["1000"])
    };
    let error = start_error(slow);
    assert!(matches!(error, WorkerStartError::TimedOut { .. }), "{error}");
    // Words over the lifeline, which is its standard input.
    let error = start_error(program("/bin/sh", &["-c", "echo hello >&0; sleep 1000"]));
    assert!(matches!(error, WorkerStartError::Handshake { .. }), "{error}");
    let error =
        start_error(program("/bin/sh", &["-c", "printf 'atasker 99 9.9.9 ' >&0; sleep 1000"]));
    let text = error.to_string();
    assert!(
        text.contains("9.9.9 (protocol 99)") && text.contains(protocol::CRATE_VERSION),
        "{text}"
    );
    let error = start_error(program(
        "/bin/sh",
        &[
            "-c",
            &format!(
                "printf 'atasker {} {} /tmp/elsewhere' >&0; sleep 1000",
                protocol::PROTOCOL_VERSION,
                protocol::CRATE_VERSION
            ),
        ],
    ));
    assert!(matches!(error, WorkerStartError::Handshake { .. }), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_told_at_once() {
    for path in ["/no/such/program", "no_such_program_anywhere"] {
        let program = Program::Separate { path: path.into(), arguments: Vec::new() };
        let owner: Weak<dyn Owner> = Weak::<Recorder>::new();
        let error = Processes::start(ProcessConfig { program, ..default_config() }, owner)
            .expect_err("it is not there");
        assert!(error.to_string().contains("is it built"), "{error}");
    }
    let not_executable = Program::Separate { path: "/etc/passwd".into(), arguments: Vec::new() };
    let error = start_error(ProcessConfig { program: not_executable, ..default_config() });
    assert!(error.to_string().contains("may it be executed"), "{error}");
}

fn a_start_that_is_no_longer_wanted_ends(transport: Transport) {
    let _watchdog = Watchdog::new();
    let pool = Pool::new(config(transport));
    let later = WorkerId(1000);
    pool.processes.spawn(later, Duration::from_hours(1));
    pool.processes.retire(later);
    let exit = pool.exit(later);
    assert_eq!(
        (exit.pid, exit.started, exit.signalled),
        (None, false, Some(SignalReason::Stopping))
    );
    assert!(exit.start_error.is_none());
    // At every moment of a start.
    for step in 0..30 {
        let worker = pool.spawn();
        std::thread::sleep(Duration::from_micros(step * 200));
        pool.kill(worker);
        assert!(pool.exit(worker).start_error.is_none());
    }
    // Two threads perform what one decided after the other.
    for (worker, delay) in [(40, 0), (50, 3600), (60, 0)] {
        let (worker, delay) = (WorkerId(worker), Duration::from_secs(delay));
        let why = if worker.0 == 60 { SignalReason::Stopping } else { SignalReason::Lingering };
        match why {
            SignalReason::Stopping => pool.processes.retire(worker),
            _ => pool.processes.signal(worker, why),
        }
        pool.processes.spawn(worker, delay);
        let exit = pool.exit(worker);
        assert_eq!((exit.pid, exit.started, exit.signalled), (None, false, Some(why)));
        // Once is enough, and it is not kept for ever.
        pool.processes.signal(worker, why);
        assert!(pool.processes.shared.find(worker).is_none());
    }
    assert!(!pool.processes.shared.expects_any(), "nobody is waited for");
    pool.processes.spawn(WorkerId(1001), Duration::from_hours(1));
    pool.processes.shut_down();
    pool.exit(WorkerId(1001));
    pool.processes.spawn(WorkerId(1002), Duration::ZERO);
    pool.exit(WorkerId(1002));
}

#[test]
fn output_is_captured_line_by_line() {
    let _watchdog = Watchdog::new();
    let (sender, lines) = mpsc::channel();
    let sender = Mutex::new(sender);
    let handler = move |line: OutputLine<'_>| {
        let _ = sender.lock().send((line.pid, line.text.to_owned()));
    };
    let pool = Pool::new(ProcessConfig {
        output: Output::Captured(Arc::new(handler)),
        ..default_config()
    });
    let (worker, pid) = pool.spawn_ready();
    pool.call(worker, "stderr", b"one\ntw");
    pool.call(worker, "stderr", b"o\r\n");
    pool.call(worker, "stdout", b"printed");
    pool.call(worker, "stderr", b"no end");
    pool.stage(worker, "abort", b"");
    pool.exit(worker);
    for expected in ["one", "two", "printed", "no end"] {
        let line = lines.recv_timeout(PATIENCE).expect("a line");
        assert_eq!(line, (pid, expected.to_owned()));
    }
}

fn two_pools_do_not_know_of_each_other(transport: Transport) {
    let _watchdog = Watchdog::new();
    let (one, other) = (Pool::new(config(transport)), Pool::new(config(transport)));
    let (worker, _) = one.spawn_ready();
    let (same_number, _) = other.spawn_ready();
    assert_eq!(worker, same_number);
    drop(one);
    assert_eq!(other.call(same_number, "echo", b"alive"), b"alive");
}

/// An owner that gives up its pool as soon as it is told something.
struct Holder {
    processes: Mutex<Option<Processes>>,
    done: Mutex<mpsc::Sender<()>>,
}
impl Owner for Holder {
    fn on_outcome(&self, _: WorkerId, _: Ticket, _: OutcomeFrame) {}
    fn collect(&self, _: bool, source: &mut dyn Source) -> bool {
        source.committed(&mut Vec::new());
        false
    }
    fn on_ready(&self, _: WorkerId, _: u32, _: Option<Vec<FunctionInfo>>, _: Arc<dyn Link>) {
        drop(self.processes.lock().take());
        let _ = self.done.lock().send(());
    }
    fn on_doomed(&self, _: WorkerId, _: Vec<Fate>) {}
    fn on_corrupt(&self, _: WorkerId, _: String) {}
    fn on_exited(&self, _: WorkerId, _: Arc<Exit>, _: Vec<Fate>) {
        let _ = self.done.lock().send(());
    }
}

fn a_pool_dropped_by_its_own_callback_ends(transport: Transport) {
    let _watchdog = Watchdog::new();
    let (sender, done) = mpsc::channel();
    let holder = Arc::new(Holder { processes: Mutex::new(None), done: Mutex::new(sender) });
    let weak = Arc::downgrade(&holder);
    let processes = Processes::start(config(transport), weak).expect("it starts");
    let mut held = holder.processes.lock();
    processes.spawn(WorkerId(1), Duration::ZERO);
    *held = Some(processes);
    drop(held);
    for _ in 0..2 {
        done.recv_timeout(PATIENCE).expect("dropped, then exited");
    }
}
