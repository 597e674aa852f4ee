//! Durations, sizes, numbers and tables as people write and read them.

use std::fmt::Write as _;
use std::time::Duration;

/// Said wherever a text is no duration.
const ACCEPTED: &str =
    "write a number of seconds, or numbers with units (ms, s, m or h), as in 30, 1.5s or 1m30s";

/// `30s`, `1.5s`, `1m30s`, `500ms`, or a number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parts(text).ok_or_else(|| format!("`{text}` is no duration; {ACCEPTED}"))
}

fn parts(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    if rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Duration::try_from_secs_f64(rest.parse().ok()?).ok();
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return None,
        } * number.parse::<f64>().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = after.trim_start();
    }
    Some(sum)
}

/// `512MiB`, `1.5GB`, or a number of bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    bytes(text).ok_or_else(|| {
        format!(
            "`{text}` is no size; write a number of bytes, or a number with a unit \
             (KB, MB, GB, KiB, MiB or GiB), as in 512MiB"
        )
    })
}

fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let letters = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(letters);
    let unit: f64 = match unit.trim_start() {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit;
    // There is no half a byte, but 1.2 GiB; more than this no machine has, and not every number is exact.
    ((bytes.fract() == 0.0 || unit > 1.0) && bytes < 9e15).then_some(bytes.round() as u64)
}

/// In the largest unit that leaves a number before the point: `1.2 ms`, `45 s`, `2 h 03 min`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        3600.. => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        60.. => format!("{} min {:02} s", seconds / 60, seconds % 60),
        10.. => format!("{seconds} s"),
        1.. => format!("{:.1} s", duration.as_secs_f64()),
        0 if duration.as_micros() >= 10_000 => format!("{} ms", duration.as_millis()),
        0 if duration.as_micros() >= 1000 => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        0 => format!("{} µs", duration.as_micros()),
    }
}

/// `12,345`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits, as far as they matter.
pub(crate) fn show_rate(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => thousands(rate.round() as u64),
        rate if rate >= 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.2}"),
    }
}

/// The first column to the left, the others to the right.
pub(crate) fn align(text: &mut String, lines: &[Vec<String>]) {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|cells| cells.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    for cells in lines {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let width = widths[column];
            let _ = match column {
                0 => write!(line, "{cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_duration(text).ok(), expected.map(Duration::from_millis), "{text}");
        };
        check("30s", Some(30_000));
        check("1.5s", Some(1_500));
        check("500ms", Some(500));
        check("1m30s", Some(90_000));
        check(" 1h 5min ", Some(3_900_000));
        check("0s", Some(0));
        check("30", Some(30_000));
        check("0.25", Some(250));
        for wrong in [
            "",
            ".",
            "30 5s",
            "s",
            "-1s",
            "1..2s",
            "30 parsecs",
            "1e3s",
            "99999999999999999999h",
            "30s!",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn sizes_are_read() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        };
        check("4096", Some(4096));
        check("1B", Some(1));
        check("64 KiB", Some(64 << 10));
        check(" 512MiB ", Some(512 << 20));
        check("1.5GiB", Some(3 << 29));
        check("2GB", Some(2_000_000_000));
        for wrong in
            ["", "MiB", "-1", "1.5", "1e3", "10mib", "5 parsecs", "99999999999GiB", "1.2.3KB"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn durations_and_numbers_are_shown() {
        let check = |micros: u64, expected: &str| {
            assert_eq!(show_duration(Duration::from_micros(micros)), expected);
        };
        check(0, "0 µs");
        check(1_234, "1.2 ms");
        check(12_345, "12 ms");
        check(1_234_567, "1.2 s");
        check(59_900_000, "59 s");
        check(90_000_000, "1 min 30 s");
        check(7_384_000_000, "2 h 03 min");
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
