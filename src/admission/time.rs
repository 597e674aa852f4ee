//! Points in time and lengths of it, as plain numbers: whoever calls says what time it is.

use std::ops::Add;
use std::time::Duration;

/// Nanoseconds since the supervisor started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) u64);

impl Time {
    pub(crate) const ZERO: Self = Self(0);
    /// Later than anything that happens: 584 years.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The time that has passed since `earlier`, zero if it is in fact later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, wait: Duration) -> Self {
        self + Span::from(wait)
    }
}

impl Add<Span> for Time {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A length of time in half the space of an `Option<Duration>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(u64);

impl Span {
    pub(crate) const ZERO: Self = Self(0);
    /// What [`Time::NEVER`] is to a point in time.
    pub(crate) const ENDLESS: Self = Self(u64::MAX);

    pub(crate) fn is_endless(self) -> bool {
        self == Self::ENDLESS
    }
}

impl Add<Duration> for Span {
    type Output = Self;

    fn add(self, more: Duration) -> Self {
        Self(self.0.saturating_add(Self::from(more).0))
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Option<Duration>> for Span {
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::ENDLESS, Self::from)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_nanos(span.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_differences_saturate() {
        let late = Time(u64::MAX - 1);
        assert_eq!(late + Duration::from_secs(1), Time::NEVER);
        assert_eq!(Time(5).since(Time(7)), Duration::ZERO);
        assert_eq!(Time(7) + Span::from(None), Time::NEVER);
        assert_eq!(Time(7) + Span::from(Some(Duration::from_nanos(3))), Time(10));
    }
}
