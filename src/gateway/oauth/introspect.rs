//! Introspection (RFC 7662): whether a token of this issuer still counts. Knows what a resource server that only checks
//! signatures cannot: that the account was disabled or deleted, or that the credential leaked.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::response::Response;
use http::{Method, Request};
use serde_json::{Map, Value, json};

use super::answer;
use crate::api::Timestamp;
use crate::domain::introspection::{Basis, Shown, read};
use crate::domain::issuer::Issuer;
use crate::gateway::endpoint::{App, Seen};
use crate::gateway::identify::Here;
use crate::gateway::metrics::Endpoint;
use crate::gateway::refusal::Refusal;
use crate::gateway::request::{Incoming, RequestError};
use crate::index::{Entry, RecordFacts, World};

impl App {
    /// Answers a request of `peer` to the introspection endpoint.
    pub async fn introspect(&self, request: Request<impl Incoming>, peer: Option<SocketAddr>) -> Response {
        let world = self.authenticator.accounts.world();
        let mut seen = Seen::start(Endpoint::Introspection);
        let result = self.look_into(&world, request, peer, &mut seen).await;
        self.conclude_evenly(&seen, result.as_ref().err().copied()).await;
        match result {
            Ok(Some(claims)) => answer::private(&claims),
            // Nothing more: RFC 7662 section 2.2.
            Ok(None) => answer::private(&json!({"active": false})),
            Err(refusal) => answer::refused(refusal, "POST"),
        }
    }

    async fn look_into<'w>(
        &self,
        world: &'w World,
        request: Request<impl Incoming>,
        peer: Option<SocketAddr>,
        seen: &mut Seen<'w>,
    ) -> Result<Option<Map<String, Value>>, Refusal> {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return Err(Refusal::Request(RequestError::Method));
        }
        let (issuer, now) = self.admit(world, &parts, seen)?;
        if !issuer.oauth.enabled {
            return Err(Refusal::Request(RequestError::EndpointOff));
        }
        let form = self.form(&parts, body).await?;
        let credentials = form.credentials(&parts.headers)?;
        self.identify(&Here { world, issuer, now, peer, headers: &parts.headers }, &credentials, seen).await?;
        // Only now: who may not ask is not told what is wrong with the question.
        let token = form.token.ok_or(Refusal::Request(RequestError::NoToken))?;
        self.active(world, issuer, &token, now).await
    }

    async fn active(
        &self,
        world: &World,
        issuer: &Issuer,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Map<String, Value>>, Refusal> {
        let keys = world.keys_of(&issuer.name).ok_or(Refusal::NoKey)?;
        let Some(shown) = read(keys, token, now) else { return Ok(None) };
        let (Some(client_id), Some(basis)) = (shown.client_id(), shown.basis(issuer.token_lifetime)) else {
            return Ok(None);
        };
        let find = || self.holder(world, issuer, client_id, basis);
        let entry = match find() {
            Some(entry) => Some(entry),
            // Another replica may have issued it before the watch told us of the account.
            None => {
                self.authenticator.freshener.refresh(&[], &[client_id]).await.map_err(|_| Refusal::Unsure)?;
                find()
            }
        };
        let counts = entry.is_some_and(|entry| counts(&entry, basis));
        Ok(counts.then(|| Shown::answer(shown, issuer.token_lifetime)))
    }

    fn holder(&self, world: &World, issuer: &Issuer, client_id: &str, basis: Basis<'_>) -> Option<Arc<Entry>> {
        let accounts = &self.authenticator.accounts;
        match basis {
            Basis::Time(_) => accounts.find(world, &issuer.name, client_id),
            Basis::Version(id) => accounts.entry(id.uid).filter(|entry| {
                let found = world.issuer_of_namespace(&entry.account.owner.namespace);
                found.is_some_and(|found| found.name == issuer.name)
            }),
        }
    }
}

/// Whether tokens that rest on this count.
fn counts(entry: &Entry, basis: Basis<'_>) -> bool {
    let leaked = match basis {
        Basis::Version(id) => entry.record.compromised_versions.contains(&id.version),
        Basis::Time(issued) => may_have_leaked(&entry.record, issued),
    };
    entry.account.enabled && !entry.account.deleting && !leaked
}

/// Whether a token issued then may be of a version that leaked: it is not if the version after all that leaked was there
/// already. Rather says so once too often: the token can be had anew.
fn may_have_leaked(record: &RecordFacts, issued: Timestamp) -> bool {
    let Some(last) = record.compromised_versions.iter().max() else { return false };
    let after = record.versions.iter().filter(|version| version.version > *last).min_by_key(|version| version.version);
    after.is_none_or(|version| issued <= version.not_before)
}
