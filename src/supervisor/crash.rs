//! The report of a crash: what is known of a worker's end, put together and into words.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::blackbox::{Painting, Remains, Stack};
use crate::core::{History, MemoryExcess, MemoryLimit, SignalReason};
use crate::process::{Death, Exit, MemoryKill};
use crate::say::say;
use crate::task::cause::ExitCause;
use crate::task::cell::TaskCell;
use crate::task::crash::{self, ArgumentsInfo, Crash, CrashReport, Fault};
use crate::task::error::PanicReport;
use crate::task::id::{TaskId, WorkerId};

/// What a report is about.
pub(super) struct Crashed {
    /// The numbers of the calls that the task stands for.
    pub(super) numbers: Range<u64>,
    /// The full path.
    pub(super) function: Cow<'static, str>,
    pub(super) ran: Duration,
    /// Of the last of them.
    pub(super) arguments: Option<ArgumentsInfo>,
}

/// A report that can't be written yet. If it never can be it says that nothing is known.
pub(super) struct Draft {
    pub(super) worker: WorkerId,
    about: Crashed,
    report: Arc<crash::Report>,
}

impl Draft {
    /// The worker has ended so.
    pub(super) fn finish(self, exit: &Exit) {
        if let Some(report) = report(exit, &self.about) {
            let is_first = self.report.write(report);
            debug_assert!(is_first, "a draft is finished once");
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Who looks into it may be waiting.
        let _new = self.report.write(CrashReport::unknown(self.about.ran));
    }
}

impl Shared {
    /// That the last attempt at a task, which may be a pack, has crashed.
    pub(super) fn crash(&self, task: TaskId, cell: &TaskCell, history: History) -> Crash {
        let about = crashed(task, cell, history);
        let pid = history.worker.and_then(|worker| self.executor.pid(worker)).unwrap_or(0);
        let (crash, report) = Crash::pending(pid, about.ran);
        if let Some(worker) = history.worker {
            self.executor.report(Draft { worker, about, report });
        } else {
            let _new = report.write(CrashReport::unknown(about.ran));
        }
        crash
    }

    /// The same, of a worker whose death is certain.
    pub(super) fn crash_report(
        &self,
        task: TaskId,
        cell: &TaskCell,
        history: History,
    ) -> CrashReport {
        let exit = history.worker.and_then(|worker| self.executor.exit(worker));
        let report = exit.and_then(|exit| report(&exit, &crashed(task, cell, history)));
        report.unwrap_or_else(|| CrashReport::unknown(history.ran))
    }
}

fn crashed(task: TaskId, cell: &TaskCell, history: History) -> Crashed {
    let call = cell.with_encoded(|call| {
        let arguments =
            if call.is_pack { last_of_pack(call.arguments) } else { Some(call.arguments) };
        (call.calls, arguments.map(ArgumentsInfo::of))
    });
    let (calls, arguments) = call.unwrap_or((1, None));
    let numbers = task.number()..task.number() + u64::from(calls);
    Crashed { numbers, function: cell.name.function.clone(), ran: history.ran, arguments }
}

/// The arguments of the call that began last: those behind it have been taken back. Each stands behind its length.
fn last_of_pack(mut calls: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, behind) = calls.split_first_chunk()?;
        let (call, rest) = behind.split_at_checked(u16::from_le_bytes(*length).into())?;
        if rest.is_empty() {
            return Some(call);
        }
        calls = rest;
    }
}

/// Addresses below are those of a null pointer with an offset.
const NULL_END: u64 = 64 << 10;

/// The report of `crashed`, which ran in a worker that ended so. `None` if there never was a process.
fn report(exit: &Exit, crashed: &Crashed) -> Option<CrashReport> {
    let death = &exit.death;
    let remains = death.remains.as_ref();
    let &Crashed { ref numbers, ref function, ran, arguments } = crashed;
    // Of a pack the worker knows which call ran, if what it says is one of them. What else stands in the box is of
    // another task then.
    let remains = remains.filter(|remains| numbers.contains(&remains.running.0));
    let (number, attempt) = remains.map(|remains| remains.running).unwrap_or_default();
    let panics = remains.into_iter().flat_map(|remains| remains.panics(number, attempt));
    let is_last =
        numbers.end == numbers.start + 1 || remains.is_some() && number + 1 == numbers.end;
    let mut report = CrashReport {
        cause: death.status,
        pid: exit.pid?,
        killed_because: exit.signalled.map(why_killed),
        memory_excess: exit.signalled.and_then(|why| match why {
            SignalReason::Memory(excess) => Some(excess.into()),
            _ => None,
        }),
        fault: None,
        panics: panics
            .map(|panic| PanicReport {
                message: panic.message.to_owned(),
                location: Some(panic.location.to_owned()).filter(|location| !location.is_empty()),
                pid: exit.pid,
            })
            .collect(),
        stderr: death.stderr.of_task.clone(),
        breadcrumbs: remains
            .map(|remains| remains.crumbs(number, attempt).map(str::to_owned).collect())
            .unwrap_or_default(),
        progress: remains.and_then(|remains| remains.progress(number, attempt)),
        arguments: arguments.filter(|_| is_last),
        peak_memory: death.peak_memory(),
        cpu_time: death.usage.map(|usage| usage.cpu_time),
        ..CrashReport::unknown(ran)
    };
    let painting = remains.and_then(|remains| fatal(remains, death));
    report.fault = painting.map(|painting| fault(painting, report.pid));
    report.likely_cause = likely_cause(&report, painting.map(|painting| &**painting), death);
    report.stack = painting.map(|painting| Stack::new(Arc::clone(painting), function));
    Some(report)
}

