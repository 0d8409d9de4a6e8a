//! What the index keeps of an object: the few fields that decide about tokens, parsed once when the object arrives.

use std::sync::Arc;

use aws_lc_rs::digest;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::api::service_account::{Credential, Mode};
use crate::api::{ServiceAccount, Timestamp};
use crate::domain::account::created;
use crate::domain::credential::{SecretHash, State};
use crate::domain::keys::Keys;
use crate::domain::names;
use crate::domain::record::{DATA_KEY, Owner, Record};

use super::memo::Memo;

/// An object's `metadata.resourceVersion`. Numbers compare (KEP-5504 makes that official); anything else is unordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revision(Option<u64>);

impl Revision {
    /// Of an object.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        Self(meta.resource_version.as_deref().and_then(|text| text.parse().ok()))
    }

    /// Whether this is known to be later than `other`.
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        matches!((self.0, other.0), (Some(this), Some(other)) if this > other)
    }

    /// Whether this is known to be the same or earlier.
    #[must_use]
    pub fn is_not_after(self, other: Self) -> bool {
        matches!((self.0, other.0), (Some(this), Some(other)) if this <= other)
    }

    /// The later of the two; `self` when they cannot be compared.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        if other.is_after(self) { other } else { self }
    }
}

impl From<u64> for Revision {
    fn from(number: u64) -> Self {
        Self(Some(number))
    }
}

/// A `ServiceAccount`, as far as tokens are concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountFacts {
    /// UID, namespace and name.
    pub owner: Owner,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `metadata.deletionTimestamp` is set: it counts as deleted.
    pub deleting: bool,
    /// `spec.enabled`.
    pub enabled: bool,
    /// Internal or External.
    pub mode: Mode,
    /// `spec.authentication.externalClientId`.
    pub external_client_id: Option<String>,
    /// `spec.authentication.trustedIssuer`.
    pub trusted_issuer: Option<String>,
    /// `spec.userGroups`.
    pub groups: Vec<String>,
    /// `status.credentials`: what is shown of their uses already.
    pub credentials: Vec<Credential>,
    /// `status.lastAccessTime`.
    pub last_access: Option<Timestamp>,
    /// `metadata.resourceVersion`.
    pub revision: Revision,
}

impl From<ServiceAccount> for AccountFacts {
    /// Takes what is needed and nothing else: a field that only the controller reads cannot keep an account from being
    /// served.
    fn from(object: ServiceAccount) -> Self {
        let ServiceAccount { metadata: meta, spec, status } = object;
        Self {
            created: created(&meta),
            deleting: meta.deletion_timestamp.is_some(),
            revision: Revision::of(&meta),
            enabled: spec.enabled,
            mode: spec.authentication.mode,
            external_client_id: spec.authentication.external_client_id,
            trusted_issuer: spec.authentication.trusted_issuer,
            groups: spec.user_groups,
            last_access: status.as_ref().and_then(|status| status.last_access_time),
            credentials: status.map(|status| status.credentials).unwrap_or_default(),
            owner: Owner {
                uid: meta.uid.unwrap_or_default(),
                namespace: meta.namespace.unwrap_or_default(),
                name: meta.name.unwrap_or_default(),
            },
        }
    }
}

/// An account record, as far as tokens are concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordFacts {
    /// Whose record it is.
    pub owner: Owner,
    /// The versions that may be accepted, oldest first.
    pub versions: Vec<VersionFacts>,
    /// Versions that leaked.
    pub compromised_versions: Vec<i64>,
    /// The client ID at the trusted issuer, of an External account.
    pub external_client_id: Option<Arc<str>>,
    /// `metadata.resourceVersion` of the Secret.
    pub revision: Revision,
}

/// One credential version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionFacts {
    /// Its number.
    pub version: i64,
    /// Its client ID.
    pub client_id: Arc<str>,
    /// Argon2id, as a PHC string.
    pub hash: SecretHash,
    /// Staged, Current or Previous.
    pub state: State,
    /// When it was made.
    pub not_before: Timestamp,
    /// When it stops working; it works until then and not at it.
    pub not_after: Timestamp,
    /// SHA-256 of account UID and PHC string: by it a good verification is remembered.
    pub fingerprint: [u8; 32],
    /// What was found out about it.
    pub memo: Memo,
}

