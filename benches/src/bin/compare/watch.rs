//! Is everybody asleep? Looks at the processor time of this process and of those that it has started, and of
//! the machine.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

/// Long enough that everybody who waits with open eyes has closed them.
const SETTLE: Duration = Duration::from_millis(10);
/// And then for so long, which is longer than a tick of any kernel: times are brought up to date by ticks …
const LOOK: Duration = Duration::from_millis(12);
/// … nobody may have used more than this.
const USED_MAX: Duration = Duration::from_millis(1);
const ATTEMPTS: u32 = 5;
/// `USER_HZ`, the unit of `/proc/stat`, which is the same on all machines (time(7)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Watches the processes that existed at the last [`refresh`](Self::refresh).
#[derive(Debug)]
pub(crate) struct Watch {
    pids: Vec<u32>,
    samples: u64,
    disturbed: u64,
    cores: usize,
    watched: Duration,
    idle_ticks: u64,
}

impl Watch {
    pub(crate) fn new(cores: usize) -> Self {
        Self {
            pids: Vec::new(),
            samples: 0,
            disturbed: 0,
            cores,
            watched: Duration::ZERO,
            idle_ticks: 0,
        }
    }

    /// Find the processes anew: this one and its descendants.
    pub(crate) fn refresh(&mut self) {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in numbers("/proc") {
            if let Some(parent) = parent_of(pid) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut found = HashSet::from([std::process::id()]);
        let mut to_visit = vec![std::process::id()];
        while let Some(pid) = to_visit.pop() {
            let new =
                children.get(&pid).into_iter().flatten().filter(|child| found.insert(**child));
            to_visit.extend(new);
        }
        self.pids = found.into_iter().collect();
    }

    /// Sleep until everybody else sleeps, but not for ever.
    pub(crate) fn wait_until_all_sleep(&mut self) {
        self.samples += 1;
        for _ in 0..ATTEMPTS {
            let (idle_before, begun) = (idle_ticks(), Instant::now());
            std::thread::sleep(SETTLE);
            let before = self.used();
            std::thread::sleep(LOOK);
            let used = self.used().saturating_sub(before);
            self.idle_ticks += idle_ticks().saturating_sub(idle_before);
            self.watched += begun.elapsed();
            if used < USED_MAX {
                return;
            }
        }
        self.disturbed += 1;
    }

    fn used(&self) -> Duration {
        self.pids.iter().map(|pid| used_by_process(*pid)).sum()
    }

    /// For the end of the report.
    pub(crate) fn summary(&self) -> String {
        let Self { samples, disturbed, .. } = self;
        let possible = self.watched.as_secs_f64() * self.cores as f64;
        let idle = self.idle_ticks as f64 / TICKS_PER_SECOND;
        let load = (100.0 * (1.0 - idle / possible)).max(0.0);
        if used_by(std::process::id(), this_thread()).is_zero() {
            return "This kernel does not tell processor times: nobody checked that all others slept."
                .to_owned();
        }
        format!(
            "{samples} samples; before {disturbed} of them somebody of this program's was still awake. \
             While all of it slept, other programs kept the cores {load:.0} % busy."
        )
    }
}

/// The processor time that a process has used so far, without the thread that asks: it does the looking.
pub(crate) fn used_by_process(pid: u32) -> Duration {
    other_threads(pid).map(|thread| used_by(pid, thread)).sum()
}

fn other_threads(pid: u32) -> impl Iterator<Item = u32> {
    let me = this_thread();
    numbers(&format!("/proc/{pid}/task")).into_iter().filter(move |thread| *thread != me)
}

fn this_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}

fn used_by(pid: u32, thread: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat"));
    let nanoseconds = text.ok().and_then(|text| text.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// How often the threads of a process have gone to sleep so far, without the thread that asks.
pub(crate) fn sleeps_of_process(pid: u32) -> u64 {
    let status = |thread| fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).ok();
    let count = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line?.trim().parse::<u64>().ok()
    };
    other_threads(pid).filter_map(status).filter_map(count).sum()
}

/// The entries of a folder that are numbers.
fn numbers(folder: &str) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// proc(5): the fourth field; the second is a name in parentheses, which may contain anything.
fn parent_of(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(") ")?;
    after_name.split(' ').nth(1)?.parse().ok()
}

/// proc(5), `/proc/stat`: the fourth and fifth number, idle and waiting for a device.
fn idle_ticks() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let numbers = line.split_whitespace().skip(4).take(2);
    numbers.filter_map(|number| number.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const ATTEMPTS_MAX: u32 = 1_000;

    #[test]
    fn somebody_who_is_awake_is_seen() {
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let mut watch = Watch::new(1);
            watch.refresh();
            // On a busy machine it may not run each time one looks.
            let seen = (0..ATTEMPTS_MAX).any(|_| {
                let before = watch.used();
                std::thread::sleep(LOOK);
                watch.used().saturating_sub(before) >= USED_MAX
            });
            enough.store(true, Ordering::Relaxed);
            assert!(seen);
        });
    }
}
