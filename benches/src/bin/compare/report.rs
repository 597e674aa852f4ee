//! Figures as Markdown: tables, bars, and which of them are met.

use std::fmt::Write as _;

use atasker_benches::work::median;

/// What the figures of a table are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Us,
    Ms,
    S,
    /// Millions of tasks in a second.
    RateM,
    /// Of memory; the samples are no times then.
    Kib,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Us => "µs",
            Self::Ms => "ms",
            Self::S => "s",
            Self::RateM => "million/s",
            Self::Kib => "KiB",
        }
    }

    fn show(self, seconds: f64) -> String {
        let value = match self {
            Self::Us => seconds * 1e6,
            Self::Ms => seconds * 1e3,
            Self::S | Self::Kib => seconds,
            Self::RateM => 1e-6 / seconds,
        };
        significant(value)
    }
}

/// About three digits that mean something.
fn significant(value: f64) -> String {
    match value.abs() {
        0.0..0.1 => format!("{value:.4}"),
        0.1..10.0 => format!("{value:.3}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// One contender's samples, in seconds for one.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) samples: Vec<f64>,
}

impl Row {
    fn median(&self) -> f64 {
        median(self.samples.clone())
    }

    /// The quartiles; of fewer than five samples the least and the largest.
    fn spread(&self) -> (f64, f64) {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let cut = if count < 5 { 0 } else { count / 4 };
        (sorted[cut], sorted[count - 1 - cut])
    }
}

/// The rows beside each other, relative to the first; and to the ideal, if one of them is that.
pub(crate) fn table(unit: Unit, rows: &[Row], ideal: Option<&str>) -> String {
    let ideal = ideal.map(|name| median_of(rows, name));
    let (title, line) = if ideal.is_some() { (" of ideal |", "---:|") } else { ("", "") };
    let unit_name = unit.name();
    let mut text =
        format!("| | {unit_name} | spread | ours ÷ theirs |{title}\n|---|---:|---:|---:|{line}\n");
    let ours = rows[0].median();
    for row in rows {
        let (value, (low, high)) = (row.median(), row.spread());
        let ratio = if unit == Unit::RateM { value / ours } else { ours / value };
        let (one, other) = (unit.show(low), unit.show(high));
        let (low, high) = if unit == Unit::RateM { (other, one) } else { (one, other) };
        let of_ideal = ideal.map(|ideal| format!(" {:.1} % |", 100.0 * ideal / value));
        let (name, value, ratio) = (&row.name, unit.show(value), significant(ratio));
        let of_ideal = of_ideal.unwrap_or_default();
        writeln!(text, "| {name} | {value} | {low}–{high} | {ratio} |{of_ideal}")
            .expect("into a string");
    }
    text
}

fn median_of(rows: &[Row], name: &str) -> f64 {
    let row = rows.iter().find(|row| row.name == name);
    row.unwrap_or_else(|| panic!("no row is named {name}")).median()
}

/// What ours must reach, against somebody in the same table.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    kind: Kind,
    ours: String,
    theirs: String,
    /// Why it is only reported.
    waived: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// So many times theirs.
    AtMost(f64),
    /// So many times their rate.
    RateAtLeast(f64),
    /// So many percent of the ideal, which is theirs.
    PercentAtLeast(f64),
}

impl Bar {
    pub(crate) fn at_most(times: f64, ours: &str, theirs: &str) -> Self {
        Self::new(Kind::AtMost(times), ours, theirs)
    }

    pub(crate) fn rate_at_least(times: f64, ours: &str, theirs: &str) -> Self {
        Self::new(Kind::RateAtLeast(times), ours, theirs)
    }

    pub(crate) fn percent_at_least(percent: f64, ours: &str, ideal: &str) -> Self {
        Self::new(Kind::PercentAtLeast(percent), ours, ideal)
    }

    fn new(kind: Kind, ours: &str, theirs: &str) -> Self {
        Self { kind, ours: ours.to_owned(), theirs: theirs.to_owned(), waived: None }
    }

    /// Report it without asking whether it is met, if there is a reason.
    pub(crate) fn waived_if(mut self, waived: bool, why: &'static str) -> Self {
        self.waived = waived.then_some(why);
        self
    }

    pub(crate) fn judge(&self, title: &str, rows: &[Row]) -> Verdict {
        let (ours, theirs) = (median_of(rows, &self.ours), median_of(rows, &self.theirs));
        let (wanted, measured, met) = match self.kind {
            Kind::AtMost(times) => {
                let ratio = ours / theirs;
                let wanted = format!("at most {times} × {}", self.theirs);
                (wanted, format!("{} ×", significant(ratio)), ratio <= times)
            }
            Kind::RateAtLeast(times) => {
                let ratio = theirs / ours;
                let wanted = format!("at least {times} × the rate of {}", self.theirs);
                (wanted, format!("{} ×", significant(ratio)), ratio >= times)
            }
            Kind::PercentAtLeast(percent) => {
                let reached = 100.0 * theirs / ours;
                let wanted = format!("at least {percent} % of {}", self.theirs);
                (wanted, format!("{reached:.1} %"), reached >= percent)
            }
        };
        let outcome = match self.waived {
            Some(why) => Outcome::Reported(why),
            None if met => Outcome::Met,
            None => Outcome::NotMet,
        };
        Verdict { title: title.to_owned(), ours: self.ours.clone(), wanted, measured, outcome }
    }
}

/// What came of a bar.
#[derive(Debug)]
pub(crate) struct Verdict {
    title: String,
    ours: String,
    wanted: String,
    measured: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Met,
    NotMet,
    Reported(&'static str),
}

impl Outcome {
    fn show(self) -> String {
        match self {
            Self::Met => "met".to_owned(),
            Self::NotMet => "**not met**".to_owned(),
            Self::Reported(why) => format!("reported: {why}"),
        }
    }
}

/// Below the table.
pub(crate) fn verdicts(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let Verdict { ours, wanted, measured, outcome, .. } = verdict;
        let outcome = outcome.show();
        writeln!(text, "- {ours}, bar {wanted}: {measured}, {outcome}").expect("into a string");
    }
    text
}

/// All bars of a run.
pub(crate) fn summary(verdicts: &[Verdict]) -> String {
    let mut text = "### Bars\n\n| | bar | measured | |\n|---|---|---:|---|\n".to_owned();
    for Verdict { title, ours, wanted, measured, outcome } in verdicts {
        let outcome = outcome.show();
        writeln!(text, "| {title}: {ours} | {wanted} | {measured} | {outcome} |")
            .expect("into a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bar: Bar, ours: f64, theirs: f64, expected: &str) {
        let row = |name: &str, median: f64| Row {
            name: name.to_owned(),
            samples: vec![median - 1.0, median + 1.0, median],
        };
        let verdict = bar.judge("x", &[row("us", ours), row("them", theirs)]);
        let text = format!("{}; {}", verdict.measured, verdict.outcome.show());
        assert_eq!(text, expected);
    }

    #[test]
    fn bars() {
        check(Bar::at_most(1.5, "us", "them"), 12.0, 10.0, "1.200 ×; met");
        check(Bar::at_most(1.0, "us", "them"), 12.0, 10.0, "1.200 ×; **not met**");
        check(Bar::rate_at_least(0.5, "us", "them"), 12.0, 6.0, "0.500 ×; met");
        check(Bar::rate_at_least(5.0, "us", "them"), 12.0, 6.0, "0.500 ×; **not met**");
        check(Bar::percent_at_least(90.0, "us", "them"), 100.0, 95.0, "95.0 %; met");
        let waived = Bar::at_most(1.0, "us", "them").waived_if(true, "why");
        check(waived, 12.0, 10.0, "1.200 ×; reported: why");
    }

    #[test]
    fn rows_relative_to_the_first() {
        let row =
            |name: &str, samples: &[f64]| Row { name: name.to_owned(), samples: samples.to_vec() };
        let rows = [row("us", &[2e-6, 1e-6, 3e-6]), row("them", &[4e-6; 5])];
        let times = table(Unit::Us, &rows, Some("them"));
        assert!(times.ends_with(
            "| us | 2.000 | 1.000–3.000 | 1.000 | 200.0 % |\n| them | 4.000 | 4.000–4.000 | 0.500 | 100.0 % |\n"
        ));
        let rates = table(Unit::RateM, &rows, None);
        assert!(rates.ends_with(
            "| us | 0.500 | 0.333–1.000 | 1.000 |\n| them | 0.250 | 0.250–0.250 | 2.000 |\n"
        ));
    }
}
