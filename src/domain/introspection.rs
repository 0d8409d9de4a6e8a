//! What a token that somebody shows us says, if we issued it and it has not ended (RFC 7662).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta};
use serde_json::{Map, Value};

use super::claims::TokenId;
use super::keys::Keys;
use super::token;
use crate::api::Timestamp;

/// A token of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Everything that it says.
    pub claims: Map<String, Value>,
    /// Whether it is one of the manual's, which name no credential version.
    legacy: bool,
}

/// What a token rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Basis<'a> {
    /// A version of an account.
    Version(TokenId<'a>),
    /// Whichever version of the client ID's holder was in force at that time.
    Time(Timestamp),
}

/// Reads a token: its signature is one of these keys', its header byte for byte the one that they write, and its end is
/// still to come. Anything else is none of ours.
#[must_use]
pub fn read(keys: &Keys, text: &str, now: Timestamp) -> Option<Shown> {
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, payload) = signed.split_at(signed.find('.')? + 1);
    let legacy = header == token::HEADER;
    let genuine = if legacy {
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        keys.legacy.verifying(now).any(|key| key.key.verifies(signed.as_bytes(), &signature))
    } else {
        keys.oauth.published(now).any(|key| key.key.header() == header && key.key.verifies(signed, signature))
    };
    if !genuine {
        return None;
    }
    let claims: Map<String, Value> = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let shown = Shown { claims, legacy };
    (now.unix() < shown.end()?).then_some(shown)
}

impl Shown {
    /// The client ID that it was issued to.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.claims.get(if self.legacy { "clientId" } else { "client_id" })?.as_str()
    }

    /// What it rests on. The manual's tokens do not say when they were issued: a token lifetime before their end.
    #[must_use]
    pub fn basis(&self, token_lifetime: TimeDelta) -> Option<Basis<'_>> {
        if self.legacy {
            let issued = DateTime::from_timestamp(self.end()?, 0).map(Timestamp::from)?;
            return Some(Basis::Time(issued.saturating_add(-token_lifetime)));
        }
        TokenId::parse(self.claims.get("jti")?.as_str()?).map(Basis::Version)
    }

    /// What is answered: the claims under the names of RFC 7662 section 2.2.
    #[must_use]
    pub fn answer(self, token_lifetime: TimeDelta) -> Map<String, Value> {
        let (client_id, basis) = (self.client_id().map(str::to_owned), self.basis(token_lifetime));
        let issued = match basis {
            Some(Basis::Time(issued)) => Some(issued.unix()),
            _ => None,
        };
        let mut answer = self.claims;
        answer.extend(client_id.map(|id| ("client_id".to_owned(), id.into())));
        answer.extend(issued.map(|issued| ("iat".to_owned(), issued.into())));
        answer.remove("clientId");
        answer.remove("grant type");
        answer.insert("active".into(), true.into());
        answer.insert("token_type".into(), "Bearer".into());
        answer
    }

    fn end(&self) -> Option<i64> {
        self.claims.get("exp")?.as_i64()
    }
}
