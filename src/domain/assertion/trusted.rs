//! A trusted issuer as the rules see it.

use std::sync::Arc;

use thiserror::Error;

use super::jwks::{KeySet, KeySetError};
use crate::api::token_issuer;

/// A foreign issuer whose tokens External accounts may present.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustedIssuer {
    /// What accounts call it.
    pub name: String,
    /// The claim `iss` of its tokens.
    pub issuer: String,
    /// The claim `aud` that they must carry; our own issuer when there is none.
    pub audience: Option<String>,
    /// The claim that is the client ID.
    pub client_id_claim: String,
    /// How its tokens are proven; a mistake there concerns nobody but who uses it.
    pub proof: Result<Proof, TrustError>,
}

/// How tokens of a trusted issuer are proven.
#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// By these keys.
    Keys(Arc<KeySet>),
    /// By the keys at this URI.
    Uri(String),
    /// By TokenReview: it is this cluster.
    Kubernetes,
}

/// Why a trusted issuer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TrustError {
    /// No source of keys, or more than one.
    #[error("give exactly one of jwks, jwksUri and kubernetes: true")]
    Sources,
    /// The inline keys.
    #[error("jwks cannot be used: {0}")]
    Keys(#[from] KeySetError),
    /// The URI.
    #[error("jwksUri must be an https URI")]
    Uri,
}

impl TrustedIssuer {
    /// Takes what is written, and parses what can be wrong with it.
    #[must_use]
    pub fn parse(spec: &token_issuer::TrustedIssuer) -> Self {
        let token_issuer::TrustedIssuer { name, issuer, audience, client_id_claim, jwks, jwks_uri, kubernetes } = spec;
        let proof = match (jwks, jwks_uri, kubernetes) {
            (Some(jwks), None, false) => {
                KeySet::parse(jwks.as_bytes()).map(|keys| Proof::Keys(Arc::new(keys))).map_err(Into::into)
            }
            (None, Some(uri), false) if uri.starts_with("https://") => Ok(Proof::Uri(uri.clone())),
            (None, Some(_), false) => Err(TrustError::Uri),
            (None, None, true) => Ok(Proof::Kubernetes),
            _ => Err(TrustError::Sources),
        };
        Self {
            name: name.clone(),
            issuer: issuer.clone(),
            audience: audience.clone(),
            client_id_claim: client_id_claim.clone(),
            proof,
        }
    }
}

/// Whether an account that names this trusted issuer (or none, where there is exactly one) trusts `issuer`.
#[must_use]
pub fn trusts(named: Option<&str>, issuer: &TrustedIssuer, all: &[TrustedIssuer]) -> bool {
    named.map_or(all.len() == 1, |name| name == issuer.name)
}

/// Why an account that names this trusted issuer (or none) can have no tokens: it names one that is not there, or none where
/// there is not exactly one. None when it can.
#[must_use]
pub fn missing(named: Option<&str>, all: &[TrustedIssuer]) -> Option<String> {
    match named {
        Some(name) if all.iter().any(|issuer| issuer.name == name) => None,
        Some(name) => Some(format!("none of its trustedIssuers is named \"{name}\"")),
        None if all.len() == 1 => None,
        None if all.is_empty() => Some("it has no trustedIssuers".into()),
        None => {
            Some(format!("it has {} trustedIssuers, and authentication.trustedIssuer names none of them", all.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::EC;
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn spec(change: impl FnOnce(&mut token_issuer::TrustedIssuer)) -> TrustedIssuer {
        let mut spec: token_issuer::TrustedIssuer =
            serde_json::from_value(json!({"name": "idp", "issuer": "https://idp.example"})).unwrap();
        change(&mut spec);
        TrustedIssuer::parse(&spec)
    }

    #[test]
    fn each_source_is_a_way_to_prove() {
        let keys = EC.set("k");
        assert!(matches!(spec(|spec| spec.jwks = Some(keys)).proof, Ok(Proof::Keys(_))));
        let uri = "https://idp.example/jwks";
        assert_eq!(spec(|spec| spec.jwks_uri = Some(uri.into())).proof, Ok(Proof::Uri(uri.into())));
        assert_eq!(spec(|spec| spec.kubernetes = true).proof, Ok(Proof::Kubernetes));
    }

    #[rstest]
    #[case::none(None, None, false, TrustError::Sources)]
    #[case::two(None, Some("https://x"), true, TrustError::Sources)]
    #[case::plain(None, Some("http://idp.example/jwks"), false, TrustError::Uri)]
    #[case::symmetric(
        Some(r#"{"keys":[{"kty":"oct","k":"AA"}]}"#),
        None,
        false,
        TrustError::Keys(KeySetError::Symmetric)
    )]
    fn a_mistake_is_a_value_and_says_its_field(
        #[case] jwks: Option<&str>,
        #[case] uri: Option<&str>,
        #[case] kubernetes: bool,
        #[case] error: TrustError,
    ) {
        let found = spec(|spec| {
            spec.jwks = jwks.map(Into::into);
            spec.jwks_uri = uri.map(Into::into);
            spec.kubernetes = kubernetes;
        });
        assert_eq!(found.proof, Err(error));
        assert!(error.to_string().contains("jwks"));
    }

    #[test]
    fn an_account_trusts_the_issuer_that_it_names_or_the_only_one() {
        let (one, two) = (spec(|spec| spec.name = "one".into()), spec(|spec| spec.name = "two".into()));
        let both = [one.clone(), two.clone()];
        assert!(trusts(Some("one"), &one, &both) && !trusts(Some("one"), &two, &both));
        assert!(trusts(None, &one, &both[..1]) && !trusts(None, &one, &both));
        for named in [None, Some("one"), Some("three")] {
            for all in [&[], &both[..1], &both[..]] {
                let trusted = all.iter().any(|issuer| trusts(named, issuer, all));
                assert_eq!(missing(named, all).is_none(), trusted, "{named:?} of {}", all.len());
            }
        }
    }
}
