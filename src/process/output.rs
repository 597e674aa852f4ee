//! What workers write: one thread reads all pipes, keeps the end of each and passes the rest on.
//!
//! Passing on may take as long as the host's standard error or its handler likes. So it is done by that
//! thread alone and under no lock; whoever reports a death reads what is left in the pipe itself.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::config::{Output, OutputLine, OutputStream};
use super::threads::Threads;
use crate::blackbox::BlackBox;
use crate::say::say;
use crate::sync::Mutex;
use crate::sys::Bell;
use crate::sys::descriptors::wait_readable;

/// How much of a worker's standard error stands in a report.
const TAIL_BYTES: usize = 16 << 10;
/// How much is read at once: what a pipe holds.
const CHUNK_BYTES: usize = 64 << 10;
/// How much of a dead worker's output is still read. A process that it left behind may go on writing.
const LEFTOVER_BYTES_MAX: usize = 4 * CHUNK_BYTES;
/// A line that is longer is handed over in pieces.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The thread that reads, seen from the others.
#[derive(Debug)]
pub(super) struct Outputs {
    output: Output,
    bell: Bell,
    changes: Mutex<Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    added: Vec<Arc<Pipe>>,
    stopping: bool,
}

/// One stream of one worker.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: OutputStream,
    pid: u32,
    fd: OwnedFd,
    /// Says which task runs.
    blackbox: Arc<BlackBox>,
    state: Mutex<PipeState>,
}

#[derive(Debug, Default)]
struct PipeState {
    tail: VecDeque<u8>,
    /// Number and attempt of the task that ran when the last was read, and how much was read since it did.
    of_task: Option<(u64, u32)>,
    of_task_bytes: usize,
    /// Read at the worker's death, still to be passed on.
    leftover: Vec<u8>,
    finished: bool,
}

/// The end of what a worker wrote to a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    pub(crate) all: String,
    /// What was written while the task ran that ran last. Something from the moments before may be among it.
    pub(crate) of_task: String,
}

/// A pipe and what only the reading thread knows of it.
struct Reading {
    pipe: Arc<Pipe>,
    /// The beginning of a line, for a handler.
    line: Vec<u8>,
    /// The worker has closed its end.
    ended: bool,
}

impl Outputs {
    pub(super) fn start(output: Output, threads: &Arc<Threads>) -> io::Result<Arc<Self>> {
        let outputs = Arc::new(Self { output, bell: Bell::new()?, changes: Mutex::default() });
        let in_thread = Arc::clone(&outputs);
        threads.spawn("output", move || in_thread.run())?;
        Ok(outputs)
    }

    /// Read a new worker's pipes.
    pub(super) fn add(
        &self,
        pid: u32,
        fds: Vec<(OutputStream, OwnedFd)>,
        blackbox: &Arc<BlackBox>,
    ) -> Vec<Arc<Pipe>> {
        let pipe = |(stream, fd)| {
            let blackbox = Arc::clone(blackbox);
            Arc::new(Pipe { stream, pid, fd, blackbox, state: Mutex::default() })
        };
        let pipes: Vec<_> = fds.into_iter().map(pipe).collect();
        self.changes.lock().added.extend(pipes.iter().cloned());
        self.bell.ring();
        pipes
    }

    /// The worker is dead: read what is left, without waiting for an end that a process which it left
    /// behind may hold back. Returns the end of its standard error.
    pub(super) fn finish(&self, pipes: &[Arc<Pipe>]) -> Tail {
        let mut tail = Tail::default();
        for pipe in pipes {
            let mut state = pipe.state.lock();
            pipe.read_leftover(&mut state);
            state.finished = true;
            if pipe.stream == OutputStream::Stderr {
                // What ran last has left its name there.
                state.note(pipe.blackbox.running(), 0);
                tail = state.tail();
            }
        }
        self.bell.ring();
        tail
    }

    /// End the thread once all pipes are finished.
    pub(super) fn stop(&self) {
        self.changes.lock().stopping = true;
        self.bell.ring();
    }

