//! What became of each job, as lines of JSON.

use std::time::Duration;

use atasker::{
    CrashReport, ExitCause, Quarantine, Stack, SubmitError, TaskError, TaskErrorKind, TaskInfo,
    TimeLimit,
};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::jobs::JobName;

/// The words for what becomes of a job. The library has no `failed`: there, a returned error is a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The function returned a value.
    Completed,
    /// The function returned an error.
    Failed,
    /// The function panicked.
    Panicked,
    /// The worker died.
    Crashed,
    /// It ran too long.
    TimedOut,
    /// The batch was interrupted or had failed too often.
    Cancelled,
    /// It waited too long.
    Expired,
    /// A bad line, an unknown task, wrong arguments.
    Rejected,
    /// It has killed its worker as often as its crash limit allows.
    Quarantined,
}

impl Status {
    /// All of them, in the order in which a summary shows them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Completed,
        Self::Failed,
        Self::Panicked,
        Self::Crashed,
        Self::TimedOut,
        Self::Cancelled,
        Self::Expired,
        Self::Rejected,
        Self::Quarantined,
    ];

    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Quarantined => "quarantined",
        }
    }

    /// What was cancelled with the batch has not failed by itself.
    pub(crate) fn is_failure(self) -> bool {
        !matches!(self, Self::Completed | Self::Cancelled)
    }
}

impl From<atasker::TaskStatus> for Status {
    fn from(status: atasker::TaskStatus) -> Self {
        use atasker::TaskStatus;
        match status {
            TaskStatus::Completed => Self::Completed,
            TaskStatus::Panicked => Self::Panicked,
            TaskStatus::Crashed => Self::Crashed,
            TaskStatus::TimedOut => Self::TimedOut,
            TaskStatus::Cancelled => Self::Cancelled,
            TaskStatus::Expired => Self::Expired,
            TaskStatus::Quarantined => Self::Quarantined,
            _ => Self::Rejected,
        }
    }
}

/// One line of the output. Fields that do not apply are left out.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<Value>,
    pub(crate) line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<JobError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
}

/// Why there is no result.
#[derive(Debug, Serialize)]
pub(crate) struct JobError {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stderr: Option<String>,
    /// After a crash: what is known besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crash: Option<Box<CrashDetails>>,
    /// After a timeout: where the job's thread was at its soft timeout, like `backtrace` of a crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace: Option<Frames>,
    /// Of a quarantined job: a line of a batch file that does the same again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<Value>,
}

/// What a report of a crash says, but for what the error says already.
#[derive(Debug, Serialize)]
pub(crate) struct CrashDetails {
    pid: u32,
    ran_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    likely_cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    /// In hexadecimal, as everybody writes addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<String>,
    /// The innermost function first. Found out when it is written, because it takes time.
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace: Option<Frames>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    panics: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    breadcrumbs: Vec<String>,
    /// Done and total.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_bytes: Option<u64>,
    /// By what it had too much memory, if that was why.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_used_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_allowed_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_digest: Option<String>,
}

impl CrashDetails {
    fn of(report: &CrashReport) -> Self {
        let CrashReport { fault, arguments, .. } = report;
        Self {
            pid: report.pid,
            ran_ms: milliseconds(report.ran),
            likely_cause: report.likely_cause.clone(),
            fault: fault.as_ref().and_then(|fault| fault.kind),
            address: fault.as_ref().and_then(|fault| fault.address).map(|it| format!("{it:#x}")),
            thread: fault.as_ref().map(|fault| fault.thread.clone()),
            backtrace: report.stack.clone().map(Frames),
            panics: report.panics.iter().map(|panic| panic.message.clone()).collect(),
            breadcrumbs: report.breadcrumbs.clone(),
            progress: report.progress.map(|progress| [progress.done, progress.total]),
            peak_memory_bytes: report.peak_memory,
            memory_used_bytes: report.memory_excess.map(|excess| excess.used),
            memory_allowed_bytes: report.memory_excess.map(|excess| excess.allowed),
            cpu_ms: report.cpu_time.map(milliseconds),
            arguments_bytes: arguments.map(|arguments| arguments.bytes),
            arguments_digest: arguments.map(|arguments| format!("{:016x}", arguments.digest)),
        }
    }
}

