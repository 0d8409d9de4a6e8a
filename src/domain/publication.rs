//! What the published Secret says (SPEC section 4), apart from the secret itself.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::account::{SecretSettings, published_names};
use super::credential::Version;
use super::issuer::Issuer;
use super::paths;
use super::record::Owner;
use crate::api;

/// Annotation of the published Secret: [`Publication::fingerprint`], by which a change of the template or of an
/// endpoint is seen without reading the Secret.
pub const FINGERPRINT: &str = "keyrota.dev/fingerprint";
/// Annotation of the published Secret: the number of the credential version in it.
pub const VERSION: &str = "keyrota.dev/credential-version";

/// Annotation of the published Secret: the key that the client secret stands under, so that it is found again after the
/// template gave it another name.
pub const SECRET_KEY: &str = "keyrota.dev/client-secret-key";
/// Annotation of the published Secret: [`Owned`] as JSON, what of it we set and may therefore take away again.
pub const OWNED: &str = "keyrota.dev/owned";

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

impl Endpoints {
    /// Those of an issuer. Its clients get the manual's endpoint, or the standard one where that is switched off.
    #[must_use]
    pub fn of(issuer: &Issuer, external_url: &str, ca_crt: Option<String>) -> Self {
        let base = issuer.base_url(external_url);
        let token_url = if issuer.legacy.enabled {
            format!("{base}{}?gwsource=external", paths::LEGACY_TOKEN)
        } else {
            format!("{base}{}", paths::TOKEN)
        };
        let issuer_url = issuer.url(external_url).into_owned();
        Self { token_url, issuer: issuer_url, jwks_uri: format!("{base}{}", paths::JWKS), ca_crt }
    }
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
        annotations.insert(SECRET_KEY.into(), name("client-secret"));
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

/// The names of everything that we set in a published Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owned {
    labels: Vec<String>,
    annotations: Vec<String>,
    data: Vec<String>,
}

/// The parts of a published Secret that more than one party may write.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `data`; secret.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl Publication {
    /// Writes this over what is there: our items are set, items that were ours and are no more are taken away, and
    /// everybody else's stay.
    #[must_use]
    pub fn over(&self, mut content: Content, client_secret: &[u8]) -> Content {
        let before = owned(&content);
        content.labels.retain(|key, _| !before.labels.contains(key));
        content.annotations.retain(|key, _| !before.annotations.contains(key));
        content.data.retain(|key, _| !before.data.contains(key));
        content.labels.extend(self.labels.clone());
        content.annotations.extend(self.annotations.clone());
        content.annotations.insert(FINGERPRINT.into(), self.fingerprint());
        content.annotations.insert(OWNED.into(), serde_json::to_string(&self.owned()).unwrap_or_default());
        content.data.extend(self.data.iter().map(|(key, value)| (key.clone(), value.clone().into_bytes())));
        content.data.insert(self.secret_key.clone(), client_secret.to_vec());
        content
    }

    /// What in `content` is not as it should be, by name and without values. The secret itself is not looked at.
    #[must_use]
    pub fn differences(&self, content: &Content) -> Vec<String> {
        let labels = self.labels.iter().filter(|(key, value)| content.labels.get(*key) != Some(*value));
        let annotations = self.annotations.iter().filter(|(key, value)| content.annotations.get(*key) != Some(*value));
        let data =
            self.data.iter().filter(|(key, value)| content.data.get(*key).map(Vec::as_slice) != Some(value.as_bytes()));
        let mut differences: Vec<String> = labels
            .map(|(key, _)| format!("label {key}"))
            .chain(annotations.map(|(key, _)| format!("annotation {key}")))
            .chain(data.map(|(key, _)| format!("key {key}")))
            .collect();
        if differences.is_empty() && owned(content) != self.owned() {
            differences.push("the names of keys, labels or annotations".into());
        }
        if differences.is_empty() && content.annotations.get(FINGERPRINT) != Some(&self.fingerprint()) {
            differences.push(format!("annotation {FINGERPRINT}"));
        }
        differences
    }

    fn owned(&self) -> Owned {
        Owned {
            labels: self.labels.keys().cloned().collect(),
            annotations: self.annotations.keys().cloned().collect(),
            data: self.data.keys().cloned().chain([self.secret_key.clone()]).collect(),
        }
    }
}

