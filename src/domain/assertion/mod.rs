//! Tokens of foreign issuers that External accounts present instead of a secret (RFC 7523 section 3).
//!
//! ```text
//! text → Assertion::read (shape, bounds)  → trusted issuer by `iss` → key by `kid` → check_signature
//!                                         → check_claims (aud, exp, nbf, iat) → client_id
//! ```
//!
//! The header chooses nothing: the algorithm is the key's, and keys come from the trusted issuer alone (`jku`, `x5u`,
//! `x5c` and `jwk` are never looked at).

pub mod jwks;
#[cfg(test)]
pub(crate) mod samples;
mod strict;
#[cfg(test)]
mod tests;
pub mod trusted;

use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::api::Timestamp;
use jwks::{KeySet, Unfit};

/// The one `client_assertion_type` (RFC 7523 section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What one may be signed with: those that [`jwks`] finds keys for.
pub const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
/// The longest assertion, in bytes. Those of Kubernetes have some 1,200, of Keycloak up to 4,000.
pub const MAX_BYTES: usize = 16 * 1024;
/// How far a foreign clock may be ahead of ours, in seconds: for `nbf` and `iat`. `exp` gets no leeway: a clock that is
/// behind only makes a token's life shorter.
pub const LEEWAY: i64 = 30;
/// The longest client ID: that of `externalClientId`.
const MAX_CLIENT_ID: usize = 255;
/// More audiences than this in one token are nobody's.
const MAX_AUDIENCES: usize = 64;

/// Why an assertion proves nothing. For the log, and for the caller where an endpoint tells more than "wrong". Quotes
/// nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AssertionError {
    /// More than [`MAX_BYTES`].
    #[error("the assertion is longer than {} KiB", MAX_BYTES / 1024)]
    TooLong,
    /// Not three parts of base64url, the first two of them JSON objects.
    #[error("the assertion is no signed JWT")]
    NotAJwt,
    /// A member of the header or a claim stands there twice.
    #[error("the assertion has a member twice")]
    Repeated,
    /// `crit` demands what we do not know; all of it.
    #[error("the assertion's header has crit")]
    Critical,
    /// `alg` is `none`, symmetric, unknown or missing.
    #[error("the assertion's algorithm is none that a public key verifies")]
    Algorithm,
    /// `kid` is no text.
    #[error("the assertion's kid is no text")]
    BadKid,
    /// No trusted issuer has this `iss`.
    #[error("the assertion is of no trusted issuer")]
    Issuer,
    /// The issuer has several keys and the header names none.
    #[error("the assertion names no key and its issuer has several")]
    NoKid,
    /// The issuer has no such key.
    #[error("the assertion's key is none of its issuer's")]
    UnknownKey,
    /// The key is for another algorithm.
    #[error("the assertion's algorithm is not its key's")]
    OtherAlgorithm,
    /// The signature is not the key's.
    #[error("the assertion's signature is wrong")]
    Signature,
    /// `aud` is not the one that is asked for.
    #[error("the assertion is for another audience")]
    Audience,
    /// `exp` has come.
    #[error("the assertion has expired")]
    Expired,
    /// `nbf` or `iat` has not.
    #[error("the assertion is not valid yet")]
    TooEarly,
    /// `exp` is missing, or it, `nbf` or `iat` is no number of seconds.
    #[error("the assertion's times cannot be read")]
    BadTime,
    /// The claim that should be the client ID is missing, or no text of 1 to 255 bytes.
    #[error("the assertion has no client ID")]
    NoClientId,
    /// The request's `client_id` is another one.
    #[error("the assertion is another client's than the request says")]
    OtherClient,
    /// The account is Internal: it has a secret.
    #[error("the account is Internal and takes no assertion")]
    Internal,
    /// The account trusts another issuer, or names none where there are several.
    #[error("the account does not trust the assertion's issuer")]
    NotItsIssuer,
    /// Not `system:serviceaccount:<namespace>:<name>`.
    #[error("the subject is no service account of Kubernetes")]
    NotAServiceAccount,
    /// The service account is of another namespace than the External account.
    #[error("the service account is of another namespace than the account")]
    OtherNamespace,
    /// Every Pod that names no other runs as it.
    #[error("the service account is its namespace's default")]
    DefaultServiceAccount,
    /// TokenReview says no.
    #[error("Kubernetes does not accept the service account's token")]
    NotAuthenticated,
}

impl AssertionError {
    /// Whether it is no assertion at all, rather than a wrong one.
    #[must_use]
    pub fn is_unreadable(self) -> bool {
        matches!(
            self,
            Self::TooLong
                | Self::NotAJwt
                | Self::Repeated
                | Self::Critical
                | Self::Algorithm
                | Self::BadKid
                | Self::BadTime
                | Self::NoClientId
        )
    }
}

impl From<Unfit> for AssertionError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::NoKid => Self::NoKid,
            Unfit::UnknownKid => Self::UnknownKey,
            Unfit::OtherAlgorithm => Self::OtherAlgorithm,
        }
    }
}

