//! What a call costs over this transport, beside a bare ping-pong over ipc-channel in the same run.
//!
//! `ATASKER_MEASURE=1 cargo test --release --lib measure -- --nocapture --test-threads=1`

use std::sync::atomic::{AtomicU64, Ordering};

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender};

use super::*;

const ROUND_TRIPS: u32 = 20_000;
const STRETCH: Duration = Duration::from_secs(2);

/// An owner for whom the next call follows at once, from the thread that brought the outcome.
#[derive(Debug, Default)]
struct Feeder {
    processes: std::sync::OnceLock<Processes>,
    ready: Mutex<Vec<WorkerId>>,
    more: Condvar,
    tasks: AtomicU64,
    /// Whether calls follow by themselves.
    feeding: std::sync::atomic::AtomicBool,
    answered: Mutex<u64>,
}

impl Feeder {
    fn stage(&self, worker: WorkerId) {
        let number = self.tasks.fetch_add(1, Ordering::Relaxed);
        let call = CallFrame {
            function: "process::tests::functions::echo",
            codec: CodecId::Postcard,
            arguments: b"",
        };
        let ticket = Ticket { task: TaskId { number, slot: 0 }, attempt: 1 };
        self.processes.get().expect("started").stage(worker, ticket, call);
    }

    /// Wait for one answer in this thread.
    fn wait(&self) {
        let mut answered = self.answered.lock();
        while *answered == 0 {
            answered = wait_on(&self.more, answered, None);
        }
        *answered = 0;
    }
}

impl Owner for Feeder {
    fn on_outcome(&self, worker: WorkerId, _: Ticket, _: OutcomeFrame) {
        if self.feeding.load(Ordering::Relaxed) {
            self.stage(worker);
        } else {
            *self.answered.lock() += 1;
            self.more.notify_all();
        }
    }

    fn on_ready(&self, worker: WorkerId, _: u32, _: Option<Vec<FunctionInfo>>) {
        self.ready.lock().push(worker);
        self.more.notify_all();
    }

    fn on_corrupt(&self, _: WorkerId, what: String) {
        panic!("{what}");
    }

    fn on_exited(&self, _: WorkerId, _: Arc<Exit>) {}
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Ends(IpcBytesReceiver, IpcBytesSender);

/// The other side of the ping-pong.
#[test]
fn pong() {
    let Ok(server) = std::env::var("ATASKER_TEST_PONG") else {
        return;
    };
    let (sender, calls) = ipc::bytes_channel().expect("a channel");
    let (outcomes, receiver) = ipc::bytes_channel().expect("a channel");
    IpcSender::connect(server).expect("a server").send(Ends(receiver, sender)).expect("sent");
    while let Ok(ping) = calls.recv() {
        if outcomes.send(&ping).is_err() {
            break;
        }
    }
}

fn bare_round_trips() -> Vec<Duration> {
    let (server, name) = IpcOneShotServer::<Ends>::new().expect("a server");
    let mut child = std::process::Command::new("/proc/self/exe")
        .args(["process::tests::measure::pong", "--exact", "--nocapture", "--test-threads=1"])
        .env("ATASKER_TEST_PONG", name)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let (_, Ends(receiver, sender)) = server.accept().expect("a pong");
    let times = (0..ROUND_TRIPS)
        .map(|_| {
            let started = Instant::now();
            sender.send(&[0; 40]).expect("sent");
            receiver.recv().expect("received");
            started.elapsed()
        })
        .collect();
    drop((receiver, sender));
    child.wait().expect("it ends");
    times
}

fn feeder(workers: u64) -> Arc<Feeder> {
    let feeder = Arc::new(Feeder::default());
    let owner: Arc<dyn Owner> = Arc::<Feeder>::clone(&feeder);
    feeder
        .processes
        .set(Processes::start(config(), Arc::downgrade(&owner)).expect("it starts"))
        .expect("once");
    for worker in 1..=workers {
        feeder.processes.get().expect("set").spawn(WorkerId(worker), Duration::ZERO);
    }
    let mut ready = feeder.ready.lock();
    while ready.len() < usize::try_from(workers).expect("few") {
        ready = wait_on(&feeder.more, ready, Some(PATIENCE));
    }
    drop(ready);
    feeder
}

fn round_trips(workers: u64) -> Vec<Duration> {
    let feeder = feeder(workers);
    (0..ROUND_TRIPS)
        .map(|_| {
            let started = Instant::now();
            feeder.stage(WorkerId(1));
            feeder.wait();
            started.elapsed()
        })
        .collect()
}

/// Calls per second.
fn throughput(workers: u64) -> f64 {
    let feeder = feeder(workers);
    feeder.feeding.store(true, Ordering::Relaxed);
    for worker in 1..=workers {
        feeder.stage(WorkerId(worker));
    }
    let before = feeder.tasks.load(Ordering::Relaxed);
    std::thread::sleep(STRETCH);
    let calls = feeder.tasks.load(Ordering::Relaxed) - before;
    feeder.feeding.store(false, Ordering::Relaxed);
    calls as f64 / STRETCH.as_secs_f64()
}

fn percentiles(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort();
    [50, 90, 99].map(|percent| times[times.len() * percent / 100].as_secs_f64() * 1e6)
}

#[test]
fn round_trip_and_throughput() {
    if std::env::var_os("ATASKER_MEASURE").is_none() {
        return;
    }
    for _ in 0..3 {
        let [bare, bare_90, bare_99] = percentiles(bare_round_trips());
        println!("bare ping-pong      p50 {bare:6.1} µs, p90 {bare_90:6.1}, p99 {bare_99:6.1}");
        for workers in [1, 2] {
            let [p50, p90, p99] = percentiles(round_trips(workers));
            println!(
                "call, {workers} worker(s)   p50 {p50:6.1} µs, p90 {p90:6.1}, p99 {p99:6.1}; {:.2} × bare",
                p50 / bare
            );
        }
        println!(
            "throughput          1 worker {:.0}/s, 2 workers {:.0}/s",
            throughput(1),
            throughput(2)
        );
        let started = Instant::now();
        let two = feeder(2);
        println!("two workers ready   {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
        drop(two);
    }
}
