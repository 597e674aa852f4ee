//! How much memory a process has, and how much there is left, as procfs and the control groups tell.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::process::read_proc;

/// How many bytes of memory a process has of its own: what would be free if it ended. Private pages, in memory and
/// swapped out, but neither what it shares with others nor what can be read from a file again.
///
/// `None` if there is no such process. It does not wait for the process, not even for one that is stopped.
pub(crate) fn held_by(pid: u32) -> Option<u64> {
    let status = read_proc(pid, "status")?;
    Some(field(&status, "RssAnon:")? + field(&status, "VmSwap:").unwrap_or_default())
}

/// How many bytes new work could have without making anything else give way: the least of what the machine has left
/// and of what the control groups of this process, both versions, let it have. `None` if procfs does not tell.
pub(crate) fn available() -> Option<u64> {
    let machine = field(&read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(left_in_groups(&groups, Path::new("/sys/fs/cgroup")).map_or(machine, |it| it.min(machine)))
}

/// How many bytes the machine has left, swap included, whatever the control groups let this process have: one that wants
/// more than its group has harms none but its group.
pub(crate) fn left_on_machine() -> Option<u64> {
    let machine = read_to_string("/proc/meminfo").ok()?;
    Some(field(&machine, "MemAvailable:")? + field(&machine, "SwapFree:").unwrap_or_default())
}

/// Whether the machine has so many bytes at all, swap included; if that can't be found out, yes. What it had once it has
/// still: others may have sent what filled it.
pub(crate) fn is_in_total(bytes: u64) -> bool {
    static MOST: AtomicU64 = AtomicU64::new(0);
    if bytes <= MOST.load(Ordering::Relaxed) {
        return true;
    }
    // A machine grows, when swap is added or its host gives it more.
    let total = total().unwrap_or(u64::MAX);
    bytes <= MOST.fetch_max(total, Ordering::Relaxed).max(total)
}

/// How many bytes the machine has at all, swap included.
pub(crate) fn total() -> Option<u64> {
    let machine = read_to_string("/proc/meminfo").ok()?;
    Some(field(&machine, "MemTotal:")? + field(&machine, "SwapTotal:").unwrap_or_default())
}

/// A number of KiB, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files of one version of control groups.
struct Version {
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`: of the usage, what the kernel gives away before anything else.
    inactive: &'static str,
}

const ONE: Version = Version {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    inactive: "total_inactive_file ",
};
const TWO: Version =
    Version { limit: "memory.max", usage: "memory.current", inactive: "inactive_file " };

/// `groups`: /proc/self/cgroup, see cgroups(7). A limit of any group on the way to the root holds.
fn left_in_groups(groups: &str, mount: &Path) -> Option<u64> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (version, mount) = match controllers {
            "" => (TWO, mount.to_owned()),
            _ if controllers.split(',').any(|it| it == "memory") => (ONE, mount.join("memory")),
            _ => return None,
        };
        left_up_to_root(&version, &mount, path)
    };
    groups.lines().filter_map(of_line).min()
}

fn left_up_to_root(version: &Version, mount: &Path, path: &str) -> Option<u64> {
    // In a container the group may be called as it is outside, and mounted at the root.
    let path = PathBuf::from(path.trim_start_matches('/'));
    path.ancestors().filter_map(|group| left_in(version, &mount.join(group))).min()
}

fn left_in(version: &Version, group: &Path) -> Option<u64> {
    let number = |file: &str| read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok();
    // `max`, which is no number, is no limit.
    let (limit, usage) = (number(version.limit)?, number(version.usage)?);
    let stat = read_to_string(group.join("memory.stat")).unwrap_or_default();
    let inactive = stat.lines().find_map(|line| line.strip_prefix(version.inactive));
    let inactive = inactive.and_then(|number| number.parse().ok()).unwrap_or_default();
    Some(limit.saturating_sub(usage.saturating_sub(inactive)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_allocates_is_seen() {
        let before = held_by(std::process::id()).expect("procfs");
        let block = vec![1_u8; 64 << 20];
        let after = held_by(std::process::id()).expect("procfs");
        assert!(std::hint::black_box(&block).len() == 64 << 20);
        // The kernel counts in batches.
        assert!(after >= before + (48 << 20), "{before} before, {after} after");
        assert_eq!(held_by(u32::MAX), None);
        assert!(available().expect("procfs") > 0);
        assert!(left_on_machine().expect("procfs") > 0);
    }

    #[test]
    fn numbers_are_taken_from_their_lines() {
        let text = "VmRSS:\t 900 kB\nRssAnon:\t     12 kB\nRssFile: x kB\n";
        assert_eq!(field(text, "RssAnon:"), Some(12 * 1024));
        assert_eq!(field(text, "RssFile:"), None);
        assert_eq!(field(text, "VmSwap:"), None);
        assert_eq!(field("A: 99999999999999999999 kB", "A:"), None);
    }

    #[test]
    fn the_narrowest_group_on_the_way_to_the_root_counts() {
        let root = std::env::temp_dir().join(format!("atasker-groups-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        for (group, max, current) in [("", "max", "9"), ("a", "1000", "600"), ("a/b", "500", "0")] {
            write(&format!("{group}/memory.max"), max);
            write(&format!("{group}/memory.current"), current);
        }
        let left = |groups: &str| left_in_groups(groups, &root);
        assert_eq!(left("0::/a/b\n"), Some(400));
        write("a/memory.stat", "file 300\ninactive_file 250\nactive_file 50\n");
        assert_eq!(left("0::/a/b\n"), Some(500));
        assert_eq!(left("0::/elsewhere\n"), None);
        assert_eq!(left("0::/\n"), None, "the root has no limit");
        write("memory/c/memory.limit_in_bytes", "100");
        write("memory/c/memory.usage_in_bytes", "40");
        assert_eq!(left("5:cpu,memory:/c/d\n3:cpuset:/\n"), Some(60));
        assert_eq!(left("5:cpu,memory:/c/d\n0::/a\n"), Some(60));
        assert_eq!(left("nonsense\n"), None);
        std::fs::remove_dir_all(&root).expect("its own folder");
    }
}
