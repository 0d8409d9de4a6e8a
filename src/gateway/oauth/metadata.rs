//! What clients and resource servers find out by themselves: metadata (RFC 8414, OpenID Connect Discovery) and keys.
//! Addresses come from the settings, never from the request.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, Request};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::answer;
use crate::api::Timestamp;
use crate::domain::issuer::Issuer;
use crate::domain::keys::Keys;
use crate::domain::{assertion, paths, signing};
use crate::gateway::endpoint::{App, Seen};
use crate::gateway::metrics::Endpoint;
use crate::gateway::refusal::Refusal;
use crate::gateway::request::RequestError;
use crate::index::World;

/// How long documents may be kept, in seconds. A new key is published an hour and more before it signs.
const KEEP: u32 = 300;

/// The methods of documents.
const READING: &str = "GET, HEAD";

/// Which document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// RFC 8414.
    Metadata,
    /// OpenID Connect Discovery 1.0, for verifiers that know no other way to find the keys.
    Discovery,
    /// RFC 7517.
    Jwks,
}

/// RFC 8414 section 2, and what OpenID Connect Discovery asks for besides.
#[derive(Serialize, ToSchema)]
pub struct Metadata {
    /// The claim `iss`.
    issuer: String,
    /// Where tokens are issued.
    token_endpoint: String,
    /// Where the keys are.
    jwks_uri: String,
    /// Where tokens are introspected.
    introspection_endpoint: String,
    /// The grants.
    grant_types_supported: Vec<&'static str>,
    /// Required, though there is no authorization endpoint; `none` says that nothing is returned from it.
    response_types_supported: Vec<&'static str>,
    /// How clients authenticate.
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    /// What assertions may be signed with. Only where one is accepted: the issuer trusts another.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint_auth_signing_alg_values_supported: Option<Vec<&'static str>>,
    /// Likewise.
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    /// Subjects are the same for everybody. Only in discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_types_supported: Option<Vec<&'static str>>,
    /// The algorithms of the published keys. Only in discovery.
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token_signing_alg_values_supported: Option<BTreeSet<&'static str>>,
}

/// Answers a request for a document that says the same to all.
pub fn described(document: &impl Serialize, method: &Method) -> Response {
    if *method == Method::GET || *method == Method::HEAD {
        return answer::public(document, KEEP);
    }
    answer::refused(Refusal::Request(RequestError::Method), READING)
}

impl App {
    /// Answers a request for a document.
    pub fn document(&self, which: Document, request: Request<Body>) -> Response {
        let world = self.authenticator.accounts.world();
        let mut seen = Seen::start(Endpoint::Document);
        let result = self.published(&world, which, &request.into_parts().0, &mut seen);
        self.conclude(&seen, result.as_ref().err().copied());
        result.unwrap_or_else(|refusal| answer::refused(refusal, READING))
    }

    fn published<'w>(
        &self,
        world: &'w World,
        which: Document,
        parts: &Parts,
        seen: &mut Seen<'w>,
    ) -> Result<Response, Refusal> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            return Err(Refusal::Request(RequestError::Method));
        }
        let (issuer, now) = self.admit(world, parts, seen)?;
        if !issuer.oauth.enabled {
            return Err(Refusal::Request(RequestError::EndpointOff));
        }
        let asked = issuer_path(parts.uri.path());
        if !asked.is_empty() && asked != own_path(&issuer.url(&self.external_url)) {
            return Err(Refusal::Request(RequestError::Path));
        }
        let keys = world.keys_of(&issuer.name).filter(|keys| keys.oauth.signing(now).is_some());
        let keys = keys.ok_or(Refusal::NoKey)?;
        Ok(match which {
            Document::Jwks => answer::public(&jwks(keys, now), KEEP),
            _ => answer::public(&metadata(which, issuer, &self.external_url, keys, now), KEEP),
        })
    }
}

/// The path of the issuer whose document a path is, without a slash at its end: RFC 8414 section 3.1 puts it behind the
/// well-known part, OpenID Connect Discovery 1.0 section 4 before it. Empty where there is none.
fn issuer_path(path: &str) -> &str {
    let behind = [paths::METADATA, paths::DISCOVERY].iter().find_map(|known| path.strip_prefix(known));
    behind.or_else(|| path.strip_suffix(paths::DISCOVERY)).unwrap_or_default().trim_end_matches('/')
}

fn own_path(url: &str) -> String {
    let path = url.parse::<http::Uri>().map(|url| url.path().trim_end_matches('/').to_owned());
    path.unwrap_or_default()
}

/// The next key, too, so that resource servers know it before it signs. No HS256 key is ever among them.
fn jwks(keys: &Keys, now: Timestamp) -> serde_json::Value {
    json!({"keys": keys.oauth.published(now).map(|key| key.key.jwk()).collect::<Vec<_>>()})
}

fn metadata(which: Document, issuer: &Issuer, external_url: &str, keys: &Keys, now: Timestamp) -> Metadata {
    const METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];
    // On the wire a foreign issuer's assertion is what RFC 7523 has a client sign itself, and has no name of its own.
    let by_assertion = (!issuer.trusted.is_empty()).then_some("private_key_jwt");
    let base = issuer.base_url(external_url);
    let openid = which == Document::Discovery;
    let algorithms = || keys.oauth.published(now).map(|key| signing::name(key.key.algorithm())).collect();
    Metadata {
        issuer: issuer.url(external_url).into_owned(),
        token_endpoint: format!("{base}{}", paths::TOKEN),
        jwks_uri: format!("{base}{}", paths::JWKS),
        introspection_endpoint: format!("{base}{}", paths::INTROSPECTION),
        grant_types_supported: vec!["client_credentials"],
        response_types_supported: vec!["none"],
        token_endpoint_auth_methods_supported: METHODS.into_iter().chain(by_assertion).collect(),
        token_endpoint_auth_signing_alg_values_supported: by_assertion.map(|_| assertion::ALGORITHMS.to_vec()),
        introspection_endpoint_auth_methods_supported: METHODS.to_vec(),
        subject_types_supported: openid.then(|| vec!["public"]),
        id_token_signing_alg_values_supported: openid.then(algorithms),
    }
}
