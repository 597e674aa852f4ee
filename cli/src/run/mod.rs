//! `atasker run`: a batch file goes through worker processes.
//!
//! One thread reads the lines (`input`, `jobs`), no further ahead than a window allows. Everything else is
//! done by the main thread, which is told events through one channel: a job was read, a task may have ended,
//! the user wants an end (`interrupt`). It submits, and writes the results (`results`) as they come; beside
//! them it keeps `progress` and `summary`.

mod input;
mod interrupt;
mod jobs;
mod output;
mod progress;
mod results;
mod summary;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use atasker::{Limits, OutputLine, Stop, SubmitError, Supervisor, TaskHandle};
use serde_json::Value;

use self::input::{Input, Position, Window};
use self::interrupt::Interrupt;
use self::jobs::{Defaults, Job, JobName};
use self::output::Output;
use self::progress::{Progress, Standing, UnderWay};
use self::results::{Kind, Record};
use self::summary::Summary;
use crate::failure::{self, Failure, complain};
use crate::log;
use crate::options::{RunOptions, cores};
use crate::screen::Screen;

/// What the main thread is told.
#[derive(Debug)]
pub(crate) enum Event {
    /// A line that is not blank was read.
    Read(Box<Job>),
    /// Nothing more will be read; `Err`: because it can't be.
    InputEnded(Result<(), String>),
    /// The task of this line has probably ended.
    Woken(u64),
    /// The user wants an end.
    Interrupted(Interrupt),
}

/// Read so many jobs ahead for each worker, so that none of them waits for the reader, and urgent jobs
/// are seen in time to be run first.
const AHEAD_PER_WORKER: usize = 16;
const AHEAD_MIN: usize = 256;

/// Run a batch.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode, Failure> {
    let input = Input::open(options.file.as_deref())?;
    let screen = if options.quiet { None } else { Screen::open() };
    log::show(screen.clone())?;
    let supervisor = Arc::new(start(options, screen.as_ref())?);
    // Only now, so that a program that does not start leaves the results of yesterday alone.
    let output = Output::open(options.output.as_deref(), input.identity, screen.clone())?;
    let (events, received) = mpsc::channel();
    interrupt::watch(Arc::clone(&supervisor), events.clone())?;
    let places = supervisor.info().processes.limits.places() as usize;
    let mut batch = Batch {
        window: Window::new((places * AHEAD_PER_WORKER).max(AHEAD_MIN)),
        position: Arc::default(),
        input_bytes: input.bytes(),
        running: HashMap::new(),
        output,
        progress: Progress::new(screen.clone()),
        summary: Summary::default(),
        screen,
        quiet: options.quiet,
        max_fails: options.max_fails,
        backtraces: options.backtraces,
        input_end: None,
        last_line: 0,
        stopping: false,
        interrupted: false,
        no_workers: None,
        events: events.clone(),
        supervisor,
    };
    let RunOptions { timeout, retries, crash_limit, cpu_limit, memory_limit, .. } = *options;
    let defaults = Defaults { timeout, retries, crash_limit, cpu_limit, memory_limit };
    let (window, position) = (Arc::clone(&batch.window), Arc::clone(&batch.position));
    let started = Instant::now();
    input.read(window, position, defaults, events)?;
    let driven = batch.drive(&received);
    batch.finish(driven, started.elapsed())
}

fn start(options: &RunOptions, screen: Option<&Arc<Screen>>) -> Result<Supervisor, Failure> {
    let limits = Limits::new(options.workers.unwrap_or_else(cores))
        .reserve_normal(options.reserve_normal)
        .reserve_high(options.reserve_high);
    // A batch waits by design; nobody needs to be warned of that.
    let never: Option<Duration> = None;
    let mut builder =
        Supervisor::builder().processes(limits).timeout_warning(never).timeout_critical(never);
    if let Some(program) = &options.worker.program {
        builder = builder.worker_program(program);
    }
    if let Some(screen) = screen {
        let screen = Arc::clone(screen);
        let above = move |line: OutputLine<'_>| screen.print(line.text);
        builder = builder.worker_output(atasker::Output::Captured(Arc::new(above)));
    }
    Ok(builder.start()?)
}