/// The picture of what the process died of. A task may have been stopped by a signal, have dealt with it, and
/// have died of something else.
fn fatal<'a>(remains: &'a Remains, death: &Death) -> Option<&'a Arc<Painting>> {
    let painting = remains.crash.as_ref().filter(|painting| painting.of == remains.running)?;
    let is_it = match death.status {
        // The handler that tells of a stack overflow aborts.
        ExitCause::Signal(libc::SIGABRT) => {
            [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS].contains(&painting.signal)
        }
        ExitCause::Signal(signal) => signal == painting.signal,
        ExitCause::Code(_) => false,
        ExitCause::Unknown => true,
    };
    is_it.then_some(painting)
}

/// The rest of a sentence that ends with “because”.
pub(super) fn why_killed(why: SignalReason) -> &'static str {
    match why {
        SignalReason::Corrupt => {
            "it sent what no worker sends: a task has written to memory or descriptors that are not its own, \
             or forked and returned twice"
        }
        SignalReason::Stuck | SignalReason::Late => "it did not take up what it was given",
        SignalReason::Memory(MemoryExcess { limit: MemoryLimit::Worker, .. }) => {
            "it had more memory than `memory_hard_limit` allows a worker"
        }
        SignalReason::Memory(MemoryExcess { limit: MemoryLimit::Task, .. }) => {
            "the task had taken more memory than its `memory_limit`"
        }
        SignalReason::Lingering => "it was told to end and did not",
        SignalReason::Stopping => "the supervisor stopped",
        SignalReason::Deserted => {
            "its thread that runs tasks had ended, or run another program: a task must return, and neither end its \
             thread nor call exec"
        }
        SignalReason::TimedOut | SignalReason::Cancelled => "another task of it was ended",
    }
}

/// A kill that nobody asked for, and that no task's end tells of, is worth a warning.
pub(super) fn log_kill(worker: WorkerId, pid: Option<u32>, why: SignalReason) {
    let worker = worker.0;
    if why == SignalReason::Lingering {
        say!(warn, target: "atasker::process", worker, pid, "worker killed: {}", why_killed(why));
    } else {
        say!(debug, target: "atasker::process", worker, pid, ?why, "worker killed");
    }
}

impl From<MemoryExcess> for crash::MemoryExcess {
    fn from(MemoryExcess { allowed, used, .. }: MemoryExcess) -> Self {
        Self { allowed, used }
    }
}

fn fault(painting: &Painting, pid: u32) -> Fault {
    let was_sent = painting.code <= 0;
    let has_address = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP]
        .contains(&painting.signal)
        && !was_sent;
    Fault {
        signal: painting.signal,
        kind: kind(painting.signal, painting.code),
        address: has_address.then_some(painting.address),
        sender: Some(painting.sender).filter(|sender| was_sent && *sender != pid),
        thread: painting.thread_name.clone(),
    }
}

/// The codes of sigaction(2), the same on all architectures but a few.
fn kind(signal: i32, code: i32) -> Option<&'static str> {
    const SI_KERNEL: i32 = 0x80;
    Some(match (signal, code) {
        (libc::SIGSEGV, 1) => "nothing is mapped at the address",
        (libc::SIGSEGV, 2) => "what is mapped at the address may not be used so",
        (libc::SIGSEGV, SI_KERNEL) => "no address can be like this",
        (libc::SIGBUS, 1) => "the address is not aligned",
        (libc::SIGBUS, 2) => "there is no memory behind the address",
        (libc::SIGBUS, 4 | 5) => "the memory has failed",
        (libc::SIGFPE, 1) => "an integer was divided by zero",
        (libc::SIGFPE, 2) => "an integer overflowed",
        (libc::SIGFPE, 3..=8) => "a floating-point operation trapped",
        (libc::SIGILL, 1..=8) => "the processor does not know the instruction",
        (libc::SIGTRAP, 1..=4 | SI_KERNEL) => "a breakpoint",
        (libc::SIGSYS, 1) => "a system call that is forbidden here",
        _ => return None,
    })
}

