//! An account as the rules see it: parsed from a `ServiceAccount`, with defaults filled in and every bound checked again.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use thiserror::Error;

use super::duration;
use super::names;
use super::record::Owner;
use super::restart::Target;
use crate::api::service_account::{ClientSecret, KeyNames, Mode, Rotation, Template};
use crate::api::{self, ServiceAccount, Timestamp};

/// A parsed account.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// UID, namespace and name.
    pub owner: Owner,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `spec.enabled`.
    pub enabled: bool,
    /// Internal with its secret's settings, or External with its client ID.
    pub authentication: Authentication,
    /// `spec.userGroups`.
    pub groups: Vec<String>,
    /// `spec.rolloutRestart`.
    pub restarts: Vec<Target>,
    /// The annotation `keyrota.dev/created-by`.
    pub created_by: Option<String>,
}

/// The two kinds of accounts.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one lives per reconcile; nearly all are the large variant")]
pub enum Authentication {
    /// Generated client ID and secret.
    Internal(SecretSettings),
    /// A client ID at a trusted issuer, and no secret.
    External {
        /// `spec.authentication.externalClientId`.
        client_id: String,
        /// `spec.authentication.trustedIssuer`.
        trusted_issuer: Option<String>,
    },
}

/// How an Internal account's secret is made and published.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretSettings {
    /// 1 to 365.
    pub validity_days: i32,
    /// Automatic or Manual.
    pub rotation: Rotation,
    /// How long before expiry the next secret is published.
    pub overlap: TimeDelta,
    /// Whether people are told of the expiry.
    pub notify: bool,
    /// The published Secret's name.
    pub secret_name: String,
    /// What else goes into it.
    pub template: Template,
    /// `spec.regenerate.clientSecret`.
    pub regenerate_secret: i64,
    /// `spec.regenerate.clientId`.
    pub regenerate_id: i64,
}

impl SecretSettings {
    /// The validity as a duration; a day is 86,400 s.
    #[must_use]
    pub fn validity(&self) -> TimeDelta {
        validity(self.validity_days)
    }
}

/// `days` of 86,400 s.
#[must_use]
pub fn validity(days: i32) -> TimeDelta {
    TimeDelta::days(days.into())
}

/// A field of a `ServiceAccount` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("spec.{field}: {problem}")]
pub struct AccountError {
    /// The field's path below `spec`.
    pub field: &'static str,
    /// What is wrong with its value, and the remedy.
    pub problem: String,
}

fn wrong<T>(field: &'static str, problem: impl Into<String>) -> Result<T, AccountError> {
    Err(AccountError { field, problem: problem.into() })
}

impl Account {
    /// Reads an object; checks again what the CRD checks, since an object can predate a rule.
    ///
    /// # Errors
    /// The first field whose value cannot be used.
    pub fn parse(object: &ServiceAccount) -> Result<Self, AccountError> {
        let meta = &object.metadata;
        let owner = Owner {
            uid: meta.uid.clone().unwrap_or_default(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        };
        if owner.name.len() > 241 {
            return wrong(
                "(metadata.name)",
                "must be at most 241 characters: the name of the published Secret derives from it",
            );
        }
        if object.spec.user_groups.len() > 64 {
            return wrong("userGroups", "an account can be in at most 64 groups");
        }
        Ok(Self {
            authentication: authentication(object, &owner.name)?,
            owner,
            generation: meta.generation.unwrap_or_default(),
            created: created(meta),
            deleting: meta.deletion_timestamp.is_some(),
            enabled: object.spec.enabled,
            groups: object.spec.user_groups.clone(),
            restarts: restarts(object)?,
            created_by: meta.annotations.as_ref().and_then(|all| all.get(api::CREATED_BY)).cloned(),
        })
    }
}

/// When an object was created; the epoch for one that the API server has not seen.
#[must_use]
pub fn created(meta: &ObjectMeta) -> Timestamp {
    let seconds = meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second());
    Timestamp::from(chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default())
}

fn restarts(object: &ServiceAccount) -> Result<Vec<Target>, AccountError> {
    let parse = |entry| Target::parse(entry).or_else(|problem| wrong("rolloutRestart", problem));
    object.spec.rollout_restart.iter().map(parse).collect()
}

fn authentication(object: &ServiceAccount, name: &str) -> Result<Authentication, AccountError> {
    let spec = &object.spec;
    match (spec.authentication.mode, &spec.authentication.external_client_id) {
        (Mode::External, Some(_)) if spec.client_secret.is_some() => {
            wrong("clientSecret", "is only for authentication.mode Internal: an External account has no secret")
        }
        (Mode::External, Some(client_id)) if (1..=255).contains(&client_id.len()) => {
            let trusted_issuer = spec.authentication.trusted_issuer.clone();
            Ok(Authentication::External { client_id: client_id.clone(), trusted_issuer })
        }
        (Mode::External, Some(_)) => wrong("authentication.externalClientId", "must have 1 to 255 characters"),
        (Mode::External, None) => {
            wrong("authentication.externalClientId", "is required with authentication.mode External")
        }
        (Mode::Internal, Some(_)) => {
            wrong("authentication.externalClientId", "is forbidden with authentication.mode Internal")
        }
        (Mode::Internal, None) => secret_settings(object, name).map(Authentication::Internal),
    }
}

