//! Status conditions, field for field as `metav1.Condition` has them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// `True`, `False` or `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// It does not.
    False,
    /// It cannot be told.
    Unknown,
}

/// One aspect of an object's present state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The aspect, in CamelCase. Example: Ready.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// The spec's generation that this was computed from.
    #[serde(default)]
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
    /// A stable CamelCase word for programs. Example: SecretConflict.
    pub reason: String,
    /// A sentence for people.
    #[serde(default)]
    pub message: String,
}

impl Condition {
    /// Keeps the time of the last transition where `old` has the same condition with the same status.
    #[must_use]
    pub fn since(mut self, old: &[Self]) -> Self {
        let unchanged = old.iter().find(|before| before.type_ == self.type_ && before.status == self.status);
        if let Some(before) = unchanged {
            self.last_transition_time = before.last_transition_time;
        }
        self
    }
}
