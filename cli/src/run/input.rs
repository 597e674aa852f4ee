//! Reading the batch file in a thread of its own, no further ahead than the window allows.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::Event;
use super::jobs::{Defaults, Job};
use crate::failure::{Failure, complain};

/// A longer line is no job, but perhaps a file without line ends, which must not be taken into memory whole.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Lines that were read and not yet answered are no longer together, but for a single one.
const UNANSWERED_BYTES_MAX: u64 = 64 << 20;

/// How many jobs may be read and not yet answered. The reader waits for a place, so that memory stays
/// constant however long the input and its lines are.
#[derive(Debug)]
pub(crate) struct Window {
    places: Mutex<Places>,
    freed: Condvar,
}

#[derive(Debug)]
struct Places {
    free: usize,
    /// How long the lines are that were read and not yet answered, and all of them together.
    lengths: HashMap<u64, u64>,
    bytes: u64,
    closed: bool,
}

impl Places {
    fn has_room_for(&self, bytes: u64) -> bool {
        self.free > 0 && (self.bytes == 0 || self.bytes + bytes <= UNANSWERED_BYTES_MAX)
    }
}

impl Window {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        let places = Places { free: places, lengths: HashMap::new(), bytes: 0, closed: false };
        Arc::new(Self { places: Mutex::new(places), freed: Condvar::new() })
    }

    /// Wait for a place for this line, which is so long, and take it. `false`: nothing more is wanted.
    fn take(&self, line: u64, bytes: u64) -> bool {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = self
            .freed
            .wait_while(places, |places| !places.has_room_for(bytes) && !places.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if places.closed {
            return false;
        }
        places.free -= 1;
        places.lengths.insert(line, bytes);
        places.bytes += bytes;
        true
    }

    /// The line is answered; its place is free.
    pub(crate) fn give(&self, line: u64) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.free += 1;
        let bytes = places.lengths.remove(&line).unwrap_or_default();
        places.bytes -= bytes;
        drop(places);
        self.freed.notify_one();
    }

    /// Nothing more is wanted.
    pub(crate) fn close(&self) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.freed.notify_one();
    }
}

/// A batch file that is open.
pub(crate) struct Input {
    /// For messages.
    name: String,
    reader: Box<dyn BufRead + Send>,
    /// The size of a regular file.
    bytes: Option<u64>,
    /// Which regular file it is.
    pub(crate) identity: Option<Identity>,
}

/// A file, by whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of a regular file.
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        let (device, inode) = (metadata.dev(), metadata.ino());
        metadata.is_file().then_some(Self { device, inode })
    }
}

/// How far the reader has come. Written by the reader, shown by the progress line.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// Bytes read.
    pub(crate) bytes: AtomicU64,
    /// Jobs found.
    pub(crate) jobs: AtomicU64,
    /// Lines read, blank ones too.
    pub(crate) lines: AtomicU64,
}

/// How far the batch was read.
enum Reading {
    ToTheEnd,
    /// There may be more, which nobody wants.
    UntilStopped,
}

