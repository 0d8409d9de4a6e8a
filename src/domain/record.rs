//! The account record: the single source of truth about an account's credentials, one Secret per account in the
//! operator namespace. Tenants can read neither it nor its hashes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use super::credential::{State, Version};
use super::names;
use super::notice::Notice;
use super::restart::Pending;
use crate::api::Timestamp;

/// The newest layout that this binary writes.
pub const SCHEMA_VERSION: i64 = 1;

/// The key of the record's JSON in its Secret.
pub const DATA_KEY: &str = "record.json";

/// Everything that must outlive a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The layout; a binary refuses to write one newer than its own.
    pub schema_version: i64,
    /// Whose record it is.
    pub account: Owner,
    /// The user who created the account; unknown when no policy stamped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// `metadata.creationTimestamp` of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<Timestamp>,
    /// The client ID at the trusted issuer, of an External account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_client_id: Option<String>,
    /// The highest version number given out so far.
    pub last_version: i64,
    /// The versions that may still be accepted, oldest first.
    #[serde(default)]
    pub versions: Vec<Version>,
    /// Versions that leaked: their tokens are inactive, however long they are still valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compromised_versions: Vec<i64>,
    /// The trigger values that were acted on.
    #[serde(default)]
    pub handled: Handled,
    /// The published Secret as it was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// What people were told of the versions' expiry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// Workloads that are still to be restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Pending>,
    /// Fields of a newer binary, kept.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The account that a record belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// `metadata.uid`; what counts.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// Trigger values that were acted on, or that a staged version will have acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handled {
    /// Of `spec.regenerate.clientSecret`.
    #[serde(default)]
    pub client_secret: i64,
    /// Of `spec.regenerate.clientId`.
    #[serde(default)]
    pub client_id: i64,
    /// Of the annotation `keyrota.dev/regenerate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regenerate_time: Option<Timestamp>,
    /// Of the annotation `keyrota.dev/compromised`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised_time: Option<Timestamp>,
}

impl Handled {
    /// Each value as high as the higher of both.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        Self {
            client_secret: self.client_secret.max(other.client_secret),
            client_id: self.client_id.max(other.client_id),
            regenerate_time: self.regenerate_time.max(other.regenerate_time),
            compromised_time: self.compromised_time.max(other.compromised_time),
        }
    }
}

/// Identity of the published Secret as last written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// Why a stored record cannot be used.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Written by a newer binary.
    #[error(
        "the record has schema version {found}, this binary writes {SCHEMA_VERSION}: run the newer version of keyrota again"
    )]
    TooNew {
        /// What stands in the record.
        found: i64,
    },
    /// Not our JSON.
    #[error("the record cannot be read ({0}): restore it from a backup, or delete it to have the credential repaired")]
    Malformed(String),
}

impl Record {
    /// A record without credentials, of a fresh account.
    #[must_use]
    pub fn new(account: Owner) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            account,
            created_by: None,
            created_time: None,
            external_client_id: None,
            last_version: 0,
            versions: Vec::new(),
            compromised_versions: Vec::new(),
            handled: Handled::default(),
            published: None,
            notices: Vec::new(),
            restart: None,
            unknown: Map::new(),
        }
    }

    /// Reads the JSON of a stored record.
    ///
    /// # Errors
    /// When it was written by a newer binary or is damaged. The error quotes no content.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        let record: Self = serde_json::from_slice(json).map_err(|e| {
            RecordError::Malformed(format!("{:?} error at line {} column {}", e.classify(), e.line(), e.column()))
        })?;
        if record.schema_version > SCHEMA_VERSION {
            return Err(RecordError::TooNew { found: record.schema_version });
        }
        Ok(record)
    }

    /// The JSON to store.
    ///
    /// # Errors
    /// None for any record that this binary made.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// The version that the published Secret is known to hold.
    #[must_use]
    pub fn current(&self) -> Option<&Version> {
        self.versions.iter().rfind(|version| version.state == State::Current)
    }

    /// The version before the current one.
    #[must_use]
    pub fn previous(&self) -> Option<&Version> {
        self.versions.iter().rfind(|version| version.state == State::Previous)
    }

    /// Versions that may or may not have been published.
    pub fn staged(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(|version| version.state == State::Staged)
    }

    /// The client ID of staged versions that is not the current one, if there is one.
    #[must_use]
    pub fn staged_client_id(&self) -> Option<&str> {
        let current = self.current().map(|current| current.client_id.as_str());
        self.staged().map(|staged| staged.client_id.as_str()).filter(|id| Some(*id) != current).last()
    }

    /// A version by its number.
    #[must_use]
    pub fn version(&self, number: i64) -> Option<&Version> {
        self.versions.iter().find(|version| version.version == number)
    }

    /// Labels by which a gateway that has not seen the record yet finds it.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let current = self.external_client_id.as_deref().or(self.current().map(|v| v.client_id.as_str()));
        let staged = self.staged_client_id();
        let previous = self.previous().map(|v| v.client_id.as_str()).filter(|id| Some(*id) != current);
        let client_ids = [
            (names::LABEL_CLIENT_ID, current),
            (names::LABEL_STAGED_CLIENT_ID, staged),
            (names::LABEL_PREVIOUS_CLIENT_ID, previous),
        ];
        let mut labels = BTreeMap::from([
            (crate::api::MANAGED_BY.to_owned(), crate::api::MANAGER.to_owned()),
            (names::LABEL_UID.to_owned(), self.account.uid.clone()),
            (names::LABEL_NAMESPACE.to_owned(), self.account.namespace.clone()),
            (names::LABEL_NAME_HASH.to_owned(), names::name_hash(&self.account.name)),
        ]);
        labels
            .extend(client_ids.into_iter().filter_map(|(key, id)| Some((key.to_owned(), names::client_id_label(id?)))));
        labels
    }
}