/// An assertion taken apart; nothing of it is proven. No `Debug`: as a whole it is a credential.
pub struct Assertion<'a> {
    text: &'a str,
    message: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
    claims: Map<String, Value>,
}

impl<'a> Assertion<'a> {
    /// Takes it apart.
    ///
    /// # Errors
    /// When it is no JWT that a public key could verify.
    pub fn read(text: &'a str) -> Result<Self, AssertionError> {
        if text.len() > MAX_BYTES {
            return Err(AssertionError::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(AssertionError::NotAJwt)?;
        let (header, payload) = message.split_once('.').ok_or(AssertionError::NotAJwt)?;
        // Of the encrypted kind, which has five parts, the middle holds dots, and they are no base64url.
        let mut header = object(header)?;
        if header.contains_key("crit") {
            return Err(AssertionError::Critical);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(asymmetric);
        let kid = match header.remove("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid),
            Some(_) => return Err(AssertionError::BadKid),
        };
        Ok(Self {
            text,
            message,
            signature,
            algorithm: algorithm.ok_or(AssertionError::Algorithm)?,
            kid,
            claims: object(payload)?,
        })
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text
    }

    /// The claim `iss`, unproven: it only says whose keys to try.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claim("iss")
    }

    /// The claim `sub`, unproven.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claim("sub")
    }

    /// Checks the signature with the one key that is meant.
    ///
    /// # Errors
    /// When there is no such key, or it is another's signature.
    pub fn check_signature(&self, keys: &KeySet) -> Result<(), AssertionError> {
        let key = keys.find(self.kid.as_deref(), self.algorithm)?;
        if key.verifies(self.message.as_bytes(), self.signature) { Ok(()) } else { Err(AssertionError::Signature) }
    }

    /// Checks audience and times.
    ///
    /// # Errors
    /// When it is not for `audience`, or not for `now`.
    pub fn check_claims(&self, audience: &str, now: Timestamp) -> Result<(), AssertionError> {
        let meant = match self.claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(all)) if all.len() <= MAX_AUDIENCES && all.iter().all(Value::is_string) => {
                all.iter().any(|one| one == audience)
            }
            _ => false,
        };
        if !meant {
            return Err(AssertionError::Audience);
        }
        let now = now.unix();
        let exp = self.time("exp")?.ok_or(AssertionError::BadTime)?;
        let (nbf, iat) = (self.time("nbf")?, self.time("iat")?);
        if now >= exp {
            return Err(AssertionError::Expired);
        }
        if [nbf, iat].into_iter().flatten().any(|time| time > now + LEEWAY) {
            return Err(AssertionError::TooEarly);
        }
        Ok(())
    }

    /// The client ID: the claim of that name.
    ///
    /// # Errors
    /// When it is missing or cannot be one.
    pub fn client_id(&self, claim: &str) -> Result<&str, AssertionError> {
        let id = self.claim(claim).filter(|id| (1..=MAX_CLIENT_ID).contains(&id.len()));
        id.ok_or(AssertionError::NoClientId)
    }

    fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// A NumericDate (RFC 7519 section 2): seconds, perhaps with a fraction.
    fn time(&self, claim: &str) -> Result<Option<i64>, AssertionError> {
        /// The year 10889; and exact as a float.
        const LATEST: i64 = 1 << 48;
        let Some(value) = self.claims.get(claim) else { return Ok(None) };
        #[expect(clippy::cast_possible_truncation, reason = "what is out of bounds saturates, and is refused")]
        let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64));
        seconds.filter(|seconds| (0..=LATEST).contains(seconds)).map(Some).ok_or(AssertionError::BadTime)
    }
}

/// What a public key verifies. The library's list has the symmetric ones, too.
fn asymmetric(name: &str) -> Option<Algorithm> {
    match name {
        // RFC 9864.
        "Ed25519" => Some(Algorithm::EdDSA),
        name if name.starts_with("HS") => None,
        name => Algorithm::from_str(name).ok(),
    }
}

/// A part of a JWT: base64url of a JSON object without repeated members.
fn object(part: &str) -> Result<Map<String, Value>, AssertionError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| AssertionError::NotAJwt)?;
    strict::object(&bytes)
}

/// The namespace and the name of `system:serviceaccount:<namespace>:<name>`.
#[must_use]
pub fn service_account(subject: &str) -> Option<(&str, &str)> {
    let (namespace, name) = subject.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// Whether a Pod may act as an External account of `namespace`: as one of its own service accounts, and not the one
/// that every Pod of the namespace gets unasked.
///
/// # Errors
/// When it may not.
pub fn check_service_account(subject: &str, namespace: &str) -> Result<(), AssertionError> {
    match service_account(subject) {
        None => Err(AssertionError::NotAServiceAccount),
        Some((own, _)) if own != namespace => Err(AssertionError::OtherNamespace),
        Some((_, "default")) => Err(AssertionError::DefaultServiceAccount),
        Some(_) => Ok(()),
    }
}
