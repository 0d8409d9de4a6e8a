//! Durations as the CRDs take them: a sequence of whole hours, minutes and seconds, `90m`, `1h30m`, `24h`.

use chrono::TimeDelta;
use thiserror::Error;

/// Why a text is no duration here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not digits followed by `h`, `m` or `s`.
    #[error("\"{0}\" is not a duration: write whole hours, minutes and seconds, for example 90m or 1h30m")]
    Malformed(String),
    /// More than a person can mean.
    #[error("\"{0}\" is longer than a duration can be")]
    TooLong(String),
}

/// Reads a duration; exactly what the CRDs' pattern `^([0-9]{1,6}(h|m|s))+$` lets through.
///
/// # Errors
/// When the text has another shape or its sum passes 10,000 years.
pub fn parse(text: &str) -> Result<TimeDelta, DurationError> {
    let malformed = || DurationError::Malformed(text.chars().take(40).collect());
    let mut seconds: i64 = 0;
    let mut digits = String::new();
    for c in text.chars() {
        let unit = match c {
            '0'..='9' if digits.len() < 6 => {
                digits.push(c);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(malformed()),
        };
        let count: i64 = digits.parse().map_err(|_| malformed())?;
        seconds += count * unit;
        digits.clear();
    }
    if text.is_empty() || !digits.is_empty() {
        return Err(malformed());
    }
    TimeDelta::try_seconds(seconds)
        .filter(|delta| *delta <= TimeDelta::days(3_652_500))
        .ok_or_else(|| DurationError::TooLong(text.into()))
}

/// Writes a duration for people: `1d 4h`, `15m`, `30s`; the two largest units.
#[must_use]
pub fn human(delta: TimeDelta) -> String {
    let total = delta.num_seconds().max(0);
    let parts = [(total / 86_400, "d"), (total % 86_400 / 3600, "h"), (total % 3600 / 60, "m"), (total % 60, "s")];
    let shown: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).take(2).map(|(n, unit)| format!("{n}{unit}")).collect();
    if shown.is_empty() { "0s".into() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0s", 0)]
    #[case("90m", 5400)]
    #[case("1h30m", 5400)]
    #[case("24h", 86_400)]
    fn reads_what_the_pattern_lets_through(#[case] text: &str, #[case] seconds: i64) {
        assert_eq!(parse(text), Ok(TimeDelta::seconds(seconds)));
    }

    #[rstest]
    #[case("")]
    #[case("-0")]
    #[case("-1h")]
    #[case("1ns")]
    #[case("P1D")]
    #[case("NaN")]
    #[case("24")]
    #[case("h")]
    #[case("1.5h")]
    #[case("1234567h")]
    #[case("١h")]
    fn refuses_everything_else(#[case] text: &str) {
        assert!(matches!(parse(text), Err(DurationError::Malformed(_))));
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(90, "1m 30s")]
    #[case(86_400 + 4 * 3600 + 59, "1d 4h")]
    fn writes_the_two_largest_units(#[case] seconds: i64, #[case] text: &str) {
        assert_eq!(human(TimeDelta::seconds(seconds)), text);
    }
}
