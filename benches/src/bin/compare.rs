//! The channel transport beside its peers, in one run: rounds interleaved, everybody else asleep meanwhile,
//! every result verified. Prints a Markdown table of medians and ratios.
//!
//! `cargo run --release -p atasker-benches --bin compare`

use std::time::Duration;

use atasker::{Limits, Stop, Supervisor, task};
use atasker_benches::work::{median, seconds};
use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender};

fn burn(duration: Duration) {
    let start = std::time::Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Names the one-shot server of the parent to a child that only echoes.
const ECHO: &str = "ATASKER_BENCH_ECHO";
const ROUNDS: usize = 15;

#[task]
fn increment(n: u64) -> u64 {
    n + 1
}

#[task]
fn work(n: u64) -> u64 {
    burn(Duration::from_millis(5));
    n + 1
}

fn procspawn_increment(n: u64) -> u64 {
    n + 1
}

/// A child that sends back what it gets, over bare ipc-channel.
struct Echo {
    send: IpcBytesSender,
    receive: IpcBytesReceiver,
    child: std::process::Child,
}

type Ends = (IpcBytesReceiver, IpcBytesSender);

impl Echo {
    fn start() -> Self {
        let (server, name) = IpcOneShotServer::<IpcSender<Ends>>::new().expect("a server");
        let child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .env(ECHO, name)
            .spawn()
            .expect("it starts");
        let (_, give) = server.accept().expect("it connects");
        let (send, childs_receive) = ipc::bytes_channel().expect("a channel");
        let (childs_send, receive) = ipc::bytes_channel().expect("a channel");
        give.send((childs_receive, childs_send)).expect("it listens");
        Self { send, receive, child }
    }

    fn serve(name: String) {
        let (give, get) = ipc::channel::<Ends>().expect("a channel");
        IpcSender::connect(name)
            .and_then(|parent| parent.send(give).map_err(std::io::Error::other))
            .expect("a parent");
        let (receive, send) = get.recv().expect("the ends");
        while let Ok(bytes) = receive.recv() {
            send.send(&bytes).expect("the parent listens");
        }
    }

    fn round_trip(&self, n: u64) {
        self.send.send(&n.to_le_bytes()).expect("the child listens");
        assert_eq!(self.receive.recv().expect("the child answers"), n.to_le_bytes());
    }
}

/// One line of the table: who, and seconds per unit in each round.
struct Contender<'a> {
    name: &'static str,
    run: Box<dyn FnMut() -> f64 + 'a>,
    samples: Vec<f64>,
}

impl<'a> Contender<'a> {
    fn new(name: &'static str, run: impl FnMut() -> f64 + 'a) -> Self {
        Self { name, run: Box::new(run), samples: Vec::new() }
    }
}

/// Run the contenders in turn, round after round, and print the medians relative to the first.
fn compare(
    title: &str,
    bar: &str,
    unit: (&str, f64),
    rounds: usize,
    mut contenders: Vec<Contender<'_>>,
) {
    for contender in &mut contenders {
        (contender.run)();
    }
    for _ in 0..rounds {
        for contender in &mut contenders {
            // Long enough for the others to have gone to sleep.
            std::thread::sleep(Duration::from_millis(20));
            let sample = (contender.run)();
            contender.samples.push(sample);
        }
    }
    println!("\n**{title}** ({bar})\n\n| | {} | ours ÷ theirs |\n|---|---:|---:|", unit.0);
    let ours = median(contenders[0].samples.clone());
    for contender in &contenders {
        let value = median(contender.samples.clone());
        println!("| {} | {:.3} | {:.3} |", contender.name, value * unit.1, ours / value);
    }
}

fn round_trips(
    processes: &Supervisor,
    rayon: &rayon::ThreadPool,
    pool: &procspawn::Pool,
    echo: &Echo,
) {
    const TRIPS: u64 = 2_000;
    let per_trip = |total: f64| total / TRIPS as f64;
    compare(
        "Round trip of an empty task, one at a time",
        "bar: at most 1.3 × a bare ipc-channel ping-pong",
        ("µs", 1e6),
        ROUNDS,
        vec![
            Contender::new("atasker, channel", || {
                per_trip(seconds(|| {
                    for n in 0..TRIPS {
                        let task = processes.submit(increment::call(n)).expect("accepted");
                        assert_eq!(task.wait().expect("it runs"), n + 1);
                    }
                }))
            }),
            Contender::new("ipc-channel ping-pong", || {
                per_trip(seconds(|| (0..TRIPS).for_each(|n| echo.round_trip(n))))
            }),
            Contender::new("procspawn pool", || {
                per_trip(seconds(|| {
                    for n in 0..TRIPS {
                        assert_eq!(
                            pool.spawn(n, procspawn_increment).join().expect("it runs"),
                            n + 1
                        );
                    }
                }))
            }),
            Contender::new("rayon spawn, same process", || {
                let (send, receive) = crossbeam_channel::bounded(1);
                per_trip(seconds(|| {
                    for n in 0..TRIPS {
                        let send = send.clone();
                        rayon.spawn(move || send.send(n + 1).expect("it listens"));
                        assert_eq!(receive.recv(), Ok(n + 1));
                    }
                }))
            }),
        ],
    );
}