/// A batch under way.
struct Batch {
    supervisor: Arc<Supervisor>,
    /// By line.
    running: HashMap<u64, Running>,
    window: Arc<Window>,
    position: Arc<Position>,
    input_bytes: Option<u64>,
    output: Output,
    progress: Progress,
    summary: Summary,
    screen: Option<Arc<Screen>>,
    quiet: bool,
    max_fails: Option<u64>,
    backtraces: bool,
    input_end: Option<Result<(), String>>,
    /// The last that was taken from the reader. Every job up to there gets a result.
    last_line: u64,
    /// Nothing is submitted any more.
    stopping: bool,
    interrupted: bool,
    /// Why no worker starts any more.
    no_workers: Option<String>,
    events: Sender<Event>,
}

/// A job that was submitted.
struct Running {
    name: JobName,
    handle: TaskHandle<Value>,
    waker: Waker,
}

/// Rings when a task ends. A handle is a future, and this wakes the one who polls it.
struct Bell {
    line: u64,
    events: Sender<Event>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more when the batch was given up.
        let _ = self.events.send(Event::Woken(self.line));
    }
}

/// Those that say how far they are, in the order of their lines.
fn under_way(running: &HashMap<u64, Running>) -> Vec<UnderWay> {
    let mut all: Vec<_> = running
        .iter()
        .filter_map(|(line, running)| Some((line, running, running.handle.progress()?)))
        .collect();
    all.sort_unstable_by_key(|(line, ..)| *line);
    let show = |(_, running, progress): (_, &Running, atasker::Progress)| UnderWay {
        job: running.name.to_string(),
        done: progress.done,
        total: progress.total,
    };
    all.into_iter().map(show).collect()
}

impl Batch {
    fn drive(&mut self, received: &Receiver<Event>) -> Result<(), Failure> {
        while !self.is_over() {
            if let Ok(event) = received.try_recv() {
                self.on_event(event)?;
            } else {
                // Nothing else to do just now.
                self.output.flush()?;
                if let Some(event) = wait_until(received, self.progress.due()) {
                    self.on_event(event)?;
                }
            }
            let (supervisor, summary) = (&self.supervisor, &self.summary);
            let running = &self.running;
            self.progress.tick(|| Standing {
                done: summary.done(),
                failed: summary.failed(),
                running: supervisor.info().processes.running as u64,
                jobs_read: self.position.jobs.load(Ordering::Relaxed),
                bytes_read: self.position.bytes.load(Ordering::Relaxed),
                bytes: self.input_bytes,
                under_way: under_way(running),
            });
        }
        self.output.flush()
    }

    fn is_over(&self) -> bool {
        (self.stopping || self.input_end.is_some()) && self.running.is_empty()
    }

