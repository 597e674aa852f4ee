//! The lines of a batch file: what a job may say, and what is wrong with those that say something else.

use std::fmt;
use std::time::Duration;

use atasker::{Call, Priority};
use serde_json::{Map, Value};

use crate::text::{parse_duration, parse_size};

/// What a job may say.
const KEYS: [&str; 13] = [
    "task",
    "args",
    "id",
    "priority",
    "timeout",
    "soft_timeout",
    "cpu_limit",
    "memory_limit",
    "retries",
    "crash_limit",
    "queue_timeout",
    "delay",
    "label",
];

/// What holds for jobs that do not say it themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<u32>,
    pub(crate) crash_limit: Option<u32>,
    pub(crate) cpu_limit: Option<Duration>,
    /// In bytes.
    pub(crate) memory_limit: Option<u64>,
}

/// Whose result it is.
#[derive(Debug)]
pub(crate) struct JobName {
    /// As it was given.
    pub(crate) id: Option<Value>,
    /// Counts from 1.
    pub(crate) line: u64,
    /// As it was given.
    pub(crate) task: Option<String>,
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(Value::String(id)) => f.write_str(id),
            Some(id) => write!(f, "{id}"),
            None => write!(f, "line {}", self.line),
        }
    }
}

/// A line that is not blank.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: JobName,
    /// What is to be run, or what is wrong with the line.
    pub(crate) call: Result<Call<Value>, String>,
}

impl Job {
    /// Read one line.
    pub(crate) fn parse(line: u64, text: &[u8], defaults: &Defaults) -> Self {
        let mut name = JobName { id: None, line, task: None };
        let call = parse(text, &mut name, defaults);
        Self { name, call }
    }

    /// A line that could not even be read.
    pub(crate) fn unreadable(line: u64, reason: String) -> Self {
        Self { name: JobName { id: None, line, task: None }, call: Err(reason) }
    }
}

/// `name` is filled in as far as it is known, so that a bad line can be told apart by more than its number.
fn parse(text: &[u8], name: &mut JobName, defaults: &Defaults) -> Result<Call<Value>, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| {
        // The line within the line would confuse.
        let column = error.column();
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or(&text);
        format!("not JSON: {what} at column {column}")
    })?;
    let Value::Object(mut fields) = value else {
        return Err(format!(
            "a job is a JSON object such as {{\"task\": \"sha256_file\", \"args\": [\"README.md\"]}}, \
             not {}",
            kind_of(&value)
        ));
    };
    name.id = fields.remove("id");
    let task = fields.remove("task");
    name.task = task.as_ref().and_then(Value::as_str).map(str::to_owned);
    if !matches!(&name.id, None | Some(Value::String(_) | Value::Number(_))) {
        let id = name.id.take().unwrap_or_default();
        return Err(format!("`id` must be a text or a number, not {}", kind_of(&id)));
    }
    if let Some(unknown) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key `{unknown}`; a job may have {}", KEYS.join(", ")));
    }
    let Some(task) = &name.task else {
        return Err(match task {
            None => "`task` is missing: which task is to be run?".to_owned(),
            Some(other) => format!("`task` must be a text, not {}", kind_of(&other)),
        });
    };
    build(task, fields, defaults)
}

fn build(
    task: &str,
    mut fields: Map<String, Value>,
    defaults: &Defaults,
) -> Result<Call<Value>, String> {
    let arguments = match fields.remove("args") {
        None => Value::Array(Vec::new()),
        Some(arguments @ (Value::Array(_) | Value::Object(_))) => arguments,
        Some(other) => {
            return Err(format!(
                "`args` must be an array, or an object by parameter name, not {}",
                kind_of(&other)
            ));
        }
    };
    let mut call = Call::by_name(task, arguments);
    if let Some(priority) = fields.get("priority") {
        let priority = priority.as_str().ok_or_else(|| wrong("priority", "a text", priority))?;
        let priority: Priority = priority.parse().map_err(|error| format!("{error}"))?;
        call = call.priority(priority);
    }
    if let Some(timeout) = duration_of(&fields, "timeout")?.or(defaults.timeout) {
        call = call.timeout(timeout);
    }
    if let Some(retries) = number_of(&fields, "retries", 0)?.or(defaults.retries) {
        call = call.retries(retries);
    }
    if let Some(limit) = number_of(&fields, "crash_limit", 1)?.or(defaults.crash_limit) {
        call = call.crash_limit(limit);
    }
    if let Some(timeout) = duration_of(&fields, "soft_timeout")? {
        call = call.soft_timeout(timeout);
    }
    if let Some(limit) = duration_of(&fields, "cpu_limit")?.or(defaults.cpu_limit) {
        call = call.cpu_limit(limit);
    }
    if let Some(bytes) = size_of(&fields, "memory_limit")?.or(defaults.memory_limit) {
        call = call.memory_limit(bytes);
    }
    if let Some(timeout) = duration_of(&fields, "queue_timeout")? {
        call = call.queue_timeout(timeout);
    }
    if let Some(delay) = duration_of(&fields, "delay")? {
        call = call.delay(delay);
    }
    if let Some(label) = fields.get("label") {
        call = call.label(label.as_str().ok_or_else(|| wrong("label", "a text", label))?);
    }
    Ok(call)
}

