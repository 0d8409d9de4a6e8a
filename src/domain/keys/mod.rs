//! An issuer's signing keys: what its Secret holds, which of them signs, and which are published.

mod legacy;
mod oauth;
pub mod plan;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod properties;
mod stored;
#[cfg(test)]
mod stored_tests;
pub mod tenure;

use serde_json::{Map, Value};

pub use legacy::{LegacyKey, LegacyKeys};
pub use oauth::{LostKey, OauthKey, OauthKeys};
pub use stored::{Content, Problem, RING, Trouble};
pub use tenure::{Phase, Tenure};

use crate::api::Timestamp;
use crate::api::token_issuer::PublishKeyTo;

/// The newest layout that this binary writes.
pub const SCHEMA_VERSION: i64 = 1;

/// Everything in the Secret `signing-keys-<issuer>`.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The HS256 keys of the manual's tokens, which have no `kid`.
    pub legacy: LegacyKeys,
    /// The keys of OAuth tokens.
    pub oauth: OauthKeys,
    /// The value of `keys.regenerate` that was acted on; none when nothing tells.
    pub handled_regenerate: Option<i64>,
    /// Keys that were lost of late.
    pub loss: Option<Loss>,
    /// Where the HS256 keys were last published.
    pub published_to: Option<PublishKeyTo>,
    /// What could not be read; it is left out.
    pub problems: Vec<Problem>,
    /// The layout that was found.
    pub schema_version: i64,
    /// Fields of a newer binary, kept.
    unknown: Map<String, Value>,
    /// OAuth keys whose algorithm only a newer binary knows, kept.
    foreign: Vec<Value>,
    /// Items that are not ours to understand, kept.
    others: Content,
}

/// Keys are gone, and with them the tokens that they signed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// When it was noticed.
    pub time: Timestamp,
    /// The last of their tokens has ended then.
    pub until: Timestamp,
    /// Which, and how.
    pub what: String,
}

impl Keys {
    /// Whether a newer binary wrote them: this one may use them, but not write.
    #[must_use]
    pub fn too_new(&self) -> bool {
        self.schema_version > SCHEMA_VERSION
    }

    /// Whether there is nothing to sign anything with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.oauth.line().is_empty() && self.legacy.slots().next().is_none()
    }
}