/// The functions on it, found out when it is written.
#[derive(Debug)]
struct Frames(Stack);

impl Serialize for Frames {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.backtrace().frames.iter().map(ToString::to_string))
    }
}

/// What kind of error it was, more exactly than the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The function returned an error.
    ReturnedError,
    /// It returned something that could not be brought back.
    Undeliverable,
    /// It panicked.
    Panic,
    /// A signal killed the worker.
    Signal,
    /// The worker exited.
    Exit,
    /// The worker died, and nobody knows of what.
    UnknownDeath,
    /// It ran too long.
    Timeout,
    /// It used too much CPU time.
    CpuLimit,
    /// It waited too long.
    QueueTimeout,
    /// The batch ended before it did.
    Stopped,
    /// The line is not a job.
    BadLine,
    /// There is no such task.
    UnknownTask,
    /// The worker refused the arguments.
    BadArguments,
    /// No worker starts any more.
    NoWorkers,
    /// None of these.
    Other,
}

impl JobError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind,
            message,
            signal: None,
            exit_code: None,
            stderr: None,
            crash: None,
            backtrace: None,
            job: None,
        }
    }

    /// The worker died.
    fn crash(report: &CrashReport) -> Self {
        let (kind, signal, exit_code) = match report.cause {
            ExitCause::Signal(number) => (Kind::Signal, Some(number), None),
            ExitCause::Code(code) => (Kind::Exit, None, Some(code)),
            _ => (Kind::UnknownDeath, None, None),
        };
        let stderr = report.stderr.trim();
        let message = match report.killed_because {
            None => match &report.likely_cause {
                None => format!("the worker process {}", report.cause),
                Some(likely) => format!("the worker process {}: {likely}", report.cause),
            },
            Some(why) => {
                let figures = report.memory_excess.map_or_else(String::new, |excess| {
                    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                    format!(" ({:.1} of {:.1} MiB)", mib(excess.used), mib(excess.allowed))
                });
                format!("the worker process {} by the pool, because {why}{figures}", report.cause)
            }
        };
        let stderr = (!stderr.is_empty()).then(|| stderr.to_owned());
        let crash = Some(Box::new(CrashDetails::of(report)));
        Self { signal, exit_code, stderr, crash, ..Self::new(kind, message) }
    }

    /// The worker died once too often.
    fn quarantine(quarantine: &Quarantine) -> Self {
        let mut error = match quarantine.crashes().last() {
            Some(report) => Self::crash(report),
            None => Self::new(Kind::UnknownDeath, "the worker process died"),
        };
        let crashes = quarantine.crashes().len();
        if crashes > 1 {
            error.message = format!("{} workers died of it; the last: {}", crashes, error.message);
        }
        let arguments: Option<Value> = serde_json::from_slice(quarantine.arguments()).ok();
        error.job = arguments.map(|args| json!({ "task": quarantine.function(), "args": args }));
        error
    }
}

impl Record {
    fn without_run(name: JobName, status: Status, error: JobError) -> Self {
        Self {
            id: name.id,
            line: name.line,
            task: name.task,
            status,
            result: None,
            error: Some(error),
            attempts: None,
            queued_ms: None,
            run_ms: None,
            pid: None,
        }
    }

    /// Of a line that is no job.
    pub(crate) fn bad_line(name: JobName, reason: String) -> Self {
        Self::without_run(name, Status::Rejected, JobError::new(Kind::BadLine, reason))
    }

