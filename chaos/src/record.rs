//! What really ran: a file to which every attempt in every worker appends its begin and its end.
//!
//! Appending is one system call, which the kernel does as a whole, so lines of several processes never mix and
//! their order is the order of time; and what was written stays when its process is killed. (A SIGKILL does cut a
//! write short, but only between two pages, and no line is in two.) An attempt at a task that
//! may be repeated has the lock of a file of its own as well: the kernel lets go of it when the process is gone, so
//! that an attempt which finds it taken proves that two of them overlap.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};

/// A page is a multiple of it.
const LINE_BYTES: usize = 64;

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum What {
    Began = 1,
    /// The function is about to return.
    Ended = 2,
    /// The function is being left by a panic.
    Panicked = 3,
    /// Another attempt at the same task was still running.
    Overlapped = 4,
    /// What it was given is not what was sent.
    Garbled = 5,
    /// It was asked to end, as was seen when it ended.
    Asked = 6,
}

impl What {
    fn of(code: u64) -> Option<Self> {
        use What::{Asked, Began, Ended, Garbled, Overlapped, Panicked};
        let all = [Began, Ended, Panicked, Overlapped, Garbled, Asked];
        all.into_iter().find(|what| *what as u64 == code)
    }
}

/// A line of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// The number that the plan gave the task.
    pub(crate) number: u64,
    /// The number that the supervisor gave it, as the worker was told.
    pub(crate) id: u64,
    pub(crate) pid: u32,
    /// Of the attempt, as the worker was told.
    pub(crate) attempt: u32,
    /// Of a begin: how many there have been, by the attempts' own count.
    pub(crate) count: u64,
    pub(crate) at_ns: u64,
    pub(crate) what: What,
}

impl Line {
    fn to_bytes(self) -> [u8; LINE_BYTES] {
        let process = u64::from(self.pid) << 32 | u64::from(self.attempt);
        let words = [self.number, self.id, process, self.at_ns, self.what as u64, self.count];
        let mut bytes = [0; LINE_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let word = |index: usize| {
            let word = bytes[index * 8..][..8].try_into();
            u64::from_le_bytes(word.expect("eight bytes are eight bytes"))
        };
        let what = What::of(word(4)).expect("only lines are in the file");
        let process = word(2);
        let (pid, attempt) = ((process >> 32) as u32, process as u32);
        Self { number: word(0), id: word(1), pid, attempt, count: word(5), at_ns: word(3), what }
    }
}

/// Monotonic, and the same clock in every process.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// The folder of one life, with the record and the locks.
#[derive(Debug)]
pub(crate) struct Record {
    folder: tempfile::TempDir,
    file: File,
}

impl Record {
    /// In memory where there is such a folder: it is written to a million times.
    pub(crate) fn create() -> std::io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("atasker-chaos-").tempdir_in(base)?;
        let options = || OpenOptions::new().read(true).append(true).create(true).clone();
        let file = options().open(record_in(folder.path()))?;
        Ok(Self { folder, file })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Every line from the beginning.
    pub(crate) fn read(&mut self) -> std::io::Result<Vec<Line>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes.chunks_exact(LINE_BYTES).map(Line::from_bytes).collect())
    }

    /// Forget every line and every count of attempts. What is still written is about attempts that were given up.
    pub(crate) fn clear(&mut self) -> std::io::Result<()> {
        let record = record_in(self.folder());
        for entry in std::fs::read_dir(self.folder())? {
            let path = entry?.path();
            if path != record {
                std::fs::remove_file(path)?;
            }
        }
        self.file.set_len(0)
    }
}

fn record_in(folder: &Path) -> PathBuf {
    folder.join("record")
}

/// In a worker: the folder, and the file open.
static OPEN: OnceLock<(PathBuf, File)> = OnceLock::new();

/// In a worker, before its first task.
pub(crate) fn open(folder: PathBuf) -> std::io::Result<()> {
    let file = OpenOptions::new().append(true).open(record_in(&folder))?;
    let _first = OPEN.set((folder, file));
    Ok(())
}

fn opened() -> &'static (PathBuf, File) {
    OPEN.get().expect("the initialiser has opened it")
}

fn write(number: u64, what: What) {
    write_count(number, what, 0);
}

fn write_count(number: u64, what: What, count: u64) {
    let current = atasker::worker::current_task();
    let (id, attempt) = current.map_or((0, 0), |current| (current.number, current.attempt));
    let pid = std::process::id();
    let line = Line { number, id, pid, attempt, count, at_ns: now_ns(), what };
    let mut file = &opened().1;
    file.write_all(&line.to_bytes()).expect("the record can be written to");
}

/// An attempt, from its begin to the end of this value.
#[derive(Debug)]
pub(crate) struct Attempt {
    number: u64,
    /// How many attempts there have been, this one included. One if nobody counts them.
    pub(crate) count: u64,
    /// Held until the end of the attempt.
    lock: Option<File>,
}

impl Attempt {
    /// `counted`: the task may be repeated.
    pub(crate) fn begin(number: u64, counted: bool) -> Self {
        let mut attempt = Self { number, count: 1, lock: None };
        let overlaps = counted && attempt.take_lock().expect("the folder can be written to");
        // It may be killed between the two, and then it was counted, but is not in the record.
        write_count(number, What::Began, attempt.count);
        if overlaps {
            write(number, What::Overlapped);
        }
        attempt
    }

    /// Whether somebody has it.
    fn take_lock(&mut self) -> std::io::Result<bool> {
        let path = opened().0.join(self.number.to_string());
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let overlaps = file.try_lock().is_err();
        file.write_all(b"|")?;
        self.count = file.metadata()?.len();
        self.lock = Some(file);
        Ok(overlaps)
    }

    /// What the attempt was given is not what was sent.
    pub(crate) fn complain(&self) {
        write(self.number, What::Garbled);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if atasker::current().is_cancelled() {
            write(self.number, What::Asked);
        }
        write(self.number, if std::thread::panicking() { What::Panicked } else { What::Ended });
    }
}
