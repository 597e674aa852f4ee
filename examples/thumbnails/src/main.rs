//! Thumbnails of a folder of pictures, each made in a worker process: a decoder that crashes, hangs or eats
//! all memory costs one picture.
//!
//! ```sh
//! cargo run --release -p thumbnails                 # draws a few pictures first
//! cargo run --release -p thumbnails -- ~/Pictures
//! ```
//!
//! The thumbnails go into the folder `thumbnails` within. The same program is a worker for the `atasker`
//! command, which makes a batch tool of any annotated function:
//!
//! ```sh
//! atasker list --worker target/release/thumbnails
//! atasker run --worker target/release/thumbnails examples/thumbnails/jobs.jsonl
//! ```

use std::error::Error;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use atasker::{Limits, Supervisor, TaskFailure, TaskResult, task};
use image::{ImageReader, Rgb, RgbImage};

/// What was made of a picture.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Thumbnail {
    width: u32,
    height: u32,
}

/// Scale a picture down so that neither side is longer than `size` pixels.
#[task(timeout = "30s", retries = 1, retry_on(crash))]
fn thumbnail(input: &Path, output: &Path, size: u32) -> TaskResult<Thumbnail> {
    let failed = |doing: &str, path: &Path| {
        let doing = format!("{doing} {}", path.display());
        move |error: image::ImageError| TaskFailure::from(error).context(doing)
    };
    // By what is in it: a name may lie.
    let reader = ImageReader::open(input)?.with_guessed_format()?;
    let picture = reader.decode().map_err(failed("decoding", input))?;
    let small = picture.thumbnail(size, size).into_rgb8();
    small.save(output).map_err(failed("writing", output))?;
    Ok(Thumbnail { width: small.width(), height: small.height() })
}

#[atasker::main]
fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => draw_pictures(Path::new("target/pictures"))?,
    };
    let pictures = pictures_in(&folder)?;
    let target = folder.join("thumbnails");
    std::fs::create_dir_all(&target)?;

    let cores = std::thread::available_parallelism()?.get();
    let supervisor = Supervisor::builder().processes(Limits::new(cores.try_into()?)).start()?;
    let calls =
        pictures.iter().map(|picture| thumbnail::call(picture, &output_of(picture, &target), 128));
    let mut failures = Vec::new();
    // The results come as they are ready; `index` says which picture it was.
    for (count, done) in supervisor.map_unordered(calls).enumerate() {
        let picture = &pictures[done.index];
        match done.result {
            Ok(Ok(_made)) => {}
            Ok(Err(failure)) => failures.push(format!("{}: {failure:#}", picture.display())),
            Err(died) => failures.push(format!("{}: {}", picture.display(), died.reason())),
        }
        show_progress(count + 1, pictures.len(), failures.len());
    }
    let made = pictures.len() - failures.len();
    println!("{made} thumbnails in {}", target.display());
    for failure in &failures {
        println!("failed: {failure}");
    }
    Ok(ExitCode::from(u8::from(!failures.is_empty())))
}

/// Where the thumbnail of a picture goes. The whole name stays, since `a.png` and `a.jpg` may both be there.
fn output_of(picture: &Path, target: &Path) -> PathBuf {
    let mut name = picture.file_name().unwrap_or_default().to_owned();
    name.push(".png");
    target.join(name)
}

fn show_progress(done: usize, all: usize, failed: usize) {
    if std::io::stderr().is_terminal() {
        let end = if done == all { "\n" } else { "" };
        eprint!("\r{done} of {all} pictures, {failed} failed{end}");
    }
}

fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| format!("can't read {}: {error}", folder.display()))?;
    let mut pictures = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let extension =
            path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if ["bmp", "gif", "jpeg", "jpg", "png"].contains(&extension.to_lowercase().as_str()) {
            pictures.push(path);
        }
    }
    pictures.sort();
    if pictures.is_empty() {
        return Err(format!("no pictures in {}", folder.display()).into());
    }
    Ok(pictures)
}

/// A few pictures to begin with; the last one is cut off, as by a broken download.
fn draw_pictures(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    for number in 1..=12_u32 {
        let picture = RgbImage::from_fn(900, 600, |x, y| {
            let (dx, dy) = (x.abs_diff(450), y.abs_diff(300));
            let ring = (dx * dx + dy * dy) / (20 * number);
            Rgb([ring as u8, (ring / 2 + x / 4) as u8, (ring / 3 + y / 3) as u8])
        });
        picture.save(folder.join(format!("rings-{number:02}.png")))?;
    }
    let whole = std::fs::read(folder.join("rings-01.png"))?;
    std::fs::write(folder.join("broken.png"), &whole[..whole.len() / 2])?;
    println!("drew 12 pictures, and a broken one, in {}", folder.display());
    Ok(folder.to_owned())
}
