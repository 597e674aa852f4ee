//! A picture: computation whose result is a file.

#![expect(clippy::cast_sign_loss, reason = "colours are clamped to what a byte holds")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use atasker::{TaskFailure, TaskResult};
use serde::{Deserialize, Serialize};

/// Neither side may be longer, in pixels.
pub const SIDE_MAX: u32 = 16_384;

const ITERATIONS_MAX: u32 = 200;
/// The part of the plane that holds the whole set: its centre, and how wide it is at least.
const CENTRE: (f64, f64) = (-0.75, 0.0);
const EXTENT: (f64, f64) = (3.2, 2.5);

/// What [`mandelbrot()`] has drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// Pixels that belong to the set, as far as was computed.
    pub inside: u64,
}

/// Draw the Mandelbrot set into a PNG file, which is written anew. Each side from 1 to 16384 pixels.
#[atasker::task]
pub fn mandelbrot(output: &Path, width: u32, height: u32) -> TaskResult<Picture> {
    if !(1..=SIDE_MAX).contains(&width) || !(1..=SIDE_MAX).contains(&height) {
        return Err(TaskFailure::new(format!(
            "a picture of {width} × {height} pixels: each side must be from 1 to {SIDE_MAX}"
        )));
    }
    draw(output, width, height)
        .map_err(|error| TaskFailure::from(error).context(format!("writing {}", output.display())))
}

fn draw(output: &Path, width: u32, height: u32) -> Result<Picture, png::EncodingError> {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(output)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut image = encoder.write_header()?;
    // Row by row, so that a large picture takes no more memory than a small one.
    let mut rows = image.stream_writer()?;
    let mut row = vec![0; 3 * width as usize];
    let mut inside = 0;
    let per_pixel = (EXTENT.0 / f64::from(width)).max(EXTENT.1 / f64::from(height));
    let place =
        |pixel: u32, pixels: u32| (f64::from(pixel) + 0.5 - f64::from(pixels) / 2.0) * per_pixel;
    for y in 0..height {
        for (x, pixel) in (0..width).zip(row.as_chunks_mut().0) {
            let steps = escape(CENTRE.0 + place(x, width), CENTRE.1 + place(y, height));
            inside += u64::from(steps.is_none());
            *pixel = colour(steps);
        }
        rows.write_all(&row)?;
        atasker::progress(u64::from(y) + 1, height.into());
    }
    rows.finish()?;
    image.finish()?;
    Ok(Picture { width, height, inside })
}

/// After how many steps the point is known to leave. `None`: it has stayed.
fn escape(re: f64, im: f64) -> Option<u32> {
    let (mut x, mut y) = (0.0, 0.0);
    for step in 0..ITERATIONS_MAX {
        let (xx, yy) = (x * x, y * y);
        if xx + yy > 4.0 {
            return Some(step);
        }
        y = 2.0 * x * y + im;
        x = xx - yy + re;
    }
    None
}

/// Black inside; outside, polynomials that run from dark blue through white to brown.
fn colour(steps: Option<u32>) -> [u8; 3] {
    let Some(steps) = steps else { return [0; 3] };
    let t = f64::from(steps) / f64::from(ITERATIONS_MAX);
    let u = 1.0 - t;
    let channel = |value: f64| (value * 255.0).clamp(0.0, 255.0) as u8;
    [
        channel(9.0 * u * t * t * t),
        channel(15.0 * u * u * t * t),
        channel((8.5 * u * u * u * t).max(0.1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_can_be_read_back() {
        let path =
            std::env::temp_dir().join(format!("atasker-mandelbrot-{}.png", std::process::id()));
        let picture = mandelbrot(&path, 64, 48).expect("it is drawn");
        assert_eq!((picture.width, picture.height), (64, 48));
        // The area of the set is about 1.51 of the 3.33 × 2.5 that are shown.
        assert!((64 * 48 * 15 / 100..64 * 48 * 25 / 100).contains(&picture.inside), "{picture:?}");
        let file = std::io::BufReader::new(File::open(&path).expect("it was written"));
        let mut reader = png::Decoder::new(file).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
        let info = reader.next_frame(&mut pixels).expect("a whole one");
        assert_eq!((info.width, info.height), (64, 48));
        let black = pixels.as_chunks::<3>().0.iter().filter(|pixel| **pixel == [0; 3]).count();
        assert_eq!(black as u64, picture.inside);
        std::fs::remove_file(path).expect("it can be removed");
    }

    #[test]
    fn absurd_sizes_and_places_are_errors() {
        for (width, height) in [(0, 1), (1, 0), (SIDE_MAX + 1, 1), (1, u32::MAX)] {
            let failure = mandelbrot(Path::new("/nowhere/m.png"), width, height)
                .expect_err("no such picture");
            assert!(failure.message().contains("each side must be from 1 to 16384"), "{failure}");
        }
        let failure = mandelbrot(Path::new("/nowhere/m.png"), 1, 1).expect_err("no such place");
        assert!(format!("{failure:#}").starts_with("writing /nowhere/m.png: "), "{failure:#}");
    }
}
