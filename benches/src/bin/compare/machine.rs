//! What the figures were measured on.

use std::time::SystemTime;

use atasker_benches::placement::Cores;

use crate::arguments::Arguments;

/// Where, when, and by which command.
pub(crate) fn header(cores: &Cores, arguments: &Arguments, rounds: usize) -> String {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    format!(
        "{}, {} cores, Linux {kernel}, {}. Made by `{arguments}`.\n\n\
         Medians of up to {rounds} rounds, in which the contenders take turns while all others are asleep; \
         behind them the quartiles, or from the least to the largest where there are fewer than five rounds. \
         Absolute figures move from machine to machine; look at the ratios.\n",
        cpu_model(),
        cores.count(),
        date(days_since_1970()),
    )
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    let model = line.and_then(|line| line.split_once(':')).map(|(_, model)| model.trim());
    model.unwrap_or("unknown processor").to_owned()
}

fn days_since_1970() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs() / (24 * 60 * 60)).cast_signed()
}

/// Howard Hinnant: "chrono-compatible low-level date algorithms", `civil_from_days`.
fn date(days: i64) -> String {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(20_782), "2026-11-25");
    }
}