    /// Of a job that the supervisor did not take.
    pub(crate) fn not_taken(name: JobName, error: &SubmitError) -> Self {
        let (status, kind) = match error {
            SubmitError::Stopped => (Status::Cancelled, Kind::Stopped),
            SubmitError::UnknownFunction(_) => (Status::Rejected, Kind::UnknownTask),
            SubmitError::NoWorkers(_) => (Status::Rejected, Kind::NoWorkers),
            _ => (Status::Rejected, Kind::Other),
        };
        let message = match error {
            SubmitError::Stopped => "the batch was stopped before it began".to_owned(),
            other => other.to_string(),
        };
        Self::without_run(name, status, JobError::new(kind, message))
    }

    /// Leave out what takes long to find out.
    pub(crate) fn without_backtrace(mut self) -> Self {
        if let Some(error) = &mut self.error {
            error.backtrace = None;
            if let Some(crash) = &mut error.crash {
                crash.backtrace = None;
            }
        }
        self
    }

    /// Of a task that has ended.
    pub(crate) fn ended(name: JobName, info: &TaskInfo, result: Result<Value, TaskError>) -> Self {
        let (status, result, error) = match (result, &info.returned_error) {
            (Ok(_), Some(message)) => {
                (Status::Failed, None, Some(JobError::new(Kind::ReturnedError, message)))
            }
            (Ok(value), None) => (Status::Completed, Some(value), None),
            (Err(error), _) => {
                let status = match error.kind() {
                    // The function has completed, but there is nothing to show for it.
                    TaskErrorKind::Undeliverable { .. } => Status::Failed,
                    _ => error.status().into(),
                };
                (status, None, Some(describe(&error)))
            }
        };
        let began = info.attempts > 0;
        Self {
            id: name.id,
            line: name.line,
            task: name.task,
            status,
            result,
            error,
            attempts: began.then_some(info.attempts),
            queued_ms: Some(milliseconds(info.queued)),
            run_ms: began.then(|| milliseconds(info.ran)),
            pid: info.pid.filter(|_| began),
        }
    }
}

fn describe(error: &TaskError) -> JobError {
    match error.kind() {
        TaskErrorKind::Crashed(report) => JobError::crash(report),
        TaskErrorKind::Quarantined(quarantine) => JobError::quarantine(quarantine),
        TaskErrorKind::Panicked(report) => JobError::new(
            Kind::Panic,
            match &report.location {
                Some(location) => format!("{} (at {location})", report.message),
                None => report.message.clone(),
            },
        ),
        TaskErrorKind::TimedOut { limit, stack, .. } => {
            let kind = if *limit == TimeLimit::Cpu { Kind::CpuLimit } else { Kind::Timeout };
            let backtrace = stack.clone().map(Frames);
            JobError { backtrace, ..JobError::new(kind, error.reason()) }
        }
        TaskErrorKind::Expired { .. } => JobError::new(Kind::QueueTimeout, error.reason()),
        TaskErrorKind::Cancelled | TaskErrorKind::Stopped => {
            let text = if error.may_have_run() {
                "the batch was stopped, and its worker process killed"
            } else {
                "the batch was stopped before it began"
            };
            JobError::new(Kind::Stopped, text)
        }
        TaskErrorKind::Rejected { reason } => JobError::new(Kind::BadArguments, reason),
        TaskErrorKind::NoWorkers { reason } => JobError::new(Kind::NoWorkers, reason),
        TaskErrorKind::Undeliverable { reason } => JobError::new(Kind::Undeliverable, reason),
        _ => JobError::new(Kind::Other, error.reason()),
    }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_only_what_applies() {
        let name = JobName { id: Some(json!("x")), line: 3, task: None };
        let record = Record::bad_line(name, "no".to_owned());
        let line = serde_json::to_string(&record).expect("it is plain data");
        assert_eq!(
            line,
            r#"{"id":"x","line":3,"status":"rejected","error":{"kind":"bad_line","message":"no"}}"#
        );
        for status in Status::ALL {
            let word = serde_json::to_value(status).expect("a word");
            assert_eq!(
                word.as_str().map(|word| word.replace('_', " ")).as_deref(),
                Some(status.as_str())
            );
        }
    }
}
