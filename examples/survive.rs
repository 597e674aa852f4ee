//! Native code with a bug, over real files: on threads it takes everything down, in processes one task.
//!
//! `cargo run -p examples --bin survive [FOLDER]`

use std::ffi::{CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::time::Instant;

use atasker::{Limits, Supervisor, TaskResult, task};

const BLOCK: usize = 4096;

#[expect(unsafe_code, reason = "calling C is what this example is about")]
mod native {
    use super::{CString, c_char, c_int};
    unsafe extern "C" {
        fn strchr(text: *const c_char, character: c_int) -> *const c_char;
        fn strlen(text: *const c_char) -> usize;
    }

    /// What follows the first `7`. The bug: a text without one gives null, and `strlen` reads it.
    pub(super) fn after_first_seven(text: &CString) -> usize {
        // SAFETY: there is none; that is the point. About one text in a hundred has no `7`.
        let found = unsafe { strchr(text.as_ptr(), c_int::from(b'7')) };
        // SAFETY: as above.
        unsafe { strlen(found) }
    }
}

/// Digests one block of a file, then lets C look at the digest.
#[task(timeout = "10s")]
fn inspect(path: &Path, block: usize) -> TaskResult<usize> {
    let bytes = std::fs::read(path)?;
    let block = bytes.chunks(BLOCK).nth(block).ok_or("the file has become shorter")?;
    let mut words = [17_u64, 4, 8, 15];
    for _ in 0..100 {
        for (index, &byte) in block.iter().enumerate() {
            let word = &mut words[index % 4];
            *word = (*word ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3).rotate_left(29);
        }
    }
    let digest = words.map(|word| format!("{word:016x}")).concat();
    Ok(native::after_first_seven(&CString::new(digest)?))
}

#[atasker::main]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| ".".to_owned());
    let blocks = match blocks_below(Path::new(&folder)) {
        Ok(blocks) => blocks,
        Err(error) => {
            eprintln!("survive: can't read the folder `{folder}`: {error}");
            std::process::exit(2);
        }
    };
    let places = Limits::new(std::thread::available_parallelism()?.get() as u32);

    if arguments.next().as_deref() == Some("on-threads") {
        // The sacrificial child: the same tasks on threads, a line for each result.
        let on_threads = Supervisor::builder().rayon(places).start()?;
        for _ in on_threads.map(blocks.iter().map(|(path, block)| inspect::call(path, *block))) {
            println!("done");
        }
        return Ok(());
    }

    println!("{} blocks of files in {folder}\n", blocks.len());
    let child = std::process::Command::new(std::env::current_exe()?)
        .args([&folder, "on-threads"])
        .output()?;
    let results = String::from_utf8_lossy(&child.stdout).lines().count();
    println!("on threads:   {}; {results} results, the rest is lost", child.status);

    let in_processes = Supervisor::builder().processes(places).start()?; // the one word
    let mut good = Vec::new();
    let mut crashes = Vec::new();
    let calls = blocks.iter().map(|(path, block)| inspect::call(path, *block));
    for (block, result) in blocks.iter().zip(in_processes.map(calls)) {
        match result {
            Ok(_) => good.push(block),
            Err(error) => crashes.push(format!(
                "  {} block {}: {}",
                block.0.display(),
                block.1,
                error.reason()
            )),
        }
    }
    println!("in processes: {} results, {} crashes, none lost", good.len(), crashes.len());
    println!("{}\n", crashes.join("\n"));

    // The price: the blocks that do no harm, on both.
    let on_threads = Supervisor::builder().rayon(places).start()?;
    let time = |supervisor: &Supervisor| {
        let start = Instant::now();
        let done =
            supervisor.map(good.iter().map(|(path, block)| inspect::call(path, *block))).count();
        assert_eq!(done, good.len());
        start.elapsed().as_secs_f64()
    };
    let (threads, processes) = (time(&on_threads), time(&in_processes));
    println!(
        "the price:    {threads:.3} s on threads, {processes:.3} s in processes: {:.2} ×",
        processes / threads
    );
    Ok(())
}

/// Every block of every file below `folder`, without what Cargo and Git keep there.
fn blocks_below(folder: &Path) -> std::io::Result<Vec<(PathBuf, usize)>> {
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && ![".git", "target"].iter().any(|skipped| path.ends_with(skipped)) {
            blocks.extend(blocks_below(&path)?);
        } else if kind.is_file() {
            let length = entry.metadata()?.len() as usize;
            blocks.extend((0..length.div_ceil(BLOCK)).map(|block| (path.clone(), block)));
        }
    }
    Ok(blocks)
}
