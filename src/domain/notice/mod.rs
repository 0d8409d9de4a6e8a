//! Expiry notices: who is told, when, and what became of it (SPEC section 6).
//!
//! ```text
//! notBefore      90      60      30      7     1   notAfter   1 after
//!     ●──────────◆───────◆───────◆───────◆─────◆──────○──────────◆───▶   Manual
//!     ●───────────────────────────────────◇──◆─◆──────○──────────◆───▶   Automatic: nothing before the
//!                                 rotation ◇──▶ 10 min late              rotation is 10 minutes late
//! ```
//!
//! A notice is recorded before it is sent and settled afterwards, both in the account record: a crash in between sends
//! it once more (under the same message ID), and nothing else ever does.

mod due;
pub mod letter;
mod outcome;
mod plan;
#[cfg(test)]
mod properties;
pub mod recipient;
mod report;
#[cfg(test)]
mod samples;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::Timestamp;

pub use due::{late_from, wake};
pub use outcome::{Outcome, settled};
pub use plan::{deliverable, plan};
pub use report::{conditions, notifications, over};

/// One threshold of one credential version, once it came.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// The credential version that expires.
    pub version: i64,
    /// Days before expiry; negative after it.
    pub threshold: i32,
    /// When it was due; later than now only after the expiry was moved.
    pub due_time: Timestamp,
    /// When it was recorded; later than due after a downtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_time: Option<Timestamp>,
    /// What became of it as a whole.
    pub state: State,
    /// What became of it on each way; none for a notice that was skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Delivery>,
    /// Fields of a newer binary.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// One notice on one way to one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// By which way.
    pub channel: Channel,
    /// The mail address; nothing else has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What became of it.
    pub state: State,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// When it was tried last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_time: Option<Timestamp>,
    /// When it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_time: Option<Timestamp>,
    /// Why it is not sent (yet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Fields of a newer binary.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// How people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// A Kubernetes Event on the account.
    Event,
    /// A mail.
    Email,
    /// A CloudEvent over HTTP.
    Webhook,
}

impl Channel {
    /// Its name in status and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "Event",
            Self::Email => "Email",
            Self::Webhook => "Webhook",
        }
    }
}

/// What became of a notice or a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// To be sent, or tried again.
    Pending,
    /// Accepted by whoever brings it to its reader.
    Sent,
    /// Given up.
    Failed,
    /// Not sent, because there was no need any more.
    Skipped,
}

impl State {
    /// Its name in status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Sent => "Sent",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
        }
    }

    /// Of several, what the whole is: pending while one is, failed when one did.
    #[must_use]
    pub fn of_all(states: impl IntoIterator<Item = Self>) -> Self {
        let rank = |state: &Self| match state {
            Self::Pending => 3,
            Self::Failed => 2,
            Self::Sent => 1,
            Self::Skipped => 0,
        };
        states.into_iter().max_by_key(rank).unwrap_or(Self::Skipped)
    }
}

/// Names one delivery within a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The credential version.
    pub version: i64,
    /// The threshold.
    pub threshold: i32,
    /// The way.
    pub channel: Channel,
    /// The mail address.
    pub to: Option<String>,
}

impl Notice {
    /// The same for ever for one threshold of one version of one account: by it a reader recognizes a notice that a
    /// crash made arrive twice.
    #[must_use]
    pub fn id(uid: &str, version: i64, threshold: i32) -> String {
        format!("notice-{uid}-{version}-{threshold}")
    }

    fn key(&self, delivery: &Delivery) -> Key {
        Key { version: self.version, threshold: self.threshold, channel: delivery.channel, to: delivery.to.clone() }
    }

    /// Takes its state from its deliveries.
    fn resolve(&mut self) {
        self.state = State::of_all(self.deliveries.iter().map(|delivery| delivery.state));
    }
}