    fn on_event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Read(job) => self.on_read(*job),
            Event::Woken(line) => self.on_woken(line),
            Event::InputEnded(end) => {
                self.input_end = Some(end);
                Ok(())
            }
            Event::Interrupted(how) => {
                self.on_interrupted(how);
                Ok(())
            }
        }
    }

    fn on_read(&mut self, job: Job) -> Result<(), Failure> {
        let Job { name, call } = job;
        self.last_line = name.line;
        let call = match call {
            Err(reason) => return self.record(&Record::bad_line(name, reason)),
            Ok(_) if self.stopping => {
                return self.record(&Record::not_taken(name, &SubmitError::Stopped));
            }
            Ok(call) => call,
        };
        match self.supervisor.submit(call) {
            Ok(handle) => {
                let line = name.line;
                let bell = Bell { line, events: self.events.clone() };
                let running = Running { name, handle, waker: Waker::from(Arc::new(bell)) };
                self.running.insert(line, running);
                self.on_woken(line)
            }
            // Not the fault of the job: none will be taken any more. What runs goes on.
            Err(error @ SubmitError::NoWorkers(_)) => {
                self.no_workers.get_or_insert_with(|| error.to_string());
                self.stopping = true;
                self.window.close();
                self.record(&Record::not_taken(name, &error))
            }
            Err(error) => self.record(&Record::not_taken(name, &error)),
        }
    }

    /// The task of `line` has just been submitted, or may have ended.
    fn on_woken(&mut self, line: u64) -> Result<(), Failure> {
        let Some(running) = self.running.get_mut(&line) else { return Ok(()) };
        let polled = Pin::new(&mut running.handle).poll(&mut Context::from_waker(&running.waker));
        let Poll::Ready(result) = polled else { return Ok(()) };
        let Some(Running { name, handle, .. }) = self.running.remove(&line) else { return Ok(()) };
        let record = Record::ended(name, &handle.info(), result);
        let record = if self.backtraces { record } else { record.without_backtrace() };
        if let Some(error) = record.error.as_ref().filter(|error| error.kind == Kind::NoWorkers) {
            self.no_workers.get_or_insert_with(|| error.message.clone());
        }
        self.record(&record)
    }

    fn record(&mut self, record: &Record) -> Result<(), Failure> {
        self.window.give(record.line);
        self.summary.count(record);
        self.output.write(record)?;
        if !self.stopping && self.max_fails.is_some_and(|max| self.summary.failed() >= max) {
            self.say(&format!(
                "stopping after {} (--max-fails): finishing what runs; Ctrl-C kills it",
                if self.summary.failed() == 1 {
                    "a failure".to_owned()
                } else {
                    format!("{} failures", self.summary.failed())
                }
            ));
            self.stop(Stop::CancelQueued);
        }
        Ok(())
    }

    fn on_interrupted(&mut self, how: Interrupt) {
        self.interrupted = true;
        match how {
            // Finishing is what goes on already, so the user wants more than that; but not who only closes the terminal.
            Interrupt::Finish { hangup } if self.stopping => {
                if !hangup {
                    self.stop(Stop::KillNow);
                }
            }
            Interrupt::Finish { .. } => {
                self.say("interrupted: finishing what runs; once more kills it");
                self.stop(Stop::CancelQueued);
            }
            Interrupt::Kill => self.say("interrupted again: killing what runs"),
        }
    }

    /// Submit nothing more, and end what was submitted. Does not wait for it.
    fn stop(&mut self, how: Stop) {
        self.stopping = true;
        self.window.close();
        let supervisor = Arc::clone(&self.supervisor);
        std::thread::spawn(move || supervisor.stop(how));
    }

    fn say(&self, text: &str) {
        match &self.screen {
            Some(screen) => screen.print(&format!("atasker: {text}")),
            None if self.quiet => {}
            None => complain(text),
        }
    }

    /// Everything has been answered, or nothing more can be.
    fn finish(mut self, driven: Result<(), Failure>, took: Duration) -> Result<ExitCode, Failure> {
        self.progress.finish();
        // Nothing runs any more, unless the results can't be written.
        self.supervisor.stop(if driven.is_ok() { Stop::Drain } else { Stop::KillNow });
        if !self.quiet && !matches!(driven, Err(Failure::BrokenPipe)) {
            let mut text = self.summary.show(took);
            if self.input_end.is_none() {
                let last = self.last_line;
                // Writing to a String does not fail.
                let _ = writeln!(text, "\nstopped at line {last}; what follows was not run");
            }
            // Nothing depends on the summary.
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
        driven?;
        if let Some(reason) = self.no_workers {
            return Err(Failure::Told(reason));
        }
        if let Some(Err(error)) = self.input_end {
            return Err(Failure::Told(format!(
                "{error}; the jobs after line {} are missing",
                self.last_line
            )));
        }
        Ok(ExitCode::from(if self.interrupted {
            failure::INTERRUPTED
        } else if self.summary.failed() + self.summary.cancelled() > 0 {
            failure::SOME_FAILED
        } else {
            failure::ALL_GOOD
        }))
    }
}

/// The next event. `None`: it is `deadline`.
fn wait_until(received: &Receiver<Event>, deadline: Option<Instant>) -> Option<Event> {
    let Some(deadline) = deadline else { return received.recv().ok() };
    received.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
}