    fn run(&self) {
        let mut readings: Vec<Reading> = Vec::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let (rung, ready) = self.wait(&readings);
            for index in ready {
                let reading = &mut readings[index];
                match reading.pipe.read(&mut buffer) {
                    Read::Bytes(length) => self.pass_on(reading, &buffer[..length]),
                    Read::Nothing => {}
                    Read::End => reading.ended = true,
                }
            }
            if rung {
                self.bell.silence();
                let stopping = {
                    let mut changes = self.changes.lock();
                    let added = changes.added.drain(..);
                    readings.extend(added.map(|pipe| Reading {
                        pipe,
                        line: Vec::new(),
                        ended: false,
                    }));
                    changes.stopping
                };
                readings.retain_mut(|reading| !self.pass_on_if_finished(reading));
                if stopping && readings.is_empty() {
                    return;
                }
            }
        }
    }

    /// Whether the bell rang, and which pipes can be read.
    fn wait(&self, readings: &[Reading]) -> (bool, Vec<usize>) {
        let open: Vec<usize> =
            (0..readings.len()).filter(|index| !readings[*index].ended).collect();
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.bell.as_fd()];
        fds.extend(open.iter().map(|index| readings[*index].pipe.fd.as_fd()));
        let Ok(ready) = wait_readable(&fds, None) else {
            // The kernel has no memory for the list, or the limit on descriptors is below its length by now. Looking at
            // everything is slow and right.
            std::thread::sleep(Duration::from_millis(10));
            return (true, open);
        };
        let readable = open.iter().zip(&ready[1..]).filter(|(_, ready)| **ready);
        (ready[0], readable.map(|(index, _)| *index).collect())
    }

    /// Whether the pipe is done with.
    fn pass_on_if_finished(&self, reading: &mut Reading) -> bool {
        let leftover = {
            let mut state = reading.pipe.state.lock();
            if !state.finished {
                return false;
            }
            std::mem::take(&mut state.leftover)
        };
        self.pass_on(reading, &leftover);
        if !reading.line.is_empty() {
            let line = std::mem::take(&mut reading.line);
            self.handle_line(&reading.pipe, &line);
        }
        true
    }

    fn pass_on(&self, reading: &mut Reading, bytes: &[u8]) {
        match &self.output {
            // Nothing can be done about a standard error that can't be written to.
            Output::Inherit => drop(io::stderr().write_all(bytes)),
            Output::Silent => {}
            Output::Captured(_) => {
                for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                    reading.line.extend_from_slice(piece);
                    if piece.ends_with(b"\n") || reading.line.len() >= LINE_BYTES_MAX {
                        let line = std::mem::take(&mut reading.line);
                        self.handle_line(&reading.pipe, &line);
                    }
                }
            }
        }
    }

    fn handle_line(&self, pipe: &Pipe, line: &[u8]) {
        let Output::Captured(handler) = &self.output else {
            return;
        };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        let line = OutputLine { pid: pipe.pid, stream: pipe.stream, text: &text };
        if catch_unwind(AssertUnwindSafe(|| handler(line))).is_err() {
            say!(error, target: "atasker::process", "the handler of workers' output panicked");
        }
    }
}

enum Read {
    Bytes(usize),
    Nothing,
    End,
}

impl Pipe {
    /// Read a chunk and keep its end. The lock makes sure that nobody reports the tail between the two.
    fn read(&self, buffer: &mut [u8]) -> Read {
        let mut state = self.state.lock();
        if state.finished {
            return Read::Nothing;
        }
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut *buffer)) {
            Ok(0) => Read::End,
            Ok(length) => {
                // Asked after reading: none of these bytes is of a task that begins later.
                state.note(self.blackbox.running(), length);
                state.keep(&buffer[..length]);
                Read::Bytes(length)
            }
            Err(rustix::io::Errno::AGAIN) => Read::Nothing,
            Err(_) => Read::End,
        }
    }

    fn read_leftover(&self, state: &mut PipeState) {
        let mut buffer = vec![0; CHUNK_BYTES];
        while state.leftover.len() < LEFTOVER_BYTES_MAX {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut *buffer)) {
                Ok(0) | Err(_) => return,
                Ok(length) => {
                    state.note(self.blackbox.running(), length);
                    state.keep(&buffer[..length]);
                    state.leftover.extend_from_slice(&buffer[..length]);
                }
            }
        }
    }
}

impl PipeState {
    /// So much was read, and then this task ran.
    fn note(&mut self, running: Option<(u64, u32)>, bytes: usize) {
        if self.of_task != running {
            (self.of_task, self.of_task_bytes) = (running, 0);
        }
        self.of_task_bytes = self.of_task_bytes.saturating_add(bytes);
    }

    fn tail(&mut self) -> Tail {
        let all = self.tail.make_contiguous();
        let before = all.len().saturating_sub(self.of_task_bytes);
        Tail { all: text_of(all), of_task: text_of(&all[before..]) }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let too_many = (self.tail.len() + bytes.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..too_many);
        self.tail.extend(bytes);
    }
}

/// The beginning may be in the middle of a character, which then is left out.
fn text_of(mut bytes: &[u8]) -> String {
    if bytes.len() == TAIL_BYTES {
        let continued =
            bytes.iter().take(3).take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count();
        bytes = &bytes[continued..];
    }
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_bytes_whatever_the_chunks() {
        for chunk in [1, 7, TAIL_BYTES - 1, TAIL_BYTES, 3 * TAIL_BYTES] {
            let all: Vec<u8> = (0..5 * TAIL_BYTES).map(|index| b'a' + (index % 26) as u8).collect();
            let mut state = PipeState::default();
            for bytes in all.chunks(chunk) {
                state.keep(bytes);
            }
            assert_eq!(
                state.tail.make_contiguous(),
                &all[all.len() - TAIL_BYTES..],
                "chunk {chunk}"
            );
        }
    }

    #[test]
    fn a_tail_does_not_begin_within_a_character() {
        let mut bytes = "é".repeat(TAIL_BYTES).into_bytes();
        bytes.push(b'!');
        let text = text_of(&bytes[bytes.len() - TAIL_BYTES..]);
        assert!(text.starts_with('é') && text.ends_with("é!"), "{}", &text[..10]);
        assert_eq!(text_of(b"x\xff"), "x\u{fffd}");
    }
}