/// Why a Secret of ours cannot be used. Quotes no content.
#[derive(Debug, Error)]
pub enum FactsError {
    /// The record has no `record.json`.
    #[error("it has no key {DATA_KEY}: delete it to have the credential repaired")]
    NoRecord,
    /// The JSON is not a record's.
    #[error("{DATA_KEY} cannot be read (line {line} column {column}): restore it, or delete it to have it repaired")]
    Malformed {
        /// 1-based.
        line: usize,
        /// 1-based.
        column: usize,
    },
    /// A record or key Secret that was copied to another name.
    #[error("its name should be {expected}: a copy is not accepted, delete it")]
    WrongName {
        /// The name that its content belongs to.
        expected: String,
    },
    /// A Secret with signing keys that says no issuer.
    #[error("it has no label {}: delete it to have new keys made", names::LABEL_ISSUER)]
    NoIssuer,
    /// A Secret with signing keys that has none, or none that is whole.
    #[error("it has no signing key that can be used: delete it to have new keys made")]
    NoKey,
}

impl RecordFacts {
    /// Takes what is needed of a parsed record.
    #[must_use]
    pub fn new(record: Record, revision: Revision) -> Self {
        let uid = record.account.uid.clone();
        let mut client_ids: Vec<Arc<str>> = Vec::new();
        let version = |version: crate::domain::credential::Version| VersionFacts {
            fingerprint: fingerprint(&uid, &version.secret_hash),
            version: version.version,
            client_id: shared(&mut client_ids, version.client_id),
            memo: Memo::default(),
            hash: version.secret_hash,
            state: version.state,
            not_before: version.not_before,
            not_after: version.not_after,
        };
        Self {
            versions: record.versions.into_iter().map(version).collect(),
            owner: record.account,
            compromised_versions: record.compromised_versions,
            external_client_id: record.external_client_id.map(Arc::from),
            revision,
        }
    }

    /// Reads the Secret of a record. One written by a newer binary is read as far as it is understood: refusing every
    /// holder while versions are mixed would be worse, and the gateway writes none.
    ///
    /// # Errors
    /// When it holds no record of ours or lies under another name.
    pub fn parse(secret: &Secret) -> Result<Self, FactsError> {
        let json = secret.data.as_ref().and_then(|data| data.get(DATA_KEY)).ok_or(FactsError::NoRecord)?;
        let record: Record = serde_json::from_slice(&json.0)
            .map_err(|error| FactsError::Malformed { line: error.line(), column: error.column() })?;
        called(secret, names::record(&record.account.uid))?;
        Ok(Self::new(record, Revision::of(&secret.metadata)))
    }

    /// Every client ID that it holds, each once.
    pub fn client_ids(&self) -> impl Iterator<Item = &Arc<str>> {
        let before = |at: usize, id: &str| self.versions[..at].iter().any(|version| *version.client_id == *id);
        let versions = self.versions.iter().enumerate();
        let versions = versions.filter(move |(at, v)| !before(*at, &v.client_id)).map(|(_, v)| &v.client_id);
        versions.chain(&self.external_client_id)
    }
}

/// One text for all versions that have it: what is looked up by it is compared with it again.
fn shared(known: &mut Vec<Arc<str>>, text: String) -> Arc<str> {
    let found = known.iter().find(|known| ***known == *text).cloned();
    found.unwrap_or_else(|| {
        let text = Arc::from(text);
        known.push(Arc::clone(&text));
        text
    })
}

fn called(secret: &Secret, expected: String) -> Result<(), FactsError> {
    if secret.metadata.name.as_deref() == Some(&expected) { Ok(()) } else { Err(FactsError::WrongName { expected }) }
}

fn fingerprint(uid: &str, hash: &SecretHash) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    // A UID never contains a NUL, so that no two pairs give one text.
    for part in [uid.as_bytes(), &[0], hash.as_phc().as_bytes()] {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// An issuer's signing keys.
#[derive(Clone, Debug)]
pub struct KeyFacts {
    /// The issuer's name.
    pub issuer: String,
    /// Which of them signs and which are published, a matter of time, is theirs to tell.
    pub keys: Arc<Keys>,
}

impl KeyFacts {
    /// Reads a Secret with signing keys; its bytes are wiped once they are in place. What is damaged is left out.
    ///
    /// # Errors
    /// When it names no issuer, lies under another name, or no key of it can be used: what was known stays in force then.
    pub fn parse(mut secret: Secret) -> Result<Self, FactsError> {
        let labels = secret.metadata.labels.as_ref();
        let issuer = labels.and_then(|labels| labels.get(names::LABEL_ISSUER)).cloned().ok_or(FactsError::NoIssuer)?;
        called(&secret, names::signing_keys(&issuer))?;
        let data = secret.data.take().unwrap_or_default();
        let keys = Keys::parse(data.into_iter().map(|(key, bytes)| (key, Zeroizing::new(bytes.0))).collect());
        if keys.is_empty() { Err(FactsError::NoKey) } else { Ok(Self { issuer, keys: Arc::new(keys) }) }
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
