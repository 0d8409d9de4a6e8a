//! A token issuer as the rules see it: parsed, with defaults filled in; and which issuer serves what.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::TimeDelta;
use thiserror::Error;

use super::assertion::trusted::TrustedIssuer;
use super::duration::{self, DurationError};
use super::names::DEFAULT_ISSUER;
use crate::api::token_issuer::{Algorithm, PublishKeyTo};
use crate::api::{Timestamp, TokenIssuer, TokenIssuerSpec};

/// The longest grace (manual page 000: "a maximum of 24 hrs").
pub const MAX_GRACE: TimeDelta = TimeDelta::hours(24);

/// One tenant's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// `metadata.name`.
    pub name: String,
    /// How long a previous secret works after a regeneration.
    pub grace: TimeDelta,
    /// How long a token is valid.
    pub token_lifetime: TimeDelta,
    /// The manual's endpoint.
    pub legacy: LegacySettings,
    /// The standard endpoints.
    pub oauth: OauthSettings,
    /// The life of its signing keys.
    pub keys: KeySettings,
    /// `spec.namespaces`.
    pub namespaces: Vec<String>,
    /// `spec.hosts`.
    pub hosts: Vec<String>,
    /// `spec.trustedIssuers`.
    pub trusted: Vec<TrustedIssuer>,
}

/// Settings of the manual's endpoint and its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacySettings {
    /// Whether it answers.
    pub enabled: bool,
    /// `sub`, with `{name}` and `{namespace}` still in it.
    pub subject: String,
    /// `aud`.
    pub audience: String,
    /// `iss`.
    pub issuer: String,
    /// The Secret that gives resource servers the keys.
    pub publish_key_to: Option<PublishKeyTo>,
}

/// Settings of the standard endpoints and their tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthSettings {
    /// Whether they answer.
    pub enabled: bool,
    /// `iss`; none for the gateway's external URL.
    pub issuer: Option<String>,
    /// What new keys sign with.
    pub algorithm: Algorithm,
    /// What `aud` may be asked for; empty for the issuer itself.
    pub audiences: Vec<String>,
}

/// The life of signing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySettings {
    /// How long an OAuth key signs before the next one takes over.
    pub rotation: TimeDelta,
    /// The counter that asks for new keys.
    pub regenerate: i64,
    /// Old keys go at once.
    pub revoke_old: bool,
}

impl LegacySettings {
    /// The claim `sub` of one account's tokens.
    #[must_use]
    pub fn subject_of(&self, namespace: &str, name: &str) -> Cow<'_, str> {
        if !self.subject.contains('{') {
            return Cow::Borrowed(&self.subject);
        }
        Cow::Owned(self.subject.replace("{namespace}", namespace).replace("{name}", name))
    }
}

/// A field of a TokenIssuer that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("spec.{field}: {problem}")]
pub struct IssuerError {
    /// The field's path below `spec`.
    pub field: &'static str,
    /// What is wrong with its value, and the remedy.
    pub problem: String,
}

impl Issuer {
    /// Reads a spec; checks again what the CRD checks, since an object can predate a rule.
    ///
    /// # Errors
    /// The first field whose value cannot be used.
    pub fn parse(name: &str, spec: &TokenIssuerSpec) -> Result<Self, IssuerError> {
        let grace = bounded("gracePeriod", &spec.grace_period, TimeDelta::zero(), MAX_GRACE, "must be at most 24h")?;
        let token_lifetime = bounded(
            "tokenLifetime",
            &spec.token_lifetime,
            TimeDelta::seconds(60),
            TimeDelta::hours(24),
            "must be between 60s and 24h",
        )?;
        let rotation = bounded(
            "keys.rotation",
            &spec.keys.rotation,
            TimeDelta::hours(24),
            TimeDelta::days(3_652_500),
            "must be at least 24h",
        )?;
        Ok(Self {
            name: name.into(),
            grace,
            token_lifetime,
            legacy: LegacySettings {
                enabled: spec.legacy.enabled,
                subject: spec.legacy.subject.clone(),
                audience: spec.legacy.audience.clone(),
                issuer: spec.legacy.issuer.clone(),
                publish_key_to: spec.legacy.publish_key_to.clone(),
            },
            oauth: OauthSettings {
                enabled: spec.oauth.enabled,
                issuer: spec.oauth.issuer.clone(),
                algorithm: spec.oauth.algorithm,
                audiences: spec.oauth.audiences.clone(),
            },
            keys: KeySettings { rotation, regenerate: spec.keys.regenerate, revoke_old: spec.keys.revoke_old },
            namespaces: spec.namespaces.clone(),
            hosts: spec.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            trusted: spec.trusted_issuers.iter().map(TrustedIssuer::parse).collect(),
        })
    }

