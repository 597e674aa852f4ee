//! A system that refuses: memory, descriptors, processes, CPU time.

use std::path::{Path, PathBuf};

use atasker::{ExitCause, TaskErrorKind, task};

use super::misdeeds::{in_c, touch};
use super::{Scene, cases};
use crate::tasks;
use crate::watch::{eventually, send_signal, skipped};

cases! {
    everywhere {
        no_descriptors,
        no_processes,
        no_address_space_in_a_task_in_c,
        no_address_space_in_a_task,
        no_cpu_time_in_a_task_in_c,
        no_memory_in_a_group,
    }
    on_rings {
        no_room_for_a_segment,
    }
    on_named_rings {
        no_descriptors,
        no_room_for_a_segment,
    }
}

/// A soft limit of this process, put back when this is dropped.
struct Limited {
    resource: libc::__rlimit_resource_t,
    before: libc::rlimit,
}

impl Limited {
    fn to(resource: libc::__rlimit_resource_t, value: u64) -> Self {
        let before = limit(resource, None);
        limit(resource, Some(libc::rlimit { rlim_cur: value, ..before }));
        Self { resource, before }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        limit(self.resource, Some(self.before));
    }
}

/// The limits of this process before the call, which sets others if there are any.
#[expect(unsafe_code, reason = "limits can only be set through libc")]
fn limit(resource: libc::__rlimit_resource_t, new: Option<libc::rlimit>) -> libc::rlimit {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is this frame's.
    let answer = unsafe { libc::getrlimit(resource, &raw mut before) };
    assert_eq!(answer, 0, "limits can be read");
    if let Some(new) = new {
        // SAFETY: as above.
        let answer = unsafe { libc::setrlimit(resource, &raw const new) };
        assert_eq!(answer, 0, "soft limits can be changed");
    }
    before
}

/// The address space that this process has, in bytes.
fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmSize:")).expect("it is told");
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    kib.expect("a number") << 10
}

/// Let this process have so many more bytes of address space, for good.
pub(super) fn limit_address_space(more: u64) {
    std::mem::forget(Limited::to(libc::RLIMIT_AS, address_space() + more));
}

/// Whoever starts a pool, or has one, is told what is short; afterwards all is well.
fn refuse(scene: &Scene, refusal: impl Fn() -> Box<dyn std::any::Any>, said: &[&str]) {
    let is_said = |text: &str| said.iter().any(|words| text.contains(words));
    let builder = scene.builder();
    let refused = refusal();
    let error = builder.start().map(drop);
    drop(refused);
    let error = error.expect_err("it is refused").to_string();
    assert!(is_said(&error), "{error}");
    // And a pool that runs already.
    let pool = scene.builder().restart_limit(3).start().expect("workers start");
    assert_eq!(pool.submit(tasks::add::call(1, 1)).expect("accepted").wait().expect("it runs"), 2);
    let mut pids: Vec<_> = Vec::new();
    eventually("both workers are there", || {
        pids = pool.info().workers.iter().filter_map(|worker| worker.pid).collect();
        pids.len() == 2
    });
    let refused = refusal();
    for pid in pids {
        send_signal(pid, libc::SIGKILL);
    }
    let mut texts = Vec::new();
    eventually("it gives up", || match pool.submit(tasks::add::call(1, 1)) {
        Err(refused) => {
            texts.push(refused.to_string());
            true
        }
        Ok(task) => match task.wait() {
            Ok(sum) => sum != 2,
            Err(error) => {
                let given_up = matches!(error.kind(), TaskErrorKind::NoWorkers { .. });
                texts.push(error.to_string());
                given_up
            }
        },
    });
    drop(refused);
    assert!(texts.last().is_some_and(|text| is_said(text)), "{texts:?}");
}

fn no_descriptors(scene: &Scene) {
    let refusal = || -> Box<dyn std::any::Any> { Box::new(Limited::to(libc::RLIMIT_NOFILE, 8)) };
    refuse(scene, refusal, &["open files", "ulimit -n"]);
}

