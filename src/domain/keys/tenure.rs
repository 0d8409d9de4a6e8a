//! When a key is published, signs, and leaves.
//!
//! ```text
//!           createdTime          signsFrom                         of the next                keptUntil
//! this key      ●───── published ─────◆──────────── signs ──────────────◆───── published ─────────○
//!               │◀── lifetime + 1 h ─▶│                                 │◀─ lifetime + 1 h ──────▶│
//! next key                                       ●───── published ──────◆──────────── signs ─────────
//! ```
//!
//! A key ends when the next one begins: that alone makes exactly one of them sign at every instant, also while the
//! controller is away.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::api::Timestamp;
pub use crate::api::token_issuer::KeyState as Phase;

/// What resource servers may cache a key set for, and clocks may differ by, on top of a token's lifetime.
pub const MARGIN: TimeDelta = TimeDelta::hours(1);

/// One key's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tenure {
    /// Since when it is published.
    pub created_time: Timestamp,
    /// From when on it signs, until another does.
    pub signs_from: Timestamp,
    /// The longest token lifetime that has been in force since: no token of it lives longer.
    #[serde(rename = "longestTokenSeconds", with = "seconds")]
    pub longest_token: TimeDelta,
}

impl Tenure {
    /// Of a key that is made now and signs from `signs_from` on.
    #[must_use]
    pub fn new(now: Timestamp, signs_from: Timestamp, token_lifetime: TimeDelta) -> Self {
        Self { created_time: now, signs_from, longest_token: token_lifetime }
    }

    /// How long it is kept when the next one signs from `next` on.
    #[must_use]
    pub fn kept_until(&self, next: Timestamp) -> Timestamp {
        next.saturating_add(self.longest_token + MARGIN)
    }
}

/// The position of the key that signs, in a line sorted by [`order`]: the last that has begun. When none has (clocks
/// differ, or went back), the first: there is always one.
pub fn signing(line: &[Option<Tenure>], now: Timestamp) -> Option<usize> {
    let begun = |tenure: &Option<Tenure>| tenure.is_none_or(|tenure| tenure.signs_from <= now);
    if line.is_empty() { None } else { Some(line.iter().rposition(begun).unwrap_or(0)) }
}

/// Until when the key at this position is kept; none while no other follows it.
pub fn kept_until(line: &[Option<Tenure>], position: usize) -> Option<Timestamp> {
    let next = line.get(position + 1).copied().flatten()?;
    line.get(position).copied().flatten().map(|tenure| tenure.kept_until(next.signs_from))
}

/// Sorts a line: keys of which no times are known come before all others.
pub fn order(tenure: &Option<Tenure>) -> Option<(Timestamp, Timestamp)> {
    tenure.map(|tenure| (tenure.signs_from, tenure.created_time))
}

mod seconds {
    use chrono::TimeDelta;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(delta: &TimeDelta, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(delta.num_seconds())
    }

    /// A lifetime is at most 24 h; anything else was not written by us, and a huge one would overflow later.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeDelta, D::Error> {
        let seconds = i64::deserialize(deserializer)?;
        if (0..=86_400).contains(&seconds) {
            Ok(TimeDelta::seconds(seconds))
        } else {
            Err(D::Error::custom("a token lifetime is between 0 and 86400 seconds"))
        }
    }
}
