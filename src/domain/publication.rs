//! What the published Secret says (SPEC section 4), apart from the secret itself.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use serde::Serialize;

use super::account::{SecretSettings, published_names};
use super::credential::Version;
use super::record::Owner;
use crate::api;

/// Annotation of the published Secret: [`Publication::fingerprint`], by which a change of the template or of an
/// endpoint is seen without reading the Secret.
pub const FINGERPRINT: &str = "keyrota.dev/fingerprint";
/// Annotation of the published Secret: the number of the credential version in it.
pub const VERSION: &str = "keyrota.dev/credential-version";

/// Where the gateway is, as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// `token-url`.
    pub token_url: String,
    /// `issuer`.
    pub issuer: String,
    /// `jwks-uri`.
    pub jwks_uri: String,
    /// `ca.crt`, when the gateway's CA is our own; PEM.
    pub ca_crt: Option<String>,
}

/// The published Secret without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Publication {
    /// Labels that we set.
    pub labels: BTreeMap<String, String>,
    /// Annotations that we set, but for the fingerprint.
    pub annotations: BTreeMap<String, String>,
    /// All data but the secret.
    pub data: BTreeMap<String, String>,
    /// The key that the secret stands under.
    pub secret_key: String,
    /// The key that the client ID stands under.
    pub client_id_key: String,
}

impl Publication {
    /// What should be published for a version.
    #[must_use]
    pub fn of(owner: &Owner, settings: &SecretSettings, version: &Version, endpoints: &Endpoints) -> Self {
        let names = published_names(settings.template.keys.as_ref());
        let name = |key: &str| names.get(key).cloned().unwrap_or_else(|| key.to_owned());
        let values = [
            ("client-id", Some(version.client_id.clone())),
            ("token-url", Some(endpoints.token_url.clone())),
            ("issuer", Some(endpoints.issuer.clone())),
            ("jwks-uri", Some(endpoints.jwks_uri.clone())),
            ("ca.crt", endpoints.ca_crt.clone()),
            ("expires-at", Some(version.not_after.to_string())),
            ("type", Some("keyrota".to_owned())),
            ("provider", Some("keyrota".to_owned())),
        ];
        let mut data = settings.template.extra_data.clone();
        data.extend(values.into_iter().filter_map(|(key, value)| Some((name(key), value?))));
        let mut labels = settings.template.labels.clone();
        labels.insert(api::MANAGED_BY.into(), api::MANAGER.into());
        let mut annotations = settings.template.annotations.clone();
        annotations.insert(VERSION.into(), version.version.to_string());
        annotations.insert("keyrota.dev/account".into(), owner.name.clone());
        Self { labels, annotations, data, secret_key: name("client-secret"), client_id_key: name("client-id") }
    }

    /// A hash of all of it. No secret goes into it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        digest::digest(&digest::SHA256, &text).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}
