//! Points in time as the cluster writes them: RFC 3339, UTC, whole seconds.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time with whole seconds, so that what is written equals what is read back
/// (a time that loses its fraction on the wire compares as *earlier* than itself).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The same instant for arithmetic.
    #[must_use]
    pub fn at(self) -> DateTime<Utc> {
        self.0
    }

    /// Seconds since the Unix epoch, as JWT claims and metrics want them.
    #[must_use]
    pub fn unix(self) -> i64 {
        self.0.timestamp()
    }

    /// Reads an RFC 3339 time of any offset; fractions of a second are cut off.
    ///
    /// # Errors
    /// When the text is no RFC 3339 time.
    pub fn parse(text: &str) -> Result<Self, chrono::ParseError> {
        DateTime::parse_from_rfc3339(text).map(|time| Self::from(time.with_timezone(&Utc)))
    }

    /// This time moved by `delta`; the end of time when that would pass it.
    #[must_use]
    pub fn saturating_add(self, delta: TimeDelta) -> Self {
        let fallback = if delta < TimeDelta::zero() { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        Self::from(self.0.checked_add_signed(delta).unwrap_or(fallback))
    }
}

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z in Unix time: RFC 3339 can write no other year. A user's offset reaches
/// beyond them (`0000-01-01T00:00:00+01:00`), and a record with such a time could not be read any more.
const WRITABLE: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl From<DateTime<Utc>> for Timestamp {
    /// Cuts off the fraction and stays within the years 0 to 9999. A leap second is the second before it: the API
    /// server cannot read `:60`.
    fn from(time: DateTime<Utc>) -> Self {
        let seconds = time.timestamp().clamp(*WRITABLE.start(), *WRITABLE.end());
        Self(DateTime::from_timestamp(seconds, 0).unwrap_or_default())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[test]
    fn a_time_survives_its_own_text() {
        let time = Timestamp::from(DateTime::from_timestamp(1_650_369_367, 987_654_321).unwrap());
        assert_eq!(time.to_string(), "2022-04-19T11:56:07Z");
        assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
    }

    #[rstest]
    #[case("0000-01-01T00:00:00+23:59", "0000-01-01T00:00:00Z")]
    #[case("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z")]
    #[case("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z")]
    #[case("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59Z")]
    fn a_time_that_the_wire_cannot_carry_becomes_the_nearest_that_it_can(#[case] text: &str, #[case] kept: &str) {
        let time = Timestamp::parse(text).unwrap();
        assert_eq!(time.to_string(), kept);
        assert_eq!(Timestamp::parse(kept).unwrap(), time);
    }

    proptest! {
        #[test]
        fn every_time_survives_its_own_text(seconds in any::<i64>(), nanos in 0..2_000_000_000_u32) {
            let time = DateTime::from_timestamp(seconds % 8_000_000_000_000, nanos).map(Timestamp::from);
            prop_assert_eq!(time.map(|time| Timestamp::parse(&time.to_string()).unwrap()), time);
        }

        #[test]
        fn arithmetic_never_leaves_what_can_be_written(seconds in any::<i64>(), delta in any::<i32>()) {
            let time = DateTime::from_timestamp(seconds % 300_000_000_000, 0).map_or(DateTime::UNIX_EPOCH, |time| time);
            let moved = Timestamp::from(time).saturating_add(TimeDelta::seconds(i64::from(delta) * 100));
            prop_assert_eq!(Timestamp::parse(&moved.to_string()).unwrap(), moved);
        }
    }

    #[test]
    fn arithmetic_past_the_end_of_time_stops_there() {
        let last = Timestamp::from(DateTime::<Utc>::MAX_UTC);
        assert_eq!(last.saturating_add(TimeDelta::days(1)), last);
    }
}
