//! The command line.

use std::fmt;

use atasker_benches::placement::Placement;

/// What is to be measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// Seconds instead of minutes.
    pub(crate) short: bool,
    only: Option<String>,
    placement: Option<Placement>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Measure(Arguments),
    Help,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadArguments {
    Unknown(String),
    ValueMissing(&'static str),
    NoSuchPlacement(String),
    NoSuchSection(String),
}

impl fmt::Display for BadArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(argument) => write!(f, "there is no argument `{argument}`"),
            Self::ValueMissing(argument) => write!(f, "`{argument}` needs a value"),
            Self::NoSuchPlacement(name) => write!(f, "there is no placement `{name}`"),
            Self::NoSuchSection(name) => write!(f, "`{name}` is in no section's title"),
        }
    }
}

impl Arguments {
    /// Whether a section with this title is to be measured.
    pub(crate) fn wants(&self, title: &str) -> bool {
        let holds = |part: &String| title.to_lowercase().contains(&part.to_lowercase());
        self.only.as_ref().is_none_or(holds)
    }

    pub(crate) fn wants_placement(&self, placement: Placement) -> bool {
        self.placement.is_none_or(|wanted| wanted == placement)
    }
}

impl fmt::Display for Arguments {
    /// The command that gives them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cargo run --release -p atasker-benches --bin compare")?;
        if *self != Self::default() {
            write!(f, " --")?;
        }
        if self.short {
            write!(f, " --short")?;
        }
        if let Some(only) = &self.only {
            write!(f, " --only '{only}'")?;
        }
        match self.placement {
            Some(placement) => write!(f, " --placement {}", placement.name()),
            None => Ok(()),
        }
    }
}

pub(crate) fn usage(titles: &[&str]) -> String {
    format!(
        "usage: compare [--short] [--only <part of a section's title>]\n       \
         [--placement <separate|one|unpinned|all>]\n\nsections:\n  {}",
        titles.join("\n  ")
    )
}

pub(crate) fn parse(
    mut arguments: impl Iterator<Item = String>,
    titles: &[&str],
) -> Result<Parsed, BadArguments> {
    let mut parsed = Arguments::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => return Ok(Parsed::Help),
            "--short" => parsed.short = true,
            "--only" => {
                parsed.only = Some(arguments.next().ok_or(BadArguments::ValueMissing("--only"))?);
            }
            "--placement" => {
                let name = arguments.next().ok_or(BadArguments::ValueMissing("--placement"))?;
                parsed.placement = placement(name)?;
            }
            _ => return Err(BadArguments::Unknown(argument)),
        }
    }
    match parsed.only {
        Some(only)
            if !titles.iter().any(|title| title.to_lowercase().contains(&only.to_lowercase())) =>
        {
            Err(BadArguments::NoSuchSection(only))
        }
        _ => Ok(Parsed::Measure(parsed)),
    }
}

/// `None`: all of them.
fn placement(name: String) -> Result<Option<Placement>, BadArguments> {
    if name == "all" {
        return Ok(None);
    }
    let found = Placement::ALL.into_iter().find(|placement| placement.name() == name);
    found.map(Some).ok_or(BadArguments::NoSuchPlacement(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: [&str; 2] = ["Round trip", "Map"];

    fn check(arguments: &str, expected: Result<&str, BadArguments>) {
        let parsed = parse(arguments.split_whitespace().map(str::to_owned), &TITLES);
        let command = "cargo run --release -p atasker-benches --bin compare";
        match (parsed, expected) {
            (Ok(Parsed::Measure(parsed)), Ok(rest)) => {
                assert_eq!(parsed.to_string(), format!("{command}{rest}"));
            }
            (Err(error), Err(expected)) => assert_eq!(error, expected),
            (parsed, expected) => panic!("{parsed:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn what_is_understood() {
        check("", Ok(""));
        check("--placement all", Ok(""));
        check("--short --placement one", Ok(" -- --short --placement one"));
        check("--only map", Ok(" -- --only 'map'"));
    }

    #[test]
    fn what_is_not() {
        check("--fast", Err(BadArguments::Unknown("--fast".to_owned())));
        check("--only", Err(BadArguments::ValueMissing("--only")));
        check("--only 9", Err(BadArguments::NoSuchSection("9".to_owned())));
        check("--placement two", Err(BadArguments::NoSuchPlacement("two".to_owned())));
    }
}