fn no_processes(scene: &Scene) {
    if Group::new("pids").is_none() && is_root() {
        skipped("there are no groups, and root has no limit");
        return;
    }
    let refusal = || -> Box<dyn std::any::Any> {
        match Group::new("pids") {
            Some(group) => {
                group.set("pids.max", "1");
                group.take(std::process::id());
                Box::new(group)
            }
            None => Box::new(Limited::to(libc::RLIMIT_NPROC, 1)),
        }
    };
    refuse(scene, refusal, &["too many processes", "temporarily unavailable", "thread"]);
}

/// By a limit on the size of files, of which shared memory is one. Too little address space would end the program before
/// it could say so: std aborts when a thread that it starts gets no stack for signals.
fn no_room_for_a_segment(scene: &Scene) {
    let refusal = || -> Box<dyn std::any::Any> { Box::new(Limited::to(libc::RLIMIT_FSIZE, 4096)) };
    refuse(scene, refusal, &["`ulimit -f`"]);
}

/// C code that does not look at what `malloc` answers.
fn no_address_space_in_a_task_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("out of address space"), &[ExitCause::Signal(libc::SIGSEGV)]);
}

#[task]
fn allocate_beyond(bytes: usize) -> usize {
    limit_address_space(1 << 20);
    std::hint::black_box(vec![1_u8; bytes]).len()
}

fn no_address_space_in_a_task(scene: &Scene) {
    scene.dies_of(allocate_beyond::call(1 << 30), &[ExitCause::Signal(libc::SIGABRT)]);
}

fn no_cpu_time_in_a_task_in_c(scene: &Scene) {
    scene.dies_of(in_c::call("out of CPU time"), &[ExitCause::Signal(libc::SIGXCPU)]);
}

/// Waits for the removal of the file, then needs memory.
#[task]
fn hold_then_touch(file: &Path, bytes: usize) -> usize {
    tasks::hold(file);
    touch(bytes)
}

/// The kernel kills what a group of processes has no memory for.
fn no_memory_in_a_group(scene: &Scene) {
    let Some(group) = Group::new("memory") else {
        skipped("groups can't be made here");
        return;
    };
    let is_limited =
        group.set("memory.limit_in_bytes", "67108864") | group.set("memory.max", "67108864");
    assert!(is_limited, "memory can be limited");
    group.set("memory.swap.max", "0");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("held");
    let task = scene.submit(hold_then_touch::call(&file, 400 << 20)).expect("accepted");
    eventually("it runs", || file.exists());
    group.take(std::fs::read_to_string(&file).expect("written").parse().expect("a pid"));
    std::fs::remove_file(&file).expect("it is there");
    let error = task.wait().expect_err("it is too much");
    let cause = error.crash().unwrap_or_else(|| panic!("{error}")).cause;
    assert_eq!(cause, ExitCause::Signal(libc::SIGKILL), "{error}");
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    status
        .lines()
        .any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// A control group of one controller, in either version of cgroups(7), below the one that this process is in.
struct Group {
    path: PathBuf,
    parent: PathBuf,
}

impl Group {
    /// `None`: there are no such groups here, or this process may not make one.
    fn new(controller: &str) -> Option<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let parent = groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            if controllers.split(',').any(|one| one == controller) {
                return Some(Path::new("/sys/fs/cgroup").join(controller).join(path));
            }
            let unified = Path::new("/sys/fs/cgroup").join(path);
            let list = std::fs::read_to_string(unified.join("cgroup.subtree_control")).ok()?;
            (controllers.is_empty() && list.contains(controller)).then_some(unified)
        })?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("atasker-test-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        Some(Self { path, parent })
    }

    /// Whether there is such a setting.
    fn set(&self, setting: &str, value: &str) -> bool {
        std::fs::write(self.path.join(setting), value).is_ok()
    }

    fn take(&self, pid: u32) {
        let text = pid.to_string();
        std::fs::write(self.path.join("cgroup.procs"), text).expect("a process can be moved");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let left = std::fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            let _ = std::fs::write(self.parent.join("cgroup.procs"), pid);
        }
        // Zombies count until they are reaped.
        eventually("the group is empty", || std::fs::remove_dir(&self.path).is_ok());
    }
}
