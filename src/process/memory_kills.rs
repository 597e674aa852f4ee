//! Whether the kernel has killed processes for lack of memory meanwhile. It does not say which, so this is what is
//! likely of one that was killed and that nobody else is known to have killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Who was short of memory when processes were killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryKill {
    /// The control group of this process, by its limit.
    Group,
    /// The machine, or another control group: one around it, or one that the worker was put into.
    Elsewhere,
}

/// The death of a process is noticed so long after the kernel has counted it.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);

/// Which kills may be the reason of a death that is noticed now: those counted since it was last certain that they were
/// not, each for one death.
#[derive(Debug)]
pub(super) struct Ledger {
    /// What was counted up to here has killed somebody else, or is accounted for.
    settled: MemoryKills,
    /// What was counted when, and may still be somebody's death.
    recent: (Instant, MemoryKills),
}

impl Ledger {
    pub(super) fn new() -> Self {
        let now = MemoryKills::read();
        Self { settled: now, recent: (Instant::now(), now) }
    }

    /// Look at the counters, unless that was done a moment ago. To be called now and then while processes live: all
    /// that has happened since is taken for a reason.
    pub(super) fn look(&mut self) {
        if self.recent.0.elapsed() > NOTICED_WITHIN {
            self.on_read(Instant::now(), MemoryKills::read());
        }
    }

    /// A process was killed, and nobody else is known to have done it.
    pub(super) fn on_killed(&mut self) -> Option<MemoryKill> {
        self.explain(Instant::now(), MemoryKills::read())
    }

    fn explain(&mut self, at: Instant, now: MemoryKills) -> Option<MemoryKill> {
        self.on_read(at, now);
        let kill = now.since(self.settled)?;
        self.settled.account_for_one(now);
        Some(kill)
    }

    fn on_read(&mut self, at: Instant, now: MemoryKills) {
        if at.duration_since(self.recent.0) > NOTICED_WITHIN {
            self.settled = self.settled.max(self.recent.1);
            self.recent = (at, now);
        }
    }
}

/// How many were killed so far. What can't be read is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MemoryKills {
    /// Of the processes of this control group, for whatever reason.
    in_group: u64,
    /// How often this group was at its limit and nothing helped.
    by_group: u64,
    on_machine: u64,
}

impl MemoryKills {
    /// As it is now. Reads a few kilobytes of procfs and of the control group's files.
    fn read() -> Self {
        let events = group_directory().map(|directory| directory.join("memory.events"));
        let events = events.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let machine = fs::read_to_string("/proc/vmstat").unwrap_or_default();
        Self {
            in_group: number_of(&events, "oom_kill"),
            by_group: number_of(&events, "oom"),
            on_machine: number_of(&machine, "oom_kill"),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            in_group: self.in_group.max(other.in_group),
            by_group: self.by_group.max(other.by_group),
            on_machine: self.on_machine.max(other.on_machine),
        }
    }

    /// One of those that were counted `now` is explained.
    fn account_for_one(&mut self, now: Self) {
        self.in_group = (self.in_group + 1).min(now.in_group);
        self.on_machine = (self.on_machine + 1).min(now.on_machine);
    }

    /// What has happened since `before`.
    fn since(self, before: Self) -> Option<MemoryKill> {
        let Self { in_group, by_group, on_machine } = self;
        if in_group > before.in_group && by_group > before.by_group {
            Some(MemoryKill::Group)
        } else if in_group > before.in_group || on_machine > before.on_machine {
            Some(MemoryKill::Elsewhere)
        } else {
            None
        }
    }
}

/// Whether there is anything to read.
pub(crate) fn can_be_told() -> bool {
    let machine = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    machine.lines().any(|line| line.starts_with("oom_kill "))
        || group_directory().is_some_and(|directory| directory.join("memory.events").exists())
}

/// Of the unified hierarchy, see cgroups(7).
fn group_directory() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

/// In lines of a name and a number.
fn number_of(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let text = "low 1\noom 2\noom_kill 3\noom_group_kill 4\n";
        assert_eq!((number_of(text, "oom"), number_of(text, "oom_kill")), (2, 3));
        assert_eq!((number_of(text, "oom_"), number_of("", "oom")), (0, 0));
    }

    #[test]
    fn a_kill_explains_one_death_and_only_at_its_time() {
        let kills = |on_machine| MemoryKills { on_machine, ..MemoryKills::default() };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ledger = Ledger { settled: kills(7), recent: (start, kills(7)) };
        assert_eq!(ledger.explain(at(1), kills(7)), None);
        // Two were killed at once, of which one is ours.
        assert_eq!(ledger.explain(at(2), kills(9)), Some(MemoryKill::Elsewhere));
        assert_eq!(ledger.explain(at(2), kills(9)), Some(MemoryKill::Elsewhere));
        assert_eq!(ledger.explain(at(2), kills(9)), None);
        // What was seen long ago was somebody else.
        ledger.on_read(at(10), kills(12));
        ledger.on_read(at(11), kills(12));
        assert_eq!(ledger.explain(at(12), kills(12)), Some(MemoryKill::Elsewhere));
        assert_eq!(ledger.explain(at(20), kills(12)), None);
        assert_eq!(ledger.explain(at(21), kills(13)), Some(MemoryKill::Elsewhere));
    }

    #[test]
    fn whose_memory_it_was() {
        let before = MemoryKills { in_group: 1, by_group: 1, on_machine: 1 };
        assert_eq!(before.since(before), None);
        assert_eq!(
            MemoryKills { on_machine: 2, ..before }.since(before),
            Some(MemoryKill::Elsewhere)
        );
        let in_group = MemoryKills { in_group: 2, on_machine: 2, ..before };
        assert_eq!(in_group.since(before), Some(MemoryKill::Elsewhere));
        let by_group = MemoryKills { by_group: 2, ..in_group };
        assert_eq!(by_group.since(before), Some(MemoryKill::Group));
    }
}
