//! What a pool must survive, case by case: tests/CATALOGUE.md is the list.
//!
//! Each case is a function of a [`Scene`] and runs through [`survive`], in a process of its own, over the transports
//! that it is about. `ATASKER_TEST_ROUNDS` says how often each is repeated, in the same process.

mod coordinator;
mod deaths;
mod garbage;
mod hangs;
mod lifecycle;
mod misdeeds;
mod payloads;
mod policy;
mod starts;
mod surroundings;
mod transport;

use std::cell::{Cell, OnceCell};
use std::ops::Deref;
use std::time::Duration;

use atasker::{
    Call, ExitCause, Limits, Stop, Supervisor, SupervisorBuilder, TaskError, TaskStatus, Transport,
};

use crate::tasks;
use crate::watch::{Held, apart, eventually, is_alive, rounds, watched};

/// Makes a test of each case for each transport that it is about. `on_all_kinds`: each case on rings with names, too.
macro_rules! cases {
    (
        on_all_kinds
        $(everywhere { $($everywhere:ident),* $(,)? })?
        $(on_rings { $($on_rings:ident),* $(,)? })?
    ) => {
        $crate::catalogue::cases! {
            $(everywhere { $($everywhere),* })?
            $(on_rings { $($on_rings),* })?
            on_named_rings { $($($everywhere,)*)? $($($on_rings,)*)? }
        }
    };
    (
        $(everywhere { $($everywhere:ident),* $(,)? })?
        $(on_rings { $($on_rings:ident),* $(,)? })?
        $(on_named_rings { $($on_named_rings:ident),* $(,)? })?
    ) => {
        mod over_ring {
            $($($crate::catalogue::case!(Ring, $everywhere);)*)?
            $($($crate::catalogue::case!(Ring, $on_rings);)*)?
        }

        $(mod over_channel {
            $($crate::catalogue::case!(Channel, $everywhere);)*
        })?

        $(mod over_named_ring {
            $($crate::catalogue::case!(NamedRing, $on_named_rings);)*
        })?
    };
}
use cases;

/// Makes a test of a case of the module around.
macro_rules! case {
    ($transport:ident, $case:ident) => {
        #[test]
        fn $case() {
            let test = concat!(module_path!(), "::", stringify!($case));
            crate::catalogue::survive(test, atasker::Transport::$transport, super::$case);
        }
    };
}
use case;

/// Where a case takes place. It derefs to the pool that has to be sound afterwards: of two workers, unless the case
/// has [started](Self::start) another.
struct Scene {
    transport: Transport,
    pool: OnceCell<Supervisor>,
    /// The case itself has stopped the pool, so that another has to serve.
    over: Cell<bool>,
    keeps_memory: Cell<bool>,
}

impl Scene {
    fn new(transport: Transport) -> Self {
        let [over, keeps_memory] = [false, false].map(Cell::new);
        Self { transport, pool: OnceCell::new(), over, keeps_memory }
    }

    /// Settings for a pool of two workers.
    fn builder(&self) -> SupervisorBuilder {
        Supervisor::builder().transport(self.transport).processes(Limits::new(2))
    }

    /// Start the pool of this scene with settings of its own.
    fn start(&self, builder: SupervisorBuilder) -> &Supervisor {
        self.adopt(builder.start().expect("workers start"));
        self
    }

    fn adopt(&self, pool: Supervisor) {
        assert!(self.pool.set(pool).is_ok(), "a case starts its pool first");
    }

    /// Say that what crosses here has memory of its own, which is kept for another use. So two rounds more are run, of
    /// which the second must not keep much more than the first.
    fn keep_memory(&self) {
        self.keeps_memory.set(true);
    }

    /// Stop the pool before the case is over.
    fn end(&self, how: Stop) {
        self.over.set(true);
        self.stop(how);
        assert!(self.tasks().is_empty(), "nothing is under way after a stop");
    }

    fn run<T>(&self, call: Call<T>) -> Result<T, TaskError> {
        self.submit(call).expect("accepted").wait()
    }

    /// Run what costs its worker, and see that it did.
    fn crash<T: std::fmt::Debug>(&self, call: Call<T>) -> TaskError {
        let error = self.run(call).expect_err("its worker dies");
        assert_eq!(error.status(), TaskStatus::Crashed, "{error}");
        assert!(error.may_have_run());
        assert!(!is_alive(error.crash().expect("it crashed").pid));
        error
    }