fn throughput(processes: &Supervisor, pool: &procspawn::Pool) {
    const TASKS: u64 = 5_000;
    compare(
        "Unbatched throughput, trivial task, two workers",
        "bar: at least 4 × procspawn's rate, so at most 0.25",
        ("µs a task", 1e6),
        ROUNDS,
        vec![
            Contender::new("atasker, wait_all", || {
                let total = seconds(|| {
                    let tasks: Vec<_> = (0..TASKS)
                        .map(|n| processes.submit(increment::call(n)).expect("accepted"))
                        .collect();
                    let results = atasker::wait_all(tasks, None).expect("without a timeout");
                    let results = results.into_iter().map(|result| result.expect("it runs"));
                    assert!(results.eq(1..=TASKS));
                });
                total / TASKS as f64
            }),
            Contender::new("atasker, each handle waited for in turn", || {
                let total = seconds(|| {
                    let tasks: Vec<_> = (0..TASKS)
                        .map(|n| processes.submit(increment::call(n)).expect("accepted"))
                        .collect();
                    for (n, task) in (0..TASKS).zip(tasks) {
                        assert_eq!(task.wait().expect("it runs"), n + 1);
                    }
                });
                total / TASKS as f64
            }),
            Contender::new("procspawn pool, each joined in turn", || {
                let total = seconds(|| {
                    let tasks: Vec<_> =
                        (0..TASKS).map(|n| pool.spawn(n, procspawn_increment)).collect();
                    for (n, task) in (0..TASKS).zip(tasks) {
                        assert_eq!(task.join().expect("it runs"), n + 1);
                    }
                });
                total / TASKS as f64
            }),
        ],
    );
}

fn batch(processes: &Supervisor, rayon: &Supervisor, pool: &procspawn::Pool) {
    const TASKS: u64 = 1_000;
    let run = |supervisor: &Supervisor| {
        seconds(|| {
            let results = supervisor.map((0..TASKS).map(work::call)).window(2 * TASKS as usize);
            assert!(results.map(|result| result.expect("it runs")).eq(1..=TASKS));
        })
    };
    compare(
        "1,000 tasks of 5 ms, two workers",
        "bar: at most 1.02 × rayon",
        ("s", 1.0),
        3,
        vec![
            Contender::new("atasker, channel", || run(processes)),
            Contender::new("the same tasks on rayon", || run(rayon)),
            Contender::new("procspawn pool", || {
                seconds(|| {
                    let tasks: Vec<_> = (0..TASKS)
                        .map(|n| {
                            pool.spawn(n, |n| {
                                burn(Duration::from_millis(5));
                                n + 1
                            })
                        })
                        .collect();
                    for (n, task) in (0..TASKS).zip(tasks) {
                        assert_eq!(task.join().expect("it runs"), n + 1);
                    }
                })
            }),
        ],
    );
}

/// Long enough that one worker can't answer both.
const HOLD: Duration = Duration::from_millis(20);

#[task]
fn hold(n: u64) -> u64 {
    std::thread::sleep(HOLD);
    n + 1
}

fn start_up() {
    compare(
        "Two workers ready and both answered",
        "bar: at most 1.5 × procspawn; the answers take 20 ms, which is taken off",
        ("ms", 1e3),
        ROUNDS,
        vec![
            Contender::new("atasker, channel", || {
                let mut supervisor = None;
                let total = seconds(|| {
                    let started =
                        Supervisor::builder().processes(Limits::new(2)).start().expect("starts");
                    let tasks = [0, 1].map(|n| started.submit(hold::call(n)).expect("accepted"));
                    let answers = tasks.map(|task| task.wait().expect("it runs"));
                    assert_eq!(answers, [1, 2]);
                    supervisor = Some(started);
                });
                supervisor.expect("it started").stop(Stop::KillNow);
                total - HOLD.as_secs_f64()
            }),
            Contender::new("procspawn pool", || {
                let mut pool = None;
                let total = seconds(|| {
                    let started = procspawn::Pool::new(2).expect("starts");
                    let tasks = [0_u64, 1].map(|n| {
                        started.spawn(n, |n| {
                            std::thread::sleep(HOLD);
                            n + 1
                        })
                    });
                    let answers = tasks.map(|task| task.join().expect("it runs"));
                    assert_eq!(answers, [1, 2]);
                    pool = Some(started);
                });
                pool.expect("it started").kill();
                total - HOLD.as_secs_f64()
            }),
        ],
    );
}

fn main() {
    if let Ok(name) = std::env::var(ECHO) {
        return Echo::serve(name);
    }
    atasker::worker::run_if_spawned();
    procspawn::init();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!("{cores} cores; nothing pinned; medians of {ROUNDS} interleaved rounds");

    let one = Supervisor::builder().processes(Limits::new(1)).start().expect("starts");
    let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("starts");
    let pool = procspawn::Pool::new(1).expect("starts");
    let mut echo = Echo::start();
    round_trips(&one, &threads, &pool, &echo);
    drop((one, threads, pool));
    echo.child.kill().expect("it runs");
    echo.child.wait().expect("it is ours");

    let two = Supervisor::builder().processes(Limits::new(2)).start().expect("starts");
    let rayon = Supervisor::builder().rayon(Limits::new(2)).start().expect("starts");
    let pool = procspawn::Pool::new(2).expect("starts");
    throughput(&two, &pool);
    if std::env::var_os("SHORT").is_none() {
        batch(&two, &rayon, &pool);
    }
    drop((two, rayon, pool));
    if std::env::var_os("SHORT").is_none() {
        start_up();
    }
}