    /// What is wrong with a part that does not keep the rest from being served.
    #[must_use]
    pub fn flaw(&self) -> Option<IssuerError> {
        self.trusted.iter().find_map(|trusted| {
            let error = trusted.proof.as_ref().err()?;
            Some(IssuerError { field: "trustedIssuers", problem: format!("\"{}\": {error}", trusted.name) })
        })
    }

    /// Where its clients find the gateway, without a trailing slash: at its first host, else at the external URL itself.
    #[must_use]
    pub fn base_url<'a>(&self, external: &'a str) -> Cow<'a, str> {
        let Some(host) = self.hosts.first() else { return Cow::Borrowed(external) };
        let port = external.parse::<http::Uri>().ok().and_then(|uri| uri.port_u16());
        Cow::Owned(port.map_or_else(|| format!("https://{host}"), |port| format!("https://{host}:{port}")))
    }

    /// The claim `iss` of its OAuth tokens.
    #[must_use]
    pub fn url<'a>(&'a self, external: &'a str) -> Cow<'a, str> {
        self.oauth.issuer.as_deref().map_or_else(|| self.base_url(external), Cow::Borrowed)
    }

    /// The built-in defaults, in force while no issuer of that name exists.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            name: DEFAULT_ISSUER.into(),
            grace: TimeDelta::zero(),
            token_lifetime: TimeDelta::hours(1),
            legacy: LegacySettings {
                enabled: true,
                subject: "platform".into(),
                audience: "avx".into(),
                issuer: "avx".into(),
                publish_key_to: None,
            },
            oauth: OauthSettings { enabled: true, issuer: None, algorithm: Algorithm::ES256, audiences: Vec::new() },
            keys: KeySettings { rotation: TimeDelta::days(90), regenerate: 0, revoke_old: false },
            namespaces: Vec::new(),
            hosts: Vec::new(),
            trusted: Vec::new(),
        }
    }
}

fn bounded(
    field: &'static str,
    text: &str,
    min: TimeDelta,
    max: TimeDelta,
    bounds: &str,
) -> Result<TimeDelta, IssuerError> {
    let value =
        duration::parse(text).map_err(|error: DurationError| IssuerError { field, problem: error.to_string() })?;
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(IssuerError { field, problem: format!("\"{text}\" {bounds}") })
    }
}

/// All issuers, oldest first, and who of them serves what.
#[derive(Clone, Debug, Default)]
pub struct Issuers {
    by_age: Vec<(Issuer, Timestamp)>,
    /// Positions in `by_age`, so that a request costs two look-ups however many tenants there are.
    namespaces: HashMap<String, usize>,
    hosts: HashMap<String, usize>,
    default: usize,
}