    /// Run what costs its worker by one of these causes.
    fn dies_of<T: std::fmt::Debug>(&self, call: Call<T>, causes: &[ExitCause]) {
        let error = self.crash(call);
        let cause = error.crash().expect("it crashed").cause;
        assert!(causes.contains(&cause), "{error}");
    }

    /// Have a task in each of the two workers, and their processes.
    fn occupy(&self) -> Occupied {
        let folder = tempfile::tempdir().expect("a folder");
        let files = ["one", "two"].map(|name| folder.path().join(name));
        let tasks =
            files.clone().map(|file| self.submit(tasks::hold::call(&file)).expect("accepted"));
        eventually("both run", || files.iter().all(|file| file.exists()));
        let pids = files.clone().map(|file| {
            std::fs::read_to_string(file).expect("written").parse().expect("a process id")
        });
        Occupied { tasks, pids, files, _folder: folder }
    }

    /// The processes that are ready.
    fn pids(&self) -> Vec<u32> {
        self.info().workers.iter().filter_map(|worker| worker.pid).collect()
    }
}

impl Deref for Scene {
    type Target = Supervisor;

    fn deref(&self) -> &Supervisor {
        self.pool.get_or_init(|| self.builder().start().expect("workers start"))
    }
}

/// Both workers of a scene, busy until they are released.
struct Occupied {
    tasks: [atasker::TaskHandle<()>; 2],
    pids: [u32; 2],
    files: [std::path::PathBuf; 2],
    _folder: tempfile::TempDir,
}

impl Occupied {
    fn release(self) {
        for file in &self.files {
            std::fs::remove_file(file).expect("it is there");
        }
        for task in self.tasks {
            task.wait().expect("it was only held");
        }
    }
}

/// Run a case in a process of its own: afterwards every task has reached exactly one terminal state, a next one is
/// served, and descriptors, threads, segments, processes and files are as many as before; all under a watchdog.
fn survive(test: &str, transport: Transport, case: fn(&Scene)) {
    let (_this_binary, test) = test.split_once("::").expect("a path");
    apart(test, || {
        let mut before = watched(|| {
            warm_up(transport);
            // Its watchdog is a thread, as that of each round.
            Held::count()
        });
        let mut is_warm = false;
        for _ in 0..rounds() {
            if watched(|| round(transport, case)) && !is_warm {
                is_warm = true;
                watched(|| {
                    round(transport, case);
                    before = Held::count().with_memory(KEPT_MORE);
                });
                watched(|| round(transport, case));
            }
            watched(|| before.assert_again());
        }
    });
}

/// How many pieces of memory more may be kept than after one of the rounds before: that depends on how soon deaths were
/// confirmed. What is not given back at all grows with each round, and soon beyond this.
const KEPT_MORE: usize = 16;

/// Whether memory was kept for another use.
fn round(transport: Transport, case: fn(&Scene)) -> bool {
    let scene = Scene::new(transport);
    case(&scene);
    assert_sound(&scene);
    scene.keeps_memory.get()
}

/// The first supervisor opens what stays open for good, and buffers that are used again are kept.
fn warm_up(transport: Transport) {
    let scene = Scene::new(transport);
    scene.run(tasks::reverse::call(&vec![1; 9_000_000])).expect("it runs");
    scene.stop(Stop::Drain);
}

fn assert_sound(scene: &Scene) {
    if scene.over.get() {
        return assert_sound(&Scene::new(scene.transport));
    }
    let mut accepted = 0;
    for n in 0..10 {
        let task = scene.submit(tasks::add::call(n, 3)).expect("accepted");
        accepted = task.id().number();
        assert_eq!(task.wait().expect("the pool goes on"), n + 3);
    }
    eventually("all workers are there", || {
        let info = scene.info();
        info.workers.iter().filter(|worker| worker.pid.is_some()).count()
            == info.processes.limits.places() as usize
    });
    eventually("nothing is under way", || scene.tasks().is_empty());
    eventually("each task has ended", || ended(scene) >= accepted);
    scene.stop(Stop::Drain);
    assert_eq!(ended(scene), accepted, "each task ends once: {:?}", scene.info().ended);
}

/// How many tasks have reached a terminal state.
fn ended(supervisor: &Supervisor) -> u64 {
    let ended = supervisor.info().ended;
    ended.completed
        + ended.panicked
        + ended.crashed
        + ended.timed_out
        + ended.cancelled
        + ended.expired
        + ended.rejected
        + ended.quarantined
}

/// What hangs is given so long.
const BRIEFLY: Duration = Duration::from_millis(50);