/// The likely cause in words.
fn likely_cause(
    report: &CrashReport,
    painting: Option<&Painting>,
    death: &Death,
) -> Option<String> {
    if report.killed_because.is_some() {
        return None;
    }
    match report.cause {
        ExitCause::Signal(libc::SIGABRT) => Some(of_abort(report, painting)),
        ExitCause::Signal(libc::SIGKILL) => Some(of_kill(death)),
        ExitCause::Code(code) => Some(format!(
            "the task, or what it called, ended the process by itself, with exit({code})"
        )),
        ExitCause::Signal(_) | ExitCause::Unknown => of_fault(report, painting?),
    }
}

fn of_abort(report: &CrashReport, painting: Option<&Painting>) -> String {
    // What aborts then is the handler that tells of the stack.
    if let Some(painting) = painting.filter(|painting| painting.signal != libc::SIGABRT)
        && let Some(fault) = of_fault(report, painting)
    {
        return fault;
    }
    if let Some(first) = report.panics.first() {
        return of_panics(first, report.panics.get(1));
    }
    // What std writes where it gives up: `memory allocation of 64 bytes failed`.
    if report.stderr.contains("memory allocation of ") {
        return "no memory could be had any more".to_owned();
    }
    // What std and glibc write.
    let foreign = ["Rust cannot catch foreign exceptions", "FATAL: exception not rethrown"];
    if foreign.iter().any(|text| report.stderr.contains(text)) {
        return "what unwound into Rust code was no panic: an exception of C++, say, or the end of the thread by \
                pthread_exit; it must be caught, or not happen, in the code of the other language"
            .to_owned();
    }
    if let Some(sender) = report.fault.as_ref().and_then(|fault| fault.sender) {
        return format!("process {sender} sent it the signal");
    }
    "it aborted by itself: an assertion or check of the code has failed".to_owned()
}

fn of_panics(first: &PanicReport, second: Option<&PanicReport>) -> String {
    let place = |panic: &PanicReport| match &panic.location {
        Some(location) => format!("{} (at {location})", panic.message),
        None => panic.message.clone(),
    };
    match second {
        Some(second) => {
            format!("it panicked: {}, and again meanwhile: {}", place(first), place(second))
        }
        None => format!("it panicked where a panic aborts: {}", place(first)),
    }
}

fn of_kill(death: &Death) -> String {
    match death.memory_kill {
        Some(MemoryKill::Group) => {
            "killed for memory: the kernel has killed processes of this control group because of its memory limit".to_owned()
        }
        Some(MemoryKill::Elsewhere) => {
            "killed for memory: the kernel has killed processes because the machine had none left, or because of the limit \
             of another control group".to_owned()
        }
        None => "somebody has sent it SIGKILL: a person, a service manager, a program, or the task itself; nothing \
                 was killed for memory that can be seen from here"
            .to_owned(),
    }
}

fn of_fault(report: &CrashReport, painting: &Painting) -> Option<String> {
    let fault = report.fault.as_ref()?;
    if fault.address.is_none() {
        return fault.sender.map(|sender| format!("process {sender} sent it the signal"));
    }
    let kind = fault.kind.unwrap_or("a fault");
    let address = painting.address;
    Some(match fault.signal {
        libc::SIGSEGV | libc::SIGBUS if has_overflowed(painting) => {
            "its stack has overflowed: too deep a recursion, or too large values on the stack"
                .to_owned()
        }
        libc::SIGSEGV if is_jump(painting) => {
            format!("it called or jumped to {address:#x}, where no code is")
        }
        libc::SIGSEGV if painting.code == 1 && address < NULL_END => {
            format!("it used a null pointer (address {address:#x})")
        }
        libc::SIGSEGV if painting.code == 1 => format!(
            "it used {address:#x}, an address that nothing is mapped at: of something freed, or never an address"
        ),
        libc::SIGSEGV if painting.code == 2 => {
            format!("it wrote to {address:#x}, or ran code there, which may only be read")
        }
        libc::SIGSEGV => "it used a pointer that no address can be like".to_owned(),
        libc::SIGBUS if painting.code == 2 => format!(
            "it used {address:#x}, behind which there is no memory: beyond the end of a mapped file that was cut \
             off, or memory is short"
        ),
        libc::SIGILL => {
            "the code came to a place that it must not reach, or was built for another processor"
                .to_owned()
        }
        _ => kind.to_owned(),
    })
}

/// The fault was at the end of the stack.
fn has_overflowed(painting: &Painting) -> bool {
    /// A call pushes below the pointer; and what has no probes, more.
    const BELOW: u64 = 64 << 10;
    let Some(registers) = &painting.registers else { return false };
    let top = registers.stack_pointer();
    // From where on there is a stack.
    let from = painting.stack.from;
    !painting.stack.bytes.is_empty()
        && (top.saturating_sub(BELOW)..from.max(top)).contains(&painting.address)
}

fn is_jump(painting: &Painting) -> bool {
    let registers = painting.registers.as_ref();
    registers.is_some_and(|registers| registers.instruction_pointer() == painting.address)
}
