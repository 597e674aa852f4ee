//! Durations as texts, checked when the program is compiled.

use std::time::Duration;

/// Said wherever a text is none.
pub(crate) const ACCEPTED: &str = "a duration is a number with a unit (`ns`, `us`, `ms`, `s`, `m` or `min`, `h`), as in \"30s\", \
     \"1.5s\" or \"1m30s\"";

/// `None` if the text is no duration.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let after = after.trim_start();
        let unit_end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        nanoseconds = nanoseconds.checked_add(scaled(number, unit_nanoseconds(unit)?)?)?;
        rest = after.trim_start();
    }
    let seconds = u64::try_from(nanoseconds / 1_000_000_000).ok()?;
    let below = u32::try_from(nanoseconds % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, below))
}

fn unit_nanoseconds(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A decimal number times `unit`, without going through floating point.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = whole.parse().ok()?;
    if number.contains('.') && fraction.is_empty() {
        return None;
    }
    let mut part = 0;
    let mut scale = unit;
    for digit in fraction.chars() {
        scale /= 10;
        part += u128::from(digit.to_digit(10)?) * scale;
    }
    whole.checked_mul(unit)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expected: Option<Duration>| {
            assert_eq!(parse(text), expected, "{text:?}");
        };
        check("30s", Some(Duration::from_secs(30)));
        check("1.5s", Some(Duration::from_millis(1500)));
        check("1m30s", Some(Duration::from_secs(90)));
        check("1h 2min 3s", Some(Duration::from_secs(3723)));
        check("250us", Some(Duration::from_micros(250)));
        check("7 ns", Some(Duration::from_nanos(7)));
        check("0.0000000001s", Some(Duration::ZERO));
        check("0s", Some(Duration::ZERO));
        for wrong in
            ["", " ", "30", "s", "30x", "-1s", "1.s", ".s", "1..5s", "1.5.2s", "1e3s", "30s5"]
        {
            check(wrong, None);
        }
        check(&format!("{}h", u128::MAX), None);
        check(&format!("{}h", u64::MAX), None);
    }
}