/// A whole number that is not less than `least`.
fn number_of(fields: &Map<String, Value>, key: &str, least: u32) -> Result<Option<u32>, String> {
    let Some(value) = fields.get(key) else { return Ok(None) };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    match number.filter(|&number| number >= least) {
        Some(number) => Ok(Some(number)),
        None => Err(wrong(key, &format!("a whole number from {least}"), value)),
    }
}

/// A text such as `30s`, or a number of seconds.
fn duration_of(fields: &Map<String, Value>, key: &str) -> Result<Option<Duration>, String> {
    match fields.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => {
            parse_duration(text).map(Some).map_err(|error| format!("`{key}`: {error}"))
        }
        Some(value) => value
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(Some)
            .ok_or_else(|| wrong(key, "a duration such as \"30s\", or a number of seconds", value)),
    }
}

/// A text such as `512MiB`, or a number of bytes.
fn size_of(fields: &Map<String, Value>, key: &str) -> Result<Option<u64>, String> {
    match fields.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => {
            parse_size(text).map(Some).map_err(|error| format!("`{key}`: {error}"))
        }
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| wrong(key, "a size such as \"512MiB\", or a number of bytes", value)),
    }
}

fn wrong(key: &str, wanted: &str, found: &Value) -> String {
    let found = match found {
        Value::Number(number) => number.to_string(),
        other => kind_of(other).to_owned(),
    };
    format!("`{key}` must be {wanted}, not {found}")
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let job = Job::parse(7, text.as_bytes(), &Defaults::default());
        let call = job.call.as_ref().map(Call::name).map_err(String::as_str);
        match expected {
            Ok(_) => assert_eq!(call.ok(), expected.ok(), "{text}: {:?}", job.call),
            Err(part) => {
                let error = call.expect_err(text);
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }

    #[test]
    fn good_lines() {
        check(r#"{"task": "f"}"#, Ok("f"));
        check(r#"{"task": "a::f", "args": {"x": 1}, "id": 5, "label": "five"}"#, Ok("a::f"));
        check(
            r#"{"task":"f","args":[1],"id":"x","priority":"high","timeout":"30s","retries":1}"#,
            Ok("f"),
        );
        check(r#"{"task":"f","crash_limit":2,"soft_timeout":1,"cpu_limit":"2s"}"#, Ok("f"));
        check(r#"{"task":"f","timeout":1.5,"delay":"10ms","queue_timeout":60}"#, Ok("f"));
        check(r#"{"task":"f","timeout":"5","memory_limit":"512MiB"}"#, Ok("f"));
        check(r#"{"task":"f","memory_limit":1048576}"#, Ok("f"));
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        check("{", Err("not JSON: EOF while parsing an object at column 1"));
        check(r#"{"task": "f"} x"#, Err("not JSON: trailing characters at column 15"));
        check("[1]", Err("not an array"));
        check("{}", Err("`task` is missing"));
        check(r#"{"task": 5}"#, Err("`task` must be a text, not a number"));
        check(r#"{"task": "f", "arg": []}"#, Err("unknown key `arg`; a job may have task, args,"));
        check(r#"{"task": "f", "args": "x"}"#, Err("`args` must be an array, or an object"));
        check(r#"{"task": "f", "id": [1]}"#, Err("`id` must be a text or a number, not an array"));
        check(r#"{"task": "f", "id": null}"#, Err("`id` must be a text or a number, not null"));
        check(r#"{"task": "f", "priority": "urgent"}"#, Err("unknown priority `urgent`"));
        check(r#"{"task": "f", "priority": 1}"#, Err("`priority` must be a text, not 1"));
        check(r#"{"task": "f", "timeout": "soon"}"#, Err("`timeout`: `soon` is no duration"));
        check(r#"{"task": "f", "timeout": -1}"#, Err("`timeout` must be a duration such as"));
        check(r#"{"task": "f", "memory_limit": "much"}"#, Err("`memory_limit`: `much` is no size"));
        check(
            r#"{"task": "f", "memory_limit": 0.5}"#,
            Err("`memory_limit` must be a size such as"),
        );
        check(
            r#"{"task": "f", "retries": -1}"#,
            Err("`retries` must be a whole number from 0, not -1"),
        );
        check(r#"{"task": "f", "retries": 1.5}"#, Err("not 1.5"));
        check(
            r#"{"task": "f", "crash_limit": 0}"#,
            Err("`crash_limit` must be a whole number from 1, not 0"),
        );
    }

    #[test]
    fn a_bad_line_keeps_its_name() {
        let job = Job::parse(7, br#"{"task": "f", "id": "x", "when": 1}"#, &Defaults::default());
        assert!(job.call.is_err());
        assert_eq!((job.name.line, job.name.task.as_deref()), (7, Some("f")));
        assert_eq!(job.name.id, Some(Value::from("x")));
    }
}
