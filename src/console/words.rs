//! Times as people say them, with the exact one at hand.

use std::fmt;

use askama::filters::HtmlSafe;
use chrono::TimeDelta;

use crate::api::Timestamp;

/// A point in time on a page: a relative word, and the exact time in `datetime` and `title`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// RFC 3339.
    pub iso: String,
    /// To the second, with its zone.
    pub exact: String,
    /// From the time of the page.
    pub relative: String,
}

/// Consists of digits and fixed words alone.
impl HtmlSafe for When {}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { iso, exact, relative } = self;
        write!(f, "<time datetime=\"{iso}\" title=\"{exact}\">{relative}</time>")
    }
}

impl When {
    /// As seen at `now`.
    #[must_use]
    pub fn new(time: Timestamp, now: Timestamp) -> Self {
        Self { iso: time.to_string(), exact: exact(time), relative: relative(time, now) }
    }
}

/// To the second: `22 Nov 2026, 12:00:00 UTC`.
#[must_use]
pub fn exact(time: Timestamp) -> String {
    time.at().format("%-d %b %Y, %H:%M:%S UTC").to_string()
}

/// The day alone: `22 Nov 2026`.
#[must_use]
pub fn day(time: Timestamp) -> String {
    time.at().format("%-d %b %Y").to_string()
}

/// In the largest unit of which there are at least two: `in 179 days`, `3 minutes ago`, `just now`.
#[must_use]
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    let distance = time.at() - now.at();
    if distance.abs() < TimeDelta::seconds(5) {
        return "just now".to_owned();
    }
    let length = length(distance.abs());
    if distance > TimeDelta::zero() { format!("in {length}") } else { format!("{length} ago") }
}

/// How long, in one unit.
#[must_use]
pub fn length(distance: TimeDelta) -> String {
    let units = [
        ("year", TimeDelta::days(365)),
        ("day", TimeDelta::days(1)),
        ("hour", TimeDelta::hours(1)),
        ("minute", TimeDelta::minutes(1)),
    ];
    let seconds = distance.num_seconds();
    let found = units.into_iter().find(|(_, unit)| seconds >= 2 * unit.num_seconds());
    let (name, number) = found.map_or(("second", seconds), |(name, unit)| (name, seconds / unit.num_seconds()));
    if number == 1 { format!("1 {name}") } else { format!("{number} {name}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "just now")]
    #[case(-4, "just now")]
    #[case(-5, "5 seconds ago")]
    #[case(119, "in 119 seconds")]
    #[case(120, "in 2 minutes")]
    #[case(-7199, "119 minutes ago")]
    #[case(7200, "in 2 hours")]
    #[case(172_799, "in 47 hours")]
    #[case(172_800, "in 2 days")]
    #[case(86_400 * 365, "in 365 days")]
    #[case(-86_400 * 730, "2 years ago")]
    fn times_are_told_in_the_largest_unit_that_is_not_one(#[case] seconds: i64, #[case] expected: &str) {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        assert_eq!(relative(now.saturating_add(TimeDelta::seconds(seconds)), now), expected);
    }

    #[test]
    fn the_exact_time_is_at_hand() {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        let html = When::new(Timestamp::parse("2026-11-25T12:00:07Z").unwrap(), now).to_string();
        let expected = "<time datetime=\"2026-11-25T12:00:07Z\" title=\"25 Nov 2026, 12:00:07 UTC\">in 3 days</time>";
        assert_eq!(html, expected);
    }
}
