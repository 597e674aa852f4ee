//! Whether the kernel has killed processes for lack of memory meanwhile. It does not say which, so this is what is
//! likely of one that was killed and that nobody else is known to have killed.

use std::fs;
use std::path::{Path, PathBuf};

/// Who was short of memory when processes were killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryKill {
    /// The control group of this process, by its limit.
    Group,
    Machine,
}

/// How many were killed so far. What can't be read is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryKills {
    /// Of the processes of this control group, for whatever reason.
    in_group: u64,
    /// How often this group was at its limit and nothing helped.
    by_group: u64,
    on_machine: u64,
}

impl MemoryKills {
    /// As it is now. Reads a few kilobytes of procfs and of the control group's files.
    pub(super) fn read() -> Self {
        let events = group_directory().map(|directory| directory.join("memory.events"));
        let events = events.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let machine = fs::read_to_string("/proc/vmstat").unwrap_or_default();
        Self {
            in_group: number_of(&events, "oom_kill"),
            by_group: number_of(&events, "oom"),
            on_machine: number_of(&machine, "oom_kill"),
        }
    }

    /// What has happened since `before`.
    pub(super) fn since(self, before: Self) -> Option<MemoryKill> {
        let Self { in_group, by_group, on_machine } = self;
        if in_group > before.in_group && by_group > before.by_group {
            Some(MemoryKill::Group)
        } else if in_group > before.in_group || on_machine > before.on_machine {
            Some(MemoryKill::Machine)
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
    fn whose_memory_it_was() {
        let before = MemoryKills { in_group: 1, by_group: 1, on_machine: 1 };
        assert_eq!(before.since(before), None);
        assert_eq!(
            MemoryKills { on_machine: 2, ..before }.since(before),
            Some(MemoryKill::Machine)
        );
        let in_group = MemoryKills { in_group: 2, on_machine: 2, ..before };
        assert_eq!(in_group.since(before), Some(MemoryKill::Machine));
        let by_group = MemoryKills { by_group: 2, ..in_group };
        assert_eq!(by_group.since(before), Some(MemoryKill::Group));
    }
}
