//! What tasks do: compute for a given number of steps, or turn over every byte of a payload.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Steps that are timed to find out how long one takes: so few that some of the measurements are not
/// interrupted, however busy the machine is.
const CALIBRATION_STEPS: u32 = 100_000;
const CALIBRATIONS: usize = 200;

/// Compute, without touching memory or reading a clock, for as long as `steps` take. Returns `seed + 1`,
/// so that a caller can check the answer for nothing.
pub fn compute(seed: u64, steps: u32) -> u64 {
    let mut state = seed | 1;
    for _ in 0..steps {
        // A linear congruential generator: each step needs the one before.
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    black_box(state);
    seed + 1
}

/// How many steps of [`compute`] take one microsecond on this machine: by the fastest of several
/// measurements, the one that was disturbed least.
pub fn steps_per_us() -> f64 {
    let fastest = (0..CALIBRATIONS)
        .map(|_| seconds(|| compute(black_box(1), CALIBRATION_STEPS)))
        .fold(f64::INFINITY, f64::min);
    f64::from(CALIBRATION_STEPS) / fastest / 1e6
}

/// How many steps take so long, if so many take a microsecond.
#[expect(clippy::cast_sign_loss, reason = "times are positive")]
pub fn steps(duration: Duration, steps_per_us: f64) -> u32 {
    (steps_per_us * duration.as_secs_f64() * 1e6) as u32
}

/// Turn every bit over, in place.
pub fn flip(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}

/// Read every byte, as fast as memory allows. Returns the sum of its words of eight bytes.
pub fn read(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let sum = |sum: u64, word| sum.wrapping_add(word);
    let of_rest = rest.iter().map(|byte| u64::from(*byte)).fold(0, sum);
    words.iter().map(|word| u64::from_le_bytes(*word)).fold(of_rest, sum)
}

/// The middle one.
///
/// # Panics
/// If there is none.
pub fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "a median needs values");
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Run `body` and say how many seconds it took.
pub fn seconds<R>(body: impl FnOnce() -> R) -> f64 {
    let start = Instant::now();
    black_box(body());
    start.elapsed().as_secs_f64()
}
