//! What the benchmarks share: work of a known length, and medians.

use std::time::{Duration, Instant};

/// Keep a core busy for `duration`. Clock reads cost about 25 ns each, so this is exact from a microsecond
/// up.
pub fn burn(duration: Duration) {
    if duration.is_zero() {
        return;
    }
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
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
    std::hint::black_box(body());
    start.elapsed().as_secs_f64()
}
