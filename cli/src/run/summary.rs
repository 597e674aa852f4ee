//! What remains to be said at the end: a table by task, and the failures by name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::results::{Kind, Record, Status};
use crate::text::{align, show_duration, show_rate, thousands};

/// So many failures are named; the others are in the results.
const NAMED_MAX: usize = 10;
/// A message is cut at so many characters here.
const MESSAGE_MAX: usize = 120;

/// Counts as results come. Its size does not depend on their number.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    total: Row,
    tasks: BTreeMap<String, Row>,
    named: Vec<String>,
}

#[derive(Debug, Default)]
struct Row {
    counts: [u64; Status::ALL.len()],
    runs: u64,
    ran_ms: f64,
    ran_ms_max: f64,
}

impl Row {
    fn count(&mut self, record: &Record) {
        self.counts[record.status as usize] += 1;
        if let Some(ran_ms) = record.run_ms {
            self.runs += 1;
            self.ran_ms += ran_ms;
            self.ran_ms_max = self.ran_ms_max.max(ran_ms);
        }
    }

    fn sum(&self, wanted: impl Fn(Status) -> bool) -> u64 {
        Status::ALL.into_iter().filter(|status| wanted(*status)).map(|status| self.of(status)).sum()
    }

    fn of(&self, status: Status) -> u64 {
        self.counts[status as usize]
    }
}

impl Summary {
    /// Count one result.
    pub(crate) fn count(&mut self, record: &Record) {
        self.total.count(record);
        // What is not the name of a task is not counted by name: there could be any number of those.
        let kind = record.error.as_ref().map(|error| error.kind);
        let key = match (kind, &record.task) {
            (Some(Kind::UnknownTask), _) => "(unknown task)",
            (Some(Kind::BadLine), _) | (_, None) => "(bad line)",
            (Some(Kind::Stopped), _) if record.run_ms.is_none() => "(not run)",
            (_, Some(task)) => task,
        };
        match self.tasks.get_mut(key) {
            Some(row) => row.count(record),
            None => self.tasks.entry(key.to_owned()).or_default().count(record),
        }
        if record.status.is_failure() && self.named.len() < NAMED_MAX {
            self.named.push(name_failure(record));
        }
    }

    /// All of them.
    pub(crate) fn done(&self) -> u64 {
        self.total.sum(|_| true)
    }

    /// Those that failed by themselves.
    pub(crate) fn failed(&self) -> u64 {
        self.total.sum(Status::is_failure)
    }

    /// Those that did not get to their end because the batch did.
    pub(crate) fn cancelled(&self) -> u64 {
        self.total.of(Status::Cancelled)
    }

    /// For people.
    pub(crate) fn show(&self, took: Duration) -> String {
        let mut text = format!(
            "{} in {}, {}/s",
            count_of(self.done(), "job"),
            show_duration(took),
            show_rate((self.done() - self.cancelled()) as f64 / took.as_secs_f64().max(1e-3))
        );
        for (count, word) in [
            (self.total.of(Status::Completed), "completed"),
            (self.failed(), "failed"),
            (self.cancelled(), "cancelled"),
        ] {
            if count > 0 {
                // Writing to a String does not fail, here and below.
                let _ = write!(text, ", {} {word}", thousands(count));
            }
        }
        text.push('\n');
        if !self.tasks.is_empty() {
            text.push('\n');
            self.table(&mut text);
        }
        if !self.named.is_empty() {
            text.push_str("\nfailures:\n");
            for failure in &self.named {
                let _ = writeln!(text, "  {failure}");
            }
            let more = self.failed() - self.named.len() as u64;
            if more > 0 {
                let _ = writeln!(text, "  and {} more", thousands(more));
            }
        }
        text
    }

    fn table(&self, text: &mut String) {
        let statuses: Vec<_> =
            Status::ALL.into_iter().filter(|status| self.total.of(*status) > 0).collect();
        let timed = self.total.runs > 0;
        let mut lines = Vec::with_capacity(self.tasks.len() + 1);
        let mut head = vec!["task".to_owned()];
        head.extend(statuses.iter().map(|status| status.as_str().to_owned()));
        if timed {
            head.extend(["mean".to_owned(), "longest".to_owned()]);
        }
        lines.push(head);
        for (task, row) in &self.tasks {
            let mut cells = vec![task.clone()];
            cells.extend(statuses.iter().map(|status| match row.of(*status) {
                0 => String::new(),
                count => thousands(count),
            }));
            if timed && row.runs > 0 {
                cells.push(show_duration(milliseconds(row.ran_ms / row.runs as f64)));
                cells.push(show_duration(milliseconds(row.ran_ms_max)));
            }
            lines.push(cells);
        }
        align(text, &lines);
    }
}

fn milliseconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count / 1000.0).unwrap_or_default()
}

fn count_of(count: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(count), if count == 1 { "" } else { "s" })
}

fn name_failure(record: &Record) -> String {
    let mut text = format!("line {}", record.line);
    if let Some(task) = &record.task {
        let _ = write!(text, ", {}", shortened(task));
    }
    if let Some(id) = &record.id {
        let _ = match id.as_str() {
            Some(id) => write!(text, " ({})", shortened(id)),
            None => write!(text, " ({id})"),
        };
    }
    let status = record.status.as_str();
    match &record.error {
        // Some say it themselves.
        Some(error) if error.message.starts_with(&status.replace('_', " ")) => {
            let _ = write!(text, ": {}", shortened(&error.message));
        }
        Some(error) => _ = write!(text, ": {status}: {}", shortened(&error.message)),
        None => _ = write!(text, ": {status}"),
    }
    text
}

/// One line of bounded length, in which nothing moves the cursor.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String =
        line.chars().take(MESSAGE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.trim_end().len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::jobs::JobName;
    use super::*;

    fn completed(line: u64, run_ms: f64) -> Record {
        Record {
            id: None,
            line,
            task: Some("count_primes".to_owned()),
            status: Status::Completed,
            result: Some(json!(25)),
            error: None,
            attempts: Some(1),
            queued_ms: Some(0.5),
            run_ms: Some(run_ms),
            pid: Some(7),
        }
    }

    #[test]
    fn the_summary_reads_well() {
        let mut summary = Summary::default();
        for line in 1..=1500 {
            summary.count(&completed(line, 2.0));
        }
        summary.count(&completed(1501, 1502.0));
        for line in 1..=12 {
            let name =
                JobName { id: Some(json!("x")), line, task: (line == 1).then(|| "f".to_owned()) };
            summary.count(&Record::bad_line(name, "not\nJSON".to_owned()));
        }
        let text = summary.show(Duration::from_secs(3));
        let expected = "\
1,513 jobs in 3.0 s, 504/s, 1,501 completed, 12 failed

task          completed  rejected    mean  longest
(bad line)                     12
count_primes      1,501            3.0 ms    1.5 s

failures:
  line 1, f (x): rejected: not…
  line 2 (x): rejected: not…
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("\n  and 2 more\n"), "{text}");
    }

    #[test]
    fn an_empty_batch_says_so() {
        assert_eq!(Summary::default().show(Duration::ZERO), "0 jobs in 0 µs, 0.00/s\n");
    }
}
