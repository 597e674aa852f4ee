//! The lifeline: a socket whose end means that the coordinator is gone.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use crate::sync::Mutex;
use crate::sys::process::{kill_own_group, never_preempt};

/// The directory of the handshake, while it stands. Whoever holds the lock is the only one to change it
/// on disk, so that it can't be removed while it is half made.
static DIRECTORY: Mutex<Option<PathBuf>> = Mutex::new(None);
/// Whether [`DIRECTORY`] is to be looked at. After the handshake the end of the coordinator finds a process
/// that may be in any state, so it must be answered without locks and memory.
static SHAKING_HANDS: AtomicBool = AtomicBool::new(true);

/// Watch the lifeline for as long as this process lives.
pub(super) fn watch(lifeline: OwnedFd) -> io::Result<()> {
    // Not deaf to signals, unlike the thread that serves between tasks: somebody must hear a SIGTERM.
    let identity = identity_of(&lifeline);
    std::thread::Builder::new().name("atasker-lifeline".to_owned()).spawn(move || {
        // When the process is killed, this thread, too, is woken to end: it need not have the core of whoever waits for
        // news of that.
        never_preempt();
        let mut buffer = [0; 64];
        while identity_of(&lifeline) == identity {
            match rustix::io::read(&lifeline, &mut buffer) {
                Ok(0) => on_coordinator_gone(),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) if identity_of(&lifeline) != identity => {}
                Err(_) => on_coordinator_gone(),
            }
        }
        // A task has closed it, with whatever else it found open. From before the first task on the kernel kills this
        // process when its parent dies.
        loop {
            std::thread::park();
        }
    })?;
    Ok(())
}

/// Which file that is, whatever its number. `None`: it is closed.
fn identity_of(descriptor: &OwnedFd) -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(descriptor).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

fn on_coordinator_gone() -> ! {
    // Held until the end, so that the directory is not made after it was looked for.
    let directory = SHAKING_HANDS.load(Ordering::Acquire).then(|| DIRECTORY.lock());
    if let Some(directory) = directory.as_ref().and_then(|directory| directory.as_deref()) {
        remove_all(directory);
    }
    kill_own_group()
}

/// Make the directory and what belongs into it.
pub(super) fn within_directory<T>(
    path: &Path,
    make: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    use std::os::unix::fs::DirBuilderExt;
    let mut directory = DIRECTORY.lock();
    fs::DirBuilder::new().mode(0o700).create(path)?;
    *directory = Some(path.to_owned());
    make()
}

/// The handshake needs its directory no more.
pub(super) fn remove_directory() {
    if let Some(directory) = DIRECTORY.lock().take() {
        remove_all(&directory);
    }
    // Pairs with the load in `on_coordinator_gone`. Should that see the old value, it finds no directory.
    SHAKING_HANDS.store(false, Ordering::Release);
}

/// The one-shot server removes its own part when it is dropped, which may be at the same time in the other
/// thread, and an entry that goes while it is being removed is an error. Nothing is added any more, so the
/// next attempt or the one after finds peace.
fn remove_all(directory: &Path) {
    const ATTEMPTS_MAX: u32 = 100;
    for _ in 0..ATTEMPTS_MAX {
        let removed = fs::remove_dir_all(directory);
        if removed.is_ok()
            || matches!(fs::symlink_metadata(directory), Err(error) if error.kind() == io::ErrorKind::NotFound)
        {
            return;
        }
    }
}