fn owned(content: &Content) -> Owned {
    content.annotations.get(OWNED).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::service_account::{ClientSecret, KeyNames, Template};
    use crate::api::{ServiceAccount, ServiceAccountSpec, Timestamp};
    use crate::domain::account::{Account, Authentication};
    use crate::domain::credential::{Reason, SecretHash, State};

    fn settings(renamed: Option<KeyNames>) -> SecretSettings {
        let template = Template {
            labels: [("team".to_owned(), "payments".to_owned())].into(),
            extra_data: [("tenant".to_owned(), "acme".to_owned())].into(),
            keys: renamed,
            ..Template::default()
        };
        let secret = ClientSecret { template: Some(template), ..ClientSecret::default() };
        let spec = ServiceAccountSpec { client_secret: Some(secret), ..ServiceAccountSpec::default() };
        match Account::parse(&ServiceAccount::new("exporter", spec)).unwrap().authentication {
            Authentication::Internal(settings) => settings,
            Authentication::External { .. } => unreachable!("the spec is Internal"),
        }
    }

    #[test]
    fn clients_are_sent_to_what_their_issuer_serves() {
        let external = "https://tokens.example.com:31443";
        let mut issuer = Issuer::built_in();
        let endpoints = Endpoints::of(&issuer, external, None);
        assert_eq!(endpoints.issuer, external);
        assert_eq!(
            endpoints.token_url,
            "https://tokens.example.com:31443/avxapi/acctmgmt-get-service-token?gwsource=external"
        );
        assert_eq!(endpoints.jwks_uri, "https://tokens.example.com:31443/.well-known/jwks.json");
        issuer.hosts = vec!["acme.example".into(), "second.example".into()];
        issuer.oauth.issuer = Some("https://named.example".into());
        issuer.legacy.enabled = false;
        let endpoints = Endpoints::of(&issuer, external, None);
        assert_eq!(endpoints.issuer, "https://named.example");
        assert_eq!(endpoints.token_url, "https://acme.example:31443/oauth2/token");
        assert_eq!(endpoints.jwks_uri, "https://acme.example:31443/.well-known/jwks.json");
        assert_eq!(
            Endpoints::of(&issuer, "https://[::1]", None).jwks_uri,
            "https://acme.example/.well-known/jwks.json"
        );
    }

    fn publication(renamed: Option<KeyNames>) -> Publication {
        let time = Timestamp::parse("2026-11-21T12:00:00Z").unwrap();
        let version = Version {
            version: 3,
            client_id: "97074e41-8af9-456d-9a64-f0c4bb908048".into(),
            secret_hash: SecretHash::from_phc(String::new()),
            state: State::Current,
            not_before: time,
            not_after: time,
            validity_days: 180,
            reason: Reason::Created,
            answers: None,
            retired_time: None,
            retries: 0,
            unknown: serde_json::Map::new(),
        };
        let owner = Owner { uid: "u".into(), namespace: "shop".into(), name: "exporter".into() };
        Publication::of(&owner, &settings(renamed), &version, &Endpoints::default())
    }

    #[test]
    fn all_keys_of_the_spec_are_published() {
        let content = publication(None).over(Content::default(), b"s");
        let keys: Vec<_> = content.data.keys().map(String::as_str).collect();
        let expected = [
            "client-id",
            "client-secret",
            "expires-at",
            "issuer",
            "jwks-uri",
            "provider",
            "tenant",
            "token-url",
            "type",
        ];
        assert_eq!(keys, expected);
        assert!(publication(None).differences(&content).is_empty());
    }

    #[test]
    fn a_renamed_key_takes_its_old_name_away_and_leaves_what_others_added() {
        let mut content = publication(None).over(Content::default(), b"s");
        content.data.insert("theirs".into(), b"x".to_vec());
        content.labels.insert("argocd.argoproj.io/instance".into(), "app".into());
        let renamed = publication(Some(KeyNames { client_id: Some("CLIENT_ID".into()), ..KeyNames::default() }));
        assert!(!renamed.differences(&content).is_empty());
        let after = renamed.over(content, b"s");
        assert!(after.data.contains_key("CLIENT_ID") && !after.data.contains_key("client-id"));
        assert!(after.data.contains_key("theirs") && after.labels.contains_key("argocd.argoproj.io/instance"));
        assert!(renamed.differences(&after).is_empty());
    }

    #[test]
    fn every_item_that_somebody_altered_is_named_without_its_value() {
        let mut content = publication(None).over(Content::default(), b"s");
        content.data.insert("client-id".into(), b"forged".to_vec());
        content.labels.remove("team");
        assert_eq!(publication(None).differences(&content), ["label team", "key client-id"]);
    }
}
