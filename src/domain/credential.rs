//! Credential versions and their three states.
//!
//! ```text
//!            stage          publish            retire                      notAfter
//! v1  Current ────────────────────────────────────● Previous ───────────────────○
//! v2        ● Staged ───────●─────────────────────● Current ──────────────────────────────▶
//!             accepted by the gateway from here, known to its user from ↑
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::Timestamp;
pub use crate::api::service_account::Reason;

/// An Argon2id hash in PHC string format, which carries its own cost. Not a secret, but nothing for a log either: its
/// `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(String);

impl SecretHash {
    /// Takes a PHC string as it is; a malformed one matches nothing.
    #[must_use]
    pub fn from_phc(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string.
    #[must_use]
    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// Where a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Its hash is known to the gateway; whether it was published is not known yet.
    Staged,
    /// It is in the published Secret.
    Current,
    /// It was in the published Secret until the current one took its place.
    Previous,
}

/// One credential version: a client ID and the hash of a client secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Counts up over the account's life; never used twice.
    pub version: i64,
    /// UUID v4.
    pub client_id: String,
    /// Of the client secret.
    pub secret_hash: SecretHash,
    /// Staged, Current or Previous.
    pub state: State,
    /// When it was staged.
    pub not_before: Timestamp,
    /// When it stops working.
    pub not_after: Timestamp,
    /// The validity that `not_after` was last computed from, in days.
    pub validity_days: i32,
    /// Why it was made.
    pub reason: Reason,
    /// The trigger values that making it answers; they count as handled once it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<super::record::Handled>,
    /// When it became Previous; what a grace is counted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_time: Option<Timestamp>,
    /// How often publishing it was tried again. Each try is first written here, so that a rival who has decided by the
    /// record as it was before, and would drop this version, loses the race for the record.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// Fields of a newer binary.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Version {
    /// Whether the gateway accepts it at `now`: up to its end, and not at it.
    #[must_use]
    pub fn works_at(&self, now: Timestamp) -> bool {
        now < self.not_after
    }

    /// Ends it at `end` at the latest. Never extends: an ended version stays ended.
    pub fn end_by(&mut self, end: Timestamp) {
        self.not_after = self.not_after.min(end);
    }
}
