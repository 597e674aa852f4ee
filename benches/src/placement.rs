//! On which cores the two sides run. What a round trip costs depends on it more than on anything else.

use std::fmt;

use rustix::io::Errno;
use rustix::thread::{CpuSet, Pid};

/// Where the coordinator and its workers are put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Coordinator and worker on a core each; two workers on a core each, with the coordinator on either.
    Separate,
    /// Everything on one core, from before anything was started.
    OneCore,
    /// Wherever the kernel's scheduler likes.
    Unpinned,
}

impl Placement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Separate, Self::OneCore, Self::Unpinned];

    /// As an argument of the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Separate => "separate",
            Self::OneCore => "one",
            Self::Unpinned => "unpinned",
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Separate => "separate cores",
            Self::OneCore => "one core",
            Self::Unpinned => "unpinned",
        })
    }
}

/// The cores that this process was allowed when it started.
#[derive(Clone, Debug)]
pub struct Cores {
    allowed: CpuSet,
    first: usize,
    second: Option<usize>,
}

impl Cores {
    /// Ask the kernel.
    ///
    /// # Panics
    /// If it does not tell.
    pub fn of_this_process() -> Self {
        let allowed = rustix::thread::sched_getaffinity(None).expect("the kernel tells the cores");
        let numbers: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let first = numbers[0];
        let siblings = siblings_of(first);
        // Not another hardware thread of the same core, if there is a choice.
        let second = numbers[1..]
            .iter()
            .find(|core| !siblings.contains(core))
            .or_else(|| numbers.get(1))
            .copied();
        Self { allowed, first, second }
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.allowed.count() as usize
    }

    /// Where everything goes for so many workers, one or two. `None`: that needs a second core.
    pub fn layout(&self, placement: Placement, workers: usize) -> Option<Layout> {
        let first = only(&[self.first]);
        let everywhere = |set: &CpuSet| Layout {
            placement,
            before_start: *set,
            coordinator: *set,
            workers: vec![*set; workers],
        };
        Some(match placement {
            Placement::Unpinned => everywhere(&self.allowed),
            Placement::OneCore => everywhere(&first),
            Placement::Separate => {
                let second = only(&[self.second?]);
                let (coordinator, workers) = match workers {
                    1 => (first, vec![second]),
                    _ => (only(&[self.first, self.second?]), vec![first, second]),
                };
                Layout { placement, before_start: self.allowed, coordinator, workers }
            }
        })
    }
}

/// The hardware threads of this core. Empty if the kernel does not tell.
fn siblings_of(core: usize) -> Vec<usize> {
    let file = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let numbers = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.trim().parse().ok()?..=to.trim().parse().ok()?)
    };
    text.split(',').filter_map(numbers).flatten().collect()
}

fn only(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    set
}

fn list(set: &CpuSet) -> String {
    let cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    cores.map(|core| core.to_string()).collect::<Vec<_>>().join(" or ")
}

/// Where everything goes.
#[derive(Clone, Debug)]
pub struct Layout {
    placement: Placement,
    before_start: CpuSet,
    coordinator: CpuSet,
    workers: Vec<CpuSet>,
}

impl Layout {
    /// What it is made by.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// Before anything is started: on one core, pools must see that they have but one. Elsewhere they must
    /// see all of them, so threads are pinned only afterwards.
    pub fn before_start(&self) -> Result<(), NotPinned> {
        pin_process(std::process::id(), &self.before_start)
    }

    /// This process, all its threads.
    pub fn pin_coordinator(&self) -> Result<(), NotPinned> {
        pin_process(std::process::id(), &self.coordinator)
    }

    /// Threads that work, in their order. After [`pin_coordinator`](Self::pin_coordinator).
    pub fn pin_threads(&self, threads: &[Pid]) -> Result<(), NotPinned> {
        threads.iter().enumerate().try_for_each(|(index, thread)| pin(*thread, self.worker(index)))
    }

    /// Processes that work, all their threads, in their order.
    pub fn pin_processes(&self, pids: &[u32]) -> Result<(), NotPinned> {
        let mut pids = pids.iter().enumerate();
        pids.try_for_each(|(index, pid)| pin_process(*pid, self.worker(index)))
    }

    /// The calling thread, as the worker with that index.
    pub fn pin_this_thread(&self, index: usize) -> Result<(), NotPinned> {
        pin(rustix::thread::gettid(), self.worker(index))
    }

    fn worker(&self, index: usize) -> &CpuSet {
        &self.workers[index % self.workers.len()]
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.placement {
            Placement::Unpinned => write!(f, "nothing pinned"),
            Placement::OneCore => write!(f, "everything on core {}", list(&self.coordinator)),
            Placement::Separate => {
                let workers: Vec<_> = self.workers.iter().map(list).collect();
                let (each, coordinator) = (workers.join(" and "), list(&self.coordinator));
                let who = if workers.len() == 1 { "the worker" } else { "the workers" };
                write!(f, "the coordinator on core {coordinator}, {who} on core {each}")
            }
        }
    }
}

/// The kernel would not have it.
#[derive(Debug)]
pub struct NotPinned {
    thread: Pid,
    reason: Errno,
}

impl fmt::Display for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thread = self.thread.as_raw_nonzero();
        write!(f, "thread {thread} can't be pinned: {}", self.reason)
    }
}

impl std::error::Error for NotPinned {}

fn pin_process(pid: u32, cores: &CpuSet) -> Result<(), NotPinned> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ids = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    let mut threads = ids.filter_map(Pid::from_raw);
    // The process itself too: if it has gone, let the kernel say so.
    let process = Pid::from_raw(pid.cast_signed()).into_iter();
    process.clone().try_for_each(|process| pin(process, cores))?;
    threads.try_for_each(|thread| match pin(thread, cores) {
        // A thread that has ended since it was listed.
        Err(NotPinned { reason: Errno::SRCH, .. }) => Ok(()),
        other => other,
    })
}

fn pin(thread: Pid, cores: &CpuSet) -> Result<(), NotPinned> {
    rustix::thread::sched_setaffinity(Some(thread), cores)
        .map_err(|reason| NotPinned { thread, reason })
}