impl Issuers {
    /// Sorts them by age, then name, so that every replica decides alike. Unusable ones are left out; the caller
    /// reports them.
    pub fn from_objects<'a>(objects: impl IntoIterator<Item = &'a TokenIssuer>) -> Self {
        let mut by_age: Vec<_> = objects
            .into_iter()
            .filter_map(|object| {
                let name = object.metadata.name.as_deref()?;
                let issuer = Issuer::parse(name, &object.spec).ok()?;
                Some((issuer, super::account::created(&object.metadata)))
            })
            .collect();
        by_age.sort_by(|(a, a_born), (b, b_born)| (a_born, &a.name).cmp(&(b_born, &b.name)));
        if !by_age.iter().any(|(issuer, _)| issuer.name == DEFAULT_ISSUER) {
            by_age.push((Issuer::built_in(), Timestamp::from(chrono::DateTime::UNIX_EPOCH)));
        }
        let (mut namespaces, mut hosts) = (HashMap::new(), HashMap::new());
        for (at, (issuer, _)) in by_age.iter().enumerate() {
            for namespace in &issuer.namespaces {
                namespaces.entry(namespace.clone()).or_insert(at);
            }
            for host in &issuer.hosts {
                hosts.entry(host.clone()).or_insert(at);
            }
        }
        let default = by_age.iter().position(|(issuer, _)| issuer.name == DEFAULT_ISSUER).unwrap_or_default();
        Self { by_age, namespaces, hosts, default }
    }

    /// The issuer of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Issuer> {
        self.by_age.iter().map(|(issuer, _)| issuer).find(|issuer| issuer.name == name)
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Issuer> {
        self.by_age.iter().map(|(issuer, _)| issuer)
    }

    /// The issuer that serves a namespace: the oldest that lists it, else `default`.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Option<&Issuer> {
        self.at(self.namespaces.get(namespace))
    }

    fn at(&self, position: Option<&usize>) -> Option<&Issuer> {
        self.by_age.get(*position.unwrap_or(&self.default)).map(|(issuer, _)| issuer)
    }

    /// The issuer that a request's host belongs to: the oldest that lists it, else `default`. `host` is a Host header
    /// or authority, with or without port, in any case.
    #[must_use]
    pub fn of_host(&self, host: &str) -> Option<&Issuer> {
        if self.hosts.is_empty() {
            return self.at(None);
        }
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        self.at(self.hosts.get(&name))
    }

    /// The older issuer that has a namespace or host of this one already, and which.
    #[must_use]
    pub fn rival_of(&self, issuer: &Issuer) -> Option<(&Issuer, String)> {
        self.iter().take_while(|older| older.name != issuer.name).find_map(|older| {
            let taken =
                issuer.namespaces.iter().find(|ns| older.namespaces.contains(ns)).map(|ns| format!("namespace {ns}"));
            let taken = taken.or_else(|| {
                issuer.hosts.iter().find(|host| older.hosts.contains(host)).map(|host| format!("host {host}"))
            });
            Some((older, taken?))
        })
    }
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.split_inclusive(']').next().unwrap_or(host);
    }
    host.split(':').next().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use rstest::rstest;

    fn object(name: &str, born: i64, namespaces: &[&str], hosts: &[&str]) -> TokenIssuer {
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        TokenIssuer {
            metadata: ObjectMeta {
                name: Some(name.into()),
                creation_timestamp: Some(Time(k8s_openapi::jiff::Timestamp::from_second(born).unwrap())),
                ..ObjectMeta::default()
            },
            spec: TokenIssuerSpec {
                namespaces: strings(namespaces),
                hosts: strings(hosts),
                ..TokenIssuerSpec::default()
            },
            status: None,
        }
    }

    #[test]
    fn the_built_in_defaults_are_those_of_an_empty_spec() {
        assert_eq!(Issuer::parse("default", &TokenIssuerSpec::default()), Ok(Issuer::built_in()));
    }

    #[test]
    fn a_namespace_listed_twice_stays_with_the_older_issuer() {
        let issuers = Issuers::from_objects(&[object("b", 5, &["shop"], &[]), object("a", 9, &["shop"], &[])]);
        assert_eq!(issuers.of_namespace("shop").unwrap().name, "b");
        let younger = issuers.get("a").unwrap();
        assert_eq!(
            issuers.rival_of(younger).map(|(older, what)| (older.name.clone(), what)),
            Some(("b".into(), "namespace shop".into()))
        );
        assert!(issuers.rival_of(issuers.get("b").unwrap()).is_none());
    }

    #[rstest]
    #[case("tokens.acme.example", "acme")]
    #[case("TOKENS.acme.example:31443", "acme")]
    #[case("tokens.acme.example.", "acme")]
    #[case("127.0.0.1:31443", "default")]
    #[case("[::1]:31443", "default")]
    #[case("nobody.example", "default")]
    #[case("", "default")]
    fn a_host_belongs_to_the_issuer_that_lists_it_else_to_default(#[case] host: &str, #[case] issuer: &str) {
        let issuers = Issuers::from_objects(&[object("acme", 1, &[], &["tokens.acme.example"])]);
        assert_eq!(issuers.of_host(host).unwrap().name, issuer);
    }

    #[test]
    fn a_trusted_issuer_that_cannot_be_used_is_told_and_keeps_nothing_else_from_being_served() {
        let mut broken = object("acme", 1, &["shop"], &[]);
        let trusted = serde_json::json!({"name": "idp", "issuer": "x", "jwks": "{}"});
        broken.spec.trusted_issuers = vec![serde_json::from_value(trusted).unwrap()];
        let issuers = Issuers::from_objects([&broken]);
        let issuer = issuers.of_namespace("shop").unwrap();
        assert_eq!(issuer.name, "acme");
        let flaw = issuer.flaw().unwrap().to_string();
        assert!(flaw.starts_with("spec.trustedIssuers: \"idp\": jwks cannot be used"), "{flaw}");
        assert_eq!(issuers.get("default").unwrap().flaw(), None);
    }

    #[rstest]
    #[case("gracePeriod", "25h", "1h")]
    #[case("gracePeriod", "-0", "1h")]
    #[case("tokenLifetime", "0s", "59s")]
    #[case("tokenLifetime", "0s", "24h1s")]
    fn values_out_of_bounds_are_refused_by_the_name_of_their_field(
        #[case] field: &str,
        #[case] grace: &str,
        #[case] lifetime: &str,
    ) {
        let spec = TokenIssuerSpec {
            grace_period: grace.into(),
            token_lifetime: lifetime.into(),
            ..TokenIssuerSpec::default()
        };
        assert_eq!(Issuer::parse("x", &spec).unwrap_err().field, field);
    }
}