impl Input {
    /// Open `file`, or standard input for `-` and for nothing.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = file.filter(|path| *path != Path::new("-")) else {
            if io::stdin().is_terminal() {
                complain("reading jobs from the terminal, a line each; end with Ctrl-D");
            }
            return Ok(Self::standard());
        };
        let cannot = |error: io::Error| {
            let advice = match error.kind() {
                io::ErrorKind::NotFound => {
                    "; give the path of a file with a JSON job on each line, or `-`"
                }
                _ => "",
            };
            Failure::Told(format!("can't read `{}`: {error}{advice}", path.display()))
        };
        let file = File::open(path).map_err(cannot)?;
        let metadata = file.metadata().map_err(cannot)?;
        if metadata.is_dir() {
            return Err(cannot(io::ErrorKind::IsADirectory.into()));
        }
        Ok(Self {
            name: format!("`{}`", path.display()),
            bytes: metadata.is_file().then_some(metadata.len()),
            identity: Identity::of(&metadata),
            reader: Box::new(BufReader::with_capacity(64 * 1024, file)),
        })
    }

    fn standard() -> Self {
        let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let metadata = file.and_then(|file| file.metadata()).ok();
        Self {
            name: "standard input".to_owned(),
            bytes: None,
            identity: metadata.as_ref().and_then(Identity::of),
            reader: Box::new(BufReader::with_capacity(64 * 1024, io::stdin())),
        }
    }

    /// How much there is to be read, if that is known.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Read in a thread of its own, which nobody waits for: it may be blocked in a read for ever.
    pub(crate) fn read(
        mut self,
        window: Arc<Window>,
        position: Arc<Position>,
        defaults: Defaults,
        events: Sender<Event>,
    ) -> Result<(), Failure> {
        let body = move || {
            let ended = match self.read_lines(&window, &position, &defaults, &events) {
                Ok(Reading::ToTheEnd) => Ok(()),
                Ok(Reading::UntilStopped) => return,
                Err(error) => Err(format!("can't read {}: {error}", self.name)),
            };
            // The batch may have ended first.
            let _ = events.send(Event::InputEnded(ended));
        };
        match std::thread::Builder::new().name("atasker-input".to_owned()).spawn(body) {
            Ok(_detached) => Ok(()),
            Err(error) => Err(Failure::Told(format!("can't start a thread: {error}"))),
        }
    }

    fn read_lines(
        &mut self,
        window: &Window,
        position: &Position,
        defaults: &Defaults,
        events: &Sender<Event>,
    ) -> io::Result<Reading> {
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            let mut bytes =
                (&mut self.reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? as u64;
            if bytes == 0 {
                return Ok(Reading::ToTheEnd);
            }
            number += 1;
            let too_long = bytes == LINE_BYTES_MAX && line.last() != Some(&b'\n');
            if too_long {
                bytes += self.reader.skip_until(b'\n')? as u64;
            }
            position.bytes.fetch_add(bytes, Ordering::Relaxed);
            position.lines.store(number, Ordering::Relaxed);
            let text = if number == 1 { without_mark(&line) } else { &line };
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            if !window.take(number, text.len() as u64) {
                return Ok(Reading::UntilStopped);
            }
            position.jobs.fetch_add(1, Ordering::Relaxed);
            let job = if too_long {
                Job::unreadable(
                    number,
                    format!("the line is longer than {} MiB", LINE_BYTES_MAX >> 20),
                )
            } else {
                Job::parse(number, text, defaults)
            };
            if events.send(Event::Read(Box::new(job))).is_err() {
                return Ok(Reading::UntilStopped);
            }
        }
    }
}

/// Without the byte order mark that some editors put at the beginning of a file.
fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn read(text: &'static [u8]) -> (Vec<(u64, bool)>, u64) {
        let mut input = Input { reader: Box::new(text), ..Input::standard() };
        let (events, received) = mpsc::channel();
        let position = Position::default();
        let ended = input.read_lines(&Window::new(9), &position, &Defaults::default(), &events);
        ended.expect("memory can be read");
        drop(events);
        let jobs = received.iter().map(|event| match event {
            Event::Read(job) => (job.name.line, job.call.is_ok()),
            other => panic!("{other:?}"),
        });
        (jobs.collect(), position.bytes.into_inner())
    }

    #[test]
    fn lines_are_numbered_and_blank_ones_skipped() {
        let text =
            b"\xEF\xBB\xBF{\"task\":\"f\"}\r\n\n  \t\n{\"task\":\"g\"}\n\xFF\n{\"task\":\"h\"}";
        assert_eq!(
            read(text),
            (vec![(1, true), (4, true), (5, false), (6, true)], text.len() as u64)
        );
        assert_eq!(read(b""), (vec![], 0));
        assert_eq!(read(b"\n\n"), (vec![], 2));
    }

    #[test]
    fn a_closed_window_ends_the_reading() {
        let window = Window::new(1);
        assert!(window.take(1, 10));
        window.give(1);
        window.close();
        assert!(!window.take(2, 10));
    }

    #[test]
    fn long_lines_leave_fewer_places() {
        let window = Window::new(9);
        let has_room = |bytes| window.places.lock().expect("no panic").has_room_for(bytes);
        assert!(window.take(1, UNANSWERED_BYTES_MAX + 1), "one alone may be as long as a line is");
        assert!(!has_room(1));
        window.give(1);
        assert!(window.take(2, UNANSWERED_BYTES_MAX - 9) && has_room(9) && !has_room(10));
        window.give(2);
        assert_eq!(window.places.lock().expect("no panic").bytes, 0);
    }
}
