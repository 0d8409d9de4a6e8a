//! The token endpoint: RFC 6749's client credentials for RFC 9068's tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Request};
use tracing::error;

use super::answer::{self, Granted};
use super::wire::{self, Form};
use crate::domain::claims::{AccessClaims, TokenId};
use crate::domain::{audience, scope};
use crate::gateway::endpoint::{App, Seen, unsigned};
use crate::gateway::identify::Here;
use crate::gateway::metrics::Endpoint;
use crate::gateway::refusal::Refusal;
use crate::gateway::request::{self, Incoming, RequestError};
use crate::index::{GroupFacts, World};

impl App {
    /// Answers a request of `peer` to the standard token endpoint.
    pub async fn oauth_token(&self, request: Request<impl Incoming>, peer: Option<SocketAddr>) -> Response {
        let world = self.authenticator.accounts.world();
        let mut seen = Seen::start(Endpoint::Token);
        let result = self.issue(&world, request, peer, &mut seen).await;
        self.conclude_evenly(&seen, result.as_ref().err().copied()).await;
        result.unwrap_or_else(|refusal| answer::refused(refusal, "POST"))
    }

    async fn issue<'w>(
        &self,
        world: &'w World,
        request: Request<impl Incoming>,
        peer: Option<SocketAddr>,
        seen: &mut Seen<'w>,
    ) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return Err(Refusal::Request(RequestError::Method));
        }
        let (issuer, now) = self.admit(world, &parts, seen)?;
        if !issuer.oauth.enabled {
            return Err(Refusal::Request(RequestError::EndpointOff));
        }
        let form = self.form(&parts, body).await?;
        match form.grant_type.as_deref() {
            Some("client_credentials") => {}
            Some(_) => return Err(Refusal::Request(RequestError::GrantType)),
            None => return Err(Refusal::Request(RequestError::NoGrantType)),
        }
        let credentials = form.credentials(&parts.headers)?;
        let grant =
            self.identify(&Here { world, issuer, now, peer, headers: &parts.headers }, &credentials, seen).await?;
        let (owner, client_id) = (&grant.entry.account.owner, grant.client_id);
        let mut groups: Vec<_> = world.memberships(&grant.entry.account.groups, &issuer.name).collect();
        groups.sort_unstable_by_key(|(name, _)| *name);
        let allowed = groups.iter().flat_map(|(_, group)| &group.scopes).map(String::as_str);
        let invalid = |_| Refusal::Request(RequestError::Scope);
        let scopes = scope::granted(form.scope.as_deref(), allowed).map_err(invalid)?;
        let scope = (!scopes.is_empty()).then(|| joined(&scopes));
        let iss = issuer.url(&self.external_url);
        let targets = audience::granted(&form.targets, &issuer.oauth.audiences, &iss)
            .map_err(|_| Refusal::Request(RequestError::Target))?;
        let claims = AccessClaims {
            iss: &iss,
            sub: client_id,
            aud: targets.into(),
            exp: now.saturating_add(issuer.token_lifetime).unix(),
            iat: now.unix(),
            jti: TokenId { version: grant.version, uid: &owner.uid }.with(self.random()?),
            client_id,
            scope: scope.as_deref(),
            groups: groups.iter().map(|(name, _)| *name).collect(),
            namespace: &owner.namespace,
            claims: static_claims(&groups),
        };
        let key = world.keys_of(&issuer.name).and_then(|keys| keys.oauth.signing(now)).ok_or(Refusal::NoKey)?;
        let access_token = key.key.sign(&claims.to_json()).map_err(unsigned)?;
        let expires_in = issuer.token_lifetime.num_seconds();
        Ok(answer::granted(&Granted { access_token, token_type: "Bearer", expires_in, scope: scope.as_deref() }))
    }

    /// Reads the form of a request.
    pub(super) async fn form(&self, parts: &Parts, body: impl Incoming) -> Result<Form, Refusal> {
        let body = request::body(&parts.headers, body, self.body_time).await.map_err(Refusal::Request)?;
        let content_type = parts.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        wire::form(content_type, &body).map_err(Refusal::Request)
    }

    fn random(&self) -> Result<[u8; 16], Refusal> {
        let mut bytes = [0; 16];
        self.entropy.fill(&mut bytes).map_err(|error| {
            error!(%error, "no token could be made");
            Refusal::Internal
        })?;
        Ok(bytes)
    }
}

fn joined(scopes: &BTreeSet<&str>) -> String {
    scopes.iter().copied().collect::<Vec<_>>().join(" ")
}

/// Of two groups with the same claim, the one whose name comes first has its way.
fn static_claims<'a>(groups: &[(&'a str, &'a GroupFacts)]) -> BTreeMap<&'a str, &'a str> {
    let all = groups.iter().rev().flat_map(|(_, group)| &group.claims);
    all.map(|(key, value)| (key.as_str(), value.as_str())).collect()
}
