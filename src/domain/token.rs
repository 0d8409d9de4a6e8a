//! Tokens as text: the manual's HS256 tokens (JWS compact serialization, RFC 7515 section 3.1).

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::ser::Error;

/// `{"typ":"JWT","alg":"HS256"}` as base64url, and the dot after it. The header never varies (no `kid`), so it is
/// encoded here once; jsonwebtoken would serialize it and schedule the key again for every token (0.5 M/s to 2 M/s).
const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.";

/// An HS256 key, ready to sign. No `Debug` shows it.
#[derive(Clone)]
pub struct Hs256Key(hmac::Key);

/// Why bytes are no HS256 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an HS256 key needs at least {} bytes (RFC 7518 section 3.2), this one has {found}", Hs256Key::MIN_LENGTH)]
pub struct KeyTooShort {
    /// The length that was found, in bytes.
    pub found: usize,
}

impl Hs256Key {
    /// RFC 7518 section 3.2: a key of the size of the hash output or larger.
    pub const MIN_LENGTH: usize = 32;

    /// Takes raw key bytes.
    ///
    /// # Errors
    /// When there are fewer than 32 of them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyTooShort> {
        if bytes.len() < Self::MIN_LENGTH {
            return Err(KeyTooShort { found: bytes.len() });
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// A signed token with these claims and the header `{"typ":"JWT","alg":"HS256"}`.
    ///
    /// # Errors
    /// When the claims cannot be serialized, which no claims of ours do.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, serde_json::Error> {
        let mut payload = Vec::with_capacity(256);
        serde_json::to_writer(&mut payload, claims)?;
        let mut token = Vec::with_capacity(HEADER.len() + encoded_len(payload.len()) + 1 + encoded_len(32));
        token.extend_from_slice(HEADER.as_bytes());
        append(&mut token, &payload)?;
        let signature = hmac::sign(&self.0, &token);
        token.push(b'.');
        append(&mut token, signature.as_ref())?;
        String::from_utf8(token).map_err(Error::custom)
    }
}

/// The length of unpadded base64.
fn encoded_len(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Appends base64url. Into a slice, which costs a third of appending to a string.
fn append(token: &mut Vec<u8>, bytes: &[u8]) -> Result<(), serde_json::Error> {
    let start = token.len();
    token.resize(start + encoded_len(bytes.len()), 0);
    BASE64_URL_SAFE_NO_PAD.encode_slice(bytes, &mut token[start..]).map(drop).map_err(Error::custom)
}

impl std::fmt::Debug for Hs256Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hs256Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::{Value, json};

    const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn a_token_has_exactly_the_manuals_header() {
        let token = Hs256Key::from_bytes(KEY).unwrap().sign(&json!({})).unwrap();
        let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        assert_eq!(header, br#"{"typ":"JWT","alg":"HS256"}"#);
    }

    #[test]
    fn an_independent_library_accepts_our_signature_and_no_other_keys() {
        let token = Hs256Key::from_bytes(KEY).unwrap().sign(&json!({"exp": 4_000_000_000_i64, "aud": "avx"})).unwrap();
        let mut checks = Validation::new(Algorithm::HS256);
        checks.set_audience(&["avx"]);
        let decoded = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_secret(KEY), &checks).unwrap();
        assert_eq!(decoded.claims["aud"], "avx");
        let other = DecodingKey::from_secret(b"another key, also of 32 bytes!!!");
        assert!(jsonwebtoken::decode::<Value>(&token, &other, &checks).is_err());
    }

    #[test]
    fn a_short_key_is_refused_and_none_is_shown() {
        assert_eq!(Hs256Key::from_bytes(&KEY[1..]).unwrap_err(), KeyTooShort { found: 31 });
        assert_eq!(format!("{:?}", Hs256Key::from_bytes(KEY).unwrap()), "Hs256Key(…)");
    }
}
