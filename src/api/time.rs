//! Points in time as the cluster writes them: RFC 3339, UTC, whole seconds.

use std::fmt;

use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
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

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.trunc_subsecs(0))
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

    #[test]
    fn a_time_survives_its_own_text() {
        let time = Timestamp::from(DateTime::from_timestamp(1_650_369_367, 987_654_321).unwrap());
        assert_eq!(time.to_string(), "2022-04-19T11:56:07Z");
        assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
    }

    #[test]
    fn arithmetic_past_the_end_of_time_stops_there() {
        let last = Timestamp::from(DateTime::<Utc>::MAX_UTC);
        assert_eq!(last.saturating_add(TimeDelta::days(1)), last);
    }
}
