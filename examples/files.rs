//! `map` over the files of a folder, with progress: `cargo run -p examples --bin files [FOLDER]`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use atasker::{Limits, Supervisor, TaskResult, task};
use serde::{Deserialize, Serialize};

/// What is found in one file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counts {
    lines: usize,
    words: usize,
    longest: usize,
}

/// Counts lines and words; `longest` is the longest line in characters.
#[task(timeout = "10s", retries = 1, retry_on(crash))]
fn count(path: &Path) -> TaskResult<Counts> {
    let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
    Ok(Counts {
        lines: text.lines().count(),
        words: text.split_whitespace().count(),
        longest: text.lines().map(|line| line.chars().count()).max().unwrap_or(0),
    })
}

#[atasker::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "src".to_owned());
    let mut files = Vec::new();
    collect(Path::new(&folder), &mut files)?;

    let cores = std::thread::available_parallelism()?.get() as u32;
    let supervisor = Supervisor::builder().processes(Limits::new(cores)).start()?;
    let mut total = Counts::default();
    let mut failed = 0;
    let show_progress = std::io::stderr().is_terminal();

    let results = supervisor.map(files.iter().map(|path| count::call(path)));
    for (done, (path, result)) in files.iter().zip(results).enumerate() {
        // The outer error: the task did not come back. The inner one: the function said no.
        match result {
            Ok(Ok(counts)) => {
                total.lines += counts.lines;
                total.words += counts.words;
                total.longest = total.longest.max(counts.longest);
            }
            Ok(Err(failure)) => {
                failed += 1;
                eprintln!("{}: {failure:#}", path.display());
            }
            Err(error) => {
                failed += 1;
                eprintln!("{}: {error}", path.display());
            }
        }
        if show_progress {
            eprint!("\r{} of {} files", done + 1, files.len());
            std::io::stderr().flush()?;
        }
    }
    if show_progress {
        eprintln!();
    }
    println!("{} files in {folder}: {total:?}, {failed} failed", files.len());
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