fn secret_settings(object: &ServiceAccount, name: &str) -> Result<SecretSettings, AccountError> {
    let ClientSecret { validity_days, rotation, overlap, expiry_notifications, secret_name, template } =
        object.spec.client_secret.clone().unwrap_or_default();
    if !(1..=365).contains(&validity_days) {
        return wrong("clientSecret.validityDays", format!("{validity_days} is not between 1 and 365"));
    }
    let template = template.unwrap_or_default();
    check_template(&template)?;
    let regenerate = object.spec.regenerate.clone().unwrap_or_default();
    Ok(SecretSettings {
        overlap: overlap_of(overlap.as_deref(), validity_days)?,
        validity_days,
        rotation,
        notify: expiry_notifications,
        secret_name: secret_name.unwrap_or_else(|| names::default_secret(name)),
        template,
        regenerate_secret: regenerate.client_secret,
        regenerate_id: regenerate.client_id,
    })
}

/// The smaller of 24 h and a third of the validity, unless the spec says otherwise.
fn overlap_of(text: Option<&str>, validity_days: i32) -> Result<TimeDelta, AccountError> {
    const FIELD: &str = "clientSecret.overlap";
    let third = validity(validity_days) / 3;
    let Some(text) = text else {
        return Ok(third.min(TimeDelta::hours(24)));
    };
    let overlap = duration::parse(text).or_else(|error| wrong(FIELD, error.to_string()))?;
    if overlap < TimeDelta::seconds(1) || overlap > third {
        return wrong(
            FIELD,
            format!("\"{text}\" must be between 1s and a third of validityDays ({})", duration::human(third)),
        );
    }
    Ok(overlap)
}

fn check_template(template: &Template) -> Result<(), AccountError> {
    let reserved = |key: &&String| key.starts_with(api::PREFIX) || key.as_str() == api::MANAGED_BY;
    if let Some(key) = template.labels.keys().find(reserved) {
        return wrong("clientSecret.template.labels", format!("\"{key}\" is reserved"));
    }
    if let Some(key) = template.annotations.keys().find(|key| key.starts_with(api::PREFIX)) {
        return wrong("clientSecret.template.annotations", format!("\"{key}\" is reserved"));
    }
    let names = published_names(template.keys.as_ref());
    let mut taken: Vec<&str> = names.values().map(String::as_str).collect();
    taken.sort_unstable();
    if let Some(pair) = taken.windows(2).find(|pair| pair[0] == pair[1]) {
        return wrong("clientSecret.template.keys", format!("two published keys would be named \"{}\"", pair[0]));
    }
    let clash = |key: &&String| names.contains_key(key.as_str()) || taken.binary_search(&key.as_str()).is_ok();
    if let Some(key) = template.extra_data.keys().find(clash) {
        return wrong("clientSecret.template.extraData", format!("\"{key}\" is published already: use another key"));
    }
    Ok(())
}

/// The published keys by their own names, each with the name it is published under.
#[must_use]
pub fn published_names(renamed: Option<&KeyNames>) -> BTreeMap<&'static str, String> {
    let KeyNames { client_id, client_secret, token_url, issuer, jwks_uri, ca_crt, expires_at, type_, provider } =
        renamed.cloned().unwrap_or_default();
    [
        ("client-id", client_id),
        ("client-secret", client_secret),
        ("token-url", token_url),
        ("issuer", issuer),
        ("jwks-uri", jwks_uri),
        ("ca.crt", ca_crt),
        ("expires-at", expires_at),
        ("type", type_),
        ("provider", provider),
    ]
    .into_iter()
    .map(|(key, name)| (key, name.unwrap_or_else(|| key.to_owned())))
    .collect()
}

/// Who of two accounts holds a client ID that both name: the lesser, which is the older. The API server keeps seconds
/// only; of two of the same second it is the lesser UID, by chance, but the same wherever it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seniority<'a> {
    created: Timestamp,
    uid: &'a str,
}

impl<'a> Seniority<'a> {
    /// By `metadata.creationTimestamp` and `metadata.uid`.
    #[must_use]
    pub fn new(created: Timestamp, uid: &'a str) -> Self {
        Self { created, uid }
    }

    /// Of an object that may not be an account that can be parsed.
    #[must_use]
    pub fn of(meta: &'a ObjectMeta) -> Self {
        Self { created: created(meta), uid: meta.uid.as_deref().unwrap_or_default() }
    }
}
