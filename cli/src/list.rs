//! `atasker list`: the tasks of a worker program.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use atasker::{FunctionInfo, Limits, Supervisor};
use serde_json::{Value, json};

use crate::failure::{self, Failure, complain};
use crate::options::ListOptions;

/// Show the tasks.
pub(crate) fn list(options: &ListOptions) -> Result<ExitCode, Failure> {
    let builder = match &options.worker.program {
        Some(program) => Supervisor::builder().worker_program(program).processes(Limits::new(1)),
        // This program knows its own tasks without starting a process.
        None => Supervisor::builder().inline(),
    };
    let supervisor = builder.start()?;
    let functions = supervisor.functions()?;
    let functions: Vec<_> =
        functions.iter().filter(|function| !crate::bench::is_own(&function.path)).collect();
    if functions.is_empty() {
        complain(
            "this program has no tasks; mark functions with #[atasker::task], and if they are in a crate of \
             their own, name it once: `use my_tasks as _;`",
        );
    }
    let text = if options.json { as_json(&functions)? } else { as_text(&functions) };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::write("standard output", &error))?;
    Ok(ExitCode::from(failure::ALL_GOOD))
}

fn as_text(functions: &[&FunctionInfo]) -> String {
    let mut times = HashMap::new();
    for function in functions {
        *times.entry(short(function)).or_insert(0) += 1;
    }
    let mut text = String::new();
    for function in functions {
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing to a String does not fail, here and below.
        let _ = match times[short(function)] {
            1 => writeln!(text, "{}", function.signature),
            // A short name that means two functions is not enough for a job.
            _ => writeln!(text, "{}\n    to be called as {}", function.signature, function.path),
        };
        for line in function.docs.trim().lines() {
            let _ = writeln!(text, "{}", format!("    {}", line.trim()).trim_end());
        }
    }
    text
}

fn short(function: &FunctionInfo) -> &str {
    function.path.rsplit("::").next().unwrap_or(&function.path)
}

fn as_json(functions: &[&FunctionInfo]) -> Result<String, Failure> {
    let tasks: Vec<Value> = functions
        .iter()
        .map(|function| {
            json!({
                "name": short(function),
                "path": function.path,
                "signature": function.signature,
                "parameters": function.parameters.iter().map(|parameter| {
                    json!({"name": parameter.name, "type": parameter.type_name})
                }).collect::<Vec<_>>(),
                "docs": function.docs.trim(),
            })
        })
        .collect();
    let mut text = serde_json::to_string_pretty(&tasks)
        .map_err(|error| Failure::Told(format!("can't write the list as JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}
